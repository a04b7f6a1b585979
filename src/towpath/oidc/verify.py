"""A token verified, or refused with the one reason.

Sources: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practices); the algorithms are those STS takes: RS256, RS384,
RS512, ES256, ES384, ES512.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from towpath.oidc.errors import TokenCode, TokenError
from towpath.oidc.jwks import JwksCache

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
LONGEST: Final = 20_000  # characters, STS's own limit
LEEWAY: Final = 5.0  # seconds two clocks may differ; for `exp` none is given, as STS gives none
CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
SMALLEST_RSA: Final = 2048  # bits (RFC 7518, section 3.3)

KeyLookup = Callable[[str, str], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Claims:
    """A verified token's claims. Times are seconds since 1970."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    expires_at: float
    issued_at: float
    not_before: float | None
    jti: str | None
    raw: Mapping[str, Any]


def decode_unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload as they claim to be, for diagnosis and for finding the issuer. Raises TokenError (malformed)."""
    if len(token) > LONGEST:
        raise TokenError(TokenCode.MALFORMED, f"the token has {len(token)} characters; {LONGEST} are allowed")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenError(TokenCode.MALFORMED, f"a JWT has three parts separated by dots, this has {len(parts)}")
    return _json(parts[0], "header"), _json(parts[1], "payload")


def verify(token: str, *, issuer: str, keys: JwksCache | KeyLookup, audiences: Collection[str] | None, now: float, leeway: float = LEEWAY) -> Claims:
    """The claims of `token`, which `issuer` signed, for one of `audiences` (None: any), valid at `now`.

    Raises TokenError; IssuerUnreachable when the issuer's keys cannot be read.
    """
    header, payload = decode_unverified(token)
    algorithm = header.get("alg")
    if algorithm not in ALGORITHMS:
        raise TokenError(TokenCode.ALGORITHM, f"the token is signed with {algorithm!r}; only {', '.join(ALGORITHMS)} are accepted")
    if "crit" in header:
        raise TokenError(TokenCode.MALFORMED, "the token's header asks for an extension (crit) that is not understood")
    if payload.get("iss") != issuer:
        raise TokenError(TokenCode.ISSUER, f"the token's issuer is {payload.get('iss')!r}, not {issuer!r}")
    kid = header.get("kid")
    if not isinstance(kid, str) or not kid:
        raise TokenError(TokenCode.UNKNOWN_KEY, "the token's header names no key (kid)")
    lookup = keys.key if isinstance(keys, JwksCache) else keys
    _check_signature(token, str(algorithm), lookup(issuer, kid))
    return _claims(payload, issuer, audiences, now, leeway)


def _check_signature(token: str, algorithm: str, jwk: Mapping[str, Any]) -> None:
    # The key says what it is for: a header cannot make an RSA key serve another algorithm.
    kind = "RSA" if algorithm.startswith("RS") else "EC"
    fits = jwk.get("kty") == kind and jwk.get("use", "sig") == "sig" and jwk.get("alg", algorithm) == algorithm
    if not fits or (kind == "EC" and jwk.get("crv") != CURVES[algorithm]):
        raise TokenError(TokenCode.ALGORITHM, f"the token is signed with {algorithm}, but the issuer's key {jwk.get('kid')!r} is of another kind")
    public = {name: jwk[name] for name in (("kty", "n", "e") if kind == "RSA" else ("kty", "crv", "x", "y")) if name in jwk}
    try:
        key = RSAKey.import_key(public) if kind == "RSA" else ECKey.import_key(public)
        if kind == "RSA" and cast("Any", key).public_key.key_size < SMALLEST_RSA:
            raise TokenError(TokenCode.ALGORITHM, f"the issuer's RSA key has fewer than {SMALLEST_RSA} bits")
        jws.deserialize_compact(token.encode(), key, algorithms=[algorithm])
    except (JoseError, ValueError, TypeError, KeyError, UnicodeError):
        raise TokenError(TokenCode.SIGNATURE, f"the signature is not that of the issuer's key {jwk.get('kid')!r}") from None


def _claims(payload: Mapping[str, Any], issuer: str, audiences: Collection[str] | None, now: float, leeway: float) -> Claims:
    subject = payload.get("sub")
    if not isinstance(subject, str) or not subject:
        raise TokenError(TokenCode.MISSING_CLAIM, "the token has no subject (sub)")
    aud = payload.get("aud")
    found = tuple(cast("list[object]", aud)) if isinstance(aud, list) else (aud,) if aud is not None else ()
    if not found or not all(isinstance(item, str) and item for item in found):
        raise TokenError(TokenCode.MISSING_CLAIM, "the token has no audience (aud)")
    named = cast("tuple[str, ...]", found)
    if audiences is not None and not set(named) & set(audiences):
        raise TokenError(TokenCode.AUDIENCE, f"the token is for {', '.join(named)}; accepted is {', '.join(audiences) or 'nothing'}")
    expires, issued = _time(payload, "exp"), _time(payload, "iat")
    if expires is None or issued is None:
        raise TokenError(TokenCode.MISSING_CLAIM, f"the token has no {'exp' if expires is None else 'iat'}")
    if now >= expires:
        raise TokenError(TokenCode.EXPIRED, f"the token expired {now - expires:.0f} s ago")
    begins = _time(payload, "nbf")
    if begins is not None and begins > now + leeway:
        raise TokenError(TokenCode.NOT_YET_VALID, f"the token is valid only in {begins - now:.0f} s")
    if issued > now + leeway:
        raise TokenError(TokenCode.ISSUED_IN_FUTURE, f"the token says it was issued {issued - now:.0f} s from now: the clocks differ")
    jti = payload.get("jti")
    return Claims(
        issuer=issuer,
        subject=subject,
        audiences=named,
        expires_at=expires,
        issued_at=issued,
        not_before=begins,
        jti=jti if isinstance(jti, str) else None,
        raw=payload,
    )


def service_account_of(claims: Claims) -> tuple[str, str, str | None] | None:
    """(namespace, name, uid) of a Kubernetes service account token; None for any other."""
    prefix, _, rest = claims.subject.rpartition("system:serviceaccount:")
    namespace, _, name = rest.partition(":")
    if prefix or not namespace or not name or ":" in name:
        return None
    private: Any = claims.raw.get("kubernetes.io", {})
    account: Any = private.get("serviceaccount", {}) if isinstance(private, dict) else {}
    uid = account.get("uid") if isinstance(account, dict) else None
    return namespace, name, uid if isinstance(uid, str) else None


def _time(payload: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519, section 2), or None. A boolean is no number here, and neither is an infinity."""
    value = payload.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > 1e12:
        raise TokenError(TokenCode.MALFORMED, f"the token's {name} is not a time in seconds")
    return float(value)


def _json(part: str, name: str) -> dict[str, Any]:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(found)
        if len(out) != len(found):
            raise ValueError("duplicate key")
        return out

    try:
        if not part.isascii() or "=" in part:
            raise ValueError("not base64url")
        text = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        value = json.loads(text, object_pairs_hook=pairs)
    except (ValueError, binascii.Error, RecursionError):
        raise TokenError(TokenCode.MALFORMED, f"the token's {name} is not base64url-encoded JSON") from None
    if not isinstance(value, dict):
        raise TokenError(TokenCode.MALFORMED, f"the token's {name} is not a JSON object")
    return cast("dict[str, Any]", value)
