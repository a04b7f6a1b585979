"""The trust link: does the role let this service account in, does it let in anybody else, and if not, which word is wrong.

Judged by running IAM's own decision on the exchange this identity makes; the statements are read only to say why.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from towpath.chain import reading
from towpath.chain.finding import Finding, LinkName, LinkState
from towpath.chain.observed import Chain
from towpath.chain.words import apply, document, error, state, unseen, warning
from towpath.iam import build
from towpath.iam import partition as partitions
from towpath.iam.context import Context
from towpath.iam.matching import compile_pattern

ANYBODY: Final = "system:serviceaccount:kube-system:default"  # stands for every other service account of the cluster
OTHER_AUDIENCE: Final = "https://kubernetes.default.svc"


def trust(chain: Chain) -> LinkState:
    if "role" in chain.unreadable:
        return unseen(chain, LinkName.TRUST, "role", "")
    decision = reading.trust_decision(chain)
    if decision is None or chain.role is None:
        return LinkState(
            link=LinkName.TRUST,
            ok=None,
            evidence=f"not looked at: there is no {'role' if chain.role is None else 'issuer'}",
        )
    if decision.allowed:
        # Several statements may let it in; judged is what all of them together let in.
        return state(
            LinkName.TRUST,
            f"{chain.wanted.subject} may assume it: {decision.reason}",
            [*_too_open(chain), *_bootstrap(chain)],
        )
    return state(LinkName.TRUST, decision.reason, [_why_not(chain, decision.reason), *_bootstrap(chain)])


def _too_open(chain: Chain) -> list[Finding]:
    found: list[Finding] = []
    everybody = reading.trust_decision(chain, subject=ANYBODY)
    if everybody is not None and everybody.allowed:
        found.append(
            error(
                "trust.no-subject",
                LinkName.TRUST,
                "every service account of the cluster can assume this role: the trust policy does not limit the subject",
                evidence=everybody.reason,
                command=_update(chain, _limited(chain)),
                towpath=f"{apply(chain.wanted)}, then remove the open statement with the command above",
                row=23,
            )
        )
    other = reading.trust_decision(chain, audience=OTHER_AUDIENCE)
    if other is not None and other.allowed and not found:
        found.append(
            warning(
                "trust.no-audience",
                LinkName.TRUST,
                "a trust statement has no aud condition: a token made for another purpose is accepted too",
                evidence=other.reason,
                command=_update(chain, _limited(chain)),
                row=23,
            )
        )
    for statement in reading.statements(chain):
        keys = reading.condition_keys(statement)
        wild = [
            value
            for key, (operator, values) in keys.items()
            if key.endswith(":sub") and "Like" in operator
            for value in values
            if "*" in value or "?" in value
        ]
        if wild and not chain.wanted.wildcard and not any(item.code == "trust.no-subject" for item in found):
            found.append(
                warning(
                    "trust.wildcard",
                    LinkName.TRUST,
                    f"the trust policy lets in every service account that matches {', '.join(wild)}",
                    evidence=_brief(statement),
                    command=_update(chain, _limited(chain)),
                )
            )
    return found


def _limited(chain: Chain) -> Mapping[str, Any]:
    """The trust policy with `sub` and `aud` conditioned in every statement that trusts our issuer's provider."""
    out = chain.role.trust if chain.role is not None else {}
    host = partitions.issuer_host(chain.issuer.url) if chain.issuer is not None else ""
    changed: list[Mapping[str, Any]] = []
    for statement in build.statements_of(out):
        if chain.provider_arn not in reading.federated(statement):
            changed.append(statement)
            continue
        condition = {operator: dict(keys) for operator, keys in statement.get("Condition", {}).items()}
        keys = reading.condition_keys(statement)
        if f"{host}:sub" not in keys or any("*" in value for value in keys[f"{host}:sub"][1]):
            for operator in condition.values():
                operator.pop(f"{host}:sub", None)
            condition.setdefault("StringEquals", {})[f"{host}:sub"] = chain.wanted.subject
        if f"{host}:aud" not in keys:
            condition.setdefault("StringEquals", {})[f"{host}:aud"] = chain.wanted.audience
        changed.append({**statement, "Condition": {operator: found for operator, found in condition.items() if found}})
    return {**out, "Statement": changed}


