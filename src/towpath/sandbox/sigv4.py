"""Signature Version 4, verified: the Authorization header, and the presigned query string.

Rules: "Create a signed AWS API request" and "Authenticating Requests: Using Query Parameters (AWS Signature Version
4)" in the IAM and S3 references. S3 signs its path as it was sent; every other service signs it normalised and encoded
once more.
"""

from __future__ import annotations

import hashlib
import hmac
import posixpath
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote, unquote

from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SKEW: Final = timedelta(minutes=15)  # of a header-signed request's clock; a presigned one has its own X-Amz-Expires
LONGEST_PRESIGN: Final = 604_800  # seconds

_SCOPE: Final = re.compile(
    r"^(?P<key>[A-Za-z0-9]{16,128})/(?P<date>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request$"
)
_PART: Final = re.compile(r"^\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*$")
_PRESIGN: Final = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a request claims of itself before anything is verified."""

    access_key: str
    date: str  # YYYYMMDD
    region: str
    service: str  # the signing name: s3, iam, sts, eks, …
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: datetime
    presigned: bool
    expires: timedelta | None = None
    session_token: str | None = None


def parse(request: Request) -> Scope | None:
    """The claimed scope, or None for a request that carries no signature at all.

    Raises AwsError IncompleteSignature or AuthorizationQueryParametersError for one that is there but malformed.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        return _from_header(request, authorization)
    if "X-Amz-Algorithm" in request.arguments:
        return _from_query(request)
    return None


def _from_header(request: Request, authorization: str) -> Scope:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise AwsError("IncompleteSignature", f"Unsupported authorization algorithm '{algorithm[:40]}'.", 400)
    parts: dict[str, str] = {}
    for text in rest.split(","):
        match = _PART.match(text)
        if match is None or match[1] in parts:
            raise AwsError(
                "IncompleteSignature",
                "Authorization header is malformed: each of Credential, SignedHeaders and Signature is given once.",
                400,
            )
        parts[match[1]] = match[2]
    if len(parts) != 3:
        missing = ", ".join(sorted({"Credential", "SignedHeaders", "Signature"} - set(parts)))
        raise AwsError("IncompleteSignature", f"Authorization header requires '{missing}' parameter.", 400)
    stamp = request.headers.get("x-amz-date", "")
    return _scope(
        parts["Credential"],
        parts["SignedHeaders"],
        parts["Signature"],
        stamp,
        request.headers.get("x-amz-security-token"),
        None,
        "IncompleteSignature",
    )


def _from_query(request: Request) -> Scope:
    found = request.arguments
    code = "AuthorizationQueryParametersError"
    if found["X-Amz-Algorithm"] != ALGORITHM:
        raise AwsError(code, f'X-Amz-Algorithm only supports "{ALGORITHM}"', 400)
    if missing := [name for name in _PRESIGN if name not in found]:
        raise AwsError(code, f"Query-string authentication requires {', '.join(missing)}", 400)
    try:
        seconds = int(found["X-Amz-Expires"])
    except ValueError:
        raise AwsError(code, "X-Amz-Expires should be a number", 400) from None
    if not 0 <= seconds <= LONGEST_PRESIGN:
        raise AwsError(code, "X-Amz-Expires must be less than a week (in seconds) that is 604800", 400)
    return _scope(
        found["X-Amz-Credential"],
        found["X-Amz-SignedHeaders"],
        found["X-Amz-Signature"],
        found["X-Amz-Date"],
        found.get("X-Amz-Security-Token"),
        timedelta(seconds=seconds),
        code,
    )


