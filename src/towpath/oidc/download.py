"""One GET, bounded by the clock on the wall and in size.

The HTTP client's own limits are per operation: a server that sends a byte every four seconds meets none of them, a name with
twenty addresses gets each limit twenty times, and looking the name up has no limit at all. So the request runs in a thread
of its own. When its time is over, its socket is shut and the caller goes on; the thread ends by itself.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from towpath.oidc.errors import shown

if TYPE_CHECKING:
    import ssl

HEADERS: Final = {
    "Accept": "application/json, application/jwk-set+json, */*;q=0.1",
    "Accept-Encoding": "identity",
    "User-Agent": "towpath",
}


class DownloadError(Exception):
    """Nothing usable came; the message is the reason. `certificate`: TLS was reached, and not believed."""

    def __init__(self, reason: str, *, certificate: bool = False) -> None:
        super().__init__(reason)
        self.certificate = certificate


def download(url: str, *, context: ssl.SSLContext, timeout: float, limit: int) -> bytes:
    """The body of a 200 answer, at most `limit` bytes of it, within `timeout` seconds. Raises DownloadError.

    Anonymous: no credentials, cookies, proxies or netrc of the environment; redirects are not followed.
    """
    attempt = _Attempt(url, context=context, timeout=timeout, limit=limit)
    thread = threading.Thread(target=attempt.run, name=f"fetch {url[:80]}", daemon=True)
    thread.start()
    try:
        thread.join(timeout)
    finally:
        attempt.end()
    if attempt.error is not None:
        raise attempt.error
    if attempt.body is None:
        raise DownloadError(f"no complete answer within {timeout:g} s")
    return attempt.body


class _Attempt:
    """The request and, once it is connected, its socket, so that another thread can end it."""

    def __init__(self, url: str, *, context: ssl.SSLContext, timeout: float, limit: int) -> None:
        self.body: bytes | None = None
        self.error: DownloadError | None = None
        self._url = url
        self._context = context
        self._timeout = timeout
        self._limit = limit
        self._lock = threading.Lock()
        self._ended = False
        self._socket: socket.socket | None = None

    def run(self) -> None:
        import httpx2

        try:
            body, error = self._get(), None
        except DownloadError as refusal:
            body, error = None, refusal
        except httpx2.TimeoutException:
            body, error = None, DownloadError(f"no complete answer within {self._timeout:g} s")
        except Exception as failure:  # whatever the client met is the reason; a thread must not die of it
            reason = str(failure) or type(failure).__name__
            body, error = None, DownloadError(reason, certificate="CERTIFICATE_VERIFY_FAILED" in reason)
        with self._lock:
            if not self._ended:
                self.body, self.error = body, error

    def end(self) -> None:
        """From here on nothing is read; what the thread still finds is dropped."""
        with self._lock:
            self._ended = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def _get(self) -> bytes:
        import httpx2

        body = bytearray()
        with (
            httpx2.Client(
                verify=self._context, trust_env=False, follow_redirects=False, timeout=self._timeout, headers=HEADERS
            ) as client,
            client.stream("GET", self._url, extensions={"trace": self._watch}) as answer,
        ):
            if answer.is_redirect:
                target = shown(answer.headers.get("location"))
                raise DownloadError(f"it redirects ({answer.status_code}) to {target}, and redirects are not followed")
            if answer.status_code != 200:
                raise DownloadError(f"it answered {answer.status_code}")
            for chunk in answer.iter_raw():
                body += chunk
                if len(body) > self._limit:
                    raise DownloadError(f"the answer is larger than {self._limit} bytes")
        return bytes(body)

    def _watch(self, event: str, found: Mapping[str, Any]) -> None:
        """The client's trace: where the socket is seen, and where an ended attempt stops before its next step."""
        with self._lock:
            if event in {"connection.connect_tcp.complete", "connection.start_tls.complete"}:
                self._socket = found["return_value"].get_extra_info("socket")
            # Closing is a step too, and the one that an ended attempt still has to make.
            if self._ended and event.endswith(".started") and "close" not in event:
                raise DownloadError("the time is over")
