"""A decision explains itself: the shortest reason, and statement by statement what matched and what did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.iam.context import Context
from towpath.iam.decide import Caller, Decision, NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "explanations.yaml").read_text())
ACCOUNT = "111111111111"


def named(name: str, statements: list[dict[str, Any]], kind: PolicyKind) -> NamedPolicy:
    return NamedPolicy(name=name, document=parse_policy({"Version": "2012-10-17", "Statement": statements}, kind=kind))


def decided(case: dict[str, Any]) -> Decision:
    policies = PolicySet(
        identity=(named("p0", case["identity"], PolicyKind.IDENTITY),) if case["identity"] else (),
        boundary=named("boundary", case["boundary"], PolicyKind.BOUNDARY) if "boundary" in case else None,
        resource=named("bucket policy", case["resource"], PolicyKind.RESOURCE) if "resource" in case else None,
        scps=tuple((named(f"scp {n}", level, PolicyKind.SCP),) for n, level in enumerate(case.get("scps", []))),
        resource_account=case.get("owner", ACCOUNT),
    )
    request = Request(
        action=case.get("action", "s3:GetObject"),
        resource="arn:aws:s3:::lake/a",
        caller=Caller(arn=f"arn:aws:iam::{ACCOUNT}:user/ann", account=ACCOUNT),
        context=Context(case.get("context")),
    )
    return decide(request, policies)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_reason(case: dict[str, Any]) -> None:
    assert decided(case).reason == case["says"]


@pytest.mark.parametrize("case", [case for case in CASES if "elements" in case], ids=lambda case: case["name"])
def test_elements(case: dict[str, Any]) -> None:
    first = next(result for result in decided(case).statements if not result.matched)
    assert {each.element: each.why for each in first.elements if not each.matched} == case["elements"]
    assert first.why == "; ".join(case["elements"].values())


def test_statements_are_told_of_every_policy() -> None:
    case = next(case for case in CASES if case["name"] == "a level of SCPs")
    told = decided(case).statements
    assert [(result.policy, result.sid, result.matched) for result in told] == [
        ("p0", "", True),
        ("scp 0", "", True),
        ("scp 1", "Ec2", False),
    ]


def test_the_root_s_reason_names_no_statement() -> None:
    request = Request(
        action="s3:GetObject",
        resource="arn:aws:s3:::lake/a",
        caller=Caller(arn=f"arn:aws:iam::{ACCOUNT}:root", account=ACCOUNT),
    )
    decision = decide(request, PolicySet(resource_account=ACCOUNT))
    assert decision.outcome is Outcome.ALLOWED
    assert decision.reason == "the account's root may do s3:GetObject on arn:aws:s3:::lake/a"


def test_an_explanation_is_made_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate decides on every request and explains few."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("explained without being asked")

    monkeypatch.setattr("towpath.iam.explain.elements", forbidden)
    monkeypatch.setattr("towpath.iam.explain.reason", forbidden)
    for case in CASES:
        decided(case)
