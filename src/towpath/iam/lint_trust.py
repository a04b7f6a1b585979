"""Rules about who a role trusts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from towpath.iam import arn as arns
from towpath.iam.context import EMPTY
from towpath.iam.lint_finding import Hit, Place, Rule, Severity
from towpath.iam.policy import PolicyKind

_TRUST: Final = frozenset({PolicyKind.TRUST})
_WEB_IDENTITY: Final = "sts:AssumeRoleWithWebIdentity"


def _issuers(place: Place) -> list[str]:
    """Hosts and paths of the OIDC providers this statement lets in; the prefix of their condition keys."""
    if not place.allows or not _speaks_of(place, _WEB_IDENTITY):
        return []
    return [
        arns.issuer_of_provider(name)
        for kind, name in place.statement.principals or ()
        if kind == "Federated" and ":oidc-provider/" in name
    ]


def _speaks_of(place: Place, action: str) -> bool:
    hit = any(pattern.match(action, EMPTY) for pattern in place.statement.action_patterns)
    return hit if place.statement.actions is not None else not hit


def _no_subject(place: Place) -> Iterator[Hit]:
    for issuer in _issuers(place):
        if not place.requires(f"{issuer}:sub"):
            yield (
                place.path,
                f"no condition on {issuer}:sub: every identity of that issuer, each service account of the cluster, can take the role on",
                f'add {{"StringEquals": {{"{issuer}:sub": "system:serviceaccount:NAMESPACE:NAME"}}}}',
            )


def _no_audience(place: Place) -> Iterator[Hit]:
    for issuer in _issuers(place):
        if not place.requires(f"{issuer}:aud"):
            yield (
                place.path,
                f"no condition on {issuer}:aud: a token made for any other audience of the provider is taken too",
                f'add {{"StringEquals": {{"{issuer}:aud": "sts.amazonaws.com"}}}}',
            )


def _any_subject(place: Place) -> Iterator[Hit]:
    for condition in place.conditions():
        if not condition.key.lower().endswith(":sub") or condition.operator != "StringLike":
            continue
        for value in condition.values:
            if value.removeprefix("system:serviceaccount:").strip("*:?") == "":
                yield (
                    condition.path,
                    f"{value!r} is every service account of the cluster",
                    "name namespace and service account: system:serviceaccount:NAMESPACE:NAME",
                )


def _foreign_key(place: Place) -> Iterator[Hit]:
    issuers = {issuer.lower() for issuer in _issuers(place)}
    if not issuers:
        return
    for condition in place.conditions():
        prefix, _, claim = condition.key.rpartition(":")
        if claim.lower() in {"sub", "aud"} and prefix.lower() not in issuers and condition.fails_when_missing:
            right = next(iter(_issuers(place)))
            yield (
                condition.path,
                f"{condition.key} is no key of a provider this statement trusts, so it never matches",
                f"write {right}:{claim}",
            )


def _wrong_exchange(place: Place) -> Iterator[Hit]:
    if not place.allows:
        return
    kinds = {kind for kind, _ in place.statement.principals or ()}
    oidc = [
        name for kind, name in place.statement.principals or () if kind == "Federated" and "saml-provider" not in name
    ]
    if kinds == {"Federated"} and oidc and not _speaks_of(place, _WEB_IDENTITY):
        yield (
            f"{place.path}.Action",
            "an OIDC provider's tokens are exchanged by sts:AssumeRoleWithWebIdentity, which this does not allow",
            f"write {_WEB_IDENTITY}",
        )
    if (
        kinds <= {"AWS", "Service"}
        and kinds
        and not (_speaks_of(place, "sts:AssumeRole") or _speaks_of(place, "sts:SetContext"))
    ):
        tagging = any(_speaks_of(place, action) for action in ("sts:TagSession", "sts:SetSourceIdentity"))
        if not tagging:
            yield (
                f"{place.path}.Action",
                "these principals assume a role by sts:AssumeRole, which this does not allow",
                "write sts:AssumeRole",
            )


RULES: Final = (
    Rule(
        name="trust-without-subject",
        severity=Severity.ERROR,
        check=_no_subject,
        source="Create a role for OpenID Connect federation",
        kinds=_TRUST,
    ),
    Rule(
        name="trust-without-audience",
        severity=Severity.WARNING,
        check=_no_audience,
        source="Create a role for OpenID Connect federation",
        kinds=_TRUST,
    ),
    Rule(
        name="trust-any-subject",
        severity=Severity.WARNING,
        check=_any_subject,
        source="IAM roles for service accounts (EKS User Guide)",
        kinds=_TRUST,
    ),
    Rule(
        name="trust-key-of-another-issuer",
        severity=Severity.ERROR,
        check=_foreign_key,
        source="IAM and AWS STS condition context keys",
        kinds=_TRUST,
    ),
    Rule(
        name="trust-wrong-exchange",
        severity=Severity.ERROR,
        check=_wrong_exchange,
        source="AssumeRoleWithWebIdentity (STS API reference)",
        kinds=_TRUST,
    ),
)
