"""The checksums S3 keeps with an object: made, verified and shown.

Source: "Checking object integrity for data uploads in Amazon S3" (S3 User Guide).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3.checksums import Checksum, md5_digest, new

ALGORITHMS: Final = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}  # name -> bytes
XML: Final = {name: f"Checksum{name.upper()}" for name in ALGORITHMS}
HEADER: Final = "x-amz-checksum-"
FULL, COMPOSITE = "FULL_OBJECT", "COMPOSITE"


def checksum(algorithm: str) -> Checksum:
    return new(algorithm)


def text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def claimed(headers: Mapping[str, str]) -> dict[str, bytes]:
    """The checksums a request claims for its body, at most one. Raises AwsError for a value that is none."""
    found = {name: headers[HEADER + name] for name in ALGORITHMS if HEADER + name in headers}
    if len(found) > 1:
        raise AwsError(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.", 400
        )
    return {name: _decoded(name, value) for name, value in found.items()}


def claimed_composite(headers: Mapping[str, str], algorithm: str | None) -> str | None:
    """The checksum that a completed upload claims of its parts' checksums. Raises AwsError for one of another algorithm."""
    found = [name for name in ALGORITHMS if HEADER + name in headers]
    if not found:
        return None
    if found != [algorithm]:
        raise AwsError("InvalidRequest", "The upload was created using another checksum algorithm.", 400)
    return headers[HEADER + found[0]]


def _decoded(name: str, value: str) -> bytes:
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != ALGORITHMS[name]:
        raise AwsError("InvalidRequest", f"Value for x-amz-checksum-{name} header is invalid.", 400)
    return digest


def algorithm_of(headers: Mapping[str, str]) -> str | None:
    """The algorithm a request names without a value (a copy, a multipart upload). Raises AwsError InvalidRequest."""
    named = headers.get("x-amz-checksum-algorithm") or headers.get("x-amz-sdk-checksum-algorithm")
    if named is None:
        return None
    if named.lower() not in ALGORITHMS:
        raise AwsError(
            "InvalidRequest",
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
            400,
        )
    return named.lower()


def content_md5(headers: Mapping[str, str]) -> bytes | None:
    value = headers.get("content-md5")
    return None if value is None else md5_digest(value)


def verify(found: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> None:
    for name, digest in wanted.items():
        if found[name] != digest:
            raise AwsError("BadDigest", f"The {name.upper()} you specified did not match the calculated checksum.", 400)


def composite(algorithm: str, digests: Iterable[bytes]) -> str:
    """Of a multipart object: the checksum of its parts' checksums, and their number."""
    digests = list(digests)
    each = checksum(algorithm)
    each.update(b"".join(digests))
    return f"{text(each.digest())}-{len(digests)}"


def elements(properties: Mapping[str, Any]) -> list[tuple[str, str]]:
    """As XML elements of an answer."""
    sums: Mapping[str, str] = properties.get("checksums", {})
    kind = [("ChecksumType", str(properties.get("checksum_type", FULL)))] if sums else []
    return [*((XML[name], value) for name, value in sums.items()), *kind]


def response_headers(properties: Mapping[str, Any]) -> list[tuple[str, str]]:
    sums: Mapping[str, str] = properties.get("checksums", {})
    kind = [("x-amz-checksum-type", str(properties.get("checksum_type", FULL)))] if sums else []
    return [*((HEADER + name, value) for name, value in sums.items()), *kind]


def raw(value: str) -> bytes:
    return base64.b64decode(value)
