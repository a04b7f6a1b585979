"""The least policy: it allows what was needed and, whatever is taken out of it, no longer does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.errors import UsageError
from towpath.iam import learn
from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "learn.yaml").read_text())
SESSION = "arn:aws:sts::123456789012:assumed-role/etl/run"


def permissions(needs: list[list[Any]]) -> list[learn.Permission]:
    return [
        learn.Permission(action=need[0], resource=need[1], prefix=need[2] if len(need) > 2 else None) for need in needs
    ]


def allows(document: dict[str, Any], wanted: learn.Permission) -> bool:
    policy = NamedPolicy(name="learned", document=parse_policy(document, kind=PolicyKind.IDENTITY))
    keys = {} if wanted.prefix is None else {"s3:prefix": wanted.prefix}
    request = Request(
        action=wanted.action,
        resource=wanted.resource,
        caller=Caller(arn=SESSION, account="123456789012"),
        context=Context(keys),
    )
    return decide(request, PolicySet(identity=(policy,))).allowed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case: dict[str, Any]) -> None:
    found = learn.policy(permissions(case["needs"]), generalise=case.get("generalise", ()))
    bare = [{k: v for k, v in statement.items() if k not in {"Sid", "Effect"}} for statement in found["Statement"]]
    assert sorted(bare, key=repr) == sorted(case["statements"], key=repr)
    assert all(allows(found, permission) for permission in permissions(case["needs"]))


KEYS = st.lists(st.sampled_from(["raw", "a*", "b?", "${x}", "$", "ü", "", "c d"]), min_size=1, max_size=4).map("/".join)
PERMISSIONS = st.builds(
    learn.Permission,
    action=st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]),
    resource=st.tuples(st.sampled_from(["lake", "other"]), KEYS).map(lambda pair: f"arn:aws:s3:::{pair[0]}/x{pair[1]}"),
) | st.builds(
    learn.Permission,
    action=st.sampled_from(["s3:ListBucket", "s3:ListBucketVersions"]),
    resource=st.sampled_from(["arn:aws:s3:::lake", "arn:aws:s3:::other"]),
    prefix=st.none() | KEYS,
)


@given(st.sets(PERMISSIONS, min_size=1, max_size=12), st.sampled_from([(), learn.AUTOMATIC, ("x",), ("xraw/", "a*")]))
def test_it_allows_everything_that_was_needed(needed: set[learn.Permission], generalise: tuple[str, ...]) -> None:
    found = learn.policy(needed, generalise=generalise)
    assert all(allows(found, permission) for permission in needed)


@given(st.sets(PERMISSIONS, min_size=1, max_size=12), PERMISSIONS)
def test_it_allows_nothing_else(needed: set[learn.Permission], other: learn.Permission) -> None:
    whole = {(item.action, item.resource) for item in needed if item.prefix in {None, ""} and "List" in item.action}
    if other not in needed and (other.action, other.resource) not in whole:
        assert not allows(learn.policy(needed), other)


@given(st.sets(PERMISSIONS, min_size=1, max_size=8))
def test_nothing_can_be_taken_out(needed: set[learn.Permission]) -> None:
    found = learn.policy(needed)
    for index, statement in enumerate(found["Statement"]):
        for element in ("Action", "Resource"):
            values = statement[element] if isinstance(statement[element], list) else [statement[element]]
            for value in values:
                less = copy.deepcopy(found)
                left = [each for each in values if each != value]
                less["Statement"][index][element] = left or [
                    "s3:Nothing" if element == "Action" else "arn:aws:s3:::nothing"
                ]
                assert not all(allows(less, permission) for permission in needed)


def call(number: int, who: str, decision: str = "allowed", status: int = 200, **need: Any) -> dict[str, Any]:
    needs = [{"action": "s3:GetObject", "resource": "arn:aws:s3:::lake/a", "context": {}, **need}]
    return {"number": number, "who": who, "decision": decision, "status": status, "needs": needs}


@pytest.mark.parametrize(
    ("principal", "is_it"),
    [
        ("etl", True),
        ("arn:aws:iam::123456789012:role/etl", True),
        ("arn:aws:iam::123456789012:role/data/etl", True),
        (SESSION, True),
        ("arn:aws:iam::999999999999:role/etl", False),
        ("arn:aws:sts::123456789012:assumed-role/etl/other", False),
        ("run", False),
        ("root", False),
    ],
)
def test_principal(principal: str, is_it: bool) -> None:
    assert learn.is_by(SESSION, principal) is is_it
    assert learn.is_by("arn:aws:iam::123456789012:root", "root")
    assert learn.is_by("arn:aws:iam::123456789012:user/person", "person")


def test_only_allowed_calls_of_the_principal_after_the_number_count() -> None:
    calls = [
        call(1, SESSION, resource="arn:aws:s3:::lake/before"),
        call(2, SESSION),
        call(3, "arn:aws:iam::123456789012:root", resource="arn:aws:s3:::lake/others"),
        call(4, SESSION, "denied", 403, resource="arn:aws:s3:::lake/denied"),
        call(5, SESSION, "injected", 503, resource="arn:aws:s3:::lake/injected"),
    ]
    found = learn.observe(calls, principal="etl", after=1)
    assert found.permissions == {learn.Permission(action="s3:GetObject", resource="arn:aws:s3:::lake/a")}
    assert (found.calls, found.first) == (1, 1)
    assert [item["number"] for item in found.refused] == [4]
    assert found.others == ("arn:aws:iam::123456789012:root",)


def test_what_was_permitted_and_then_failed_needed_its_permission() -> None:
    absent = learn.observe([call(1, SESSION, "refused", 404)], principal="etl")
    assert learn.Permission(action="s3:GetObject", resource="arn:aws:s3:::lake/a") in absent.permissions
    assert absent.refused == ()
    malformed = learn.observe([{**call(1, SESSION, "refused", 400), "needs": []}], principal="etl")
    assert (malformed.permissions, len(malformed.refused)) == (frozenset(), 1)


def test_a_key_that_deleteobjects_was_refused_is_not_learned() -> None:
    needs = [
        {"action": "s3:DeleteObject", "resource": "arn:aws:s3:::lake/mine", "context": {}, "allowed": True},
        {"action": "s3:DeleteObject", "resource": "arn:aws:s3:::lake/yours", "context": {}, "allowed": False},
    ]
    found = learn.observe([{**call(1, SESSION), "needs": needs}], principal="etl")
    assert found.permissions == {learn.Permission(action="s3:DeleteObject", resource="arn:aws:s3:::lake/mine")}


def test_to_be_told_that_an_object_is_absent_one_must_list() -> None:
    found = learn.observe([call(1, SESSION, status=404)], principal="etl")
    assert learn.Permission(action="s3:ListBucket", resource="arn:aws:s3:::lake") in found.permissions
    other = learn.observe([call(1, SESSION, status=404, action="s3:DeleteObject")], principal="etl")
    assert len(other.permissions) == 1


@pytest.mark.parametrize(
    "record",
    [[{}], [{"number": "1"}], [{"number": 1, "who": SESSION, "decision": "allowed"}], [call(1, SESSION, action=3)]],
)
def test_what_is_no_record_is_said(record: list[dict[str, Any]]) -> None:
    with pytest.raises(UsageError, match="no call record"):
        learn.observe(record, principal="etl")


def test_nothing_to_learn_is_said() -> None:
    with pytest.raises(UsageError, match="nothing is left to learn"):
        learn.policy([])
