"""Each preset allows what a pipeline does, and not what lies beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.errors import UsageError
from towpath.iam import build, presets
from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.iam.lint import Severity, lint
from towpath.iam.policy import PolicyKind, parse_policy

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "presets.yaml").read_text())


def allowed(document: dict[str, Any], request: dict[str, Any]) -> bool:
    policy = NamedPolicy(name="preset", document=parse_policy(document, kind=PolicyKind.IDENTITY))
    return decide(
        Request(
            action=request["action"],
            resource=request["resource"],
            caller=Caller(arn="arn:aws:sts::123456789012:assumed-role/r/s", account="123456789012"),
            context=Context(request.get("context", {})),
        ),
        PolicySet(identity=(policy,)),
    ).allowed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["preset"])
def test_preset(case: dict[str, Any]) -> None:
    document = build.policy(presets.statements(case["preset"], case["options"]))
    for request in case["allowed"]:
        assert allowed(document, request), request
    for request in case["denied"]:
        assert not allowed(document, request), request
    findings = lint(parse_policy(document, kind=PolicyKind.IDENTITY))
    assert [item for item in findings if item.severity is not Severity.NOTE] == []


def test_every_preset_has_a_case() -> None:
    assert {case["preset"] for case in CASES} == set(presets.PRESETS)


WHERE = {"region": "eu-west-1", "account": "123456789012"}


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("s4", {}, "is no preset"),
        ("s3", {}, "needs --bucket"),
        ("s3", {"bucket": "b", "region": "eu-west-1"}, "takes no --region"),
        ("s3", {"bucket": "BAD_Bucket"}, "is no bucket"),
        ("s3", {"bucket": "lake-*"}, "is no bucket"),
        ("s3", {"bucket": "lake", "prefix": "a*b"}, "is no prefix"),
        ("s3", {"bucket": "lake", "prefix": "${aws:username}/"}, "is no prefix"),
        ("s3", {"bucket": "lake", "access": "all"}, "is no access"),
        ("glue", {**WHERE, "database": "a/b"}, "is no database"),
        ("kms", {**WHERE, "key": "alias/orders"}, "is no key"),
        ("rds", {**WHERE, "database": "orders", "user": "u"}, "is no database"),
        ("rds", {**WHERE, "database": "db-A", "user": "*"}, "is no user"),
        ("secret", {**WHERE, "secret": "*"}, "is no secret"),
        ("secret", {"region": "eu", "account": "123456789012", "secret": "s"}, "is no region"),
        ("secret", {"region": "eu-west-1", "account": "12", "secret": "s"}, "is no account"),
    ],
)
def test_options_are_judged(name: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        presets.statements(name, options)
