"""HTTP/1.1's two heads: one request's, read strictly, and one response's, written. No I/O here.

Rules: RFC 9112. What it calls ambiguous (two lengths, folded headers, bare line feeds, white space before a colon) is
refused and not repaired, because another reader of the same bytes might repair it differently.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

LARGEST_HEAD: Final = 64 * 1024  # bytes
MOST_HEADERS: Final = 200
LARGEST_BODY: Final = 5 * 1024**3  # bytes; S3's own limit for one PUT

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# A second one of these would make the request mean two things; any other repeated header is one comma-separated list.
_ONCE: Final = frozenset({"host", "content-length", "transfer-encoding", "authorization", "content-type", "expect"})


class BadRequest(Exception):
    """What came is no HTTP request that is answered here; `status` is the answer's."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, kw_only=True)
class Head:
    """One request without its body. `length` is None where the body is chunked."""

    method: str
    path: str  # raw, as on the request line
    query: str  # raw, without the question mark
    headers: dict[str, str]  # lower-case names, latin-1 text
    length: int | None
    keep_alive: bool
    expects_continue: bool  # the client waits for 100 before it sends the body


def parse(head: bytes) -> Head:
    """The request whose head, up to the empty line and without it, is `head`. Raises BadRequest."""
    first, *lines = head.split(b"\r\n")
    if len(lines) > MOST_HEADERS:
        raise BadRequest(431, f"more than {MOST_HEADERS} headers")
    method, path, query, version = _request_line(first)
    headers = _headers(lines)
    if version == b"HTTP/1.1" and "host" not in headers:
        raise BadRequest(400, "a Host header is required")
    connection = {word.strip() for word in headers.get("connection", "").lower().split(",")}
    return Head(
        method=method,
        path=path,
        query=query,
        headers=headers,
        length=_length(headers),
        keep_alive=version == b"HTTP/1.1" and "close" not in connection,
        expects_continue=version == b"HTTP/1.1" and _expects_continue(headers),
    )


def _request_line(line: bytes) -> tuple[str, str, str, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not _TARGET.fullmatch(parts[1]):
        raise BadRequest(400, "malformed request line")
    method, target, version = parts
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        raise BadRequest(505, "HTTP/1.1 is spoken here")
    path, _, query = target.decode("latin-1").partition("?")
    if not path.startswith("/"):
        scheme, separator, rest = path.partition("://")  # the absolute form, as a proxy is spoken to
        if not separator or scheme.lower() not in {"http", "https"}:
            raise BadRequest(400, "malformed request target")
        path = "/" + rest.partition("/")[2]
    return method.decode("ascii"), path, query, version


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        raw, separator, value = line.partition(b":")
        if not separator or not _TOKEN.fullmatch(raw) or _CONTROL.search(value):
            raise BadRequest(400, "malformed header")
        name = raw.decode("ascii").lower()
        text = value.strip(b" \t").decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise BadRequest(400, f"more than one {name} header")
            text = f"{headers[name]},{text}"
        headers[name] = text
    return headers


def _length(headers: dict[str, str]) -> int | None:
    coding, text = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if text is not None:
            raise BadRequest(400, "both content-length and transfer-encoding")
        if coding.lower() != "chunked":
            raise BadRequest(501, "no transfer-encoding but chunked is read here")
        return None
    if text is None:
        return 0
    if not (text.isascii() and text.isdecimal()):
        raise BadRequest(400, "malformed content-length")
    if len(text) > 15 or int(text) > LARGEST_BODY:
        raise BadRequest(413, f"a body has at most {LARGEST_BODY} bytes")
    return int(text)


def _expects_continue(headers: dict[str, str]) -> bool:
    expect = headers.get("expect", "").lower()
    if expect not in {"", "100-continue"}:
        raise BadRequest(417, "no expectation but 100-continue is met here")
    return bool(expect)


def chunk_size(line: bytes) -> int:
    """The size a chunk's first line tells, its extensions left aside. Raises BadRequest."""
    text = line.partition(b";")[0].rstrip(b" \t")
    if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", text):
        raise BadRequest(400, "malformed chunk")
    return int(text, 16)


def render(status: int, headers: Iterable[tuple[str, str]], *, close: bool) -> bytes:
    """A response's head with its empty line. A line break in a value becomes a space: no value can begin a new header."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
    dated = False
    for name, value in headers:
        lines.append(f"{name}: {value}" if value.isprintable() else f"{name}: {_one_line(value)}")
        dated = dated or name.lower() == "date"
    if not dated:
        lines.append(f"Date: {_date(int(time.time()))}")
    if close:
        lines.append("Connection: close")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


def _one_line(value: str) -> str:
    return re.sub(r"[\x00-\x08\x0a-\x1f\x7f]", " ", value)


@lru_cache(maxsize=64)
def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
