"""The decision, from case files: conditions one by one, and whole requests with their reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.iam.conditions import ConditionError, compile_condition
from towpath.iam.context import Context
from towpath.iam.decide import Caller, Decision, NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.matching import compile_pattern
from towpath.iam.policy import PolicyKind, parse_policy

CASES = Path(__file__).parent / "cases"
CONDITIONS: list[list[Any]] = yaml.safe_load((CASES / "conditions.yaml").read_text())
DECISIONS: list[dict[str, Any]] = yaml.safe_load((CASES / "decisions.yaml").read_text())["cases"]
HOST = "oidc.eks.eu-west-1.amazonaws.com/id/A"
PROVIDER = f"arn:aws:iam::111111111111:oidc-provider/{HOST}"
ROLE = "arn:aws:iam::111111111111:role/r"


@pytest.mark.parametrize(("operator", "values", "request_value", "holds"), CONDITIONS)
def test_condition(operator: str, values: Any, request_value: Any, holds: Any) -> None:
    texts = tuple(str(value) for value in (values if isinstance(values, list) else [values]))
    if holds == "refused":
        with pytest.raises(ConditionError):
            compile_condition(operator, "aws:Key", texts)
        return
    context: dict[str, Any] = {
        "aws:username": "ann",
        "aws:star": "*",
        "aws:flag": "true",
        "aws:several": ["a", "b"],
        "aws:arn": "arn:aws:iam::1:user/ann",
    }
    if request_value is not None:
        context["AWS:kEY"] = request_value  # keys ignore case
    result = compile_condition(operator, "aws:Key", texts).evaluate(Context(context))
    assert result.matched is holds
    assert operator in result.why


def judged(case: dict[str, Any]) -> Decision:
    def named(document: Any, name: str, kind: PolicyKind = PolicyKind.IDENTITY) -> NamedPolicy | None:
        return None if document is None else NamedPolicy(name=name, document=parse_policy(document, kind=kind))

    identity = tuple(
        NamedPolicy(name=f"p{i}", document=parse_policy(d, kind=PolicyKind.IDENTITY))
        for i, d in enumerate(case["identity"])
    )
    policies = PolicySet(
        identity=identity,
        resource=named(case.get("resource_policy"), "bucket policy", PolicyKind.RESOURCE),
        boundary=named(case.get("boundary"), "boundary"),
        session=(session,) if (session := named(case.get("session"), "session policy")) else None,
        resource_account=case.get("resource_account"),
    )
    caller = Caller(arn="arn:aws:iam::111111111111:user/ann", account="111111111111")
    return decide(
        Request(action=case["action"], resource=case["resource"], caller=caller, context=Context(case.get("context"))),
        policies,
    )


@pytest.mark.parametrize("case", DECISIONS, ids=[case["name"] for case in DECISIONS])
def test_decision(case: dict[str, Any]) -> None:
    decision = judged(case)
    assert decision.outcome == Outcome(case["outcome"])
    assert case.get("says", "") in decision.reason
    for result in decision.statements:
        assert result.matched == all(element.matched for element in result.elements)


def trust(**changes: Any) -> NamedPolicy:
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": PROVIDER},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {f"{HOST}:sub": "system:serviceaccount:data:hd", f"{HOST}:aud": "sts.amazonaws.com"}
        },
        **changes,
    }
    return NamedPolicy(
        name="trust policy of r",
        document=parse_policy({"Version": "2012-10-17", "Statement": [statement]}, kind=PolicyKind.TRUST),
    )


def exchange(
    policy: NamedPolicy,
    *,
    federated: str = PROVIDER,
    subject: str = "system:serviceaccount:data:hd",
    audience: str = "sts.amazonaws.com",
) -> Decision:
    context = Context({f"{HOST}:sub": subject, f"{HOST}:aud": [audience]})
    return decide(
        Request(
            action="sts:AssumeRoleWithWebIdentity", resource=ROLE, caller=Caller(federated=federated), context=context
        ),
        PolicySet(resource=policy),
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"subject": "system:serviceaccount:other:hd"},
            f'StringEquals {HOST}:sub: got "system:serviceaccount:other:hd", policy wants "system:serviceaccount:data:hd"',
        ),
        ({"subject": "SYSTEM:serviceaccount:data:hd"}, ":sub: got"),
        ({"audience": "other"}, ':aud: got "other"'),
        ({"federated": PROVIDER + "B"}, "the caller is"),
    ],
)
def test_trust_lets_in_only_who_it_names(changes: dict[str, str], says: str) -> None:
    assert exchange(trust()).allowed
    refused = exchange(trust(), **changes)
    assert refused.outcome is Outcome.IMPLICIT_DENY
    assert says in refused.reason


def test_trust_for_aws_principals_does_not_let_in_a_token() -> None:
    """Not even a star under AWS: a federated caller is none of an account's principals."""
    assert exchange(trust(Principal={"Federated": PROVIDER})).allowed
    for principal in ({"AWS": "*"}, {"AWS": "111111111111"}, {"Service": "ec2.amazonaws.com"}):
        assert not exchange(trust(Principal=principal)).allowed


