"""What an object keeps beside its bytes: content headers, user metadata, storage class, encryption, tags.

Source: PutObject and GetObject (S3 API Reference), "Working with object metadata", "Object tagging" (S3 User Guide).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import locks

CONTENT: Final = {
    "content-type": "Content-Type",
    "content-encoding": "Content-Encoding",
    "content-disposition": "Content-Disposition",
    "content-language": "Content-Language",
    "cache-control": "Cache-Control",
    "expires": "Expires",
    "x-amz-website-redirect-location": "x-amz-website-redirect-location",
}
ENCRYPTION: Final = (
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
)
STORAGE_CLASSES: Final = frozenset(
    [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "DEEP_ARCHIVE",
        "GLACIER_IR",
    ]
)
CANNED_ACLS: Final = frozenset(
    [
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
    ]
)
METADATA_LIMIT: Final = 2048  # bytes of all names and values of user metadata together
META: Final = "x-amz-meta-"
OVERRIDES: Final = {f"response-{name}": CONTENT[name] for name in CONTENT if not name.startswith("x-amz")}

Properties = dict[str, Any]


def from_headers(headers: Mapping[str, str]) -> Properties:
    """Raises AwsError for what this store does not do (customer keys, grants) or S3 does not take."""
    if any(name.startswith("x-amz-server-side-encryption-customer-") for name in headers):
        raise AwsError("NotImplemented", "Encryption with customer keys is not implemented by this sandbox.", 501)
    if any(name.startswith("x-amz-grant-") for name in headers):
        raise AwsError("NotImplemented", "Grants other than canned ACLs are not implemented by this sandbox.", 501)
    found: Properties = {"headers": {name: headers[name] for name in CONTENT if name in headers}}
    encoding = [item.strip() for item in found["headers"].pop("content-encoding", "").split(",")]
    if kept := ",".join(item for item in encoding if item and item != "aws-chunked"):
        found["headers"]["content-encoding"] = kept
    meta = {name.removeprefix(META): value for name, value in headers.items() if name.startswith(META)}
    if sum(len(name.encode()) + len(value.encode()) for name, value in meta.items()) > METADATA_LIMIT:
        raise AwsError("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", 400)
    if meta:
        found["meta"] = meta
    storage = headers.get("x-amz-storage-class", "STANDARD")
    if storage not in STORAGE_CLASSES:
        raise AwsError("InvalidStorageClass", "The storage class you specified is not valid", 400)
    if storage != "STANDARD":
        found["class"] = storage
    if sealed := {name: headers[name] for name in ENCRYPTION if name in headers}:
        found["encryption"] = sealed
    if "x-amz-tagging" in headers:
        found["tags"] = tags(parse_qsl(headers["x-amz-tagging"], keep_blank_values=True))
    if "x-amz-acl" in headers:
        found["acl"] = canned_acl(headers["x-amz-acl"])
    return found


def canned_acl(name: str) -> str:
    if name not in CANNED_ACLS:
        raise AwsError("InvalidArgument", "", 400, details={"ArgumentName": "x-amz-acl", "ArgumentValue": name})
    return name


def tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    if len(pairs) > 10:
        raise AwsError("BadRequest", "Object tags cannot be greater than 10", 400)
    if len({name for name, _ in pairs}) != len(pairs):
        raise AwsError("InvalidTag", "Cannot provide multiple Tags with the same key", 400)
    for name, value in pairs:
        if not 1 <= len(name) <= 128:
            raise AwsError("InvalidTag", "The TagKey you have provided is invalid", 400)
        if len(value) > 256:
            raise AwsError("InvalidTag", "The TagValue you have provided is invalid", 400)
    return dict(pairs)


def encryption(properties: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Since January 2023 every object is encrypted, by default with S3's own keys."""
    return list(properties.get("encryption", {"x-amz-server-side-encryption": "AES256"}).items())


def response_headers(properties: Mapping[str, Any], overrides: Mapping[str, str]) -> list[tuple[str, str]]:
    """For GET and HEAD. `overrides`: the query string, whose `response-…` parameters win."""
    headers: dict[str, str] = {"Content-Type": "binary/octet-stream"}
    headers |= {CONTENT[name]: value for name, value in properties["headers"].items()}
    headers |= {header: overrides[name] for name, header in OVERRIDES.items() if name in overrides}
    found = list(headers.items())
    found += [(META + name, value) for name, value in properties.get("meta", {}).items()]
    if "class" in properties:
        found.append(("x-amz-storage-class", properties["class"]))
    found += locks.response_headers(properties.get("lock", {}))
    if properties.get("tags"):
        found.append(("x-amz-tagging-count", str(len(properties["tags"]))))
    return found + encryption(properties)
