"""Each rule speaks of the statement it is for, at the right place, and not of the same statement with the one thing right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.cli.catalogue import SdkCatalogue
from towpath.iam.lint import RULES, Severity, lint
from towpath.iam.policy import PolicyKind, parse_policy

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "lint.yaml").read_text())
CATALOGUE = SdkCatalogue()


def found(statements: Any, *, kind: str = "identity", version: str = "2012-10-17") -> list[tuple[str, str, str]]:
    listed = statements if isinstance(statements, list) else [statements]
    document = parse_policy({"Version": version, "Statement": listed}, kind=PolicyKind(kind))
    return [(item.rule, item.path, item.instead) for item in lint(document, catalogue=CATALOGUE)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["rule"])
def test_rule(case: dict[str, Any]) -> None:
    settings = {"kind": case.get("kind", "identity"), "version": case.get("version", "2012-10-17")}
    hits = [item for item in found(case["bad"], **settings) if item[0] == case["rule"]]
    assert [path for _, path, _ in hits] == [case["path"]]
    assert case.get("says", "") in hits[0][2]
    assert case["rule"] not in {rule for rule, _, _ in found(case["good"], **settings)}


def test_every_rule_has_a_case_and_a_source() -> None:
    assert {case["rule"] for case in CASES} == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.source for rule in RULES)


def test_errors_come_first_and_a_single_statement_has_no_number() -> None:
    document = parse_policy(
        {
            "Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "s3:*"], "Resource": "*"},
            "Version": "2012-10-17",
        },
        kind=PolicyKind.IDENTITY,
    )
    assert [item.path for item in lint(document)] == ["Statement.Action[1]", "Statement.Action[0]"]
    mixed = parse_policy(
        {
            "Statement": [
                {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
                {"Effect": "Allow", "Action": "*", "Resource": "*"},
            ]
        },
        kind=PolicyKind.IDENTITY,
    )
    assert [(item.rule, item.severity) for item in lint(mixed)] == [
        ("allow-everything", Severity.ERROR),
        ("allow-not-action", Severity.WARNING),
        ("version-missing", Severity.NOTE),
    ]


def test_length_is_iams() -> None:
    def of(keys: int) -> list[str]:
        statement = {
            "Effect": "Allow",
            "Action": "s3:GetObject",
            "Resource": [f"arn:aws:s3:::b/{n:060d}" for n in range(keys)],
        }
        document = parse_policy({"Version": "2012-10-17", "Statement": [statement]}, kind=PolicyKind.IDENTITY)
        assert (len(json.dumps(document.source, separators=(",", ":"))) > 6144) == (keys > 76)
        return [item.rule for item in lint(document)]

    assert of(70) == []
    assert of(90) == ["too-long"]


TEXT = st.sampled_from(
    [
        "*",
        "s3:*",
        "s3:GetObject",
        "iam:PassRole",
        "s3:*Object?",
        "x:y",
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "arn:*:*:*:*:*",
        "${aws:username}",
    ]
)


@given(
    st.fixed_dictionaries(
        {
            "Effect": st.sampled_from(["Allow", "Deny"]),
            "Action": st.lists(TEXT.filter(lambda text: not text.startswith(("arn", "$"))), min_size=1, max_size=3),
            "Resource": st.lists(
                TEXT.filter(lambda text: text == "*" or text.startswith("arn")), min_size=1, max_size=3
            ),
        },
        optional={
            "Condition": st.dictionaries(
                st.sampled_from(
                    ["StringEquals", "StringLikeIfExists", "ForAllValues:StringNotLike", "ForAnyValue:StringLike"]
                ),
                st.dictionaries(
                    st.sampled_from(["aws:SourceIp", "s3:prefix", "a", "https://x:sub"]), TEXT, min_size=1, max_size=2
                ),
                max_size=3,
            )
        },
    )
)
def test_any_statement_is_judged(statement: dict[str, Any]) -> None:
    for item in found(statement):
        assert item[1].startswith("Statement[0]")
        assert item[2]
