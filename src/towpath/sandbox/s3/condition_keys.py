"""S3's own condition keys, as far as a request alone can tell them.

Source: "Actions, resources, and condition keys for Amazon S3" (Service Authorization Reference) and "Amazon S3 condition key examples"
(S3 User Guide). A header or parameter that was not sent is a key that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, unquote

from towpath.iam.context import Value
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import xml
from towpath.sandbox.s3.operations import S3Operation
from towpath.sandbox.wire import Request

_LISTING: Final = {"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys"}
_LISTINGS: Final = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"})
# Headers that are condition keys under their own name.
_HEADERS: Final = (
    "x-amz-acl",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
)
_CONDITIONAL: Final = ("if-match", "if-none-match")
_CREATING: Final = frozenset({"PutObject", "CopyObject", "CompleteMultipartUpload", "PostObject"})
_PARTWISE: Final = frozenset({"CreateMultipartUpload", "UploadPart", "UploadPartCopy"})
TAGGING_LIMIT: Final = 2_048  # characters of the x-amz-tagging header


def of_request(request: Request, operation: S3Operation) -> dict[str, Value]:
    """The keys of the operation's main permission."""
    headers, arguments = request.headers, request.arguments
    keys: dict[str, Value] = {f"s3:{name}": headers[name] for name in _HEADERS if name in headers}
    if operation.name in _LISTINGS:
        keys |= {key: arguments[name] for name, key in _LISTING.items() if name in arguments}
    if operation.level == "object":
        keys |= {f"s3:{name}": headers[name] for name in _CONDITIONAL if name in headers}
    if "versionId" in arguments:
        keys["s3:VersionId"] = arguments["versionId"]
    if "x-amz-copy-source" in headers:
        keys["s3:x-amz-copy-source"] = (
            unquote(headers["x-amz-copy-source"]).removeprefix("/").partition("?versionId=")[0]
        )
    if operation.name in _CREATING | _PARTWISE:
        keys["s3:ObjectCreationOperation"] = operation.name in _CREATING
    keys |= _tags(request, operation) | _lock(request, operation)
    if operation.name == "CreateBucket":
        location = xml.text(xml.parse_or_none(request), "LocationConstraint")
        if location:
            keys["s3:locationconstraint"] = location
    return keys


def _tags(request: Request, operation: S3Operation) -> dict[str, Value]:
    if operation.name == "PutObjectTagging":
        found = [
            (xml.text(item, "Key") or "", xml.text(item, "Value") or "")
            for item in xml.named(xml.parse(request), "Tag")
        ]
    elif "x-amz-tagging" in request.headers and operation.level == "object":
        found = header_tags(request.headers)
    else:
        return {}
    if not found:
        return {}
    keys: dict[str, Value] = {f"s3:RequestObjectTag/{key}": value for key, value in found}
    keys["s3:RequestObjectTagKeys"] = [key for key, _ in found]
    return keys


def header_tags(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The tags of an x-amz-tagging header, written as a query string. Raises AwsError InvalidArgument."""
    text = headers["x-amz-tagging"]
    found = parse_qsl(text, keep_blank_values=True) if text else []
    names = [name for name, _ in found]
    if len(text) > TAGGING_LIMIT or len(found) > 10 or len(set(names)) != len(names) or "" in names:
        raise AwsError(
            "InvalidArgument",
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.",
            400,
        )
    return found


def _lock(request: Request, operation: S3Operation) -> dict[str, Value]:
    """Object Lock: from the headers of what makes an object, or from the body of what locks one."""
    headers = request.headers
    mode = headers.get("x-amz-object-lock-mode")
    until = headers.get("x-amz-object-lock-retain-until-date")
    hold = headers.get("x-amz-object-lock-legal-hold")
    if operation.name == "PutObjectRetention":
        body = xml.parse(request)
        mode, until = xml.text(body, "Mode"), xml.text(body, "RetainUntilDate")
    elif operation.name == "PutObjectLegalHold":
        hold = xml.text(xml.parse(request), "Status")
    keys: dict[str, Value] = {}
    if mode:
        keys["s3:object-lock-mode"] = mode
    if hold:
        keys["s3:object-lock-legal-hold"] = hold
    if until:
        keys["s3:object-lock-retain-until-date"] = until
        keys["s3:object-lock-remaining-retention-days"] = _days_until(until)
    return keys


def _days_until(text: str) -> int:
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise xml.malformed() from None
    end = end if end.tzinfo else end.replace(tzinfo=UTC)
    return max(0, -(-int((end - datetime.now(UTC)).total_seconds()) // 86_400))
