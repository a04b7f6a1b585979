"""What is remembered of each sync, in a ConfigMap that outlives agent pods: what was begun, what ended how.

An attempt is written down before its Job is created and its outcome before the Job is deleted, so that whatever kills the agent, no
attempt is lost and none is launched twice. The same ConfigMap owns the Jobs. Nothing in it is secret.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from towpath.agent.work import History, State
from towpath.errors import WorldError
from towpath.kubernetes.connection import MERGE, Connection

WORDS: Final = 600  # characters kept of what went wrong
ENTRIES: Final = 1_000  # a ConfigMap holds 1 MiB, an entry at most some 900 bytes


class Ledger(Protocol):
    """One agent's. Writes are whole: a reader sees the old entry or the new one."""

    def read(self) -> dict[str, History]: ...

    def write(self, sync: str, history: History, state: State | None) -> None: ...

    def prune(self, keep: Collection[str]) -> None:
        """Forget the oldest finished syncs beyond ENTRIES, except those to keep."""
        ...


@dataclass
class _Batch:
    """Entries for one patch. `error` is everybody's: nothing of it was written, or nobody knows."""

    entries: dict[str, str] = field(default_factory=dict)
    written: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None


class ConfigMapLedger:
    """The ledger as a ConfigMap, one key for each sync. Raises WorldError, MissingPermissionError."""

    def __init__(self, connection: Connection, namespace: str, agent: str) -> None:
        self._connection = connection
        self._namespace = namespace
        self._name = f"towpath-agent-{agent}"
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{self._name}"
        self._lock = threading.Lock()  # around _open
        self._turn = threading.Lock()  # one patch at a time
        self._open: _Batch | None = None  # takes entries until its patch begins

    def open(self) -> dict[str, Any]:
        """Make the ConfigMap if it is missing, and give the owner reference for Jobs."""
        found = self._get()
        if found is None:
            metadata = {"name": self._name, "labels": {"app.kubernetes.io/managed-by": "towpath"}}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
            path = self._path.rpartition("/")[0]
            found = self._connection.request("create", "configmaps", path, body=made)
        if found is None:
            raise WorldError(
                f"there is no namespace {self._namespace}",
                where=f"configmaps/{self._name}",
                todo=f"create it: kubectl create namespace {self._namespace}",
            )
        return {"apiVersion": "v1", "kind": "ConfigMap", "name": self._name, "uid": found["metadata"]["uid"]}

    def read(self) -> dict[str, History]:
        found = self._get()
        return {key: _history(text) for key, text in (found.get("data") or {}).items()} if found is not None else {}

    def write(self, sync: str, history: History, state: State | None) -> None:
        entry: dict[str, Any] = {**dataclasses.asdict(history), "at": datetime.now(UTC).isoformat(timespec="seconds")}
        if state is not None:
            entry |= {"code": state.code, "what": state.what[:WORDS]} if state.what else {}
            if state.result is not None:
                entry |= state.result.model_dump(include={"rows", "bytes", "tables", "seconds", "digest"})
        self._join(sync, json.dumps(entry, separators=(",", ":")))

    def prune(self, keep: Collection[str]) -> None:
        found = self._get()
        entries: dict[str, str] = (found or {}).get("data") or {}
        old = [
            (str(json.loads(text).get("at", "")), sync)
            for sync, text in entries.items()
            if sync not in keep and _history(text).finished
        ]
        over = len(entries) - ENTRIES
        if over > 0 and old:
            self._patch(dict.fromkeys([sync for _, sync in sorted(old)[:over]]))

    def _join(self, sync: str, text: str) -> None:
        """Write one entry, in one patch with those that wait at the same moment: the API server takes patches of one object in turn.

        The first to come carries the others' entries when the patch before it is through; everybody leaves when theirs is written.
        """
        with self._lock:
            batch = self._open
            first = batch is None
            if batch is None:
                batch = self._open = _Batch()
            batch.entries[sync] = text
        if not first:
            batch.written.wait()
        else:
            with self._turn:
                with self._lock:
                    self._open = None  # whoever comes now begins the next one
                try:
                    self._patch(batch.entries)
                except BaseException as error:
                    batch.error = error
                finally:
                    batch.written.set()
        if batch.error is not None:
            raise batch.error

    def _patch(self, entries: Mapping[str, str | None]) -> None:
        done = self._connection.request("patch", "configmaps", self._path, body={"data": entries}, content_type=MERGE)
        if done is None:
            raise WorldError(
                "the agent's ledger is gone",
                where=f"configmaps/{self._name}",
                todo="start the agent anew: it makes the ledger; Jobs that it owned went with it",
            )

    def _get(self) -> dict[str, Any] | None:
        return self._connection.request("get", "configmaps", self._path)


def _history(text: str) -> History:
    """An entry read back; one that is no entry counts as never begun."""
    try:
        found = json.loads(text)
        names = {field.name for field in dataclasses.fields(History)}
        return History(**{key: value for key, value in found.items() if key in names})
    except (ValueError, TypeError, AttributeError):
        return History()