def _bootstrap(chain: Chain) -> list[Finding]:
    return [
        warning(
            "trust.bootstrap",
            LinkName.TRUST,
            "the role also trusts EC2: any instance that is given this role can use it",
            evidence=_brief(statement),
            command=_update(
                chain,
                build.remove_statements(chain.role.trust if chain.role else {}, build.is_bootstrap_statement) or {},
            ),
            towpath=f"{apply(chain.wanted)} --remove-bootstrap-trust",
            row=49,
        )
        for statement in reading.statements(chain)
        # Alone it is the reason the exchange fails, and said there.
        if build.is_bootstrap_statement(statement) and len(reading.statements(chain)) > 1
    ]


def _why_not(chain: Chain, reason: str) -> Finding:
    """The one finding for a role that does not let the service account in: the nearest statement's first mistake."""
    candidates = [item for item in reading.statements(chain) if item.get("Effect") == "Allow"]
    near = sorted(candidates, key=lambda item: _distance(chain, item))
    code, row, message, evidence = (
        "trust.no-statement",
        49,
        "no statement of the trust policy is for web identity",
        reason,
    )
    if near:
        code, row, message, evidence = _mistake(chain, near[0])
    denied = [item for item in reading.statements(chain) if item.get("Effect") == "Deny"]
    if reason.startswith("denied explicitly") and denied:
        code, row, message, evidence = (
            "trust.denied",
            16,
            "a Deny statement of the trust policy refuses this service account",
            _brief(denied[0]),
        )
    ours = build.web_identity_statement(
        sid=chain.wanted.sid,
        provider_arn=chain.provider_arn,
        issuer=chain.issuer.url if chain.issuer else "",
        subjects=[chain.wanted.subject],
        audience=chain.wanted.audience,
        wildcard=chain.wanted.wildcard,
    )
    merged = build.merge_statement(chain.role.trust if chain.role else None, ours)
    return error(
        code,
        LinkName.TRUST,
        message,
        evidence=evidence,
        command=_update(chain, merged),
        towpath=apply(chain.wanted),
        row=row,
    )


def _distance(chain: Chain, statement: Mapping[str, Any]) -> tuple[int, int]:
    """Small for a statement that was meant for this identity."""
    names = reading.federated(statement)
    keys = reading.condition_keys(statement)
    subject = any(chain.wanted.service_account in value for _, values in keys.values() for value in values)
    return (0 if chain.provider_arn in names else 1 if names else 2, 0 if subject else 1)


def _mistake(chain: Chain, statement: Mapping[str, Any]) -> tuple[str, int, str, str]:
    """(code, row, message, evidence)"""
    wanted, names, keys = chain.wanted, reading.federated(statement), reading.condition_keys(statement)
    host = partitions.issuer_host(chain.issuer.url) if chain.issuer else ""
    brief = _brief(statement)
    if not names:
        return (
            "trust.no-web-identity",
            49,
            f"the trust policy trusts {_principals(statement)} with {', '.join(reading.actions(statement))}, and nobody by web identity",
            brief,
        )
    if chain.provider_arn not in names:
        return _wrong_provider(chain, names[0])
    if reading.ACTION.lower() not in {action.lower() for action in reading.actions(statement)} and not any(
        re.fullmatch(r"\*|sts:(\*|AssumeRole\*)", a) for a in reading.actions(statement)
    ):
        return (
            "trust.action",
            49,
            f"the statement allows {', '.join(reading.actions(statement))}; a service account's token needs {reading.ACTION}",
            brief,
        )
    hosts = {
        key.rpartition(":")[0] for key in keys if key.endswith((":sub", ":aud")) and not key.lower().startswith("aws:")
    }
    if len({item for item in hosts if item.lower() != host.lower()}) > 0 and any(
        item.lower() == host.lower() for item in hosts
    ):
        others = ", ".join(sorted(item for item in hosts if item.lower() != host.lower()))
        return (
            "trust.two-issuers",
            48,
            f"one statement has conditions on two issuers ({others} too); they all have to hold at once, and no token has both",
            brief,
        )
    for key, (operator, values) in keys.items():
        if (found := _bad_key(key, host, values)) is not None:
            return "trust.condition-key", 18, found, f"{operator} {key}: {', '.join(values)}"
    subject = next(((op, values) for key, (op, values) in keys.items() if key.lower() == f"{host}:sub".lower()), None)
    if subject is not None and not _matches(subject, wanted.subject):
        operator, values = subject
        if "Like" not in operator and any("*" in value or "?" in value for value in values):
            return (
                "trust.wildcard-under-equals",
                17,
                f"{operator} takes {', '.join(values)} letter for letter: a wildcard needs StringLike",
                f"{operator} {host}:sub",
            )
        return (
            "trust.subject",
            16,
            f"the trust policy lets in {', '.join(values)}; the service account is {wanted.subject}",
            f"{operator} {host}:sub = {', '.join(values)}",
        )
    audience = next((values for key, (_, values) in keys.items() if key.lower() == f"{host}:aud".lower()), None)
    if audience is not None and wanted.audience not in audience:
        row = 47 if any(value.endswith(".com.cn") for value in audience) else 6
        return (
            "trust.audience",
            row,
            f"the trust policy wants the audience {', '.join(audience)}; the token's is {wanted.audience}",
            f"{host}:aud = {', '.join(audience)}",
        )
    return "trust.condition", 16, "a condition of the nearest statement does not hold", brief


