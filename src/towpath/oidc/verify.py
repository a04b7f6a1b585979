"""A token verified, or refused with the one reason.

Sources: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practices); "Managing Service Accounts", Kubernetes
documentation, for a service account's claims.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from towpath.oidc import compact
from towpath.oidc.errors import TokenCode, TokenError, shown
from towpath.oidc.jwks import JwksCache
from towpath.oidc.signature import check_header, check_signature

LEEWAY: Final = 5.0  # seconds two clocks may differ
LATEST: Final = 253_402_300_799  # the last second of the year 9999, in seconds since 1970

KeyLookup = Callable[[str, str], Mapping[str, Any]]
"""(issuer, kid) -> the public JWK; raises TokenError (unknown-key) for a key the issuer does not publish."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """A verified token's claims. Times are seconds since 1970; `raw` is the whole payload."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]  # at least one
    expires_at: float
    issued_at: float
    not_before: float | None
    jti: str | None
    raw: Mapping[str, Any]


def decode_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload as they claim to be, for diagnosis and for finding the issuer. Raises TokenError (malformed)."""
    parsed = compact.parse(token)
    return parsed.header, parsed.payload


def verify(
    token: str | compact.Compact,
    *,
    issuer: str,
    keys: JwksCache | KeyLookup,
    audiences: Collection[str] | None,
    now: float,
    leeway: float = LEEWAY,
    max_age: float | None = None,
) -> Claims:
    """The claims of `token`, which `issuer` signed, for one of `audiences` (None: any), valid at `now`.

    `token` is text, or what `compact.parse` made of it. `now` is in seconds since 1970. `leeway`, in seconds, is given to a token whose nbf or iat is ahead of `now`; exp
    gets none, as STS gives none. `max_age`, in seconds since iat, refuses older tokens however long they live.
    Raises TokenError with the first check of TokenCode that fails; whatever `keys` raises, which for a JwksCache is
    IssuerUnreachable when the issuer's keys cannot be read.
    """
    parsed = token if isinstance(token, compact.Compact) else compact.parse(token)
    algorithm, kid = check_header(parsed.header)
    named = parsed.payload.get("iss")
    if named != issuer:
        raise TokenError(TokenCode.ISSUER, f"the token's issuer is {shown(named)}, expected is {shown(issuer)}")
    lookup = keys.key if isinstance(keys, JwksCache) else keys
    check_signature(parsed, algorithm, lookup(issuer, kid), issuer=issuer, kid=kid)
    claims = _claims(parsed.payload, issuer)
    _check_audience(claims, audiences)
    _check_times(claims, now, leeway, max_age)
    return claims


def service_account_of(claims: Claims) -> tuple[str, str, str | None] | None:
    """(namespace, name, uid) of a Kubernetes service account token; None for any other.

    The subject says who it is. The UID is that of the `kubernetes.io` claim, and None when that is absent or speaks of
    another account.
    """
    prefix, colon, rest = claims.subject.partition("system:serviceaccount:")
    namespace, _, name = rest.partition(":")
    if prefix or not colon or not namespace or not name or ":" in name:
        return None
    bound = _object(claims.raw.get("kubernetes.io"))
    account = _object(bound.get("serviceaccount"))
    uid = account.get("uid")
    same = bound.get("namespace") == namespace and account.get("name") == name
    return namespace, name, uid if same and isinstance(uid, str) and uid else None


def _claims(payload: Mapping[str, Any], issuer: str) -> Claims:
    subject = payload.get("sub")
    if subject is None or subject == "":
        raise _missing("subject (sub)", issuer)
    if not isinstance(subject, str):
        raise _mistyped("sub", subject, "text", issuer)
    aud = payload.get("aud")
    if aud is None or aud in ("", []):
        raise _missing("audience (aud)", issuer, todo="use a projected service account token, not a legacy one")
    audiences = cast("list[object]", aud) if isinstance(aud, list) else [aud]
    if not all(isinstance(item, str) and item for item in audiences):
        raise _mistyped("aud", aud, "text or a list of texts, none empty", issuer)
    expires, issued = _time(payload, "exp", issuer), _time(payload, "iat", issuer)
    if expires is None:
        raise _missing("end (exp)", issuer, todo="use a projected service account token, not a legacy one")
    if issued is None:
        raise _missing("time of issue (iat)", issuer)
    jti = payload.get("jti")
    return Claims(
        issuer=issuer,
        subject=subject,
        audiences=tuple(cast("list[str]", audiences)),
        expires_at=expires,
        issued_at=issued,
        not_before=_time(payload, "nbf", issuer),
        jti=jti if isinstance(jti, str) else None,
        raw=payload,
    )


def _check_audience(claims: Claims, audiences: Collection[str] | None) -> None:
    if audiences is None or not set(audiences).isdisjoint(claims.audiences):
        return
    got = ", ".join(shown(audience) for audience in claims.audiences[:5])
    raise TokenError(
        TokenCode.AUDIENCE,
        f"the token is for {got}; accepted is {', '.join(map(shown, audiences)) or 'nothing'}",
        where=claims.issuer,
        todo="ask for a token with an accepted audience, or accept this one",
    )


def _check_times(claims: Claims, now: float, leeway: float, max_age: float | None) -> None:
    clock = "compare this machine's clock with the issuer's"
    code, what, todo = None, "", clock
    # Each in the positive: a `now` that is no number passes none of them.
    if not now < claims.expires_at:
        code, todo = TokenCode.EXPIRED, "read the token file again, or ask for a new token"
        what = f"the token expired at {_utc(claims.expires_at)}, {now - claims.expires_at:.0f} s ago"
    elif claims.not_before is not None and not claims.not_before <= now + leeway:
        code = TokenCode.NOT_YET_VALID
        what = f"the token is valid from {_utc(claims.not_before)}, in {claims.not_before - now:.0f} s"
    elif not claims.issued_at <= now + leeway:
        code = TokenCode.ISSUED_IN_FUTURE
        what = f"the token says it was issued at {_utc(claims.issued_at)}, {claims.issued_at - now:.0f} s from now"
    elif max_age is not None and not now - claims.issued_at <= max_age:
        code, todo = TokenCode.TOO_OLD, "read the token file again, or ask for a new token"
        what = (
            f"the token was issued at {_utc(claims.issued_at)}, {now - claims.issued_at:.0f} s ago; "
            f"{max_age:.0f} s are allowed"
        )
    if code is not None:
        raise TokenError(code, what, where=claims.issuer, todo=todo)


def _time(payload: Mapping[str, Any], name: str, issuer: str) -> float | None:
    """A NumericDate (RFC 7519, section 2), or None. A boolean is no number here; neither is an infinity."""
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LATEST:
        raise _mistyped(name, value, "seconds since 1970", issuer)
    return float(value)


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _missing(claim: str, issuer: str, *, todo: str = "") -> TokenError:
    return TokenError(TokenCode.MISSING_CLAIM, f"the token has no {claim}", where=issuer, todo=todo)


def _mistyped(claim: str, value: object, wanted: str, issuer: str) -> TokenError:
    return TokenError(TokenCode.MALFORMED, f"the token's {claim} is {shown(value)}, not {wanted}", where=issuer)
