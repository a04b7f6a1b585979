"""Who signed this? The key behind a signature, checked in AWS's order: the key, its token, the signature, its end.

Source: "Error responses" (S3 API reference) and "Common errors" (IAM API reference): S3 has codes of its own for the same mistakes.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from towpath.sandbox import callers, signatures, sigv4
from towpath.sandbox.errors import AwsError
from towpath.sandbox.iam_state import IamState
from towpath.sandbox.principals import ANONYMOUS, Key, Keys, Principal
from towpath.sandbox.s3.streams import ChunkSigner
from towpath.sandbox.wire import Request


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who sent a request, how they signed it, and what their signature covers of the body."""

    principal: Principal
    region: str  # of the signature's scope; "" for an anonymous request
    method: str = ""  # S3's s3:authType: REST-HEADER, REST-QUERY-STRING or POST; "" for an anonymous request
    payload: str = signatures.UNSIGNED
    signed_at: datetime | None = None
    signer: ChunkSigner | None = None  # of a body signed chunk by chunk


def anonymous(request: Request) -> Caller:
    return Caller(
        principal=ANONYMOUS, region="", payload=request.headers.get("x-amz-content-sha256", signatures.UNSIGNED)
    )


class Authenticator:
    """Callers by their signatures. Raises AwsError for every one it does not believe."""

    def __init__(self, keys: Keys, state: IamState) -> None:
        self._keys = keys
        self._state = state

    def of_request(self, request: Request, scope: sigv4.Scope) -> Caller:
        key = self._key(scope)
        payload = signatures.verify(request, scope, key.secret, now=datetime.now(UTC))
        _not_expired(key, s3=scope.service == "s3")
        return Caller(
            principal=callers.current(key.principal, self._state, s3=scope.service == "s3"),
            region=scope.region,
            method="REST-QUERY-STRING" if scope.presigned else "REST-HEADER",
            payload=payload,
            signed_at=scope.timestamp,
            signer=signatures.chunk_signer(scope, key.secret) if payload.startswith("STREAMING-AWS4-HMAC") else None,
        )

    def of_form(self, fields: Mapping[str, str]) -> Caller:
        """A browser's form; its policy's conditions are judged elsewhere (s3/forms.py)."""
        scope = sigv4.form_scope(fields)
        if scope.service != "s3":
            raise AwsError("InvalidArgument", "The credential of a form is scoped to s3.", 400)
        key = self._key(scope)
        signatures.verify_form(fields["policy"], scope, key.secret)
        _not_expired(key, s3=True)
        principal = callers.current(key.principal, self._state, s3=True)
        return Caller(principal=principal, region=scope.region, method="POST", signed_at=scope.timestamp)

    def _key(self, scope: sigv4.Scope) -> Key:
        s3 = scope.service == "s3"
        key = self._keys.find(scope.access_key)
        # S3 does not know the key of a session without its token.
        if s3 and (key is None or (key.session_token is not None and scope.session_token is None)):
            raise AwsError(
                "InvalidAccessKeyId",
                "The AWS Access Key Id you provided does not exist in our records.",
                403,
                why="" if key is None else "the session token is missing",
            )
        if key is None or not hmac.compare_digest(
            (key.session_token or "").encode(), (scope.session_token or "").encode()
        ):
            if s3:
                raise AwsError(
                    "InvalidToken",
                    "The provided token is malformed or otherwise invalid.",
                    400,
                    why="not this key's session token",
                )
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        return key


def _not_expired(key: Key, *, s3: bool) -> None:
    if key.expires_at is not None and datetime.now(UTC) >= key.expires_at:
        if s3:
            raise AwsError("ExpiredToken", "The provided token has expired.", 400)
        raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)
