"""The gate on a socket: one listener for http and TLS, one thread for each connection.

A thread of its own means that a silent, slow or shaking-hands client holds up nobody else; when there are too many
connections the one idle longest goes. WSGI would decode the path and fold header names; a signature is over the raw
ones, so the request is handed over as it came.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Final

from towpath.sandbox.connection import Connection, Handler
from towpath.sandbox.errors import SandboxError

MOST_CONNECTIONS: Final = 512  # at once
BACKLOG: Final = 256
MOMENT: Final = 0.5  # seconds a new connection waits for room
STOPPING: Final = 2.0  # seconds that requests under way get to end


class Server:
    """An HTTP listener in front of one handler. `start` returns when it listens; `stop` when nothing of it runs."""

    def __init__(self, handler: Handler, *, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._address = (host, port)
        self._tls = tls
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._connections: dict[Connection, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = False

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1]) if self._listener else self._address[1]

    def start(self) -> None:
        host, port = self._address
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            self._listener = socket.create_server(
                (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=host == "::"
            )
        except OSError as error:
            raise SandboxError(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                where="towpath sandbox",
                todo="choose another port with --port, or --port 0 for a free one, and an address of this machine with --listen",
            ) from None
        self._listener.settimeout(1)  # where shutting a listener does not wake its accept, this does
        self._accepting = threading.Thread(
            target=self._accept, args=(self._listener,), name="sandbox-server", daemon=True
        )
        self._accepting.start()

    def stop(self) -> None:
        if self._listener is None or self._accepting is None:
            return
        self._stopping = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(timeout=5)
        self._listener.close()
        self._listener = None
        for connection in self._open():
            connection.finish()
        self._join(STOPPING)
        for connection in self._open():
            connection.shut()
        self._join(1)

    def _open(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._connections.values())
        for thread in threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping:
            try:
                raw, address = listener.accept()
            except TimeoutError:
                continue
            except OSError:  # shut, or no descriptor left for a moment
                if not self._stopping:
                    time.sleep(0.05)
                continue
            remote = str(address[0]).partition("%")[0].removeprefix("::ffff:")
            connection = Connection(raw, remote=remote, handler=self._handler, tls=self._tls)
            thread = threading.Thread(target=self._serve, args=(connection,), name="sandbox-connection", daemon=True)
            if not self._admit(connection, thread):
                raw.close()
                continue
            try:
                thread.start()
            except RuntimeError:  # the machine gives no more threads
                with self._lock:
                    del self._connections[connection]
                raw.close()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.serve()
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def _admit(self, connection: Connection, thread: threading.Thread) -> bool:
        """Count one more in. A client that has just read its answer may not count as idle yet: it gets a moment."""
        deadline = time.monotonic() + MOMENT
        while True:
            with self._lock:
                if len(self._connections) < MOST_CONNECTIONS or self._evict():
                    self._connections[connection] = thread
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)

    def _evict(self) -> bool:
        """Close the connection that has been idle longest; whether there was one."""
        idle = [connection for connection in self._connections if connection.is_idle]
        if not idle:
            return False
        oldest = min(idle, key=lambda connection: connection.last_used)
        del self._connections[oldest]
        oldest.shut()
        return True


def is_loopback(host: str) -> bool:
    """Whether everything `host` resolves to is a loopback address."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return bool(found) and all(str(item[4][0]).startswith("127.") or item[4][0] == "::1" for item in found)
