"""How a trust policy speaks of one service account: the statements that let it in, and those that nearly do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from towpath.chain.observed import Chain
from towpath.iam import build
from towpath.iam import partition as partitions
from towpath.iam.context import Context
from towpath.iam.decide import Caller, Decision, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyDocument, PolicyKind, parse_policy

ACTION = "sts:AssumeRoleWithWebIdentity"


def trust_document(chain: Chain) -> PolicyDocument | None:
    return (
        parse_policy(chain.role.trust, kind=PolicyKind.TRUST, name=f"trust policy of {chain.role.name}")
        if chain.role is not None
        else None
    )


def trust_decision(chain: Chain, *, subject: str | None = None, audience: str | None = None) -> Decision | None:
    """IAM's decision on the exchange this identity makes (or on another subject's or audience's). None without role or issuer."""
    document = trust_document(chain)
    if document is None or chain.role is None or chain.issuer is None:
        return None
    host = partitions.issuer_host(chain.issuer.url)
    context = Context(
        {
            f"{host}:sub": subject or chain.wanted.subject,
            f"{host}:aud": audience or chain.wanted.audience,
            f"{host}:iss": chain.issuer.url,
            "aws:FederatedProvider": chain.provider_arn,
        }
    )
    return decide(
        Request(action=ACTION, resource=chain.role.arn, caller=Caller(federated=chain.provider_arn), context=context),
        PolicySet(resource=NamedPolicy(name=f"trust policy of {chain.role.name}", document=document)),
    )


def statements(chain: Chain) -> list[Mapping[str, Any]]:
    return build.statements_of(chain.role.trust) if chain.role is not None else []


def condition_keys(statement: Mapping[str, Any]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Condition key -> (operator, values), as written."""
    out: dict[str, tuple[str, tuple[str, ...]]] = {}
    for operator, keys in statement.get("Condition", {}).items():
        for key, values in keys.items():
            out[str(key)] = (str(operator), tuple(str(v) for v in (values if isinstance(values, list) else [values])))
    return out


def federated(statement: Mapping[str, Any]) -> tuple[str, ...]:
    principal = statement.get("Principal")
    value = principal.get("Federated", []) if isinstance(principal, Mapping) else []
    return tuple(str(item) for item in (value if isinstance(value, list) else [value]))


def actions(statement: Mapping[str, Any]) -> tuple[str, ...]:
    value = statement.get("Action", [])
    return tuple(str(item) for item in (value if isinstance(value, list) else [value]))
