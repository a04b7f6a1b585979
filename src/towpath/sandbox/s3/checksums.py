"""Checksums of a body: Content-MD5 and x-amz-checksum-*, computed as the bytes go by and compared with what the client says.

Source: "Checking object integrity in Amazon S3" (S3 User Guide); codes: "Error responses" (S3 API reference).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.wire import Body

PREFIX: Final = "x-amz-checksum-"
# Headers with the prefix that carry no checksum.
_NAMES: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})
_CRCS: Final = {"crc32": ("CRC32", 4), "crc32c": ("CRC32C", 4), "crc64nvme": ("CRC64-NVME", 8)}
_HASHES: Final = {"sha1": 20, "sha256": 32, "sha512": 64, "md5": 16}


class Checksum(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, name: str, size: int) -> None:
        import anycrc  # pyright: ignore[reportMissingTypeStubs]

        model: Any = anycrc.Model(name)
        self._calc: Callable[..., int] = model.calc
        self._value: int | None = None
        self._size = size

    def update(self, data: bytes, /) -> None:
        self._value = self._calc(data) if self._value is None else self._calc(data, self._value)

    def digest(self) -> bytes:
        return (self._value or 0).to_bytes(self._size, "big")


def algorithm(header: str) -> str:
    """`crc32` of `x-amz-checksum-crc32`. Raises AwsError for an algorithm this sandbox does not compute."""
    name = header.removeprefix(PREFIX)
    if name not in _CRCS and name not in _HASHES:
        raise not_implemented(f"{header[:60]} is not computed by this sandbox")
    return name


def new(name: str) -> Checksum:
    if name in _CRCS:
        return _Crc(*_CRCS[name])
    return hashlib.new(name, usedforsecurity=False)


def decoded(header: str, value: str) -> bytes:
    """The checksum a client gave, as bytes. Raises AwsError InvalidRequest for what cannot be one."""
    name = algorithm(header)
    size = _CRCS[name][1] if name in _CRCS else _HASHES[name]
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != size:
        raise AwsError("InvalidRequest", f"Value for {header} header is invalid.", 400)
    return found


def claims(headers: Mapping[str, str]) -> list[str]:
    """The checksum headers of a request."""
    return [name for name in headers if name.startswith(PREFIX) and name not in _NAMES]


def check_body(headers: Mapping[str, str], body: Body, *, of_body: bool = True) -> None:
    """Compare the body with Content-MD5, and with the checksum headers unless they are of something else (a whole object's).

    What is worked out is kept with the body. Raises AwsError InvalidDigest, InvalidRequest or BadDigest.
    """
    names = claims(headers) if of_body else []
    if len(names) > 1:
        raise AwsError(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.", 400
        )
    wanted = [(name.removeprefix(PREFIX).upper(), algorithm(name), decoded(name, headers[name])) for name in names]
    if "content-md5" in headers:
        wanted.append(("Content-MD5", "md5", md5_digest(headers["content-md5"])))
    if not wanted:
        return
    missing = {name: new(name) for _, name, _ in wanted if name not in body.digests}
    for data in body.blocks() if missing else ():
        for checksum in missing.values():
            checksum.update(data)
    body.digests.update({name: checksum.digest() for name, checksum in missing.items()})
    for label, name, value in wanted:
        if not hmac.compare_digest(value, body.digests[name]):
            raise mismatch(label)


def mismatch(name: str) -> AwsError:
    said = (
        "The Content-MD5 you specified did not match what we received."
        if name == "Content-MD5"
        else f"The {name} you specified did not match the calculated checksum."
    )
    return AwsError("BadDigest", said, 400)


def md5_digest(value: str) -> bytes:
    """What a Content-MD5 header says. Raises AwsError InvalidDigest."""
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 16:
        raise AwsError("InvalidDigest", "The Content-MD5 you specified was invalid.", 400)
    return found
