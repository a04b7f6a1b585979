"""A question to `decide` put together from what a person has: documents, an action, a resource, a principal, some context."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, cast

from towpath.errors import UsageError
from towpath.iam import arn as arns
from towpath.iam import grammar
from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request
from towpath.iam.document import parse_json
from towpath.iam.partition import issuer_host
from towpath.iam.policy import PolicyKind, parse_policy

_WEB_IDENTITY: Final = "sts:AssumeRoleWithWebIdentity"
_SESSION: Final = re.compile(r"arn:([^:]+):sts::(\d{12}):assumed-role/([^/]+)/.+")
_IDENTITY: Final = re.compile(r"arn:([^:]+):iam::(\d{12}):(root|(?:role|user)/.+)")


def guess_kind(document: object) -> PolicyKind:
    """What a document is: a trust policy has principals and only STS's actions, a resource policy has principals."""
    value = cast("Mapping[str, Any]", document).get("Statement", []) if isinstance(document, Mapping) else []
    statements = [
        cast("Mapping[str, Any]", item)
        for item in (cast("list[object]", value) if isinstance(value, list) else [value])
        if isinstance(item, Mapping)
    ]
    if not any("Principal" in item or "NotPrincipal" in item for item in statements):
        return PolicyKind.IDENTITY
    if any("Resource" in item or "NotResource" in item for item in statements):
        return PolicyKind.RESOURCE
    return PolicyKind.TRUST


def read_policy(text: str, *, name: str, kind: PolicyKind | None = None) -> NamedPolicy:
    """Raises PolicyError."""
    value = parse_json(text, name=name)
    return NamedPolicy(name=name, document=parse_policy(value, kind=kind or guess_kind(value), name=name))


def caller(principal: str | None) -> Caller:
    """Who asks, from an ARN, a service's name, or an OIDC provider's ARN. None is anonymous. Raises UsageError."""
    if principal is None:
        return Caller()
    if match := _SESSION.fullmatch(principal):
        partition, account, role = match.groups()
        # A session's ARN does not tell the role's path.
        return Caller(
            arn=principal,
            account=account,
            role_arn=str(arns.role_arn(partition=partition, account=account, name=role)),
        )
    if match := _IDENTITY.fullmatch(principal):
        if not match[3].startswith("role/"):
            return Caller(arn=principal, account=match[2])
        # Nobody asks as a role, but as a session of it.
        name = match[3].rpartition("/")[2]
        return Caller(
            arn=f"arn:{match[1]}:sts::{match[2]}:assumed-role/{name}/session", account=match[2], role_arn=principal
        )
    if re.fullmatch(r"arn:[^:]+:iam::\d{12}:(oidc|saml)-provider/\S+", principal):
        return Caller(federated=principal)
    if re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?", principal):
        return Caller(service=principal)
    raise UsageError(
        f"{principal!r} is no principal",
        where="--principal",
        todo="give the ARN of a role, a session, a user or a provider, or a service as glue.amazonaws.com",
    )


def context(given: Iterable[str], *, who: Caller, resource_account: str | None, now: datetime) -> Context:
    """KEY=VALUE pairs, a key given twice having both; before them what follows from the rest. KEY= takes a key away.

    Raises UsageError for what is no KEY=VALUE.
    """
    keys: dict[str, Any] = {
        "aws:CurrentTime": now,
        "aws:EpochTime": int(now.timestamp()),
        "aws:SecureTransport": True,
    }
    if who.arn is not None and who.account is not None:
        kind = "AssumedRole" if who.role_arn else "Account" if who.arn.endswith(":root") else "User"
        keys |= {
            "aws:PrincipalArn": who.role_arn or who.arn,
            "aws:PrincipalAccount": who.account,
            "aws:PrincipalType": kind,
        }
        if kind == "User":
            keys["aws:username"] = who.arn.rpartition("/")[2]
    if resource_account is not None:
        keys["aws:ResourceAccount"] = resource_account
    own: dict[str, list[str]] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"{text!r} is not KEY=VALUE", where="--context", todo="write it as aws:SourceIp=203.0.113.7"
            )
        own.setdefault(key, []).append(value)
    for key, values in own.items():
        keys = {name: value for name, value in keys.items() if name.lower() != key.lower()}
        if values != [""]:
            keys[key] = values
    return Context(keys)


def request(
    *,
    action: str,
    resource: str,
    principal: str | None = None,
    resource_account: str | None = None,
    given: Iterable[str] = (),
    now: datetime,
) -> tuple[Request, str | None]:
    """The request, and the account its resource lies in where that is known. Raises UsageError."""
    if not grammar.ACTION.fullmatch(action) or set("*?") & set(action):
        raise UsageError(f"{action!r} is not an action", where="--action", todo="write it as s3:GetObject")
    if not grammar.RESOURCE.fullmatch(resource):
        raise UsageError(
            f"{resource!r} is not a resource",
            where="--resource",
            todo="give an ARN, as arn:aws:s3:::bucket/key, or * for an action without one",
        )
    who = caller(principal)
    account = resource_account or (resource.split(":")[4] if resource.count(":") >= 5 else "")
    known = account if re.fullmatch(r"\d{12}", account) else None
    if principal is None and resource_account is None:
        known = None  # of whoever holds the policies it is taken to be in the resource's account
    keys = context(given, who=who, resource_account=known or who.account, now=now)
    return Request(action=action, resource=resource, caller=who, context=keys), known


def trust_request(
    claims: Mapping[str, Any], trust: NamedPolicy, *, given: Iterable[str] = (), now: datetime
) -> tuple[Request, PolicySet]:
    """A service account's token at a role's door: what STS would ask `decide` once it had verified the token.

    Raises UsageError for claims without iss, sub or aud.
    """
    issuer, subject, audience = claims.get("iss"), claims.get("sub"), claims.get("aud")
    if not isinstance(issuer, str) or not isinstance(subject, str) or not isinstance(audience, (str, list)):
        raise UsageError(
            "the token has no iss, sub and aud, which a trust policy is compared with",
            where="--token",
            todo="give a service account's projected token",
        )
    host = issuer_host(issuer)
    provider = _provider(trust, host)
    audiences = [audience] if isinstance(audience, str) else [str(item) for item in cast("list[object]", audience)]
    who = Caller(federated=provider)
    own = [f"{host}:sub={subject}", *(f"{host}:aud={item}" for item in audiences), f"aws:FederatedProvider={provider}"]
    asked = Request(
        action=_WEB_IDENTITY,
        resource="*",
        caller=who,
        context=context([*own, *given], who=who, resource_account=None, now=now),
    )
    return asked, PolicySet(resource=trust)


def _provider(trust: NamedPolicy, host: str) -> str:
    """The ARN the issuer's provider has in the role's account, which is the account the trust policy itself names."""
    named = [
        arns.Arn.parse(value)
        for statement in trust.document.statements
        for kind, value in statement.principals or ()
        if kind == "Federated" and ":oidc-provider/" in value
    ]
    same = [found for found in named if found.resource == f"oidc-provider/{host}"]
    found = (same or named or [None])[0]
    return str(
        arns.provider_arn(
            partition=found.partition if found else "aws",
            account=found.account if found else "000000000000",
            issuer=host,
        )
    )
