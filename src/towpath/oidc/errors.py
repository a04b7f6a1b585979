"""Why a token is refused, in a word a program can act on and a sentence a person can."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from towpath.errors import WorldError

SHOWN: Final = 300  # characters of somebody else's value that an error repeats; an issuer's URL has at most 255


class TokenCode(StrEnum):
    """The check a token failed, in the order in which `verify` makes them."""

    MALFORMED = "malformed"  # not a JWS in compact form, or a claim of the wrong type
    ALGORITHM = "algorithm"  # not one of the six, or not one that fits the issuer's key
    ISSUER = "issuer"  # the token's, or a discovery document's, is another than expected
    UNKNOWN_KEY = "unknown-key"  # the header's kid is missing, or the issuer does not publish it
    SIGNATURE = "signature"
    MISSING_CLAIM = "missing-claim"  # sub, aud, exp or iat absent or empty
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"  # nbf
    ISSUED_IN_FUTURE = "issued-in-future"  # iat
    TOO_OLD = "too-old"  # iat, where the verifier sets a maximum age


class TokenError(WorldError):
    """A token that is not accepted; `code` says which check it failed."""

    def __init__(self, code: TokenCode, what: str, *, where: str = "token", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo)
        self.code = code


class IssuerUnreachable(WorldError):
    """An issuer's discovery document or keys could not be fetched, or were not what they have to be."""


def shown(value: object) -> str:
    """A stranger's value as an error may print it: escaped (no terminal codes), one line, cut when it is long."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value[: SHOWN + 1] if isinstance(value, str) else value)
    return text if len(text) <= SHOWN + 2 else f"{text[:SHOWN]}…"