def _scope(
    credential: str,
    signed: str,
    signature: str,
    stamp: str,
    session_token: str | None,
    expires: timedelta | None,
    code: str,
) -> Scope:
    match = _SCOPE.match(credential)
    if match is None:
        raise AwsError(code, "Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request", 400)
    try:
        timestamp = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise AwsError(code, "X-Amz-Date must be in the ISO 8601 basic format YYYYMMDDTHHMMSSZ", 400) from None
    if stamp[:8] != match["date"]:
        raise AwsError(
            "SignatureDoesNotMatch",
            f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{match['date']}' != '{stamp[:8]}'.",
            403,
        )
    names = tuple(signed.split(";"))
    if "host" not in names or any(name != name.lower() for name in names):
        raise AwsError(
            code, "'Host' must be a 'SignedHeader' in the AWS Authorization, and names are in lower case.", 400
        )
    return Scope(
        access_key=match["key"],
        date=match["date"],
        region=match["region"],
        service=match["service"],
        signed_headers=names,
        signature=signature,
        timestamp=timestamp,
        presigned=expires is not None,
        expires=expires,
        session_token=session_token,
    )


def verify(request: Request, scope: Scope, secret: str, *, now: datetime) -> None:
    """Raises AwsError unless the request was signed with `secret`, recently, over the body it carries."""
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
        raise AwsError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            403,
        )


def _check_time(scope: Scope, now: datetime, *, s3: bool) -> None:
    if scope.expires is not None:
        if now > scope.timestamp + scope.expires:
            raise AwsError(
                "AccessDenied", "Request has expired", 403, why=f"presigned at {scope.timestamp}, for {scope.expires}"
            )
        if scope.timestamp > now + SKEW:
            raise AwsError("AccessDenied", "Request is not yet valid", 403)
        return
    if abs(now - scope.timestamp) <= SKEW:
        return
    if s3:
        raise AwsError(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.", 403
        )
    word = "expired" if scope.timestamp < now else "not yet current"
    raise AwsError(
        "SignatureDoesNotMatch",
        f"Signature {word}: {scope.timestamp:%Y%m%dT%H%M%SZ} is more than 15 min. from {now:%Y%m%dT%H%M%SZ}",
        403,
    )


def _payload_hash(request: Request, scope: Scope, *, s3: bool) -> str:
    if not s3:
        return request.body.sha256
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed is None:
        if scope.presigned:
            return UNSIGNED
        raise AwsError("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400)
    if claimed in {UNSIGNED, UNSIGNED_TRAILER}:
        return claimed
    if claimed.startswith("STREAMING-"):
        raise AwsError(
            "NotImplemented",
            f"A header you provided implies functionality that is not implemented: x-amz-content-sha256 {claimed}",
            501,
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
    headers = "".join(f"{name}:{_folded(request.headers.get(name, ''))}\n" for name in scope.signed_headers)
    return "\n".join(
        (request.method, path, _canonical_query(request.query), headers, ";".join(scope.signed_headers), payload)
    )


def _normalised(path: str) -> str:
    if path in {"", "/"}:
        return "/"
    clean = posixpath.normpath(re.sub("/+", "/", path))
    return clean + "/" if path.endswith("/") and clean != "/" else clean


def _folded(value: str) -> str:
    return " ".join(value.split())


def _canonical_query(query: str) -> str:
    pairs: list[tuple[str, str]] = []
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        pair = (_encoded(name), _encoded(value))
        if pair[0] != "X-Amz-Signature":
            pairs.append(pair)
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _encoded(text: str) -> str:
    """One spelling of what was sent: decoded, then encoded as RFC 3986 asks. A plus sign is a plus sign here."""
    return quote(unquote(text, errors="surrogateescape"), safe="-_.~", errors="surrogateescape")


def signature(secret: str, scope: Scope, canonical: str) -> str:
    stamp = f"{scope.timestamp:%Y%m%dT%H%M%SZ}"
    text = "\n".join(
        (
            ALGORITHM,
            stamp,
            f"{scope.date}/{scope.region}/{scope.service}/aws4_request",
            hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest(),
        )
    )
    return _hmac(_signing_key(secret, scope.date, scope.region, scope.service), text).hex()


def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = _hmac(b"AWS4" + secret.encode(), date)
    for part in (region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
