"""One connection's life: TLS or not, one request after another, and a limit to everything a client can make us wait for.

http1.Reader reads what comes; this is its socket and its clock.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from towpath.sandbox import http1
from towpath.sandbox.http1 import END, BadRequest, Head, Reader
from towpath.sandbox.wire import Body, Request, Response

SLICE: Final = 5.0  # seconds one read waits before the deadline is looked at; also what a deadline may be missed by
IDLE: Final = 75.0  # seconds a connection may be silent between requests, and before the first
HEAD_TIME: Final = 10.0  # seconds from a head's first byte to its last; and for a TLS handshake
PACE_TIME: Final = 60.0  # seconds for each PACE_BYTES of a body, either way
PACE_BYTES: Final = 1024 * 1024
CHUNK: Final = 256 * 1024  # bytes of a body asked of the socket at once
LITTLE: Final = 16 * 1024  # bytes asked for where a head is to come
JOINED: Final = 64 * 1024  # bytes; a body up to this goes out in one piece with its head
TLS_HELLO: Final = b"\x16"  # the first byte of a TLS connection (RFC 8446, section 5.1); no HTTP method begins so
# What a read or a write that waited for SLICE raises: a plain socket's by the system, a TLS one's by Python.
_LATE: Final = (BlockingIOError, TimeoutError)

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
        self._reader = Reader()
        self._deadline = 0.0
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
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The system's own timeouts: Python's would ask poll() before each read and each write.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._socket.setsockopt(
                socket.SOL_SOCKET, option, struct.pack("@ll", *divmod(int(SLICE * 1_000_000), 1_000_000))
            )
        if self._tls is None or self._first_byte() != TLS_HELLO:
            return
        wrapped = self._tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        self._socket = wrapped  # before the handshake, so that it can be shut meanwhile
        wrapped.settimeout(HEAD_TIME)
        wrapped.do_handshake()
        wrapped.settimeout(SLICE)

    def _first_byte(self) -> bytes:
        """Of a plain socket, where it stays to be read."""
        self._limit(IDLE)
        while True:
            try:
                return self._socket.recv(1, socket.MSG_PEEK)
            except _LATE:
                if time.monotonic() > self._deadline:
                    raise Disconnected from None

    def _one(self) -> bool:
        """Answer one request; whether another may follow."""
        self.is_idle, self.last_used = True, time.monotonic()
        try:
            head = self._head()
            if head is None:
                return False
            body = self._body(head)
        except BadRequest as error:
            self._refuse(error)
            return False
        try:
            response = self._handler(
                Request(
                    method=head.method,
                    path=head.path,
                    query=head.query,
                    headers=head.headers,
                    body=body,
                    remote=self._remote,
                    secure=isinstance(self._socket, ssl.SSLSocket),
                )
            )
            return self._send(response, head)
        except (Disconnected, OSError):
            raise
        except Exception as error:  # a handler that breaks, or a body that ends before its length
            sys.stderr.write(f"towpath sandbox: {head.method} request ended by {type(error).__name__}: {error}\n")
            return False
        finally:
            body.close()

    def _head(self) -> Head | None:
        """The next request's head; None where the client closed before one began."""
        events = self._reader.events
        self._limit(IDLE)
        while not events:
            if not self._feed(LITTLE):
                return None
            if self.is_idle:
                self.is_idle = False
                self._limit(HEAD_TIME)
        self.is_idle = False
        event = events.popleft()
        if isinstance(event, BadRequest):
            raise event
        assert isinstance(event, Head)
        return event

    def _body(self, head: Head) -> Body:
        events = self._reader.events
        if events and events[0] is END:
            events.popleft()
            return Body()
        if head.waits and not events:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Body(self._parts())

    def _parts(self) -> Iterator[bytes]:
        events = self._reader.events
        renewed = 0
        self._limit(PACE_TIME)
        while True:
            if not events and not self._feed(CHUNK):
                raise Disconnected
            while events:
                event = events.popleft()
                if event is END:
                    return
                if isinstance(event, BadRequest):
                    raise event
                assert isinstance(event, bytes)
                renewed += len(event)
                yield event
            if renewed >= PACE_BYTES:
                renewed = 0
                self._limit(PACE_TIME)

    def _send(self, response: Response, request: Head) -> bool:
        """Write the response; whether the connection can carry another request."""
        keep = request.keep_alive and not self._closing
        body = response.body
        silent = request.method == "HEAD" or response.status in {204, 304}
        told = response.header("content-length")
        if isinstance(body, bytes) and not (silent and told is not None):
            told = str(len(body))
        headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        chunked = False
        if told is not None:
            if response.status != 204 and not (response.status == 304 and told == "0"):  # RFC 9110, section 8.6
                headers.append(("Content-Length", told))
        elif not silent and request.newest:
            headers.append(("Transfer-Encoding", "chunked"))
            chunked = True
        else:
            keep = keep and silent  # the end of the connection is the end of the body
        head = http1.response(response.status, headers, close=not keep)
        if isinstance(body, bytes):
            if silent:
                self._write(head)
            elif len(body) <= JOINED:
                self._write(head + body)
            else:
                self._write(head)
                self._write(body)
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
                self._write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if length is not None and sent < length:
            raise ValueError(f"a body of {sent} bytes where {length} were told")
        if chunked:
            self._write(b"0\r\n\r\n")

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            piece, rest = rest[:PACE_BYTES], rest[PACE_BYTES:]
            deadline = time.monotonic() + PACE_TIME
            while piece:
                with suppress(*_LATE):
                    piece = piece[self._socket.send(piece) :]
                if piece and time.monotonic() > deadline:
                    raise Disconnected

    def _refuse(self, error: BadRequest) -> None:
        text = f"{error.words}\n".encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
        self._write(http1.response(error.status, headers, close=True) + text)
        # Closed with bytes unread, a socket is reset, and the client may never see the answer: read on for a moment.
        self._socket.settimeout(1.0)
        socket.socket.shutdown(self._socket, socket.SHUT_WR)
        deadline = time.monotonic() + 2
        while self._socket.recv(CHUNK) and time.monotonic() < deadline:
            pass

    def _feed(self, most: int) -> bool:
        """Some more bytes for the reader; False where the client will send no more. Raises Disconnected when they are late."""
        while True:
            try:
                part = self._socket.recv(most)
            except _LATE:
                part = None
            if time.monotonic() > self._deadline:
                raise Disconnected
            if part is not None:
                self._reader.feed(part)
                return bool(part)

    def _limit(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
