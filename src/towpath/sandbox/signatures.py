"""Signature Version 4, verified: whether who claims a scope (sigv4.py) signed the request with its secret.

Rules: "Create a signed AWS API request" in the IAM reference and "Authenticating Requests" in S3's. S3 signs its path as it was
sent; every other service signs it normalised and encoded once more.
"""

from __future__ import annotations

import hashlib
import hmac
import posixpath
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import streams
from towpath.sandbox.sigv4 import ALGORITHM, Scope, unsupported
from towpath.sandbox.wire import Request

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SKEW: Final = timedelta(minutes=15)  # of a header-signed request's clock; a presigned one has its own X-Amz-Expires

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def verify(request: Request, scope: Scope, secret: str, *, now: datetime) -> str:
    """Raises AwsError unless the request was signed with `secret`, recently, over the body it carries.

    Gives what the signature covers of the body: its SHA-256, UNSIGNED-PAYLOAD, or a streaming mode whose chunks are still to be
    verified (s3/streams.py).
    """
    s3 = scope.service == "s3"
    _check_time(scope, now, s3=s3)
    # A header that steers authentication or the request's meaning but is not signed could be added by anyone on the way.
    unsigned = [name for name in request.headers if name.startswith("x-amz-") and name not in scope.signed_headers]
    if unsigned:
        raise AwsError(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            403,
            why=f"unsigned: {', '.join(unsigned)}",
        )
    payload = _payload_hash(request, scope, s3=s3)
    canonical = canonical_request(request, scope, payload)
    expected = signature(secret, scope, canonical)
    if not hmac.compare_digest(expected.encode(), scope.signature.encode()):
        raise _does_not_match()
    return payload


def verify_form(policy: str, scope: Scope, secret: str) -> None:
    """The signature of a browser's form is over its policy, as it was sent, in Base64."""
    expected = _hmac(signing_key(secret, scope), policy).hex()
    if not hmac.compare_digest(expected.encode(), scope.signature.encode()):
        raise _does_not_match()


def chunk_signer(scope: Scope, secret: str) -> streams.ChunkSigner:
    """What verifies the chunks of a body whose request `scope` signed."""
    return streams.ChunkSigner(
        key=signing_key(secret, scope),
        timestamp=scope.stamp,
        scope=scope.credential_scope,
        seed=scope.signature,
    )


def _does_not_match() -> AwsError:
    return AwsError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
        403,
    )


def _check_time(scope: Scope, now: datetime, *, s3: bool) -> None:
    if scope.expires is not None:
        # First what is to come: to the last days of the year 9999 nothing can be added.
        if scope.timestamp > now + SKEW:
            raise AwsError("AccessDenied", "Request is not yet valid", 403)
        if now > scope.timestamp + scope.expires:
            raise AwsError(
                "AccessDenied", "Request has expired", 403, why=f"presigned at {scope.timestamp}, for {scope.expires}"
            )
        return
    if abs(now - scope.timestamp) <= SKEW:
        return
    if s3:
        raise AwsError(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", 403
        )
    if scope.timestamp < now:
        words, edge, sign = "expired: {} is now earlier than", now - SKEW, "-"
    else:
        words, edge, sign = "not yet current: {} is still later than", now + SKEW, "+"
    raise AwsError(
        "SignatureDoesNotMatch",
        f"Signature {words.format(scope.stamp)} {edge:%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} {sign} 15 min.)",
        403,
    )


def _payload_hash(request: Request, scope: Scope, *, s3: bool) -> str:
    if not s3:
        return request.body.sha256
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is None and scope.presigned:
        claimed = request.arguments.get("X-Amz-Content-Sha256", UNSIGNED)
    if claimed is None:
        raise AwsError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400)
    if claimed in {UNSIGNED, streams.UNSIGNED_TRAILER}:
        return claimed
    if claimed in streams.MODES and not scope.presigned:
        return claimed
    if claimed.startswith("STREAMING-AWS4-ECDSA-"):
        raise unsupported(f"{claimed} is a body signed with version 4a")
    if not _SHA256.fullmatch(claimed):
        raise AwsError(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 value.",
            400,
        )
    if claimed != request.body.sha256:
        raise AwsError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
            400,
        )
    return claimed


def canonical_request(request: Request, scope: Scope, payload: str) -> str:
    if scope.service == "s3":
        path = request.path or "/"
    else:
        path = quote(_normalised(request.path), safe="/-_.~")
    headers = "".join([f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in scope.signed_headers])
    return "\n".join(
        (
            request.method,
            path,
            _canonical_query(request.query, presigned=scope.presigned),
            headers,
            ";".join(scope.signed_headers),
            payload,
        )
    )


def _normalised(path: str) -> str:
    if path in {"", "/"}:
        return "/"
    clean = posixpath.normpath(re.sub("/+", "/", path))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _canonical_query(query: str, *, presigned: bool) -> str:
    if not query:
        return ""
    pairs: list[tuple[str, str]] = []
    for part in query.split("&"):
        name, _, value = part.partition("=")
        pair = (_encoded(name), _encoded(value))
        if not presigned or pair[0] != "X-Amz-Signature":
            pairs.append(pair)
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    """One spelling of what was sent: decoded, then encoded as RFC 3986 asks. A plus sign is a plus sign here."""
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


def signature(secret: str, scope: Scope, canonical: str) -> str:
    text = "\n".join(
        (
            ALGORITHM,
            scope.stamp,
            scope.credential_scope,
            hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest(),
        )
    )
    return _hmac(signing_key(secret, scope), text).hex()


def signing_key(secret: str, scope: Scope) -> bytes:
    """The key of one day, region and service, derived from the secret."""
    return _signing_key(secret, scope.date, scope.region, scope.service)


@lru_cache(maxsize=256)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = _hmac(b"AWS4" + secret.encode(), date)
    for part in (region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogateescape"), "sha256")