def test_identity_policies_do_not_open_a_role() -> None:
    everything = NamedPolicy(
        name="all",
        document=parse_policy(
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}',
            kind=PolicyKind.IDENTITY,
        ),
    )
    context = Context({f"{HOST}:sub": "x", f"{HOST}:aud": "sts.amazonaws.com"})
    request = Request(
        action="sts:AssumeRoleWithWebIdentity",
        resource=ROLE,
        caller=Caller(federated=PROVIDER, account="111111111111"),
        context=context,
    )
    assert not decide(request, PolicySet(identity=(everything,), resource=trust())).allowed


def test_role_in_a_principal_stands_for_its_sessions() -> None:
    policy = trust(Principal={"AWS": ROLE}, Action="sts:AssumeRole", Condition={})
    session = Caller(arn="arn:aws:sts::111111111111:assumed-role/r/s", account="111111111111", role_arn=ROLE)
    other = Caller(arn="arn:aws:sts::111111111111:assumed-role/q/s", account="111111111111", role_arn=ROLE + "q")
    assert decide(Request(action="sts:AssumeRole", resource=ROLE, caller=session), PolicySet(resource=policy)).allowed
    assert not decide(Request(action="sts:AssumeRole", resource=ROLE, caller=other), PolicySet(resource=policy)).allowed


ALPHABET = st.text(alphabet="ab*?/.", max_size=8)


@given(ALPHABET, ALPHABET)
def test_wildcards_match_as_a_plain_matcher_does(pattern: str, value: str) -> None:
    def plain(p: str, v: str) -> bool:
        if not p:
            return not v
        if p[0] == "*":
            return plain(p[1:], v) or (bool(v) and plain(p, v[1:]))
        return bool(v) and (p[0] in {"?", v[0]}) and plain(p[1:], v[1:])

    assert compile_pattern(pattern, variables=False, fold=False).match(value, Context()) == plain(pattern, value)


def test_many_stars_end() -> None:
    """A policy is somebody else's text: one that made the matcher work for ever would stop the gate."""
    assert not compile_pattern("*a" * 30 + "b", variables=False, fold=False).match("a" * 3000, Context())
    assert not compile_pattern("*a?" * 30 + "*b", variables=False, fold=False).match("a" * 3000, Context())
    assert compile_pattern("*a" * 30, variables=False, fold=False).match("a" * 3000, Context())


def test_what_a_variable_brings_has_no_wildcards_and_folds_with_the_rest() -> None:
    pattern = compile_pattern("Home/${aws:PrincipalTag/Team}/*", variables=True, fold=False)
    folded = compile_pattern("Home/${aws:PrincipalTag/Team}/*", variables=True, fold=True)
    star = Context({"aws:PrincipalTag/Team": "*"})
    data = Context({"aws:PrincipalTag/Team": "Data"})
    assert pattern.match("Home/*/x", star)
    assert not pattern.match("Home/other/x", star)
    assert pattern.match("Home/Data/x", data)
    assert not pattern.match("home/data/x", data)
    assert folded.match("home/data/x", data)
    assert not pattern.match("Home//x", Context())