def _matches(condition: tuple[str, tuple[str, ...]], subject: str) -> bool:
    operator, values = condition
    if "Like" in operator:
        return any(compile_pattern(value, variables=False, fold=False).match(subject, Context()) for value in values)
    return subject in values


def _wrong_provider(chain: Chain, named: str) -> tuple[str, int, str, str]:
    expected = chain.provider_arn
    ours, theirs = expected.split(":", 5), named.split(":", 5)
    if (
        len(theirs) == 6
        and ours[:4] == theirs[:4]
        and ours[5].partition("/id/")[0] == theirs[5].partition("/id/")[0]
        and "/id/" in theirs[5]
    ):
        if ours[4] == theirs[4]:
            return (
                "trust.old-issuer",
                5,
                f"the role trusts another cluster of this region (one that was recreated has a new issuer): {named}",
                f"this cluster's provider is {expected}",
            )
        return (
            "trust.provider-account",
            19,
            f"the role trusts a provider of account {theirs[4]}; this role's account is {ours[4]}",
            named,
        )
    return (
        "trust.provider",
        19,
        f"the role trusts {named}, not this cluster's provider",
        f"this cluster's provider is {expected}",
    )


def _bad_key(key: str, host: str, values: tuple[str, ...]) -> str | None:
    """What is wrong with a condition key that was meant to be `<issuer>:sub` or `:aud`."""
    folded, wanted = key.lower(), host.lower()
    if folded == wanted:
        return f"the condition key {key} lacks :sub"
    if folded in {
        f"{prefix}{wanted}:{claim}" for prefix in ("https://", "oidc-provider/") for claim in ("sub", "aud")
    } or (folded.startswith("arn:") and wanted in folded):
        return f"the condition key {key} must be {host}:sub, without scheme, oidc-provider/ or ARN before it"
    if folded == f"{wanted}:aud" and any(value.startswith("system:serviceaccount:") for value in values):
        return f"the subject {', '.join(values)} stands under :aud; it belongs under {host}:sub"
    if folded in {f"{wanted}/:sub", f"{wanted}/:aud"}:
        return f"the condition key {key} has a slash before the colon"
    return None


def _principals(statement: Mapping[str, Any]) -> str:
    principal = statement.get("Principal", {})
    if not isinstance(principal, Mapping):
        return str(principal)
    return ", ".join(f"{kind} {value}" for kind, value in principal.items())


def _brief(statement: Mapping[str, Any]) -> str:
    return document(statement).strip("'")


def _update(chain: Chain, policy: Mapping[str, Any]) -> str:
    name = chain.role.name if chain.role is not None else chain.wanted.role_name
    return f"aws iam update-assume-role-policy --role-name {name} --policy-document {document(policy)}"
