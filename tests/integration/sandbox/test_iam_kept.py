"""What IAM is told is there when it is read; and what it refuses to delete because it is not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from .conftest import World
from .test_creation import SELF, SOME, new_policy, new_role
from .test_sts import allow, fresh, policy, trust_of

Code = Callable[[Callable[[], Any]], str]
CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("iam_kept.yaml").read_text())
TEXTS = {"TRUST": json.dumps(SELF), "POLICY": SOME}


def meant(value: Any, name: str) -> Any:
    """A case's value with this test's name and documents in it."""
    if isinstance(value, dict):
        return {key: meant(each, name) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [meant(each, name) for each in cast("list[Any]", value)]
    return TEXTS.get(value, value.replace("NAME", name)) if isinstance(value, str) else value


def at(answer: Any, place: str) -> Any:
    for part in place.split("."):
        if isinstance(answer, list):
            items = cast("list[Any]", answer)
            answer = items[int(part)] if int(part) < len(items) else None
        else:
            answer = answer.get(part)
    return answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["what"])
def test_what_is_written_is_read(world: World, case: dict[str, Any]) -> None:
    iam, case = world.client("iam"), meant(case, fresh("kept"))

    def call(asked: dict[str, Any]) -> Any:
        ((operation, arguments),) = asked.items()
        return getattr(iam, operation)(**arguments)

    for asked in case["make"]:
        call(asked)
    call(case["write"])
    answer = call(case["read"])
    assert {place: at(answer, place) for place in case["found"]} == case["found"]


def test_alias_that_is_another_is_not_deleted(world: World, code: Code) -> None:
    iam, alias = world.client("iam"), fresh("alias")
    iam.create_account_alias(AccountAlias=alias)
    assert code(lambda: iam.delete_account_alias(AccountAlias="another")).startswith("NoSuchEntity: ")
    assert iam.list_account_aliases()["AccountAliases"] == [alias]
    iam.delete_account_alias(AccountAlias=alias)
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_saml_provider_has_to_be_there_to_be_deleted(world: World, code: Code) -> None:
    iam, name = world.client("iam"), fresh("saml")
    arn = iam.create_saml_provider(Name=name, SAMLMetadataDocument="x" * 1_000)["SAMLProviderArn"]
    iam.delete_saml_provider(SAMLProviderArn=arn)
    assert code(lambda: iam.delete_saml_provider(SAMLProviderArn=arn)).startswith("NoSuchEntity: ")


def test_policy_attached_to_the_last_of_many_roles_is_not_deleted(world: World, code: Code) -> None:
    iam, arn = world.client("iam"), new_policy(world)
    names = [new_role(world) for _ in range(101)]
    iam.attach_role_policy(RoleName=names[-1], PolicyArn=arn)
    found = iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"]
    assert [item["RoleName"] for item in found] == [names[-1]]
    assert code(lambda: iam.delete_policy(PolicyArn=arn)).startswith("DeleteConflict: ")
    iam.detach_role_policy(RoleName=names[-1], PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)
    for name in names:  # others look at pages of roles too
        iam.delete_role(RoleName=name)


def test_entities_of_a_policy_by_kind_and_path(world: World, code: Code) -> None:
    iam, arn, role, user = world.client("iam"), new_policy(world), fresh("role"), fresh("user")
    iam.create_role(RoleName=role, Path="/a/", AssumeRolePolicyDocument=json.dumps(SELF))
    iam.create_user(UserName=user, Path="/b/")
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.attach_user_policy(UserName=user, PolicyArn=arn)

    def found(**more: str) -> tuple[int, int]:
        answer = iam.list_entities_for_policy(PolicyArn=arn, **more)
        return len(answer["PolicyRoles"]), len(answer["PolicyUsers"])

    assert (found(), found(EntityFilter="Role"), found(EntityFilter="User")) == ((1, 1), (1, 0), (0, 1))
    assert (found(PathPrefix="/a/"), found(PathPrefix="/c/")) == ((1, 0), (0, 0))
    assert code(lambda: iam.list_entities_for_policy(PolicyArn=arn + "x")).startswith("NoSuchEntity: ")


def test_policies_that_are_attached(world: World) -> None:
    iam, arn, role = world.client("iam"), new_policy(world), new_role(world)
    of_aws = "arn:aws:iam::aws:policy/AWSDirectConnectReadOnlyAccess"  # no other test's

    def attached() -> set[str]:
        pages = iam.get_paginator("list_policies").paginate(OnlyAttached=True)
        return {item["Arn"] for item in pages.build_full_result()["Policies"]}

    assert not {arn, of_aws} & attached()
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role, PolicyArn=of_aws)
    assert {arn, of_aws} <= attached()
    iam.detach_role_policy(RoleName=role, PolicyArn=of_aws)
    every = iam.get_paginator("list_policies").paginate(PaginationConfig={"PageSize": 1000}).build_full_result()
    own = iam.get_paginator("list_policies").paginate(Scope="Local").build_full_result()
    aws = iam.get_paginator("list_policies").paginate(Scope="AWS").build_full_result()
    assert len(every["Policies"]) == len(own["Policies"]) + len(aws["Policies"])
    assert len(aws["Policies"]) > 1_000


def test_a_tag_in_another_case_is_the_one_that_counts(world: World, code: Code) -> None:
    """Two tags that differ by case would let a condition see the one that somebody took away."""
    role, caller = fresh("tagged"), fresh("caller")
    statement = allow("iam:ListRoles", Condition={"StringEquals": {"aws:PrincipalTag/team": "one"}})
    world.role(role, statement, trust=trust_of("123456789012"), Tags=[{"Key": "Team", "Value": "one"}])
    iam = world.client("iam")
    iam.create_user(UserName=caller)
    iam.put_user_policy(UserName=caller, PolicyName="p", PolicyDocument=policy(allow("sts:AssumeRole")))
    arn = iam.get_role(RoleName=role)["Role"]["Arn"]
    key = iam.create_access_key(UserName=caller)["AccessKey"]
    keys: dict[str, Any] = {**key, "SessionToken": None}
    credentials = world.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    theirs = world.client("iam", credentials)
    assert theirs.list_roles()["Roles"]
    iam.tag_role(RoleName=role, Tags=[{"Key": "TEAM", "Value": "two"}])
    assert code(theirs.list_roles).startswith("AccessDenied: ")
