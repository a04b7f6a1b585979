"""What IAM stores and what it refuses, with the place and the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from moto.iam.aws_managed_policies import aws_managed_policies_data

from towpath.iam.policy import PolicyError, PolicyKind, parse_policy

CASES = Path(__file__).parent / "cases"
VALID: list[dict[str, Any]] = yaml.safe_load((CASES / "valid.yaml").read_text())
INVALID: list[dict[str, Any]] = yaml.safe_load((CASES / "invalid.yaml").read_text())


@pytest.mark.parametrize("case", VALID)
def test_valid(case: dict[str, Any]) -> None:
    document = parse_policy(json.dumps(case["document"]), kind=PolicyKind(case["kind"]))
    assert document.source == case["document"]
    assert len(document.statements) == (
        len(case["document"]["Statement"]) if isinstance(case["document"]["Statement"], list) else 1
    )


@pytest.mark.parametrize("case", INVALID)
def test_invalid(case: dict[str, Any]) -> None:
    text = case.get("text", json.dumps(case.get("document")))
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, kind=PolicyKind(case["kind"]), name="s3-policy.json")
    error = caught.value
    assert case["says"] in error.reason
    assert error.path == case["path"]
    assert "s3-policy.json" in str(error)
    assert (error.line, error.column) == (case.get("line", error.line), case.get("column", error.column))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["Allow", "*", "s3:GetObject", "2012-10-17"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Action", "Resource", "Principal", "Condition", "StringEquals", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from(PolicyKind))
def test_anything_is_a_policy_or_a_policy_error(value: Any, kind: PolicyKind) -> None:
    for given_document in (json.dumps(value), json.dumps(value).encode()):
        try:
            document = parse_policy(given_document, kind=kind)
        except PolicyError as error:
            assert error.reason  # noqa: PT017 - either outcome is right, each has its own promise
        else:
            assert document.statements


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_is_a_policy_or_a_policy_error(text: str | bytes) -> None:
    with pytest.raises(PolicyError):
        parse_policy(text, kind=PolicyKind.IDENTITY)


def test_every_managed_policy_of_aws_is_a_policy() -> None:
    """What AWS itself attaches to roles must never be what this parser refuses."""
    policies: dict[str, Any] = json.loads(aws_managed_policies_data)
    assert len(policies) > 1_000
    for name, policy in policies.items():
        assert parse_policy(policy["Document"], kind=PolicyKind.IDENTITY, name=name).statements
