"""aws-chunked bodies, decoded: signed chunk by chunk, with or without a signed trailer, or unsigned with a trailing checksum.

Source: "Signature calculations for the Authorization header: transferring payload in multiple chunks" and "Signature calculations for
trailing headers" (S3 API reference). What leaves here is the content alone; every chunk is verified before the next is read.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import checksums

SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
MODES: Final = frozenset({SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER})
SMALLEST_CHUNK: Final = 8_192  # bytes; only the last may be smaller
LARGEST_LINE: Final = 4_096  # bytes of a chunk's header or of a trailer
LARGEST_CHUNK: Final = 5 * 1024**3  # bytes, as of the whole
BLOCK: Final = 256 * 1024  # bytes read at once
_HEADER: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_EMPTY: Final = hashlib.sha256().hexdigest()


@dataclass(frozen=True, kw_only=True)
class ChunkSigner:
    """What signs the chunks of one request: the day's signing key, and the signature each chunk builds on."""

    key: bytes = field(repr=False)
    timestamp: str  # YYYYMMDDTHHMMSSZ
    scope: str  # date/region/service/aws4_request
    seed: str  # the request's own signature

    def chunk(self, previous: str, digest: str) -> str:
        return self._sign("AWS4-HMAC-SHA256-PAYLOAD", previous, _EMPTY, digest)

    def trailer(self, previous: str, digest: str) -> str:
        return self._sign("AWS4-HMAC-SHA256-TRAILER", previous, digest)

    def _sign(self, kind: str, *parts: str) -> str:
        text = "\n".join((kind, self.timestamp, self.scope, *parts))
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


