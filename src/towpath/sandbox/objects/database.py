"""The SQLite file that says which objects there are.

In WAL mode a commit is one append: a process killed at any instant leaves every committed transaction and nothing of the one it was
in ("Write-Ahead Logging", sqlite.org). With `fsync` the same holds when the machine loses its power.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from towpath.sandbox.errors import SandboxError

FORMAT: Final = 1  # of the tables; PRAGMA user_version
PAGES: Final = 2_000  # of the log before it is written back: 8 MB

# `latest` is 1 for the version that a request without versionId means, which may be a delete marker. Of one key, a newer version has
# the larger id. A body is in `content` or in the file `file`, never in both.
SCHEMA: Final = """
CREATE TABLE run (number INTEGER NOT NULL);
INSERT INTO run VALUES (0);
CREATE TABLE bucket (
  name TEXT PRIMARY KEY, account TEXT NOT NULL, region TEXT NOT NULL, created REAL NOT NULL, versioning TEXT,
  locked INTEGER NOT NULL, retention TEXT
) WITHOUT ROWID;
CREATE TABLE version (
  id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL, latest INTEGER NOT NULL,
  marker INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL, properties TEXT NOT NULL,
  file TEXT, content BLOB
);
CREATE UNIQUE INDEX latest ON version (bucket, key) WHERE latest = 1;
CREATE UNIQUE INDEX versions ON version (bucket, key, id);
CREATE INDEX files ON version (file) WHERE file IS NOT NULL;
CREATE TABLE upload (
  id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, started REAL NOT NULL, properties TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX uploads ON upload (bucket, key, id);
CREATE TABLE part (
  upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL,
  checksums TEXT NOT NULL, file TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
"""


class Database:
    """One writer at a time; as many readers as ever read at once. Thread-safe."""

    def __init__(self, path: Path, *, fsync: bool = False) -> None:
        """Raises SandboxError for a file that another version of the sandbox made."""
        self._path = path
        self._fsync = fsync
        self._lock = threading.RLock()
        self._readers: list[sqlite3.Connection] = []  # those that nobody uses just now
        self._writer = self._connect()
        found = self._writer.execute("PRAGMA user_version").fetchone()[0]
        if found == 0:
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._writer.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = {FORMAT};COMMIT;")
        elif found != FORMAT:
            self.close()
            raise SandboxError(
                f"the objects in {path} have format {found}; this towpath reads format {FORMAT}",
                where=str(path),
                todo="use the towpath that made it, or another directory",
            )
        self._writer.execute("UPDATE run SET number = number + 1")
        self.run: int = self._writer.execute("SELECT number FROM run").fetchone()[0]  # how often it was opened

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'OFF'}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES}")
        return connection

    @contextmanager
    def alone(self) -> Generator[sqlite3.Connection]:
        """Nobody else writes meanwhile. One statement is a transaction of its own, at half the cost of one with BEGIN and COMMIT."""
        with self._lock:
            yield self._writer

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """One transaction: committed when the block ends, rolled back when it raises."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    def rows(self, sql: str, arguments: Sequence[Any] = ()) -> list[Any]:
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.execute(sql, arguments).fetchall()
        finally:
            self._readers.append(connection)

    def row(self, sql: str, arguments: Sequence[Any] = ()) -> Any | None:
        found = self.rows(sql, arguments)
        return found[0] if found else None

    def close(self) -> None:
        """After this nobody may read or write."""
        with self._lock:
            while self._readers:
                self._readers.pop().close()
            self._writer.close()
