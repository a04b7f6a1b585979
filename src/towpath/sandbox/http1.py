"""HTTP/1.1 without a socket: requests as llhttp reads them, with what is asked beyond RFC 9112, and the heads of responses.

llhttp (by httptools) reads strictly: what RFC 9112 calls ambiguous (two lengths, folded headers, bare line feeds, white space before a
colon) ends the connection and is not repaired, because another reader of the same bytes might repair it differently.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import httptools

LARGEST_HEAD: Final = 64 * 1024  # bytes; of trailers too
MOST_HEADERS: Final = 200
LARGEST_BODY: Final = 5 * 1024**3  # bytes; S3's own limit for one PUT

# A second one of these would make the request mean two things; any other repeated header is one comma-separated list.
_ONCE: Final = frozenset({"host", "authorization", "content-type", "expect", "content-length", "transfer-encoding"})
# What can be in one: a name or an address, and a port (RFC 3986, section 3.2).
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class BadRequest(Exception):
    """What came is no HTTP request that is answered here; `status` is the answer's."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """One request without its body."""

    method: str
    path: str  # raw, as on the request line
    query: str  # raw, without the question mark
    headers: dict[str, str]  # lower-case names, latin-1 text
    newest: bool  # HTTP/1.1 and not 1.0
    keep_alive: bool

    @property
    def waits(self) -> bool:
        """The client sends no body before it is told to (RFC 9110, section 10.1.1)."""
        return self.newest and "expect" in self.headers


class End:
    """A request's end, in its place among the events."""


END: Final = End()
Event = Head | bytes | End | BadRequest


