"""Sessions of IAM users: GetSessionToken and GetFederationToken.

Sources: both operations' pages in the STS API reference; "Compare AWS STS credentials" in the IAM User Guide, for what their
credentials may not call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from towpath.iam.decide import NamedPolicy
from towpath.sandbox import contexts
from towpath.sandbox.errors import AwsError
from towpath.sandbox.principals import Key, Keys, Principal
from towpath.sandbox.sts import session
from towpath.sandbox.sts.session import SessionTags

DEFAULT_DURATION: Final = 43_200  # seconds
ROOT_LIMIT: Final = 3_600  # seconds: root's sessions are cut to it, not refused
# STS's operations that a session of GetSessionToken may call, and one of GetFederationToken.
_USER_MAY: Final = frozenset({"AssumeRole", "GetCallerIdentity"})
_FEDERATED_MAY: Final = frozenset({"GetCallerIdentity"})


@dataclass(frozen=True, kw_only=True)
class Federated:
    """A federated user's session as it was asked for."""

    principal: Principal
    duration: int  # seconds
    tags: SessionTags
    packed: int | None
    request_keys: Mapping[str, Any]


def session_token(parameters: Mapping[str, Any], principal: Principal, keys: Keys) -> Key:
    """The user's own permissions for a while. Needs no permission; only a user with its own key may ask."""
    _long_term(principal, "GetSessionToken")
    check_no_mfa(parameters)
    now = datetime.now(UTC)
    opened = replace(
        principal,
        session="user",
        context={**principal.context, **contexts.of_session(tags={}, source_identity=None, issued_at=now)},
    )
    return keys.issue_session(opened, now=now, expires_at=now + timedelta(seconds=_duration(parameters, principal)))


def federated(parameters: Mapping[str, Any], principal: Principal, managed: session.ManagedPolicy) -> Federated:
    """What the caller's policies and the session's allow both; without a session policy nothing does."""
    _long_term(principal, "GetFederationToken")
    if principal.is_root:
        raise AwsError(
            "NotImplemented", "This sandbox gives federation tokens to IAM users only, not to an account's root.", 501
        )
    tags = session.tags(
        [(str(item.get("Key", "")), str(item.get("Value", ""))) for item in parameters.get("Tags", ())], ()
    )
    policies: tuple[NamedPolicy, ...] = session.policies(parameters, managed) or ()
    partition = principal.arn.split(":")[1]
    name = str(parameters["Name"])
    return Federated(
        principal=replace(
            principal,
            arn=f"arn:{partition}:sts::{principal.account}:federated-user/{name}",
            user_id=f"{principal.account}:{name}",
            owner_id=principal.user_id,
            session="federated",
            session_name=name,
            session_policies=policies,
            tags=tags.values,
        ),
        duration=_duration(parameters, principal),
        tags=tags,
        packed=session.packed_size(parameters, tags),
        request_keys=tags.request_keys(),
    )


def open_federated(asked: Federated, keys: Keys) -> Key:
    now = datetime.now(UTC)
    principal = replace(
        asked.principal,
        context={
            **contexts.of_session(tags=asked.tags.values, source_identity=None, issued_at=now),
            "aws:PrincipalType": "FederatedUser",
        },
    )
    return keys.issue_session(principal, now=now, expires_at=now + timedelta(seconds=asked.duration))


def check_reach(principal: Principal, service: str, operation: str) -> None:
    """Raises AwsError for what a user's session may not call without MFA: IAM, and most of STS."""
    if principal.session not in {"user", "federated"} or service not in {"iam", "sts"}:
        return
    may = _USER_MAY if principal.session == "user" else _FEDERATED_MAY
    if service == "sts" and operation in may:
        return
    if service == "sts" and operation in {"GetSessionToken", "GetFederationToken"}:
        raise _with_session(operation)
    if service == "sts":
        raise AwsError(
            "AccessDenied",
            f"User: {principal.arn} is not authorized to perform: sts:{operation}",
            403,
            why="a session of this kind may not call it",
        )
    raise AwsError(
        "InvalidClientTokenId",
        "The security token included in the request is invalid",
        403,
        why="IAM takes no call of a user's session without MFA",
    )


def check_no_mfa(parameters: Mapping[str, Any]) -> None:
    if "SerialNumber" in parameters or "TokenCode" in parameters:
        raise AwsError(
            "AccessDenied",
            "MultiFactorAuthentication failed with invalid MFA one time pass code. ",
            403,
            why="the sandbox has no MFA devices",
        )


def _long_term(principal: Principal, operation: str) -> None:
    if principal.role is not None or principal.session is not None:
        raise _with_session(operation)


def _with_session(operation: str) -> AwsError:
    return AwsError("AccessDenied", f"Cannot call {operation} with session credentials", 403)


def _duration(parameters: Mapping[str, Any], principal: Principal) -> int:
    wanted = int(parameters.get("DurationSeconds", DEFAULT_DURATION))
    return min(wanted, ROOT_LIMIT) if principal.is_root else wanted
