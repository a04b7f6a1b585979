"""Action, Resource and their opposites, one by one and through the index that `decide` uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.iam import statement as statements
from towpath.iam.context import Context
from towpath.iam.decide import NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.evaluate import matches
from towpath.iam.matching import matches_wildcards, wildcard_regex
from towpath.iam.policy import PolicyDocument, PolicyKind, parse_policy

CASES = Path(__file__).parent / "cases"
ACTIONS: list[dict[str, Any]] = yaml.safe_load((CASES / "actions.yaml").read_text())
RESOURCES: list[dict[str, Any]] = yaml.safe_load((CASES / "resources.yaml").read_text())
CONTEXT = {
    "aws:username": "ann",
    "aws:PrincipalAccount": "111111111111",
    "aws:PrincipalTag/Team": "data",
    "aws:star": "*",
    "aws:TagKeys": ["one", "two"],
}


def document(effect: str = "Allow", version: str = "2012-10-17", **elements: Any) -> PolicyDocument:
    whole = {"Version": version, "Statement": [{"Effect": effect, "Action": "*", "Resource": "*", **elements}]}
    whole["Statement"] = [
        {key: value for key, value in each.items() if value is not None} for each in whole["Statement"]
    ]
    return parse_policy(whole, kind=PolicyKind.IDENTITY)


def allowed(policy: PolicyDocument, request: Request) -> bool:
    decision = decide(request, PolicySet(identity=(NamedPolicy(name="p", document=policy),)))
    assert decision.statements[0].matched is decision.allowed
    return decision.allowed


@pytest.mark.parametrize("case", ACTIONS, ids=str)
def test_action(case: dict[str, Any]) -> None:
    policy = document(Action=None, NotAction=case["not"]) if "not" in case else document(Action=case["element"])
    assert allowed(policy, Request(action=case["action"], resource="arn:aws:s3:::b/k")) is case["matches"]


@pytest.mark.parametrize("case", RESOURCES, ids=str)
def test_resource(case: dict[str, Any]) -> None:
    elements = {"Resource": None, "NotResource": case["not"]} if "not" in case else {"Resource": case["element"]}
    policy = document(version=case.get("version", "2012-10-17"), **elements)
    request = Request(action="s3:GetObject", resource=case["resource"], context=Context(CONTEXT))
    assert allowed(policy, request) is case["matches"]


SERVICES = st.sampled_from(["s3", "S3", "sns", "s*", "*", "s?s"])
NAMES = st.sampled_from(["Get", "get", "G*", "*t", "?et", "*", "Put", "G?t"])
WRITTEN = st.one_of(st.just("*"), st.builds("{}:{}".format, SERVICES, NAMES))


@st.composite
def written_statements(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "Effect": draw(st.sampled_from(["Allow", "Deny"])),
            draw(st.sampled_from(["Action", "NotAction"])): draw(st.lists(WRITTEN, min_size=1, max_size=3)),
            "Resource": draw(st.sampled_from(["*", "arn:aws:s3:::b/*", "arn:aws:s3:::${aws:username}"])),
        }
        for _ in range(draw(st.integers(1, 4)))
    ]


@given(
    written_statements(),
    st.sampled_from(["s3:Get", "S3:PUT", "sns:get", "sqs:Got", "s3:"]),
    st.sampled_from(["*", "arn:aws:s3:::b/k", "arn:aws:s3:::ann"]),
)
def test_the_index_leaves_out_nothing_that_matches(written: list[dict[str, Any]], action: str, resource: str) -> None:
    policy = parse_policy(json.dumps({"Version": "2012-10-17", "Statement": written}), kind=PolicyKind.IDENTITY)
    request = Request(action=action, resource=resource, context=Context(CONTEXT))
    effects = {each.effect for each in policy.statements if matches(each, request)}
    plain = Outcome.EXPLICIT_DENY if "Deny" in effects else Outcome.ALLOWED if effects else Outcome.IMPLICIT_DENY
    policies = PolicySet(identity=(NamedPolicy(name="p", document=policy),))
    assert decide(request, policies).outcome is plain
    assert decide(request, policies).outcome is plain  # and again, when the index has seen the action


def test_what_a_document_remembers_of_actions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actions of requests are other people's text: a million of them must not fill the memory."""
    monkeypatch.setattr(statements, "REMEMBERED", 8)
    policy = document(Action="s3:*")
    for number in range(100):
        denies, allows = policy.speaking(f"s3:a{number}")
        assert (len(denies), len(allows)) == (0, 1)
        assert policy.speaking(f"sns:a{number}") == ((), ())
    assert len(policy.__dict__["_spoken"]) <= 8


TEXTS = st.lists(st.text(alphabet="ab*?", max_size=4), min_size=1, max_size=5)


@given(TEXTS, st.text(alphabet="ab*?", max_size=10))
def test_two_matchers_of_filled_in_texts_agree(texts: list[str], value: str) -> None:
    assert matches_wildcards(texts, value) == (wildcard_regex(texts).fullmatch(value) is not None)
