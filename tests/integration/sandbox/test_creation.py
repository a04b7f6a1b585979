"""What IAM refuses to make, change or delete: each beside the same call that it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import World, role_arn
from .test_sts import READ_ONLY, allow, fresh, policy, trust_of

Code = Callable[[Callable[[], Any]], str]
SOME = policy(allow("s3:GetObject"))
SELF = trust_of("123456789012")


def new_role(world: World, **more: Any) -> str:
    name = fresh("made")
    world.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(SELF), **more)
    return name


def new_user(world: World) -> str:
    name = fresh("made")
    world.client("iam").create_user(UserName=name)
    return name


def new_group(world: World) -> str:
    name = fresh("made")
    world.client("iam").create_group(GroupName=name)
    return name


def new_policy(world: World) -> str:
    return str(world.client("iam").create_policy(PolicyName=fresh("made"), PolicyDocument=SOME)["Policy"]["Arn"])


# --- trust policies ------------------------------------------------------------------------------------------------


def test_principals_that_exist(world: World, code: Code) -> None:
    iam, role, user = world.client("iam"), new_role(world), new_user(world)
    target = new_role(world)

    def trust(kind: str, principal: str) -> Callable[[], Any]:
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {kind: principal}, "Action": "sts:AssumeRole"}],
        }
        return lambda: iam.update_assume_role_policy(RoleName=target, PolicyDocument=json.dumps(document))

    for principal in (role_arn(role), f"arn:aws:iam::123456789012:user/{user}", "111122223333", "*"):
        assert trust("AWS", principal)()
    assert trust("Service", "ec2.amazonaws.com")()
    for kind, principal in (
        ("AWS", role_arn("no-such-role")),
        ("AWS", "arn:aws:iam::123456789012:role/elsewhere/" + role),
        ("AWS", "arn:aws:iam::123456789012:user/no-such-user"),
        ("AWS", "AROAAAAAAAAAAAAAAAAAA"),
        ("Service", "ec2.example.com"),
    ):
        assert (
            code(trust(kind, principal))
            == f'MalformedPolicyDocument: Invalid principal in policy: "{kind.upper()}":"{principal}"'
        )


def test_deleted_principal_is_not_the_one_made_anew(world: World, code: Code) -> None:
    iam, trusted, target = world.client("iam"), fresh("trusted"), fresh("target")
    statement = allow("sts:AssumeRole")
    world.role(trusted, statement)
    world.role(target, trust=trust_of(role_arn(trusted)))
    ask = {"RoleArn": role_arn(target), "RoleSessionName": "test"}
    assert world.client("sts", world.session(trusted)).assume_role(**ask)
    unique = iam.get_role(RoleName=trusted)["Role"]["RoleId"]
    iam.delete_role_policy(RoleName=trusted, PolicyName="inline")
    iam.delete_role(RoleName=trusted)
    document = iam.get_role(RoleName=target)["Role"]["AssumeRolePolicyDocument"]
    assert document["Statement"][0]["Principal"] == {"AWS": unique}
    world.role(trusted, statement)
    assert code(lambda: world.client("sts", world.session(trusted)).assume_role(**ask)).startswith("AccessDenied: User")
    assert code(lambda: iam.update_assume_role_policy(RoleName=target, PolicyDocument=json.dumps(document))).startswith(
        "MalformedPolicyDocument: Invalid principal in policy: "
    )
    iam.update_assume_role_policy(RoleName=target, PolicyDocument=json.dumps(trust_of(role_arn(trusted))))
    assert world.client("sts", world.session(trusted)).assume_role(**ask)


# --- parameters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"RoleName": "x" * 65}, "ValidationError: 1 validation error detected: Value '"),
        ({"RoleName": "a b"}, "ValidationError: The specified value for roleName is invalid. It must contain only"),
        ({"Path": "data"}, "ValidationError: The specified value for path is invalid. It must begin and end with /"),
        ({"Path": "/aws-service-role/x/"}, "InvalidInput: "),
        ({"MaxSessionDuration": 3599}, "ValidationError: "),
        ({"MaxSessionDuration": 43201}, "ValidationError: "),
        ({"Description": "x" * 1001}, "ValidationError: "),
        ({"PermissionsBoundary": "arn:aws:iam::123456789012:policy/none"}, "NoSuchEntity: Scope ARN: "),
        ({"PermissionsBoundary": "arn:aws:iam::111122223333:policy/none"}, "NoSuchEntity: Scope ARN: "),
        ({"Tags": [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]}, "InvalidInput: Duplicate tag keys found."),
        ({"Tags": [{"Key": "aws:a", "Value": "1"}]}, "InvalidInput: "),
        ({"Tags": [{"Key": "k" * 129, "Value": "1"}]}, "ValidationError: "),
        ({"Tags": [{"Key": "a", "Value": "v" * 257}]}, "ValidationError: "),
        ({"Tags": [{"Key": "a!", "Value": "1"}]}, "ValidationError: "),
        ({"Tags": [{"Key": "a"}]}, "ValidationError: 1 validation error detected: Value null at 'tags.1.member.value'"),
        ({"Tags": [{"Key": f"k{n}", "Value": ""} for n in range(51)]}, "ValidationError: "),
    ],
)
def test_role_that_is_not_made(world: World, code: Code, changed: dict[str, Any], expected: str) -> None:
    iam = world.client("iam")
    good: dict[str, Any] = {
        "RoleName": fresh("good"),
        "AssumeRolePolicyDocument": json.dumps(SELF),
        "Path": "/data/",
        "MaxSessionDuration": 3600,
        "PermissionsBoundary": READ_ONLY,
        "Tags": [{"Key": f"k{n}", "Value": "v" * 256} for n in range(50)],
    }
    assert iam.create_role(**good)["Role"]["Arn"].endswith("/data/" + good["RoleName"])
    assert code(lambda: iam.create_role(**{**good, "RoleName": fresh("good"), **changed})).startswith(expected)


def test_tags_of_a_role_are_at_most_fifty(world: World, code: Code) -> None:
    iam, role = world.client("iam"), new_role(world, Tags=[{"Key": f"k{n}", "Value": "v"} for n in range(50)])
    iam.tag_role(RoleName=role, Tags=[{"Key": "K0", "Value": "other"}])
    assert (
        code(lambda: iam.tag_role(RoleName=role, Tags=[{"Key": "more", "Value": "v"}]))
        == "LimitExceeded: The number of tags has reached the maximum limit."
    )


def test_names_of_users_and_groups_are_unique_whatever_their_case(world: World, code: Code) -> None:
    iam = world.client("iam")
    user, group = new_user(world), new_group(world)
    assert code(lambda: iam.create_user(UserName=user.upper())).startswith("EntityAlreadyExists: ")
    assert code(lambda: iam.create_group(GroupName=group.upper())).startswith("EntityAlreadyExists: ")
    assert code(lambda: iam.update_user(UserName=new_user(world), NewUserName=user.upper())).startswith(
        "EntityAlreadyExists: "
    )
    assert code(lambda: iam.create_user(UserName="x" * 65)).startswith("ValidationError: ")


# --- policies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "limit"), [("role", 10_240), ("user", 2_048), ("group", 5_120)])
def test_inline_policies_together_have_a_size(world: World, code: Code, kind: str, limit: int) -> None:
    iam, name = world.client("iam"), {"role": new_role, "user": new_user, "group": new_group}[kind](world)
    put = getattr(iam, f"put_{kind}_policy")
    entity = {f"{kind.title()}Name": name}

    def of(size: int) -> str:
        empty = json.loads(policy(allow("s3:GetObject", "arn:aws:s3:::")))
        length = len(json.dumps(empty, separators=(",", ":")))
        empty["Statement"][0]["Resource"] += "x" * (size - length)
        return json.dumps(empty, indent=1)  # white space does not count

    half = limit // 2
    put(**entity, PolicyName="one", PolicyDocument=of(half))
    put(**entity, PolicyName="two", PolicyDocument=of(limit - half))
    put(**entity, PolicyName="two", PolicyDocument=of(limit - half))  # in its own place
    for written, size in (("two", limit - half + 1), ("three", 200)):
        assert (
            code(lambda written=written, size=size: put(**entity, PolicyName=written, PolicyDocument=of(size)))
            == f"LimitExceeded: Maximum policy size of {limit} bytes exceeded for {kind} {name}"
        )
    assert code(lambda: put(**{f"{kind.title()}Name": "no-such"}, PolicyName="x", PolicyDocument=of(200))).startswith(
        f"NoSuchEntity: The {kind} with name no-such cannot be found."
    )


@pytest.mark.parametrize("kind", ["role", "user", "group"])
def test_ten_managed_policies_are_attached(world: World, code: Code, kind: str) -> None:
    iam, name = world.client("iam"), {"role": new_role, "user": new_user, "group": new_group}[kind](world)
    attach = getattr(iam, f"attach_{kind}_policy")
    entity = {f"{kind.title()}Name": name}
    arns = [new_policy(world) for _ in range(11)]
    for arn in arns[:10]:
        attach(**entity, PolicyArn=arn)
    attach(**entity, PolicyArn=arns[0])  # again, which changes nothing
    assert (
        code(lambda: attach(**entity, PolicyArn=arns[10]))
        == f"LimitExceeded: Cannot exceed quota for PoliciesPer{kind.title()}: 10"
    )
    missing = "arn:aws:iam::123456789012:policy/no-such"
    assert (
        code(lambda: attach(**entity, PolicyArn=missing))
        == f"NoSuchEntity: Policy {missing} does not exist or is not attachable."
    )


def test_versions_of_a_policy(world: World, code: Code) -> None:
    iam, arn = world.client("iam"), new_policy(world)
    for _ in range(4):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=SOME)
    assert code(lambda: iam.create_policy_version(PolicyArn=arn, PolicyDocument=SOME)).startswith(
        "LimitExceeded: A managed policy can have up to 5 versions."
    )
    assert code(lambda: iam.delete_policy_version(PolicyArn=arn, VersionId="v1")).startswith("DeleteConflict: ")
    assert code(lambda: iam.delete_policy(PolicyArn=arn)).startswith(
        "DeleteConflict: This policy has more than one version."
    )
    for number in range(2, 6):
        iam.delete_policy_version(PolicyArn=arn, VersionId=f"v{number}")
    role = new_role(world)
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    attached = "DeleteConflict: Cannot delete a policy attached to entities."
    assert code(lambda: iam.delete_policy(PolicyArn=arn)) == attached
    iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    assert code(lambda: iam.delete_policy(PolicyArn=arn)) == attached
    iam.delete_role_permissions_boundary(RoleName=role)
    iam.delete_policy(PolicyArn=arn)


@pytest.mark.parametrize(
    "call", ["create_policy_version", "delete_policy", "delete_policy_version", "set_default_policy_version"]
)
def test_policies_of_aws_are_not_ours_to_change(world: World, code: Code, call: str) -> None:
    iam, own = world.client("iam"), new_policy(world)
    iam.create_policy_version(PolicyArn=own, PolicyDocument=SOME)
    arguments = {
        "create_policy_version": {"PolicyDocument": SOME},
        "delete_policy": {},
        "delete_policy_version": {"VersionId": "v2"},
        "set_default_policy_version": {"VersionId": "v2"},
    }[call]
    assert (
        code(lambda: getattr(iam, call)(PolicyArn=READ_ONLY, **arguments))
        == "AccessDenied: Policy is outside your own account."
    )
    if call == "delete_policy":
        iam.delete_policy_version(PolicyArn=own, VersionId="v2")
    getattr(iam, call)(PolicyArn=own, **arguments)


# --- deletion ------------------------------------------------------------------------------------------------------


def test_user_goes_last(world: World, code: Code) -> None:
    iam, user, group = world.client("iam"), new_user(world), new_group(world)
    delete = lambda: iam.delete_user(UserName=user)  # noqa: E731
    key = iam.create_access_key(UserName=user)["AccessKey"]["AccessKeyId"]
    iam.create_access_key(UserName=user)
    assert (
        code(lambda: iam.create_access_key(UserName=user))
        == "LimitExceeded: Cannot exceed quota for AccessKeysPerUser: 2"
    )
    assert code(lambda: iam.update_access_key(UserName=user, AccessKeyId=key, Status="Sleeping")).startswith(
        "ValidationError: "
    )
    iam.add_user_to_group(GroupName=group, UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=SOME)
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    iam.create_login_profile(UserName=user, Password="long enough to be taken 1A!")
    assert code(delete) == "DeleteConflict: Cannot delete entity, must delete access keys first."
    for item in iam.list_access_keys(UserName=user)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=user, AccessKeyId=item["AccessKeyId"])
    assert code(delete) == "DeleteConflict: Cannot delete entity, must remove users from group first."
    assert (
        code(lambda: iam.delete_group(GroupName=group))
        == "DeleteConflict: Cannot delete entity, must remove users from group first."
    )
    iam.remove_user_from_group(GroupName=group, UserName=user)
    assert code(delete) == "DeleteConflict: Cannot delete entity, must detach all policies first."
    iam.detach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    assert code(delete) == "DeleteConflict: Cannot delete entity, must delete policies first."
    iam.delete_user_policy(UserName=user, PolicyName="p")
    assert code(delete) == "DeleteConflict: Cannot delete entity, must delete login profile first."
    iam.delete_login_profile(UserName=user)
    delete()
    assert code(delete) == f"NoSuchEntity: The user with name {user} cannot be found."
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=SOME)
    assert code(lambda: iam.delete_group(GroupName=group)).startswith("DeleteConflict: ")
    iam.delete_group_policy(GroupName=group, PolicyName="p")
    iam.delete_group(GroupName=group)


def test_role_goes_last(world: World, code: Code) -> None:
    iam, role, profile = world.client("iam"), new_role(world), fresh("profile")
    delete = lambda: iam.delete_role(RoleName=role)  # noqa: E731
    iam.create_instance_profile(InstanceProfileName=profile)
    assert code(lambda: iam.create_instance_profile(InstanceProfileName=profile)).startswith("EntityAlreadyExists: ")
    iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=role)
    assert (
        code(lambda: iam.add_role_to_instance_profile(InstanceProfileName=profile, RoleName=new_role(world)))
        == "LimitExceeded: Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
    )
    iam.attach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=SOME)
    assert code(delete) == "DeleteConflict: Cannot delete entity, must remove roles from instance profile first."
    iam.remove_role_from_instance_profile(InstanceProfileName=profile, RoleName=role)
    assert code(delete) == "DeleteConflict: Cannot delete entity, must detach all policies first."
    iam.detach_role_policy(RoleName=role, PolicyArn=READ_ONLY)
    assert code(delete) == "DeleteConflict: Cannot delete entity, must delete policies first."
    iam.delete_role_policy(RoleName=role, PolicyName="p")
    delete()
    assert code(delete) == f"NoSuchEntity: The role with name {role} cannot be found."


def test_roles_of_services_are_theirs(world: World, code: Code) -> None:
    iam = world.client("iam")
    made = iam.create_service_linked_role(AWSServiceName="eks.amazonaws.com", CustomSuffix=fresh("s"))["Role"]
    assert made["Path"] == "/aws-service-role/eks.amazonaws.com/"
    protected = f"UnmodifiableEntity: Cannot perform the operation on the protected role '{made['RoleName']}'"
    for call, arguments in (
        ("delete_role", {}),
        ("put_role_policy", {"PolicyName": "p", "PolicyDocument": SOME}),
        ("attach_role_policy", {"PolicyArn": READ_ONLY}),
        ("update_assume_role_policy", {"PolicyDocument": json.dumps(SELF)}),
    ):
        refusal = code(
            lambda call=call, arguments=arguments: getattr(iam, call)(RoleName=made["RoleName"], **arguments)
        )
        assert refusal.startswith(protected)
    assert code(lambda: iam.create_service_linked_role(AWSServiceName="eks")).startswith("InvalidInput: ")


def test_unique_ids_are_spelt_as_iam_spells_them(world: World) -> None:
    iam, user, group, profile = world.client("iam"), new_user(world), new_group(world), fresh("profile")
    iam.create_instance_profile(InstanceProfileName=profile)
    assert iam.get_role(RoleName=new_role(world))["Role"]["RoleId"].startswith("AROA")
    found = iam.get_user(UserName=user)["User"]["UserId"]
    assert found.startswith("AIDA")
    assert found in [item["UserId"] for item in iam.list_users(MaxItems=1000)["Users"]]
    assert iam.get_group(GroupName=group)["Group"]["GroupId"].startswith("AGPA")
    assert iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["InstanceProfileId"].startswith(
        "AIPA"
    )
    assert iam.get_policy(PolicyArn=new_policy(world))["Policy"]["PolicyId"].startswith("ANPA")


def test_quotas_of_the_account_are_told(world: World) -> None:
    found = world.client("iam").get_account_summary()["SummaryMap"]
    assert {
        name: found[name] for name in ("RolesQuota", "PoliciesQuota", "PolicySizeQuota", "RolePolicySizeQuota")
    } == {
        "RolesQuota": 1000,
        "PoliciesQuota": 1500,
        "PolicySizeQuota": 6144,
        "RolePolicySizeQuota": 10240,
    }
