"""The gate on a socket: cheroot's threads, and a gateway that hands the request over as it came, unparsed.

WSGI would decode the path and fold header names; a signature is over the raw ones.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, Final

from cheroot.server import Gateway, HTTPServer

from towpath.sandbox.errors import SandboxError
from towpath.sandbox.wire import Body, Request, Response

THREADS: Final = 16
LARGEST_BODY: Final = 5 * 1024**3  # bytes; S3's own limit for one PUT
LARGEST_HEADERS: Final = 64 * 1024  # bytes

Handler = Callable[[Request], Response]


class Server:
    """An HTTP listener in front of one handler. `start` returns when it listens; `stop` when nothing of it runs."""

    def __init__(self, handler: Handler, *, host: str, port: int) -> None:
        self._server = HTTPServer(
            (host, port),
            gateway=_gateway(handler),
            minthreads=THREADS,
            maxthreads=THREADS,
            server_name="towpath",
        )
        self._server.max_request_body_size = LARGEST_BODY
        self._server.max_request_header_size = LARGEST_HEADERS
        self._server.protocol = "HTTP/1.1"
        self._server.nodelay = True
        self._server.request_queue_size = 256
        self._server.shutdown_timeout = 2
        self._server.keep_alive_conn_limit = 256
        self._thread: threading.Thread | None = None
        self._address = (host, port)

    @property
    def port(self) -> int:
        return int(self._server.bind_addr[1])

    def start(self) -> None:
        try:
            self._server.prepare()
        except OSError as error:
            host, port = self._address
            raise SandboxError(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                where="towpath sandbox",
                todo="choose another port with --port, or --port 0 for a free one, and an address of this machine with --listen",
            ) from None
        self._thread = threading.Thread(target=self._server.serve, name="sandbox-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self._server.stop()
            self._thread.join(timeout=10)
            self._thread = None


def _gateway(handler: Handler) -> type[Gateway]:
    class Raw(Gateway):
        def respond(self) -> None:
            request = _request(self.req)
            try:
                response = handler(request)
                _send(self.req, response, head=request.method == "HEAD")
            finally:
                request.body.close()

    return Raw


def _request(raw: Any) -> Request:
    target = (raw.uri if isinstance(raw.uri, bytes) else bytes(raw.path)).decode("latin-1")
    path, _, query = target.partition("?")
    if "://" in path:  # the absolute form, as a proxy is spoken to
        path = "/" + path.partition("://")[2].partition("/")[2]
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw.inheaders.items()}
    remote = raw.conn.remote_addr or "127.0.0.1"
    return Request(
        method=raw.method.decode("latin-1"),
        path=path,
        query=query,
        headers=headers,
        body=Body(_body(raw.rfile)),
        remote=remote,
    )


def _body(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(256 * 1024):
        yield chunk


def _send(raw: Any, response: Response, *, head: bool) -> None:
    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = "Unknown"
    raw.status = f"{response.status} {reason}".encode("latin-1")
    headers = list(response.headers)
    body = response.read()
    bodiless = response.status in {204, 304}  # RFC 9110, section 8.6: these carry no Content-Length
    if not bodiless and not any(name.lower() == "content-length" for name, _ in headers):
        headers.append(("Content-Length", str(len(body))))
    if not any(name.lower() == "date" for name, _ in headers):
        headers.append(("Date", format_datetime(datetime.now(UTC), usegmt=True)))
    raw.outheaders = [(name.encode("latin-1", "replace"), value.encode("utf-8")) for name, value in headers]
    raw.sent_headers = True
    raw.send_headers()
    if body and not head and not bodiless:
        raw.write(body)


def is_loopback(host: str) -> bool:
    """Whether everything `host` resolves to is a loopback address."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return bool(found) and all(str(item[4][0]).startswith("127.") or item[4][0] == "::1" for item in found)
