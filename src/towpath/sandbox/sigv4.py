"""Signature Version 4, as claimed: the scope in an Authorization header, a presigned query string, or a browser's form.

Rules: "Create a signed AWS API request", "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" and
"Authenticating Requests in Browser-Based Uploads Using POST" in the IAM and S3 references. Nothing is verified here: that needs
the secret, see signatures.py. Version 2 and the asymmetric 4a are refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl

from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request

ALGORITHM: Final = "AWS4-HMAC-SHA256"
ASYMMETRIC: Final = "AWS4-ECDSA-P256-SHA256"
LONGEST_PRESIGN: Final = 604_800  # seconds

_STAMP: Final = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_SCOPE: Final = re.compile(
    r"^(?P<key>[A-Za-z0-9]{16,128})/(?P<date>\d{8})/(?P<region>[A-Za-z0-9-]+)/(?P<service>[A-Za-z0-9-]+)/aws4_request$"
)
_PART: Final = re.compile(r"^\s*(Credential|SignedHeaders|Signature)=([^,\s]+)\s*$")
# As every SDK writes it; any other spelling is read part by part.
_USUAL: Final = re.compile(r"Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([^,\s]+)")
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
    stamp: str  # when, as it was sent: YYYYMMDDTHHMMSSZ
    timestamp: datetime  # the same
    presigned: bool
    expires: timedelta | None = None
    session_token: str | None = None

    @property
    def credential_scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


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
        raise unsupported("signed with version 2, in the query string")
    return None


def meant_for_s3(request: Request) -> bool:
    """Whether a request whose signature cannot be read was for S3: by its scope, or because only S3 has such paths."""
    return "/s3/" in request.headers.get("authorization", "") or (
        request.path != "/"
        and "x-amz-target" not in request.headers
        and "/aws4_request" not in request.headers.get("authorization", "")
    )


def unsupported(why: str) -> AwsError:
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
        raise unsupported("signed with version 2")
    if algorithm == ASYMMETRIC:
        raise unsupported("signed with version 4a, which needs a Multi-Region Access Point")
    if algorithm != ALGORITHM:
        if s3:
            raise AwsError("InvalidArgument", "Unsupported Authorization Type", 400)
        raise AwsError("IncompleteSignature", f"Unsupported authorization algorithm '{algorithm[:40]}'.", 400)
    usual = _USUAL.fullmatch(rest)
    credential, signed, signature = usual.groups() if usual is not None else _parts(rest, s3=s3)
    stamp = request.headers.get("x-amz-date") or _stamp_of_date(request.headers.get("date", ""))
    if not stamp:
        if s3:
            raise AwsError("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header", 403)
        raise _malformed("it requires existence of either a 'X-Amz-Date' or a 'Date' header.", s3=False)
    return _scope(
        credential,
        signed,
        signature,
        stamp,
        request.headers.get("x-amz-security-token"),
        None,
        "AuthorizationHeaderMalformed" if s3 else "IncompleteSignature",
    )


def _parts(text: str, *, s3: bool) -> tuple[str, str, str]:
    """Credential, SignedHeaders and Signature, in any order."""
    parts: dict[str, str] = {}
    for part in text.split(","):
        match = _PART.match(part)
        if match is None or match[1] in parts:
            raise _malformed("each of Credential, SignedHeaders and Signature is given once.", s3=s3)
        parts[match[1]] = match[2]
    if missing := sorted({"Credential", "SignedHeaders", "Signature"} - set(parts)):
        raise _malformed(f"the authorization header requires three components: {', '.join(missing)} missing.", s3=s3)
    return parts["Credential"], parts["SignedHeaders"], parts["Signature"]


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
    if "host" not in names or signed != signed.lower():
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
        stamp=stamp,
        timestamp=timestamp,
        presigned=expires is not None,
        expires=expires,
        session_token=session_token,
    )


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
