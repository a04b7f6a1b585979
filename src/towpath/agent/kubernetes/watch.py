"""One watch: a list, then every change, for as long as it is wanted; opened again where it was when the connection ends.

Source: "Kubernetes API Concepts", efficient detection of changes: resourceVersion, bookmarks, and 410 Gone, after which one lists anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from towpath.errors import MissingPermissionError, WorldError
from towpath.kubernetes.connection import ClusterUnreachable, Connection

FIRST_WAIT: Final = 0.2  # seconds before a lost watch is opened again, doubled each time
LONGEST_WAIT: Final = 5.0
# The server is asked to end a watch after so many seconds; one that says nothing for longer is on a dead connection.
LASTS: Final = 240
SILENCE: Final = 300

Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One change in the cluster. `kind` is Job, Pod or Event; `gone` when it was deleted; `value` is the object."""

    kind: str
    name: str
    value: Object
    gone: bool = False


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Everything there is of one kind, at a watch's start and whenever it had to begin anew."""

    kind: str
    values: tuple[Object, ...]


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A watch that cannot go on: a permission is missing."""

    error: WorldError


Notice = Seen | Listed | Broken


class Watch:
    """A thread over one path of the API. What it sees goes to `put`."""

    def __init__(
        self, connection: Connection, kind: str, path: str, labels: Mapping[str, str], put: Callable[[Notice], None]
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._path = path
        self._selector = (
            {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else {}
        )
        self._put = put
        self._stopping = threading.Event()
        self._response: Any = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{kind}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread, wherever it waits."""
        self._stopping.set()
        response = self._response
        if response is not None:
            with contextlib.suppress(OSError, KeyError, AttributeError):
                # Not by the TLS socket's own shutdown, which frees what the reading thread is using.
                number = response.extensions["network_stream"].get_extra_info("socket").fileno()
                with socket.socket(fileno=os.dup(number)) as same:
                    same.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        wait, version = FIRST_WAIT, ""
        while not self._stopping.is_set():
            try:
                if not version:
                    version = self._list()
                version = self._follow(version)
                wait = FIRST_WAIT
                continue
            except MissingPermissionError as error:
                if not self._stopping.is_set():
                    self._put(Broken(error=error))
                return
            except ClusterUnreachable:
                pass  # said by whoever has something to do there; the watch only waits
            except WorldError:
                version = ""
            self._stopping.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def _list(self) -> str:
        """Tell everything there is; the version it was true at."""
        plural = self._path.rpartition("/")[2]

        def get() -> Any:
            answer = self._connection.http.get(self._path, params=self._selector)
            answer.raise_for_status()
            return answer.json()

        found = self._connection.call("list", plural, "", get)
        self._put(Listed(kind=self._kind, values=tuple(found.get("items") or ())))
        return str(found["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        """Tell every change since `version` until the server ends it; the version to go on from, "" to list anew."""
        plural = self._path.rpartition("/")[2]
        params = {
            **self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(LASTS),
        }
        last = [version]

        def read() -> None:
            import httpx2

            timeout = httpx2.Timeout(30, connect=10, read=SILENCE)
            with self._connection.http.stream("GET", self._path, params=params, timeout=timeout) as response:
                self._response = response
                if response.status_code == 410:
                    last[0] = ""
                    return
                response.raise_for_status()
                for line in response.iter_lines():
                    if self._stopping.is_set():
                        return
                    last[0] = self._told(json.loads(line), last[0])
                    if not last[0]:
                        return

        try:
            self._connection.call("watch", plural, "", read)
        except ClusterUnreachable:
            # What was seen stays seen: the next watch goes on from there.
            if last[0] == version or self._stopping.wait(FIRST_WAIT):
                raise
        finally:
            self._response = None
        return last[0]

    def _told(self, event: Mapping[str, Any], version: str) -> str:
        value = event["object"]
        if event["type"] == "ERROR":
            return ""  # 410: too much has happened since; everything is listed anew
        if event["type"] != "BOOKMARK":
            self._put(
                Seen(kind=self._kind, name=value["metadata"]["name"], value=value, gone=event["type"] == "DELETED")
            )
        return str(value["metadata"].get("resourceVersion", version))
