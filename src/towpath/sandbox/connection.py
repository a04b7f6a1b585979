"""One connection's life: TLS or not, one request after another, and a limit to everything a client can make us wait for."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from towpath.sandbox import http1
from towpath.sandbox.http1 import LARGEST_BODY, LARGEST_HEAD, BadRequest, Head
from towpath.sandbox.wire import Body, Request, Response

SLICE: Final = 5.0  # seconds one read waits before the deadline is looked at; also what a deadline may be missed by
IDLE: Final = 75.0  # seconds a connection may be silent between requests, and before the first
HEAD_TIME: Final = 10.0  # seconds from a head's first byte to its last; and for a TLS handshake
PACE_TIME: Final = 60.0  # seconds for each PACE_BYTES of a body, either way
PACE_BYTES: Final = 1024 * 1024
CHUNK: Final = 256 * 1024  # bytes of a body asked of the socket at once
LITTLE: Final = 16 * 1024  # bytes asked for where a head or a chunk's line is to come
JOINED: Final = 64 * 1024  # bytes; a body up to this goes out in one piece with its head
TLS_HELLO: Final = b"\x16"  # the first byte of a TLS connection (RFC 8446, section 5.1); no HTTP method begins so

Handler = Callable[[Request], Response]


class Disconnected(Exception):
    """The client went away, or kept us waiting for too long."""


class Connection:
    """One client's socket. `serve` runs in a thread of its own; `is_idle` and `shut` are for the server's."""

    def __init__(self, raw: socket.socket, *, remote: str, handler: Handler, tls: ssl.SSLContext | None) -> None:
        self._socket = raw
        self._remote = remote
        self._handler = handler
        self._tls = tls
        self._reader = Reader(raw)
        self._closing = False
        self.last_used = time.monotonic()
        self.is_idle = True  # nothing of a request has been read

    def shut(self) -> None:
        """End it from another thread: whatever it waits for returns at once."""
        self._closing = True
        with suppress(OSError):
            # The plain socket's own method: an SSLSocket's would take the TLS state away under the reading thread.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def finish(self) -> None:
        """End it once the request under way is answered."""
        self._closing = True
        if self.is_idle:
            self.shut()

    def serve(self) -> None:
        try:
            self._open()
            while not self._closing and self._one():
                pass
        except (Disconnected, OSError):
            pass  # nobody is there to be told
        finally:
            self._socket.close()

    def _open(self) -> None:
        self._socket.settimeout(SLICE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None or self._reader.peek(IDLE) != TLS_HELLO:
            return
        wrapped = self._tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = wrapped  # before the handshake, so that it can be shut meanwhile
        wrapped.settimeout(HEAD_TIME)
        wrapped.do_handshake()
        wrapped.settimeout(SLICE)
        self._reader = Reader(self._socket)

    def _one(self) -> bool:
        """Answer one request; whether another may follow."""
        self.is_idle, self.last_used = True, time.monotonic()
        try:
            head = self._reader.head(self._begun)
            if head is None:
                return False
            parsed = http1.parse(head)
            body = self._body(parsed)
        except BadRequest as error:
            self._refuse(error)
            return False
        try:
            response = self._handler(
                Request(
                    method=parsed.method,
                    path=parsed.path,
                    query=parsed.query,
                    headers=parsed.headers,
                    body=body,
                    remote=self._remote,
                    secure=isinstance(self._socket, ssl.SSLSocket),
                )
            )
            return self._send(response, parsed)
        except (Disconnected, OSError):
            raise
        except Exception as error:  # a handler that breaks, or a body that ends before its length
            sys.stderr.write(f"towpath sandbox: {parsed.method} request ended by {type(error).__name__}: {error}\n")
            return False
        finally:
            body.close()

    def _begun(self) -> None:
        self.is_idle = False

    def _body(self, head: Head) -> Body:
        if head.length == 0:
            return Body()
        if head.expects_continue:
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Body(self._reader.chunked() if head.length is None else self._reader.sized(head.length))

    def _send(self, response: Response, request: Head) -> bool:
        """Write the response; whether the connection can carry another."""
        keep = request.keep_alive and not self._closing
        body = response.body
        silent = request.method == "HEAD" or response.status in {204, 304}
        headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        told = response.header("content-length")
        chunked = False
        if response.status != 204 and (response.status != 304 or told is not None):  # RFC 9110, section 8.6
            if told is not None and (silent or not isinstance(body, bytes)):
                headers.append(("Content-Length", told))
            elif isinstance(body, bytes):
                headers.append(("Content-Length", str(len(body))))
            elif keep:
                headers.append(("Transfer-Encoding", "chunked"))
                chunked = not silent
        head = http1.render(response.status, headers, close=not keep)
        if isinstance(body, bytes):
            if silent:
                self._write(head)
            elif len(body) <= JOINED:
                self._write(head + body)
            else:
                self._write(head, body)
            return keep
        try:
            self._write(head)
            if not silent:
                self._stream(body, length=None if told is None else int(told), chunked=chunked)
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()
        return keep

    def _stream(self, body: Iterator[bytes], *, length: int | None, chunked: bool) -> None:
        sent = 0
        for part in body:
            sent += len(part)
            if length is not None and sent > length:
                raise ValueError(f"a body of more than its {length} bytes")
            if part:
                self._write(*((f"{len(part):x}\r\n".encode(), part, b"\r\n") if chunked else (part,)))
        if length is not None and sent < length:
            raise ValueError(f"a body of {sent} bytes where {length} were told")
        if chunked:
            self._write(b"0\r\n\r\n")

    def _write(self, *parts: bytes) -> None:
        for part in parts:
            rest = memoryview(part)
            while rest:
                piece, rest = rest[:PACE_BYTES], rest[PACE_BYTES:]
                deadline = time.monotonic() + PACE_TIME
                while piece:
                    with suppress(TimeoutError):
                        piece = piece[self._socket.send(piece) :]
                    if piece and time.monotonic() > deadline:
                        raise Disconnected

    def _refuse(self, error: BadRequest) -> None:
        text = f"{error.words}\n".encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
        self._write(http1.render(error.status, headers, close=True) + text)
        # Closed with bytes unread, a socket is reset, and the client may never see the answer: read on for a moment.
        self._socket.settimeout(1.0)
        socket.socket.shutdown(self._socket, socket.SHUT_WR)
        deadline = time.monotonic() + 2
        while self._socket.recv(CHUNK) and time.monotonic() < deadline:
            pass


class Reader:
    """A socket's bytes, buffered. Raises Disconnected when the client closes early or is too slow."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = bytearray()
        self._deadline = 0.0
        self._allowance = 0  # bytes that may come before the deadline is set anew; 0: it is not

    def peek(self, wait: float) -> bytes:
        """The first byte of a plain socket, which stays there to be read."""
        deadline = time.monotonic() + wait
        while True:
            try:
                return self._source.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                if time.monotonic() > deadline:
                    raise Disconnected from None

    def head(self, begun: Callable[[], None]) -> bytes | None:
        """The next request's head, without its empty line; None where the client closed before one began."""
        if not self._buffer:
            self._limit(IDLE)
            if not self._more():
                return None
        begun()
        self._limit(HEAD_TIME)
        while self._buffer.startswith(b"\r\n"):  # RFC 9112, section 2.2: left over from the request before
            del self._buffer[:2]
        searched = 0
        while (end := self._buffer.find(b"\r\n\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 3)
            if len(self._buffer) > LARGEST_HEAD:
                break
            if not self._more():
                raise Disconnected
        if not 0 <= end <= LARGEST_HEAD:
            raise BadRequest(431, f"a request's head has at most {LARGEST_HEAD} bytes")
        head = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        return head

    def sized(self, length: int) -> Iterator[bytes]:
        """A body of `length` bytes."""
        self._limit(PACE_TIME, PACE_BYTES)
        yield from self._exactly(length)

    def chunked(self) -> Iterator[bytes]:
        """A body in chunks (RFC 9112, section 7.1); what follows as trailers is read and left aside."""
        self._limit(PACE_TIME, PACE_BYTES)
        total = 0
        while size := http1.chunk_size(self._line()):
            total += size
            if total > LARGEST_BODY:
                raise BadRequest(413, f"a body has at most {LARGEST_BODY} bytes")
            yield from self._exactly(size)
            if self._line():
                raise BadRequest(400, "malformed chunk")
        trailers = 0
        while line := self._line():
            trailers += len(line)
            if trailers > LARGEST_HEAD:
                raise BadRequest(431, f"trailers have at most {LARGEST_HEAD} bytes")

    def _exactly(self, length: int) -> Iterator[bytes]:
        if self._buffer and length:
            part = bytes(self._buffer[:length])
            del self._buffer[:length]
            length -= len(part)
            yield part
        while length:
            part = self._receive(min(length, CHUNK))
            if not part:
                raise Disconnected
            length -= len(part)
            yield part

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > LARGEST_HEAD:
                raise BadRequest(400, "malformed chunk")
            if not self._more():
                raise Disconnected
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _more(self) -> bool:
        part = self._receive(LITTLE)
        self._buffer += part
        return bool(part)

    def _limit(self, seconds: float, allowance: int = 0) -> None:
        self._deadline = time.monotonic() + seconds
        self._allowance = self._renewed = allowance
        self._seconds = seconds

    def _receive(self, most: int) -> bytes:
        while True:
            try:
                part = self._source.recv(most)
            except TimeoutError:
                part = None
            if time.monotonic() > self._deadline:
                raise Disconnected
            if part is not None:
                if self._renewed:
                    self._allowance -= len(part)
                    if self._allowance <= 0:
                        self._limit(self._seconds, self._renewed)
                return part
