"""Trust policies: who may assume a role, with which claims, names, tags and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy

CASES: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "cases" / "trust.yaml").read_text())["cases"]
ACCOUNT = "111111111111"
CALLERS = {
    "token": (
        Caller(federated=f"arn:aws:iam::{ACCOUNT}:oidc-provider/issuer.example/id/A"),
        "sts:AssumeRoleWithWebIdentity",
    ),
    "person": (Caller(arn=f"arn:aws:iam::{ACCOUNT}:user/ann", account=ACCOUNT), "sts:AssumeRole"),
}


@pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])
def test_trust(case: dict[str, Any]) -> None:
    document = {"Version": "2012-10-17", "Statement": [case["statement"]]}
    trust = NamedPolicy(name="trust policy of r", document=parse_policy(document, kind=PolicyKind.TRUST))
    caller, action = CALLERS[case["caller"]]
    request = Request(
        action=case.get("action", action),
        resource=f"arn:aws:iam::{ACCOUNT}:role/r",
        caller=caller,
        context=Context(case.get("context")),
    )
    decision = decide(request, PolicySet(resource=trust, resource_account=ACCOUNT))
    assert decision.allowed is case["allowed"]
    assert decision.decided_by is PolicyKind.TRUST
