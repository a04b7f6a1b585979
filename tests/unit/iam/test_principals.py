"""Principal and NotPrincipal: who is named, how directly, and who is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.iam.decide import Caller, NamedPolicy, Outcome, PolicySet, Request, decide
from towpath.iam.evaluate import how_named
from towpath.iam.policy import PolicyKind, Statement, parse_policy
from towpath.iam.principals import Named

CASES = Path(__file__).parent / "cases"
NAMED: list[dict[str, Any]] = yaml.safe_load((CASES / "principals.yaml").read_text())
EXCEPTED: list[dict[str, Any]] = yaml.safe_load((CASES / "not_principals.yaml").read_text())
WORDS = {"not": Named.NOT, "account": Named.ACCOUNT, "behind": Named.BEHIND, "directly": Named.DIRECTLY}
ACCOUNT = "111111111111"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/etl/nightly"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/nightly/run-1"
CANONICAL = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
CALLERS = {
    "user": Caller(
        arn=f"arn:aws:iam::{ACCOUNT}:user/ann",
        account=ACCOUNT,
        unique_id="AIDAEXAMPLEEXAMPLE000",
        canonical_user=CANONICAL,
    ),
    "session": Caller(arn=SESSION, account=ACCOUNT, role_arn=ROLE, unique_id="AROAEXAMPLEEXAMPLE000:run-1"),
    "bare session": Caller(arn=SESSION, account=ACCOUNT),
    "role": Caller(arn=ROLE, account=ACCOUNT),
    "federated user": Caller(arn=f"arn:aws:sts::{ACCOUNT}:federated-user/ann", account=ACCOUNT),
    "root": Caller(arn=f"arn:aws:iam::{ACCOUNT}:root", account=ACCOUNT),
    "service": Caller(service="ec2.amazonaws.com"),
    "token": Caller(federated=f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example/id/A"),
    "saml": Caller(federated=f"arn:aws:iam::{ACCOUNT}:saml-provider/corp"),
    "google": Caller(federated="accounts.google.com"),
    "anonymous": Caller(),
}


def statement(effect: str, element: str, value: Any) -> Statement:
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": effect, element: value, "Action": "s3:*", "Resource": "*"}],
    }
    return parse_policy(document, kind=PolicyKind.RESOURCE).statements[0]


@pytest.mark.parametrize("case", NAMED, ids=str)
def test_principal(case: dict[str, Any]) -> None:
    effect = "Deny" if case.get("deny") else "Allow"
    found = how_named(statement(effect, "Principal", case["principal"]), CALLERS[case["caller"]], bounded=False)
    assert found is WORDS[case["named"]]


@pytest.mark.parametrize("case", EXCEPTED, ids=str)
def test_not_principal(case: dict[str, Any]) -> None:
    """Decided whole: everyone may, except that a Deny speaks of all who are not listed."""
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"},
            {"Sid": "Others", "Effect": "Deny", "NotPrincipal": case["listed"], "Action": "s3:*", "Resource": "*"},
        ],
    }
    everything = parse_policy(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]},
        kind=PolicyKind.BOUNDARY,
    )
    policies = PolicySet(
        resource=NamedPolicy(name="bucket policy", document=parse_policy(document, kind=PolicyKind.RESOURCE)),
        boundary=NamedPolicy(name="limit", document=everything) if case.get("boundary") else None,
        resource_account=ACCOUNT,
    )
    request = Request(action="s3:GetObject", resource="arn:aws:s3:::b/k", caller=CALLERS[case["caller"]])
    decision = decide(request, policies)
    assert decision.outcome is (Outcome.EXPLICIT_DENY if case["denied"] else Outcome.ALLOWED)
    told = next(found for found in decision.statements if found.sid == "Others")
    assert told.matched is case["denied"]
    if case.get("boundary"):
        assert "permissions boundary" in told.elements[0].why