class Reader:
    """One connection's requests: bytes go in by `feed`, `events` come out in order. After a BadRequest nothing follows.

    A request is a Head, the bytes of its body in parts, and END.
    """

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._begin()
        self._broken = False
        self._length = 0  # of the body so far
        self._waiting = 0  # bytes fed since the last event; llhttp keeps a header until it is whole
        self._resumed = False

    def _begin(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._size = 0  # bytes of the head so far, or of the trailers
        self._in_body = self._upgrade = False

    def feed(self, data: bytes) -> None:
        while data and not self._broken:
            self._waiting += len(data)
            try:
                self._parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._go_on_without_upgrade()
            except httptools.HttpParserError as error:
                self._refuse(BadRequest(400, str(error)))
        if self._waiting > LARGEST_HEAD:
            self._refuse(_large_head())

    def _event(self, event: Event) -> None:
        if not self._broken:
            self.events.append(event)
        self._waiting = 0

    def _refuse(self, error: BadRequest) -> None:
        self._event(error)
        self._broken = True

    def _go_on_without_upgrade(self) -> None:
        """No other protocol is spoken here (RFC 9110, section 7.8: it may be ignored); llhttp stops where one would begin."""
        framing = [pair for pair in self._headers if pair[0].lower() in {b"content-length", b"transfer-encoding"}]
        self._begin()
        if self._broken:
            return
        if framing:  # the body is still to come: another reader is told of it and of nothing else
            self._resumed = True
            self._parser.feed_data(b"PUT / HTTP/1.1\r\n%b: %b\r\n\r\n" % framing[0])
        else:
            self._event(END)

    # --- called by llhttp --------------------------------------------------------------------------------------------

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._grow(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # else a trailer, which is read and left aside
            self._headers.append((name, value))
        self._grow(len(name) + len(value) + 4)

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > LARGEST_HEAD and not self._broken:
            self._refuse(_large_head())

    def on_headers_complete(self) -> None:
        self._in_body, self._size, self._length = True, 0, 0
        self._upgrade = self._parser.should_upgrade()
        if self._resumed or self._broken:
            return
        try:
            head = _head(self._parser, self._target, self._headers)
        except BadRequest as error:
            self._refuse(error)
        else:
            self._event(head)

    def on_body(self, part: bytes) -> None:
        self._length += len(part)
        if self._length > LARGEST_BODY and not self._broken:
            self._refuse(_too_large())
        self._event(part)

    def on_chunk_header(self) -> None:
        self._waiting = 0

    def on_message_complete(self) -> None:
        if self._upgrade:
            return  # llhttp looks for no body where another protocol may follow
        self._target, self._headers, self._size = b"", [], 0
        self._in_body = self._resumed = False
        self._event(END)


def _head(parser: httptools.HttpRequestParser, target: bytes, raw: list[tuple[bytes, bytes]]) -> Head:
    version = parser.get_http_version()
    if version not in {"1.1", "1.0"}:
        raise BadRequest(505, "HTTP/1.1 is spoken here")
    headers = _headers(raw)
    newest = version == "1.1"
    if newest and "host" not in headers:
        raise BadRequest(400, "a Host header is required")
    if not _HOST.fullmatch(headers.get("host", "")):
        raise BadRequest(400, "malformed Host header")  # RFC 9112, section 3.2
    if "transfer-encoding" in headers:
        if not newest:
            raise BadRequest(400, "HTTP/1.0 has no transfer-encoding")  # RFC 9112, section 6.1
        if headers["transfer-encoding"].lower() != "chunked":
            raise BadRequest(501, "no transfer-encoding but chunked is read here")
    if int(headers.get("content-length", "0")) > LARGEST_BODY:
        raise _too_large()
    if headers.get("expect", "100-continue").lower() != "100-continue":
        raise BadRequest(417, "no expectation but 100-continue is met here")
    path, query = _path(target, headers.get("host", ""))
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        newest=newest,
        keep_alive=newest and parser.should_keep_alive(),
    )


def _path(target: bytes, host: str) -> tuple[str, str]:
    path, _, query = target.decode("latin-1").partition("?")
    if not path.startswith("/"):
        scheme, separator, rest = path.partition("://")  # the absolute form, as a proxy is spoken to
        if not separator or scheme.lower() not in {"http", "https"}:
            raise BadRequest(400, "malformed request target")
        authority, _, path = rest.partition("/")
        if (
            not authority or authority.lower() != host.lower()
        ):  # RFC 9112, section 3.2.2 has the target win, and the Host header is what was signed
            raise BadRequest(400, "the target names another host than the Host header")
        path = "/" + path
    return path, query


def _headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    if len(raw) > MOST_HEADERS:
        raise BadRequest(431, f"more than {MOST_HEADERS} headers")
    headers: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("ascii").lower(), value.rstrip(b" \t").decode("latin-1")
        if name in headers:
            if name in _ONCE:
                raise BadRequest(400, f"more than one {name} header")
            text = f"{headers[name]},{text}"
        headers[name] = text
    return headers


def _large_head() -> BadRequest:
    return BadRequest(431, f"a request's head has at most {LARGEST_HEAD} bytes")


def _too_large() -> BadRequest:
    return BadRequest(413, f"a body has at most {LARGEST_BODY} bytes")


def response(status: int, headers: Iterable[tuple[str, str]], *, close: bool) -> bytes:
    """A response's head with its empty line, dated. A line break in a value becomes a space, and a name that is none is left out: nothing can begin a new header."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
    dated = False
    for name, value in headers:
        if not is_name(name):
            continue  # it would be read as something else; nobody may put one here, see s3/rules.py
        lines.append(f"{name}: {value}" if value.isprintable() else f"{name}: {_one_line(value)}")
        dated = dated or name.lower() == "date"
    if not dated:
        lines.append(f"Date: {_date(int(time.time()))}")
    if close:
        lines.append("Connection: close")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape")


@lru_cache(maxsize=1024)
def is_name(text: str) -> bool:
    """Whether a header can have this name (RFC 9110, section 5.1)."""
    return _NAME.fullmatch(text) is not None


def _one_line(value: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", value).strip(" \t")


@lru_cache(maxsize=64)
def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
