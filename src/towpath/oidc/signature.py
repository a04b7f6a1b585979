"""Whether an issuer's key made a signature. The key decides what it can have made, never the token's header.

Sources: RFC 7518 section 3 (algorithms), RFC 8725 sections 3.1 and 3.2 (algorithm confusion); the six algorithms are those STS
takes. joserfc does the mathematics. The header's own key material (jwk, jku, x5c, x5u) is not looked at.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final, cast

from towpath.oidc.compact import Compact
from towpath.oidc.errors import TokenCode, TokenError, shown

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
RSA_BITS: Final = (
    2048,
    8192,
)  # RFC 7518 section 3.3 sets the least; a larger key is only there to keep a verifier busy
PARAMETERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}
LONGEST: Final = -(-RSA_BITS[1] // 6)  # characters of a parameter: base64 has six bits a character


def check_header(header: Mapping[str, Any]) -> tuple[str, str]:
    """The header's `alg` and `kid`. Raises TokenError (algorithm, malformed, unknown-key)."""
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenError(
            TokenCode.ALGORITHM,
            f"the token is signed with {shown(algorithm)}; only {', '.join(ALGORITHMS)} are accepted",
            todo="let the issuer sign with RS256",
        )
    # An extension the signer calls critical must be understood or refused (RFC 7515, section 4.1.11); none is understood.
    # b64 (RFC 7797) changes what is signed, and is only valid together with crit.
    for extension in ("crit", "b64"):
        if extension in header:
            raise TokenError(
                TokenCode.MALFORMED, f"the token's header asks for an extension ({extension}) that is not understood"
            )
    if not isinstance(kid, str) or not kid:
        raise TokenError(
            TokenCode.UNKNOWN_KEY,
            f"the token's header names no key: kid is {shown(kid)}",
            todo="let the issuer name its key in the header (kid)",
        )
    return algorithm, kid


def check_signature(token: Compact, algorithm: str, jwk: Mapping[str, Any], *, issuer: str, kid: str) -> None:
    """Raises TokenError: algorithm when the key cannot have been used so, signature when it was not."""
    from joserfc import jws
    from joserfc.errors import JoseError

    wanted = "RSA" if algorithm.startswith("RS") else "EC"
    misfit = _misfit(jwk, algorithm, wanted)
    if misfit:
        raise TokenError(
            TokenCode.ALGORITHM,
            f"the token is signed with {algorithm}, but the key {shown(kid)} {misfit}",
            where=issuer,
        )
    refused = TokenError(
        TokenCode.SIGNATURE,
        f"the signature ({algorithm}) is not that of the key {shown(kid)}, or the token was changed after it was signed",
        where=issuer,
        todo="fetch a new token; if it is refused too, compare the issuer's published keys with the one it signs with",
    )
    try:
        key = _public_key(wanted, *(str(jwk[name]) for name in PARAMETERS[wanted]))
        # Straight to the algorithm: the token has been read once, and must not be read a second time in another way.
        model = jws.JWSRegistry(algorithms=ALGORITHMS).get_alg(algorithm)
        model.check_key(key)
        good = model.verify(token.signed, token.signature, key)
    except (JoseError, ValueError, TypeError, OverflowError):
        raise TokenError(
            TokenCode.SIGNATURE, f"the key {shown(kid)} is not a usable {wanted} public key", where=issuer
        ) from None
    if not good:
        raise refused


def _misfit(jwk: Mapping[str, Any], algorithm: str, wanted: str) -> str:
    """Why the key cannot have made such a signature; "" when it can."""
    curve = CURVES.get(algorithm)
    operations = jwk.get("key_ops")
    if jwk.get("kty") != wanted:
        return f"is of type {shown(jwk.get('kty'))}, not {wanted}"
    if curve is not None and jwk.get("crv") != curve:
        return f"is on the curve {shown(jwk.get('crv'))}, not {curve}"
    if jwk.get("alg", algorithm) != algorithm:
        return f"is for {shown(jwk.get('alg'))} only"
    if jwk.get("use", "sig") != "sig" or (isinstance(operations, list) and "verify" not in operations):
        return "is not for signatures"
    missing = [name for name in PARAMETERS[wanted] if not isinstance(jwk.get(name), str)]
    if missing:
        return f"has no {missing[0]}"
    if any(len(jwk[name]) > LONGEST for name in PARAMETERS[wanted]):
        return f"has more than {RSA_BITS[1]} bits"
    if wanted == "RSA" and _bits(str(jwk["n"])) < RSA_BITS[0]:
        return f"has fewer than {RSA_BITS[0]} bits"
    return ""


def _bits(number: str) -> int:
    """Of a Base64urlUInt (RFC 7518, section 2); 0 when it is none."""
    import base64

    try:
        return int.from_bytes(base64.urlsafe_b64decode(number + "=" * (-len(number) % 4))).bit_length()
    except ValueError:
        return 0


@functools.lru_cache(maxsize=256)
def _public_key(kind: str, *parameters: str) -> Any:
    """A joserfc key. Cached: reading one takes longer than verifying with it."""
    from joserfc.jwk import ECKey, RSAKey

    jwk = cast("Any", {"kty": kind, **dict(zip(PARAMETERS[kind], parameters, strict=True))})
    return RSAKey.import_key(jwk) if kind == "RSA" else ECKey.import_key(jwk)
