"""Why a token is refused, in a word a program can act on and a sentence a person can."""

from __future__ import annotations

from enum import StrEnum

from towpath.errors import WorldError


class TokenCode(StrEnum):
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    UNKNOWN_KEY = "unknown-key"
    SIGNATURE = "signature"
    ISSUER = "issuer"
    AUDIENCE = "audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    ISSUED_IN_FUTURE = "issued-in-future"
    MISSING_CLAIM = "missing-claim"
    TOO_OLD = "too-old"


class TokenError(WorldError):
    """A token that is not accepted; `code` says which check it failed."""

    def __init__(self, code: TokenCode, what: str, *, where: str = "token", todo: str = "") -> None:
        super().__init__(what, where=where, todo=todo)
        self.code = code


class IssuerUnreachable(WorldError):
    """An issuer's discovery document or keys could not be fetched, or were not what they have to be."""
