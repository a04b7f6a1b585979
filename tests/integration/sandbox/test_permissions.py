"""S3, IAM and STS under a role: each refusal beside the same request allowed, in AWS's words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import World, numbers, role_arn

Code = Callable[[Callable[[], Any]], str]

# Call -> the permission it needs, and whether on the bucket or on the object.
S3_CALLS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "head_bucket": ("s3:ListBucket", "bucket", {}),
    "list_objects": ("s3:ListBucket", "bucket", {}),
    "list_objects_v2": ("s3:ListBucket", "bucket", {}),
    "list_object_versions": ("s3:ListBucketVersions", "bucket", {}),
    "list_multipart_uploads": ("s3:ListBucketMultipartUploads", "bucket", {}),
    "get_bucket_location": ("s3:GetBucketLocation", "bucket", {}),
    "get_bucket_versioning": ("s3:GetBucketVersioning", "bucket", {}),
    "get_bucket_acl": ("s3:GetBucketAcl", "bucket", {}),
    "head_object": ("s3:GetObject", "object", {"Key": "raw/present"}),
    "get_object": ("s3:GetObject", "object", {"Key": "raw/present"}),
    "get_object_acl": ("s3:GetObjectAcl", "object", {"Key": "raw/present"}),
    "get_object_tagging": ("s3:GetObjectTagging", "object", {"Key": "raw/present"}),
    "put_object": ("s3:PutObject", "object", {"Key": "raw/new", "Body": b"x"}),
    "put_object_tagging": (
        "s3:PutObjectTagging",
        "object",
        {"Key": "raw/present", "Tagging": {"TagSet": [{"Key": "k", "Value": "v"}]}},
    ),
    "create_multipart_upload": ("s3:PutObject", "object", {"Key": "raw/multi"}),
    "delete_object": ("s3:DeleteObject", "object", {"Key": "raw/gone"}),
}


def session(world: World, *statements: dict[str, Any], **more: Any) -> tuple[str, dict[str, str]]:
    name = f"permissions-{next(numbers)}"
    world.role(name, *statements)
    return name, world.session(name, **more)


@pytest.mark.parametrize("call", sorted(S3_CALLS))
def test_s3_call_needs_exactly_its_permission(world: World, bucket: str, code: Code, call: str) -> None:
    action, level, arguments = S3_CALLS[call]
    resource = f"arn:aws:s3:::{bucket}" + ("/raw/*" if level == "object" else "")
    _, right = session(world, {"Effect": "Allow", "Action": action, "Resource": resource})
    getattr(world.client("s3", right), call)(Bucket=bucket, **arguments)
    name, wrong = session(world, {"Effect": "Allow", "NotAction": action, "Resource": "*"})
    refusal = code(lambda: getattr(world.client("s3", wrong), call)(Bucket=bucket, **arguments))
    if call.startswith("head"):  # a HEAD has no body to say more in
        assert refusal == "403: Forbidden"
    else:
        assert refusal.startswith(
            f"AccessDenied: User: arn:aws:sts::123456789012:assumed-role/{name}/test is not authorized to perform: {action} on resource: "
        )
        assert refusal.endswith(f"because no identity-based policy allows the {action} action")


def test_explicit_deny_is_named(world: World, bucket: str, code: Code) -> None:
    allow = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    _, keys = session(
        world,
        allow,
        {"Sid": "NoRaw", "Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/raw/*"},
    )
    s3 = world.client("s3", keys)
    assert s3.put_object(Bucket=bucket, Key="raw/x", Body=b"")
    assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/present")).endswith(
        "with an explicit deny in an identity-based policy"
    )
    last = world.sandbox.record.as_json()[-1]
    assert (last["decision"], last["action"]) == ("denied", "s3:GetObject")
    assert "Sid NoRaw" in last["why"]


def test_delete_objects_is_judged_key_by_key(world: World, bucket: str) -> None:
    name, keys = session(
        world, {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/mine/*"}
    )
    s3, admin = world.client("s3", keys), world.client("s3")
    admin.put_object(Bucket=bucket, Key="mine/a", Body=b"")
    everything = {"Objects": [{"Key": "mine/a"}, {"Key": "raw/present"}, {"Key": "mine/<&>\n"}]}
    answer = s3.delete_objects(Bucket=bucket, Delete=everything)
    assert {item["Key"] for item in answer["Deleted"]} == {"mine/a", "mine/<&>\n"}
    assert answer["Errors"] == [
        {
            "Key": "raw/present",
            "Code": "AccessDenied",
            "Message": f'User: arn:aws:sts::123456789012:assumed-role/{name}/test is not authorized to perform: s3:DeleteObject on resource: "arn:aws:s3:::{bucket}/raw/present" because no identity-based policy allows the s3:DeleteObject action',
        }
    ]
    last = world.sandbox.record.as_json()[-1]
    assert last["why"].startswith("1 of its keys were refused, the first: denied: no statement allows s3:DeleteObject")
    assert [item["Key"] for item in admin.list_objects_v2(Bucket=bucket)["Contents"]] == ["raw/present"]
    # Quietly, and with nothing left to delete: the errors are still told.
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "raw/present"}], "Quiet": True})
    assert ("Deleted" in quiet, [item["Code"] for item in quiet["Errors"]]) == (False, ["AccessDenied"])
    some = s3.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "raw/present"}, {"Key": "mine/x"}], "Quiet": True}
    )
    assert [item["Key"] for item in some["Errors"]] == ["raw/present"]
    assert admin.head_object(Bucket=bucket, Key="raw/present")


def test_copy_needs_its_source(world: World, bucket: str, code: Code) -> None:
    put = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/copy"}
    get = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/raw/present"}
    arguments = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "raw/present"}}
    _, both = session(world, put, get)
    assert world.client("s3", both).copy_object(**arguments)
    _, one = session(world, put)
    assert "s3:GetObject" in code(lambda: world.client("s3", one).copy_object(**arguments))


def test_listing_is_limited_by_prefix(world: World, bucket: str, code: Code) -> None:
    _, keys = session(
        world,
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": ["raw/*"]}},
        },
    )
    s3 = world.client("s3", keys)
    assert s3.list_objects_v2(Bucket=bucket, Prefix="raw/p")["KeyCount"] == 1
    assert code(lambda: s3.list_objects_v2(Bucket=bucket, Prefix="other/")).startswith("AccessDenied")
    assert code(lambda: s3.list_objects_v2(Bucket=bucket)).startswith("AccessDenied")


def test_listing_limited_by_prefix_tells_of_missing_keys_below_it(world: World, bucket: str, code: Code) -> None:
    listing = {
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{bucket}",
        "Condition": {"StringLike": {"s3:prefix": ["raw/*"]}},
    }
    _, keys = session(
        world, listing, {"Effect": "Allow", "Action": "s3:*Object", "Resource": f"arn:aws:s3:::{bucket}/*"}
    )
    s3 = world.client("s3", keys)
    source = {"Bucket": bucket, "Key": "raw/none"}
    assert code(lambda: s3.get_object(Bucket=bucket, Key="raw/none")).startswith("NoSuchKey")
    assert code(lambda: s3.head_object(Bucket=bucket, Key="raw/none")).startswith("404")
    assert code(lambda: s3.copy_object(Bucket=bucket, Key="to", CopySource=source)).startswith("NoSuchKey")
    assert code(lambda: s3.get_object(Bucket=bucket, Key="other/none")).startswith("AccessDenied")
    assert code(lambda: s3.head_object(Bucket=bucket, Key="other/none")).startswith("403")
    source["Key"] = "other/none"
    assert code(lambda: s3.copy_object(Bucket=bucket, Key="raw/to", CopySource=source)).startswith("AccessDenied")


def test_change_of_a_policy_counts_at_once(world: World, bucket: str, code: Code) -> None:
    name, keys = session(world, {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"})
    s3 = world.client("s3", keys)
    assert s3.list_objects_v2(Bucket=bucket)
    world.client("iam").delete_role_policy(RoleName=name, PolicyName="inline")
    assert code(lambda: s3.list_objects_v2(Bucket=bucket)).startswith("AccessDenied")


def test_session_of_a_deleted_role_made_anew_is_worth_nothing(world: World, bucket: str, code: Code) -> None:
    statement = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}
    name, keys = session(world, statement)
    assert world.client("s3", keys).list_objects_v2(Bucket=bucket)
    iam = world.client("iam")
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    iam.delete_role(RoleName=name)
    assert code(lambda: world.client("s3", keys).list_objects_v2(Bucket=bucket)).startswith("AccessDenied")
    world.role(name, statement)
    assert code(lambda: world.client("s3", keys).list_objects_v2(Bucket=bucket)).startswith("AccessDenied")
    assert world.client("s3", world.session(name)).list_objects_v2(Bucket=bucket)


def test_iam_calls_of_a_role_are_judged_on_the_resource(world: World, code: Code) -> None:
    name, keys = session(world, {"Effect": "Allow", "Action": "iam:GetRole", "Resource": role_arn("permissions-*")})
    iam = world.client("iam", keys)
    assert iam.get_role(RoleName=name)
    world.role("elsewhere")
    assert code(lambda: iam.get_role(RoleName="elsewhere")).startswith("AccessDenied: User: ")
    assert "iam:CreateRole" in code(
        lambda: iam.create_role(RoleName="x", AssumeRolePolicyDocument=json.dumps(world.trust()))
    )
    assert world.client("sts", keys).get_caller_identity()["Arn"].endswith(f"assumed-role/{name}/test")


def test_boundary_and_session_policy_limit(world: World, bucket: str, code: Code) -> None:
    listing = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}
    everything = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    _, keys = session(world, everything, Policy=json.dumps(listing))
    s3 = world.client("s3", keys)
    assert s3.list_objects_v2(Bucket=bucket)
    assert "session policy" in code(lambda: s3.get_object(Bucket=bucket, Key="raw/present"))
    boundary = world.client("iam").create_policy(PolicyName="only-listing", PolicyDocument=json.dumps(listing))[
        "Policy"
    ]["Arn"]
    world.role("bounded", everything, PermissionsBoundary=boundary)
    bounded = world.client("s3", world.session("bounded"))
    assert bounded.list_objects_v2(Bucket=bucket)
    assert "permissions boundary" in code(lambda: bounded.get_object(Bucket=bucket, Key="raw/present"))


def test_role_chaining(world: World, code: Code) -> None:
    first, keys = session(world, {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn("chained")})
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": role_arn(first)}, "Action": "sts:AssumeRole"}],
    }
    world.role("chained", trust=trust, MaxSessionDuration=43200)
    sts = world.client("sts", keys)
    answer = sts.assume_role(RoleArn=role_arn("chained"), RoleSessionName="second")
    assert answer["AssumedRoleUser"]["Arn"] == "arn:aws:sts::123456789012:assumed-role/chained/second"
    limit = code(lambda: sts.assume_role(RoleArn=role_arn("chained"), RoleSessionName="second", DurationSeconds=7200))
    assert (
        limit
        == "ValidationError: The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
    )
    _, other = session(world, {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"})
    assert code(
        lambda: world.client("sts", other).assume_role(RoleArn=role_arn("chained"), RoleSessionName="second")
    ).startswith("AccessDenied: User: ")


def test_user_keys_end_with_the_key(world: World, bucket: str, code: Code) -> None:
    iam = world.client("iam")
    iam.create_user(UserName="person")
    iam.put_user_policy(
        UserName="person",
        PolicyName="p",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*"}]}
        ),
    )
    key = iam.create_access_key(UserName="person")["AccessKey"]
    keys = {"AccessKeyId": key["AccessKeyId"], "SecretAccessKey": key["SecretAccessKey"], "SessionToken": None}
    s3 = world.client("s3", keys)  # type: ignore[arg-type]
    assert s3.list_objects_v2(Bucket=bucket)
    iam.update_access_key(UserName="person", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert code(lambda: s3.list_objects_v2(Bucket=bucket)).startswith("InvalidAccessKeyId")
    iam.update_access_key(UserName="person", AccessKeyId=key["AccessKeyId"], Status="Active")
    assert s3.list_objects_v2(Bucket=bucket)
    iam.delete_access_key(UserName="person", AccessKeyId=key["AccessKeyId"])
    assert code(lambda: s3.list_objects_v2(Bucket=bucket)).startswith("InvalidAccessKeyId")


# --- creation ------------------------------------------------------------------------------------------------------


def _bad_trusts(world: World) -> dict[str, tuple[dict[str, Any], str]]:
    good = world.trust()["Statement"][0]
    change = lambda **fields: {"Version": "2012-10-17", "Statement": [{**good, **fields}]}  # noqa: E731
    without = lambda name: {"Version": "2012-10-17", "Statement": [{k: v for k, v in good.items() if k != name}]}  # noqa: E731
    return {
        "resource": (change(Resource="*"), "MalformedPolicyDocument: Has prohibited field Resource"),
        "no principal": (without("Principal"), "MalformedPolicyDocument: "),
        "no action": (without("Action"), "MalformedPolicyDocument: "),
        "wildcard in the provider": (
            change(Principal={"Federated": "arn:aws:iam::123456789012:oidc-provider/*"}),
            "MalformedPolicyDocument: ",
        ),
        "bare host": (change(Principal={"Federated": "oidc.eks.eu-west-1.amazonaws.com"}), "MalformedPolicyDocument: "),
        "operator": (change(Condition={"StringEqual": {"a:sub": "b"}}), "MalformedPolicyDocument: "),
        "element": (change(Conditions={}), "MalformedPolicyDocument: "),
        "version": ({"Version": "2020-01-01", "Statement": [good]}, "MalformedPolicyDocument: "),
        "too long": (
            change(Condition={"StringEquals": {"a:sub": ["x" * 100] * 21}}),
            "LimitExceeded: Cannot exceed quota for ACLSizePerRole: 2048",
        ),
    }


@pytest.mark.parametrize(
    "name",
    [
        "resource",
        "no principal",
        "no action",
        "wildcard in the provider",
        "bare host",
        "operator",
        "element",
        "version",
        "too long",
    ],
)
def test_trust_policy_iam_would_not_store(world: World, code: Code, name: str) -> None:
    iam = world.client("iam")
    role = f"trust-{next(numbers)}"
    iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(world.trust()))
    document, expected = _bad_trusts(world)[name]
    assert code(lambda: iam.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(document))).startswith(
        expected
    )
    assert code(
        lambda: iam.create_role(RoleName=role + "-x", AssumeRolePolicyDocument=json.dumps(document))
    ).startswith(expected)
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"] == world.trust()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://issuer.example:8443/id/A", "ValidationError"),
        ("http://issuer.example/id/A", "ValidationError"),
        ("https://issuer.example/id/A?x=1", "ValidationError"),
        ("https://issuer.example/id/A#x", "ValidationError"),
        ("https://user@issuer.example/id/A", "ValidationError"),
        ("issuer.example/id/A", "ValidationError"),
        ("https://issuer.example/" + "a" * 240, "ValidationError"),
    ],
)
def test_provider_url_iam_would_not_take(world: World, code: Code, url: str, expected: str) -> None:
    iam = world.client("iam")
    good = f"https://issuer.example/id/{next(numbers)}"
    assert iam.create_open_id_connect_provider(Url=good, ClientIDList=["x"])
    assert code(lambda: iam.create_open_id_connect_provider(Url=good, ClientIDList=["x"])).startswith(
        "EntityAlreadyExists"
    )
    assert code(lambda: iam.create_open_id_connect_provider(Url=url, ClientIDList=["x"])).startswith(expected)


def test_names_are_unique_whatever_their_case(world: World, code: Code) -> None:
    iam = world.client("iam")
    iam.create_role(RoleName="Orders", AssumeRolePolicyDocument=json.dumps(world.trust()))
    assert code(
        lambda: iam.create_role(RoleName="orders", AssumeRolePolicyDocument=json.dumps(world.trust()))
    ).startswith("EntityAlreadyExists")
    assert code(
        lambda: iam.create_role(RoleName="x" * 65, AssumeRolePolicyDocument=json.dumps(world.trust()))
    ).startswith("ValidationError")
    assert (
        code(lambda: iam.update_assume_role_policy(RoleName="nobody", PolicyDocument=json.dumps(world.trust())))
        == "NoSuchEntity: The role with name nobody cannot be found."
    )


def test_client_ids_are_added_and_removed(world: World, code: Code) -> None:
    iam = world.client("iam")
    url = f"https://issuer.example/id/{next(numbers)}"
    arn = iam.create_open_id_connect_provider(Url=url, ClientIDList=["a"], Tags=[{"Key": "k", "Value": "v"}])[
        "OpenIDConnectProviderArn"
    ]
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="b")
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="b")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="a")
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert (found["ClientIDList"], found["Tags"]) == (["b"], [{"Key": "k", "Value": "v"}])
    assert code(
        lambda: iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn + "x", ClientID="b")
    ).startswith("NoSuchEntity")


def test_policy_that_grants_nothing_to_nobody(world: World, code: Code) -> None:
    iam = world.client("iam")
    good = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    name = f"policy-{next(numbers)}"
    assert iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(good))
    for bad in (
        "{",
        json.dumps({**good, "Statement": [{**good["Statement"][0], "Principal": "*"}]}),
        json.dumps({**good, "Statement": []}),
    ):  # type: ignore[dict-item]
        assert code(lambda bad=bad: iam.create_policy(PolicyName=name + "x", PolicyDocument=bad)).startswith(
            "MalformedPolicyDocument: "
        )
    large = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [f"arn:aws:s3:::b/{n:060d}" for n in range(90)]}
        ],
    }
    assert (
        code(lambda: iam.create_policy(PolicyName=name + "x", PolicyDocument=json.dumps(large)))
        == "LimitExceeded: Cannot exceed quota for PolicySize: 6144"
    )
