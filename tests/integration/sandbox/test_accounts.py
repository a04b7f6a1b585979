"""Several accounts: nothing of one is another's, and across them both sides have to allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from towpath.errors import UsageError

from .conftest import AUDIENCE, World
from .test_sts import allow, fresh, policy, trust_of

Code = Callable[[Callable[[], Any]], str]
A, B = "123456789012", "111122223333"


def root(world: World, account: str) -> dict[str, str]:
    key = world.sandbox.account(account)
    return {"AccessKeyId": key.access_key, "SecretAccessKey": key.secret, "SessionToken": None}  # type: ignore[dict-item]


def role(world: World, account: str, name: str, trust: dict[str, Any], *statements: dict[str, Any]) -> str:
    iam = world.client("iam", root(world, account))
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    if statements:
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=policy(*statements))
    return str(arn)


def user(world: World, account: str, *statements: dict[str, Any]) -> tuple[str, dict[str, str]]:
    iam = world.client("iam", root(world, account))
    name = fresh("person")
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"AccessKeyId": key["AccessKeyId"], "SecretAccessKey": key["SecretAccessKey"], "SessionToken": None}
    return str(arn), keys  # type: ignore[return-value]


def test_an_account_exists_once_its_key_is_asked_for(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.sandbox.secret}"}
    url = world.sandbox.control_url + "/accounts/444455556666"
    first = httpx2.get(url, headers=headers, trust_env=False).json()
    assert first == httpx2.get(url, headers=headers, trust_env=False).json()
    keys = {
        "AccessKeyId": first["accessKeyId"],
        "SecretAccessKey": first["secretAccessKey"],
        "SessionToken": None,
    }
    who = world.client("sts", keys).get_caller_identity()  # type: ignore[arg-type]
    assert (who["Account"], who["Arn"]) == ("444455556666", "arn:aws:iam::444455556666:root")
    assert httpx2.get(url, trust_env=False).status_code == 401
    assert httpx2.get(url + "7", headers=headers, trust_env=False).status_code == 404
    assert world.sandbox.account("444455556666").access_key == first["accessKeyId"]
    for wrong in ("1", "12345678901x", "1234567890123", "１２３４５６７８９０１２"):
        with pytest.raises(UsageError):
            world.sandbox.account(wrong)


def test_state_of_one_account_is_not_anothers(world: World, code: Code) -> None:
    name = fresh("same-name")
    in_a = role(world, A, name, trust_of(f"arn:aws:iam::{A}:root"), allow("iam:ListRoles"))
    in_b = role(world, B, name, trust_of(f"arn:aws:iam::{B}:root"), allow("iam:ListUsers"))
    assert (in_a, in_b) == (f"arn:aws:iam::{A}:role/{name}", f"arn:aws:iam::{B}:role/{name}")
    sessions: dict[str, Any] = {}
    for account, arn in ((A, in_a), (B, in_b)):
        _, keys = user(world, account, allow("sts:AssumeRole", arn))
        answer = world.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="test")
        sessions[account] = world.client("iam", answer["Credentials"])
    assert name in [item["RoleName"] for item in sessions[A].list_roles()["Roles"]]
    assert sessions[B].list_users()["Users"]
    assert "iam:ListUsers" in code(sessions[A].list_users)
    assert "iam:ListRoles" in code(sessions[B].list_roles)
    key = user(world, B)[1]["AccessKeyId"]
    of_b = world.client("iam", root(world, B))
    assert of_b.get_access_key_last_used(AccessKeyId=key)["UserName"]
    assert code(lambda: world.client("iam").get_access_key_last_used(AccessKeyId=key)).startswith("NoSuchEntity")
    # A change in one counts in that one only.
    world.client("iam", root(world, A)).delete_role_policy(RoleName=name, PolicyName="inline")
    assert code(sessions[A].list_roles).startswith("AccessDenied")
    assert sessions[B].list_users()["Users"]


def test_role_of_another_account_needs_both_sides(world: World, code: Code) -> None:
    name = fresh("cross")
    arn = f"arn:aws:iam::{B}:role/{name}"
    caller, allowed = user(world, A, allow("sts:AssumeRole", arn))
    other, not_allowed = user(world, A)
    # Even a trust policy that names the caller itself is only one of the two sides.
    role(world, B, name, trust_of(caller), allow("iam:ListRoles"))
    ask = {"RoleArn": arn, "RoleSessionName": "test"}
    opened = world.client("sts", allowed).assume_role(**ask)
    assert opened["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{B}:assumed-role/{name}/test"
    found = world.client("iam", opened["Credentials"]).list_roles()["Roles"]
    assert {item["Arn"].split(":")[4] for item in found} == {B}
    iam = world.client("iam", root(world, B))
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust_of(other)))
    assert code(lambda: world.client("sts", allowed).assume_role(**ask)).startswith(f"AccessDenied: User: {caller} is")
    assert code(lambda: world.client("sts", not_allowed).assume_role(**ask)).startswith("AccessDenied: User: ")
    # By account: everybody there whom their own policies allow, and nobody of a third.
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust_of(A)))
    assert world.client("sts", allowed).assume_role(**ask)
    assert code(lambda: world.client("sts", not_allowed).assume_role(**ask)).startswith("AccessDenied: User: ")
    _, third = user(world, "222233334444", allow("sts:AssumeRole"))
    assert code(lambda: world.client("sts", third).assume_role(**ask)).startswith("AccessDenied: User: ")


def test_and_in_the_other_direction(world: World, code: Code) -> None:
    name = fresh("cross")
    arn = f"arn:aws:iam::{A}:role/{name}"
    caller, allowed = user(world, B, allow("sts:AssumeRole", arn))
    _, not_allowed = user(world, B)
    role(world, A, name, trust_of(B))
    ask = {"RoleArn": arn, "RoleSessionName": "test"}
    assert world.client("sts", allowed).assume_role(**ask)
    assert code(lambda: world.client("sts", not_allowed).assume_role(**ask)).startswith("AccessDenied: User: ")
    deny = trust_of(B)
    deny["Statement"].append({"Effect": "Deny", "Principal": {"AWS": caller}, "Action": "sts:AssumeRole"})
    world.client("iam").update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(deny))
    assert code(lambda: world.client("sts", allowed).assume_role(**ask)).startswith("AccessDenied: User: ")


def test_web_identity_needs_the_provider_in_the_roles_account(world: World, code: Code) -> None:
    world.ensure_provider()  # in A only
    account = "555566667777"
    name, host = fresh("web"), world.issuer_host
    trust = world.trust()
    trust["Statement"][0]["Principal"] = {"Federated": f"arn:aws:iam::{account}:oidc-provider/{host}"}
    arn = role(world, account, name, trust)
    asked: dict[str, Any] = {"RoleArn": arn}
    refusal = f"InvalidIdentityToken: No OpenIDConnect provider found in your account for {world.cluster.issuer_url}"
    assert code(lambda: world.exchange(world.token(), name, **asked)) == refusal
    iam = world.client("iam", root(world, account))
    iam.create_open_id_connect_provider(Url=world.cluster.issuer_url, ClientIDList=[AUDIENCE])
    answer = world.exchange(world.token(), name, **asked)
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{account}:assumed-role/{name}/test"
    # A trust policy that names A's provider does not trust this account's.
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(world.trust()))
    assert code(lambda: world.exchange(world.token(), name, **asked)).startswith("AccessDenied: Not authorized")


def test_session_policy_comes_from_the_roles_account(world: World, code: Code) -> None:
    name = fresh("cross-policy")
    arn = f"arn:aws:iam::{B}:role/{name}"
    caller, keys = user(world, A, allow("sts:AssumeRole", arn))
    role(world, B, name, trust_of(caller), allow("iam:*"))
    in_b = world.client("iam", root(world, B)).create_policy(
        PolicyName=fresh("p"), PolicyDocument=policy(allow("iam:ListRoles"))
    )["Policy"]["Arn"]
    in_a = world.client("iam").create_policy(PolicyName=fresh("p"), PolicyDocument=policy(allow("iam:*")))["Policy"][
        "Arn"
    ]
    ask = {"RoleArn": arn, "RoleSessionName": "test"}
    sts = world.client("sts", keys)
    iam = world.client("iam", sts.assume_role(**ask, PolicyArns=[{"arn": in_b}])["Credentials"])
    assert iam.list_roles()["Roles"]
    assert "session policy" in code(iam.list_users)
    assert code(lambda: sts.assume_role(**ask, PolicyArns=[{"arn": in_a}])).startswith("ValidationError: Policy ")
