"""One connection's life: TLS or not, one request after another, and a limit to everything a client can make us wait for.

h11 reads and writes HTTP/1.1; this is its socket and its clock.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import h11

from towpath.sandbox import http1
from towpath.sandbox.http1 import LARGEST_HEAD, BadRequest, Head
from towpath.sandbox.wire import Body, Request, Response

SLICE: Final = 5.0  # seconds one read waits before the deadline is looked at; also what a deadline may be missed by
IDLE: Final = 75.0  # seconds a connection may be silent between requests, and before the first
HEAD_TIME: Final = 10.0  # seconds from a head's first byte to its last; and for a TLS handshake
PACE_TIME: Final = 60.0  # seconds for each PACE_BYTES of a body, either way
PACE_BYTES: Final = 1024 * 1024
CHUNK: Final = 256 * 1024  # bytes of a body asked of the socket at once
LITTLE: Final = 16 * 1024  # bytes asked for where a head is to come
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
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
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
                self._http.start_next_cycle()
        except (Disconnected, OSError, h11.RemoteProtocolError):
            pass  # nobody is there to be told
        finally:
            self._socket.close()

    def _open(self) -> None:
        self._socket.settimeout(SLICE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
            except TimeoutError:
                if time.monotonic() > self._deadline:
                    raise Disconnected from None

    def _one(self) -> bool:
        """Answer one request; whether another may follow."""
        self.is_idle, self.last_used = True, time.monotonic()
        try:
            event = self._request()
            if event is None:
                return False
            head = http1.read(event)
            body = self._body()
        except BadRequest as error:
            self._refuse(error.status, error.words)
            return False
        except h11.RemoteProtocolError as error:
            self._refuse(error.error_status_hint, str(error))
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
            self._send(response, head)
            return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE
        except (Disconnected, OSError):
            raise
        except Exception as error:  # a handler that breaks, or a body that ends before its length
            sys.stderr.write(f"towpath sandbox: {head.method} request ended by {type(error).__name__}: {error}\n")
            return False
        finally:
            body.close()

    def _request(self) -> h11.Request | None:
        """The next request's head; None where the client closed before one began."""
        self._limit(IDLE)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self.is_idle = False
                return event
            if event is not h11.NEED_DATA:
                return None
            self._feed(LITTLE)
            if self.is_idle:
                self.is_idle = False
                self._limit(HEAD_TIME)

    def _body(self) -> Body:
        if self._http.they_are_waiting_for_100_continue:
            self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
        return Body(self._parts())

    def _parts(self) -> Iterator[bytes]:
        total, renewed = 0, 0
        self._limit(PACE_TIME)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.EndOfMessage):
                return
            if isinstance(event, h11.Data):
                total += len(event.data)
                if total > http1.LARGEST_BODY:
                    raise http1.too_large()
                if total - renewed >= PACE_BYTES:
                    renewed = total
                    self._limit(PACE_TIME)
                yield bytes(event.data)
            elif event is h11.NEED_DATA:
                self._feed(CHUNK)
            else:
                raise Disconnected

    def _send(self, response: Response, request: Head) -> None:
        silent = request.method == "HEAD" or response.status in {204, 304}
        headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        told = response.header("content-length")
        body = response.body
        if isinstance(body, bytes) and not (silent and told is not None):
            told = str(len(body))
        if (
            told is not None and response.status != 204 and not (response.status == 304 and told == "0")
        ):  # RFC 9110, section 8.6
            headers.append(("Content-Length", told))
        if self._closing:
            headers.append(("Connection", "close"))
        head = self._http.send(http1.response(response.status, headers))
        try:
            if silent or isinstance(body, bytes):
                data = b"" if silent or not isinstance(body, bytes) else body
                self._write(
                    head, self._http.send(h11.Data(data=data)) if data else None, self._http.send(h11.EndOfMessage())
                )
                return
            self._write(head)
            for part in body:
                self._write(self._http.send(h11.Data(data=part)))
            self._write(self._http.send(h11.EndOfMessage()))
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    def _write(self, *parts: bytes | None) -> None:
        joined = b"".join(part for part in parts if part)
        rest = memoryview(joined)
        while rest:
            piece, rest = rest[:PACE_BYTES], rest[PACE_BYTES:]
            deadline = time.monotonic() + PACE_TIME
            while piece:
                with suppress(TimeoutError):
                    piece = piece[self._socket.send(piece) :]
                if piece and time.monotonic() > deadline:
                    raise Disconnected

    def _refuse(self, status: int, words: str) -> None:
        text = f"{words}\n".encode()
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), ("Connection", "close")]
        self._write(self._http.send(http1.response(status, headers)), self._http.send(h11.Data(data=text)))
        # Closed with bytes unread, a socket is reset, and the client may never see the answer: read on for a moment.
        self._socket.settimeout(1.0)
        socket.socket.shutdown(self._socket, socket.SHUT_WR)
        deadline = time.monotonic() + 2
        while self._socket.recv(CHUNK) and time.monotonic() < deadline:
            pass

    def _feed(self, most: int) -> None:
        """Some more bytes for h11. Raises Disconnected when they are late."""
        while True:
            try:
                part = self._socket.recv(most)
            except TimeoutError:
                part = None
            if time.monotonic() > self._deadline:
                raise Disconnected
            if part is not None:
                self._http.receive_data(part)
                return

    def _limit(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