class Decoder:
    """Iterate it for the content; `trailers` is complete once that ended."""

    def __init__(
        self, source: IO[bytes], *, mode: str, headers: Mapping[str, str], signer: ChunkSigner | None = None
    ) -> None:
        if (mode == UNSIGNED_TRAILER) != (signer is None):
            raise AwsError(
                "InvalidRequest", "A signed payload needs a signed request.", 400, why=f"{mode} without a signature"
            )
        self._source = source
        self._mode = mode
        self._signer = signer
        self._length = _decoded_length(headers)
        self._announced = _announced(headers, mode)
        self._checksums = {name: checksums.new(checksums.algorithm(name)) for name in self._announced}
        self._previous = signer.seed if signer else ""
        self.trailers: dict[str, str] = {}
        self.digests: dict[str, bytes] = {}  # of the content, by algorithm; once it is read

    def __iter__(self) -> Iterator[bytes]:
        total = 0
        small = False
        while True:
            size, signature = self._chunk_header()
            if size and small:
                raise AwsError(
                    "InvalidChunkSizeError", "Only the last chunk is allowed to have a size less than 8192 bytes", 403
                )
            small = size < SMALLEST_CHUNK
            total += size
            if total > self._length:
                raise _incomplete("more content than x-amz-decoded-content-length")
            digest = hashlib.sha256()
            for data in self._data(size):
                digest.update(data)
                for checksum in self._checksums.values():
                    checksum.update(data)
                yield data
            if self._signer is not None:
                self._previous = _verified(self._signer.chunk(self._previous, digest.hexdigest()), signature)
            if size == 0:
                break
            self._line_end()
        if total != self._length:
            raise _incomplete("less content than x-amz-decoded-content-length")
        self._read_trailers()

    def _chunk_header(self) -> tuple[int, str]:
        match = _HEADER.fullmatch(self._line())
        if match is None or (match[2] is None) != (self._signer is None):
            raise _incomplete("a chunk's header")
        size = int(match[1], 16)
        if size > LARGEST_CHUNK:
            raise _incomplete("a chunk larger than an object")
        return size, (match[2] or b"").decode()

    def _data(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._source.read(min(size, BLOCK))
            if not data:
                raise _incomplete("the body ended inside a chunk")
            size -= len(data)
            yield data

    def _line(self) -> bytes:
        line = self._source.readline(LARGEST_LINE)
        if not line.endswith(b"\r\n"):
            raise _incomplete("a line without an end")
        return line[:-2]

    def _line_end(self) -> None:
        if self._source.read(2) != b"\r\n":
            raise _incomplete("no end of line after a chunk")

    def _read_trailers(self) -> None:
        signature = ""
        canonical = ""
        while line := self._source.readline(LARGEST_LINE):
            text = line.rstrip(b"\r\n").decode("latin-1")
            if not text:
                continue  # clients end the trailers with one empty line, or with two
            name, colon, value = text.partition(":")
            name, value = name.strip().lower(), value.strip()
            if not colon or not line.endswith(b"\n"):
                raise _bad_trailer("a trailer without name or end")
            if name == "x-amz-trailer-signature":
                signature = value
                continue
            if name not in self._announced or name in self.trailers or signature:
                raise _bad_trailer(f"the trailer {name[:60]} was not announced")
            self.trailers[name] = value
            canonical += f"{name}:{value}\n"
        if set(self.trailers) != set(self._announced):
            raise _bad_trailer("an announced trailer is missing")
        if self._mode == SIGNED_TRAILER and self._signer is not None:
            expected = self._signer.trailer(self._previous, hashlib.sha256(canonical.encode("latin-1")).hexdigest())
            _verified(expected, signature)
        elif signature:
            raise _bad_trailer("a signature of unsigned trailers")
        for name, value in self.trailers.items():
            digest = self._checksums[name].digest()
            self.digests[checksums.algorithm(name)] = digest
            if not hmac.compare_digest(checksums.decoded(name, value), digest):
                raise checksums.mismatch(name.removeprefix(checksums.PREFIX).upper())


def plain_headers(headers: Mapping[str, str], trailers: Mapping[str, str]) -> dict[str, str]:
    """The headers of the same request as if its content had been sent whole."""
    out = {
        name: value
        for name, value in headers.items()
        if name
        not in {"x-amz-decoded-content-length", "x-amz-trailer", "x-amz-content-sha256", "content-encoding", "trailer"}
    }
    encodings = [each.strip() for each in headers.get("content-encoding", "").split(",")]
    kept = [each for each in encodings if each and each.lower() != "aws-chunked"]
    if kept:
        out["content-encoding"] = ",".join(kept)
    return {**out, **trailers}


def _announced(headers: Mapping[str, str], mode: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in headers.get("x-amz-trailer", "").split(",") if name.strip())
    if bool(names) != (mode != SIGNED):
        raise AwsError(
            "InvalidRequest",
            "The value specified in the x-amz-trailer header is not supported",
            400,
            why=f"{mode} with trailers {names}",
        )
    if len(names) > 1 or any(not name.startswith(checksums.PREFIX) for name in names):
        raise AwsError("InvalidRequest", "The value specified in the x-amz-trailer header is not supported", 400)
    if names and checksums.claims(headers):
        raise AwsError("InvalidRequest", "Expecting a single x-amz-checksum- header", 400)
    return names


def _decoded_length(headers: Mapping[str, str]) -> int:
    text = headers.get("x-amz-decoded-content-length")
    if text is None:
        raise AwsError("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)
    if not re.fullmatch(r"[0-9]{1,19}", text):
        raise AwsError("InvalidArgument", "x-amz-decoded-content-length must be a number", 400)
    return int(text)


def _verified(expected: str, given: str) -> str:
    if not hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")):
        raise AwsError(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
            403,
            why="the signature of a chunk or of the trailer",
        )
    return expected


def _incomplete(why: str) -> AwsError:
    return AwsError("IncompleteBody", "The request body terminated unexpectedly", 400, why=why)


def _bad_trailer(why: str) -> AwsError:
    return AwsError(
        "MalformedTrailerError",
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        400,
        why=why,
    )
