"""Signature Version 4, verified: the Authorization header, the presigned query string, the policy of a browser's form.

Rules: "Create a signed AWS API request", "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" and
"Authenticating Requests in Browser-Based Uploads Using POST" in the IAM and S3 references. S3 signs its path as it was sent; every
other service signs it normalised and encoded once more. Version 2 and the asymmetric 4a are refused.
"""

from __future__ import annotations

import hashlib
import hmac
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import streams
from towpath.sandbox.wire import Request

ALGORITHM: Final = "AWS4-HMAC-SHA256"
ASYMMETRIC: Final = "AWS4-ECDSA-P256-SHA256"
UNSIGNED: Final = "UNSIGNED-PAYLOAD"
SKEW: Final = timedelta(minutes=15)  # of a header-signed request's clock; a presigned one has its own X-Amz-Expires
LONGEST_PRESIGN: Final = 604_800  # seconds

_STAMP: Final = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_SCOPE: Final = re.compile(
    r"^(?P<key>[A-Za-z0-9]{16,128})/(?P<date>\d{8})/(?P<region>[A-Za-z0-9-]+)/(?P<service>[A-Za-z0-9-]+)/aws4_request$"
)
_PART: Final = re.compile(r"^\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*$")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
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

    Raises AwsError for a signature that is there but malformed, or of a version that is not supported; S3 has codes of its own.
    """
    authorization = request.headers.get("authorization")
    if authorization is not None:
        if "X-Amz-Algorithm" in request.arguments:
            raise AwsError(
                "InvalidArgument",
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified",
                400,
            )
        return _from_header(request, authorization)
    if "X-Amz-Algorithm" in request.arguments:
        return _from_query(request)
    if "AWSAccessKeyId" in request.arguments and "Signature" in request.arguments and "Action" not in request.arguments:
        raise _old_version("signed with version 2, in the query string")
    return None


def meant_for_s3(request: Request) -> bool:
    """Whether a request whose signature cannot be read was for S3: by its scope, or because only S3 has such paths."""
    return "/s3/" in request.headers.get("authorization", "") or (
        request.path != "/"
        and "x-amz-target" not in request.headers
        and "/aws4_request" not in request.headers.get("authorization", "")
    )


def _old_version(why: str) -> AwsError:
    return AwsError(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        400,
        why=why,
    )


def _from_header(request: Request, authorization: str) -> Scope:
    s3 = meant_for_s3(request)
    algorithm, _, rest = authorization.partition(" ")
    if algorithm == "AWS":
        raise _old_version("signed with version 2")
    if algorithm == ASYMMETRIC:
        raise _old_version("signed with version 4a, which needs a Multi-Region Access Point")
    if algorithm != ALGORITHM:
        if s3:
            raise AwsError("InvalidArgument", "Unsupported Authorization Type", 400)
        raise AwsError("IncompleteSignature", f"Unsupported authorization algorithm '{algorithm[:40]}'.", 400)
    parts: dict[str, str] = {}
    for text in rest.split(","):
        match = _PART.match(text)
        if match is None or match[1] in parts:
            raise _malformed("each of Credential, SignedHeaders and Signature is given once.", s3=s3)
        parts[match[1]] = match[2]
    if missing := sorted({"Credential", "SignedHeaders", "Signature"} - set(parts)):
        raise _malformed(f"the authorization header requires three components: {', '.join(missing)} missing.", s3=s3)
    stamp = request.headers.get("x-amz-date") or _stamp_of_date(request.headers.get("date", ""))
    if not stamp:
        if s3:
            raise AwsError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", 403)
        raise _malformed("it requires existence of either a 'X-Amz-Date' or a 'Date' header.", s3=False)
    return _scope(
        parts["Credential"],
        parts["SignedHeaders"],
        parts["Signature"],
        stamp,
        request.headers.get("x-amz-security-token"),
        None,
        "AuthorizationHeaderMalformed" if s3 else "IncompleteSignature",
    )


def _malformed(reason: str, *, s3: bool) -> AwsError:
    if s3:
        return AwsError("AuthorizationHeaderMalformed", f"The authorization header is malformed; {reason}", 400)
    return AwsError("IncompleteSignature", f"Authorization header is malformed: {reason}", 400)


def _stamp_of_date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        return ""


def _from_query(request: Request) -> Scope:
    found = request.arguments
    code = "AuthorizationQueryParametersError"
    if found["X-Amz-Algorithm"] != ALGORITHM:
        raise AwsError(code, f'X-Amz-Algorithm only supports "{ALGORITHM}"', 400)
    names = [name for name, _ in parse_qsl(request.query, keep_blank_values=True)]
    if repeated := [name for name in ("X-Amz-Algorithm", *_PRESIGN) if names.count(name) > 1]:
        raise AwsError(code, f"{repeated[0]} is given more than once", 400)
    if missing := [name for name in _PRESIGN if name not in found]:
        raise AwsError(code, f"Query-string authentication requires {', '.join(missing)}", 400)
    try:
        seconds = int(found["X-Amz-Expires"])
    except ValueError:
        raise AwsError(code, "X-Amz-Expires should be a number", 400) from None
    if not 0 <= seconds <= LONGEST_PRESIGN:
        raise AwsError(
            code,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
            400,
        )
    return _scope(
        found["X-Amz-Credential"],
        found["X-Amz-SignedHeaders"],
        found["X-Amz-Signature"],
        found["X-Amz-Date"],
        found.get("X-Amz-Security-Token"),
        timedelta(seconds=seconds),
        code,
    )


def _timestamp(text: str) -> datetime:
    """Of YYYYMMDDTHHMMSSZ. Raises ValueError. (`strptime` took 15 microseconds, a tenth of a request.)"""
    match = _STAMP.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = map(int, match.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


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
        timestamp = _timestamp(stamp)
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


def form_scope(fields: Mapping[str, str]) -> Scope:
    """The scope a browser's form claims; names of fields in lower case. Raises AwsError for one that is missing or malformed."""
    if fields["x-amz-algorithm"] != ALGORITHM:
        raise AwsError("InvalidArgument", f'x-amz-algorithm only supports "{ALGORITHM}"', 400)
    return _scope(
        fields["x-amz-credential"],
        "host",
        fields["x-amz-signature"],
        fields["x-amz-date"],
        fields.get("x-amz-security-token"),
        None,
        "InvalidArgument",
    )


def chunk_signer(scope: Scope, secret: str) -> streams.ChunkSigner:
    """What verifies the chunks of a body whose request `scope` signed."""
    return streams.ChunkSigner(
        key=signing_key(secret, scope),
        timestamp=f"{scope.timestamp:%Y%m%dT%H%M%SZ}",
        scope=f"{scope.date}/{scope.region}/{scope.service}/aws4_request",
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
    words = words.format(f"{scope.timestamp:%Y%m%dT%H%M%SZ}")
    raise AwsError(
        "SignatureDoesNotMatch",
        f"Signature {words} {edge:%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} {sign} 15 min.)",
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
        raise _old_version(f"{claimed} is a body signed with version 4a")
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
    return hmac.new(key, text.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
