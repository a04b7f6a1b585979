"""Permissions boundaries of users and roles: kept, told, enforced, counted, and gone with whom they limit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import World
from .test_creation import new_role, new_user
from .test_kill import Killed
from .test_sts import READ_ONLY, allow, fresh, policy

Code = Callable[[Callable[[], Any]], str]
LISTING = policy(allow("s3:ListBucket"))
KINDS = ("user", "role")


def boundary_policy(iam: Any) -> str:
    return str(iam.create_policy(PolicyName=fresh("limit"), PolicyDocument=LISTING)["Policy"]["Arn"])


def named(world: World, kind: str) -> tuple[str, dict[str, str]]:
    name = new_user(world) if kind == "user" else new_role(world)
    return name, {f"{kind.title()}Name": name}


def keys_of(iam: Any, user: str) -> dict[str, Any]:
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return {"AccessKeyId": key["AccessKeyId"], "SecretAccessKey": key["SecretAccessKey"], "SessionToken": None}


@pytest.mark.parametrize("made_with", [False, True])
def test_boundary_limits_a_user(world: World, bucket: str, code: Code, made_with: bool) -> None:
    iam, user = world.client("iam"), fresh("bounded")
    limit = boundary_policy(iam)
    iam.create_user(UserName=user, **({"PermissionsBoundary": limit} if made_with else {}))
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=policy(allow(["s3:*", "sts:*"])))
    keys = keys_of(iam, user)
    s3, sts = world.client("s3", keys), world.client("sts", keys)
    session = world.client("s3", sts.get_session_token()["Credentials"])
    if not made_with:
        for client in (s3, session):
            assert client.get_object(Bucket=bucket, Key="raw/present")
        iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=limit)
    for client in (s3, session):
        assert client.list_objects_v2(Bucket=bucket)
        assert (
            code(lambda client=client: client.get_object(Bucket=bucket, Key="raw/present"))
            == f"AccessDenied: User: arn:aws:iam::123456789012:user/{user} is not authorized to perform: s3:GetObject"
            f' on resource: "arn:aws:s3:::{bucket}/raw/present" because no permissions boundary allows the s3:GetObject action'
        )
        assert "boundary" in world.sandbox.record.after(0)[-1].why
    iam.delete_user_permissions_boundary(UserName=user)
    for client in (s3, session):
        assert client.get_object(Bucket=bucket, Key="raw/present")


def test_boundary_grants_nothing(world: World, bucket: str, code: Code) -> None:
    iam, user = world.client("iam"), fresh("bounded")
    iam.create_user(UserName=user, PermissionsBoundary=READ_ONLY)
    s3 = world.client("s3", keys_of(iam, user))
    assert "no identity-based policy allows" in code(lambda: s3.list_objects_v2(Bucket=bucket))
    iam.attach_user_policy(UserName=user, PolicyArn=READ_ONLY)
    assert s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("kind", KINDS)
def test_boundary_is_told_where_iam_tells_it(world: World, kind: str) -> None:
    iam = world.client("iam")
    limit, (name, entity) = boundary_policy(iam), named(world, kind)
    title = kind.title()
    get = getattr(iam, f"get_{kind}")
    assert "PermissionsBoundary" not in get(**entity)[title]
    getattr(iam, f"put_{kind}_permissions_boundary")(**entity, PermissionsBoundary=limit)
    told = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": limit}
    assert get(**entity)[title]["PermissionsBoundary"] == told
    listed = iam.get_paginator(f"list_{kind}s").paginate().build_full_result()[f"{title}s"]
    (own,) = [item for item in listed if item[f"{title}Name"] == name]
    assert "PermissionsBoundary" not in own
    details = iam.get_account_authorization_details(Filter=[title])[f"{title}DetailList"]
    (own,) = [item for item in details if item[f"{title}Name"] == name]
    assert own["PermissionsBoundary"] == told
    getattr(iam, f"delete_{kind}_permissions_boundary")(**entity)
    assert "PermissionsBoundary" not in get(**entity)[title]


def test_answer_to_a_creation_tells_the_boundary(world: World) -> None:
    iam = world.client("iam")
    made = iam.create_user(UserName=fresh("bounded"), PermissionsBoundary=READ_ONLY)["User"]
    assert made["PermissionsBoundary"] == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": READ_ONLY}
    assert "PermissionsBoundary" not in iam.create_user(UserName=fresh("free"))["User"]


@pytest.mark.parametrize("kind", KINDS)
def test_policy_knows_whom_it_limits(world: World, code: Code, kind: str) -> None:
    iam = world.client("iam")
    limit, (name, entity) = boundary_policy(iam), named(world, kind)
    title = kind.title()

    def counts() -> tuple[int, int]:
        found = iam.get_policy(PolicyArn=limit)["Policy"]
        return found["PermissionsBoundaryUsageCount"], found["AttachmentCount"]

    def limited(**more: str) -> list[str]:
        found = iam.list_entities_for_policy(PolicyArn=limit, **more)[f"Policy{title}s"]
        return [item[f"{title}Name"] for item in found]

    def used_as(usage: str) -> bool:
        pages = iam.get_paginator("list_policies").paginate(Scope="Local", PolicyUsageFilter=usage)
        return limit in [item["Arn"] for item in pages.build_full_result()["Policies"]]

    assert (counts(), limited(), used_as("PermissionsBoundary")) == ((0, 0), [], False)
    getattr(iam, f"put_{kind}_permissions_boundary")(**entity, PermissionsBoundary=limit)
    assert (counts(), limited(), used_as("PermissionsBoundary")) == ((1, 0), [name], True)
    assert (limited(PolicyUsageFilter="PermissionsPolicy"), used_as("PermissionsPolicy")) == ([], False)
    attached = "DeleteConflict: Cannot delete a policy attached to entities."
    assert code(lambda: iam.delete_policy(PolicyArn=limit)) == attached
    # Twice is once.
    for _ in range(2):
        getattr(iam, f"attach_{kind}_policy")(**entity, PolicyArn=limit)
    assert (counts(), limited(), used_as("PermissionsPolicy")) == ((1, 1), [name], True)
    getattr(iam, f"delete_{kind}_permissions_boundary")(**entity)
    assert (counts(), limited(PolicyUsageFilter="PermissionsBoundary")) == ((0, 1), [])
    assert code(lambda: iam.delete_policy(PolicyArn=limit)) == attached
    getattr(iam, f"detach_{kind}_policy")(**entity, PolicyArn=limit)
    assert counts() == (0, 0)
    iam.delete_policy(PolicyArn=limit)


@pytest.mark.parametrize("kind", KINDS)
def test_boundary_goes_with_whom_it_limits(world: World, kind: str) -> None:
    iam = world.client("iam")
    limit, (name, entity) = boundary_policy(iam), named(world, kind)
    getattr(iam, f"put_{kind}_permissions_boundary")(**entity, PermissionsBoundary=limit)
    getattr(iam, f"delete_{kind}")(**entity)
    assert iam.get_policy(PolicyArn=limit)["Policy"]["PermissionsBoundaryUsageCount"] == 0
    more = {"AssumeRolePolicyDocument": json.dumps(world.trust())} if kind == "role" else {}
    made = getattr(iam, f"create_{kind}")(**entity, **more)[kind.title()]
    assert "PermissionsBoundary" not in made, name
    iam.delete_policy(PolicyArn=limit)


@pytest.mark.parametrize("kind", KINDS)
def test_boundary_and_whom_it_limits_have_to_exist(world: World, code: Code, kind: str) -> None:
    iam, (_, entity) = world.client("iam"), named(world, kind)
    put = getattr(iam, f"put_{kind}_permissions_boundary")
    put(**entity, PermissionsBoundary=READ_ONLY)
    for missing in ("arn:aws:iam::123456789012:policy/no-such", "arn:aws:iam::111122223333:policy/other"):
        assert code(lambda missing=missing: put(**entity, PermissionsBoundary=missing)).startswith(
            f"NoSuchEntity: Scope ARN: {missing} "
        )
    nobody = {f"{kind.title()}Name": "no-such"}
    told = f"NoSuchEntity: The {kind} with name no-such cannot be found."
    assert code(lambda: put(**nobody, PermissionsBoundary=READ_ONLY)) == told
    assert code(lambda: getattr(iam, f"delete_{kind}_permissions_boundary")(**nobody)) == told


def test_who_makes_users_only_with_a_boundary(world: World, code: Code) -> None:
    """The pattern of *Permissions boundaries for IAM entities*, "Delegating responsibility to others using permissions boundaries"."""
    iam = world.client("iam")
    limit, delegate = boundary_policy(iam), fresh("delegate")
    guarded = allow(["iam:CreateUser", "iam:PutUserPermissionsBoundary", "iam:AttachUserPolicy"])
    guarded["Condition"] = {"StringEquals": {"iam:PermissionsBoundary": limit}}
    iam.create_user(UserName=delegate)
    iam.put_user_policy(UserName=delegate, PolicyName="p", PolicyDocument=policy(guarded))
    theirs, made, free = world.client("iam", keys_of(iam, delegate)), fresh("made"), new_user(world)
    theirs.create_user(UserName=made, PermissionsBoundary=limit)
    theirs.attach_user_policy(UserName=made, PolicyArn=READ_ONLY)
    theirs.put_user_permissions_boundary(UserName=free, PermissionsBoundary=limit)
    theirs.attach_user_policy(UserName=free, PolicyArn=READ_ONLY)
    for call in (
        lambda: theirs.create_user(UserName=fresh("made")),
        lambda: theirs.create_user(UserName=fresh("made"), PermissionsBoundary=READ_ONLY),
        lambda: theirs.put_user_permissions_boundary(UserName=made, PermissionsBoundary=READ_ONLY),
        lambda: theirs.delete_user_permissions_boundary(UserName=made),
        lambda: theirs.attach_user_policy(UserName=new_user(world), PolicyArn=READ_ONLY),
    ):
        assert code(call).startswith("AccessDenied: ")


def test_boundary_is_renamed_with_the_user(world: World) -> None:
    iam, user, renamed = world.client("iam"), new_user(world), fresh("renamed")
    iam.put_user_permissions_boundary(UserName=user, PermissionsBoundary=READ_ONLY)
    iam.update_user(UserName=user, NewUserName=renamed)
    found = iam.get_user(UserName=renamed)["User"]
    assert found["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY


def test_boundary_outlives_a_kill_and_not_a_reset(tmp_path: Path, code: Code) -> None:
    killed = Killed(tmp_path / "state")
    killed.start()
    try:
        iam = killed.client("iam")
        iam.create_user(UserName="one", PermissionsBoundary=READ_ONLY)
        iam.create_user(UserName="two")
        limit = boundary_policy(iam)
        iam.put_user_permissions_boundary(UserName="two", PermissionsBoundary=limit)
        iam.put_user_policy(UserName="two", PolicyName="p", PolicyDocument=policy(allow("s3:*")))
        key = iam.create_access_key(UserName="two")["AccessKey"]
        iam.create_user(UserName="three", PermissionsBoundary=READ_ONLY)
        iam.delete_user_permissions_boundary(UserName="three")
        killed.kill()
        killed.start()
        iam = killed.client("iam")

        def boundary(user: str) -> str | None:
            found = iam.get_user(UserName=user)["User"].get("PermissionsBoundary")
            return found and found["PermissionsBoundaryArn"]

        assert [boundary(user) for user in ("one", "two", "three")] == [READ_ONLY, limit, None]
        assert "no permissions boundary allows" in code(lambda: killed.client("s3", key).list_buckets())
        killed.own("POST", "/reset")
        iam.create_user(UserName="one")
        assert boundary("one") is None
        assert iam.list_policies(Scope="Local")["Policies"] == []
    finally:
        killed.kill()
