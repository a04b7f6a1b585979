"""How the kinds of policy combine: one row of cases/combination.yaml for each rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.iam.decide import Caller, NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy

ROWS: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "combination.yaml").read_text())
ACCOUNT, OTHER = "111111111111", "222222222222"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/etl/nightly"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/nightly/run-1"
FEDERATED_USER = f"arn:aws:sts::{ACCOUNT}:federated-user/ann"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/oidc.eks.eu-west-1.amazonaws.com/id/A"
SERVICE = "logging.s3.amazonaws.com"
CALLERS = {
    "user": Caller(arn=USER, account=ACCOUNT),
    "session": Caller(arn=SESSION, account=ACCOUNT, role_arn=ROLE),
    "role": Caller(arn=ROLE, account=ACCOUNT),
    "federated": Caller(arn=FEDERATED_USER, account=ACCOUNT),
    "root": Caller(arn=f"arn:aws:iam::{ACCOUNT}:root", account=ACCOUNT),
    "service": Caller(service=SERVICE),
    "token": Caller(federated=PROVIDER),
    "anonymous": Caller(),
}
PRINCIPALS: dict[str, Any] = {
    "user": {"AWS": USER},
    "role": {"AWS": ROLE},
    "session": {"AWS": SESSION},
    "federated-user": {"AWS": FEDERATED_USER},
    "account": {"AWS": ACCOUNT},
    "everyone": "*",
    "aws-everyone": {"AWS": "*"},
    "service": {"Service": SERVICE},
    "token": {"Federated": PROVIDER},
    "silent": {"AWS": "333333333333"},
}
TARGETS = {
    "object": ("s3:GetObject", "arn:aws:s3:::lake/a"),
    "role": ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/target"),
    "token": ("sts:AssumeRoleWithWebIdentity", f"arn:aws:iam::{ACCOUNT}:role/target"),
    "key": ("kms:Decrypt", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/k"),
}


def named(kind: PolicyKind, word: str) -> NamedPolicy:
    """A policy that says the word of everything."""
    statement: dict[str, Any] = {"Effect": "Deny" if word == "deny" else "Allow", "Action": "*", "Resource": "*"}
    if word == "silent":
        statement["Action"] = "iam:GetUser"
    if kind in {PolicyKind.RCP, PolicyKind.ENDPOINT}:
        statement["Principal"] = "*"
    if kind is PolicyKind.RCP and word == "silent":
        statement["Effect"] = "Deny"  # a customer's RCP does not allow
    if kind is PolicyKind.RCP and word == "deny":
        statement["Action"] = ["s3:*", "sts:*", "kms:*"]
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return NamedPolicy(name=f"{kind} {word}", document=parse_policy(document, kind=kind))


def named_all(kind: PolicyKind, words: str | list[str]) -> tuple[NamedPolicy, ...]:
    return tuple(named(kind, word) for word in ([words] if isinstance(words, str) else words))


def resource_policy(kind: PolicyKind, words: str) -> NamedPolicy:
    whom = words.removeprefix("deny ")
    statement: dict[str, Any] = {
        "Effect": "Deny" if words.startswith("deny ") else "Allow",
        "Principal": PRINCIPALS[whom],
        "Action": "sts:*" if kind is PolicyKind.TRUST else "*",
    }
    if kind is not PolicyKind.TRUST:
        statement["Resource"] = "*"
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return NamedPolicy(name=f"{kind} policy", document=parse_policy(document, kind=kind))


@pytest.mark.parametrize("row", ROWS, ids=[f"{place}-{row['rule']}" for place, row in enumerate(ROWS)])
def test_rule(row: dict[str, Any]) -> None:
    target = row.get("target", "object")
    action, resource = TARGETS[target]
    kind = PolicyKind.TRUST if target in {"role", "token"} else PolicyKind.RESOURCE
    session = row.get("session")
    policies = PolicySet(
        identity=named_all(PolicyKind.IDENTITY, row.get("identity", [])),
        resource=resource_policy(kind, row["resource"]) if "resource" in row else None,
        boundary=named(PolicyKind.BOUNDARY, row["boundary"]) if "boundary" in row else None,
        session=None if session is None else named_all(PolicyKind.SESSION, session),
        scps=tuple(named_all(PolicyKind.SCP, level) for level in row.get("scps", [])),
        rcps=tuple(named_all(PolicyKind.RCP, level) for level in row.get("rcps", [])),
        endpoint=named(PolicyKind.ENDPOINT, row["endpoint"]) if "endpoint" in row else None,
        resource_account=OTHER if row.get("owner") == "other" else ACCOUNT,
    )
    decision = decide(Request(action=action, resource=resource, caller=CALLERS[row["caller"]]), policies)
    assert (decision.outcome, decision.decided_by) == (Outcome(row["outcome"]), PolicyKind(row["by"]))
    assert (decision.statement is not None) == (decision.outcome is Outcome.EXPLICIT_DENY or decision.allowed) or (
        row["caller"] == "root" and decision.allowed
    )
    assert decision.reason
    assert len(decision.statements) == len(list(policies))


def test_every_way_to_refuse_is_also_seen_allowed() -> None:
    """No kind of policy refuses in the table without a row in which the same kind stands and the request passes."""
    refusing = {row["by"] for row in ROWS if row["outcome"] != "allowed"}
    assert refusing == set(PolicyKind)
    for kind, place in (("boundary", "boundary"), ("session", "session"), ("scp", "scps"), ("rcp", "rcps")):
        assert any(row["outcome"] == "allowed" and place in row for row in ROWS), kind


WORD = st.sampled_from(["allow", "deny", "silent"])
WORDS = st.lists(WORD, max_size=2)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Request, PolicySet]:
    """A request and policies of any kinds that say any words."""
    target = draw(st.sampled_from(sorted(TARGETS)))
    kind = PolicyKind.TRUST if target in {"role", "token"} else PolicyKind.RESOURCE
    whom = draw(st.none() | st.sampled_from([*PRINCIPALS, *(f"deny {name}" for name in PRINCIPALS)]))
    action, resource = TARGETS[target]
    policies = PolicySet(
        identity=named_all(PolicyKind.IDENTITY, draw(WORDS)),
        resource=resource_policy(kind, whom) if whom is not None else None,
        resource_account=draw(st.sampled_from([ACCOUNT, OTHER])),
    )
    return Request(action=action, resource=resource, caller=CALLERS[draw(st.sampled_from(sorted(CALLERS)))]), policies


@given(situations(), st.sampled_from(["boundary", "session", "scps", "rcps", "endpoint"]), WORD)
def test_what_limits_never_allows(situation: tuple[Request, PolicySet], place: str, word: str) -> None:
    """A boundary, a session policy, an SCP, an RCP or an endpoint's policy takes away or leaves; it never gives."""
    request, policies = situation
    kinds = {"scps": PolicyKind.SCP, "rcps": PolicyKind.RCP}
    policy = named(kinds.get(place) or PolicyKind(place), word)
    limit: Any = {"session": (policy,), "scps": ((policy,),), "rcps": ((policy,),)}.get(place, policy)
    limited: PolicySet = replace(policies, **{place: limit})
    before, after = decide(request, policies), decide(request, limited)
    assert before.allowed or not after.allowed
    if word == "allow":
        assert after.outcome is before.outcome
    if word == "deny":
        assert after.outcome is Outcome.EXPLICIT_DENY


@given(situations())
def test_another_deny_never_allows(situation: tuple[Request, PolicySet]) -> None:
    request, policies = situation
    denied = replace(policies, identity=(*policies.identity, named(PolicyKind.IDENTITY, "deny")))
    assert decide(request, denied).outcome is Outcome.EXPLICIT_DENY
