"""The checksums S3 keeps with an object: made, verified and shown.

Source: "Checking object integrity for data uploads in Amazon S3" (S3 User Guide). CRC-32C is RFC 3720's, CRC-64/NVME the NVM Express
specification's; both are computed here byte by byte in Python, at about 20 MB a second.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from towpath.sandbox.errors import AwsError

ALGORITHMS: Final = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}  # name -> bytes
XML: Final = {name: f"Checksum{name.upper()}" for name in ALGORITHMS}
HEADER: Final = "x-amz-checksum-"
FULL, COMPOSITE = "FULL_OBJECT", "COMPOSITE"


class Checksum(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, size: int, step: Callable[[bytes, int], int]) -> None:
        self._size = size
        self._step = step
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


@lru_cache(maxsize=2)
def _table(polynomial: int) -> tuple[int, ...]:
    out: list[int] = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (polynomial if value & 1 else 0)
        out.append(value)
    return tuple(out)


def _reflected(polynomial: int, ones: int) -> Callable[[bytes, int], int]:
    def step(data: bytes, value: int) -> int:
        table = _table(polynomial)
        value ^= ones
        for byte in data:
            value = value >> 8 ^ table[(value ^ byte) & 0xFF]
        return value ^ ones

    return step


_crc32c: Final = _reflected(0x82F63B78, 0xFFFFFFFF)
_crc64nvme: Final = _reflected(0x9A6C9329AC4BC9B5, 0xFFFFFFFFFFFFFFFF)


def checksum(algorithm: str) -> Checksum:
    if algorithm == "crc32":
        return _Crc(4, zlib.crc32)
    if algorithm == "crc32c":
        return _Crc(4, _crc32c)
    if algorithm == "crc64nvme":
        return _Crc(8, _crc64nvme)
    return hashlib.new(algorithm, usedforsecurity=False)


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
    if value is None:
        return None
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 16:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", 400)
    return digest


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
