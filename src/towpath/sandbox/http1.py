"""What is asked of a request's head beyond RFC 9112, which h11 reads: one meaning, and sizes that are answered here. No I/O."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import h11

LARGEST_HEAD: Final = 64 * 1024  # bytes
MOST_HEADERS: Final = 200
LARGEST_BODY: Final = 5 * 1024**3  # bytes; S3's own limit for one PUT

# A second one of these would make the request mean two things; any other repeated header is one comma-separated list.
_ONCE: Final = frozenset({"host", "authorization", "content-type", "expect"})


class BadRequest(Exception):
    """What came is no HTTP request that is answered here; `status` is the answer's."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, kw_only=True)
class Head:
    """One request without its body."""

    method: str
    path: str  # raw, as on the request line
    query: str  # raw, without the question mark
    headers: dict[str, str]  # lower-case names, latin-1 text


def read(event: h11.Request) -> Head:
    """The request that h11 read. Raises BadRequest."""
    if event.http_version not in {b"1.0", b"1.1"}:
        raise BadRequest(505, "HTTP/1.1 is spoken here")
    path, query = _target(event.target)
    return Head(method=event.method.decode("ascii"), path=path, query=query, headers=_headers(event))


def _target(raw: bytes) -> tuple[str, str]:
    path, _, query = raw.decode("latin-1").partition("?")
    if not path.startswith("/"):
        scheme, separator, rest = path.partition("://")  # the absolute form, as a proxy is spoken to
        if not separator or scheme.lower() not in {"http", "https"}:
            raise BadRequest(400, "malformed request target")
        path = "/" + rest.partition("/")[2]
    return path, query


def _headers(event: h11.Request) -> dict[str, str]:
    if len(event.headers) > MOST_HEADERS:
        raise BadRequest(431, f"more than {MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for raw, value in event.headers:
        name, text = raw.decode("ascii"), value.decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise BadRequest(400, f"more than one {name} header")
            text = f"{headers[name]},{text}"
        headers[name] = text
    if int(headers.get("content-length", "0")) > LARGEST_BODY:
        raise too_large()
    if "transfer-encoding" in headers and "content-length" in headers:  # h11 lets the first win (RFC 9112, section 6.3)
        raise BadRequest(400, "both content-length and transfer-encoding")
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadRequest(417, "no expectation but 100-continue is met here")
    return headers


def too_large() -> BadRequest:
    return BadRequest(413, f"a body has at most {LARGEST_BODY} bytes")


def response(status: int, headers: Iterable[tuple[str, str]]) -> h11.Response:
    """A response's head, dated. A line break in a value becomes a space: no value can begin a new header."""
    found = [(name.encode(), _one_line(value).encode("utf-8", "surrogateescape")) for name, value in headers]
    if not any(name.lower() == b"date" for name, _ in found):
        found.append((b"Date", _date(int(time.time())).encode()))
    return h11.Response(status_code=status, headers=found, reason=_phrase(status))


def _one_line(value: str) -> str:
    return value if value.isprintable() else re.sub(r"[\x00-\x1f\x7f]", " ", value).strip(" \t")


@lru_cache(maxsize=64)
def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
