"""The versions of objects in buckets: put, found, deleted, copied. Every change is one transaction."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import locks
from towpath.sandbox.objects.bodies import CHUNK, Bodies, Stream, Written
from towpath.sandbox.objects.buckets import ENABLED, Bucket, Buckets, no_such_bucket
from towpath.sandbox.objects.conditions import missing_key
from towpath.sandbox.objects.database import Database

NULL: Final = "null"  # the version id of what is put while versioning is not enabled
KEY_LIMIT: Final = 1024  # bytes of UTF-8
_VERSION_ID: Final = re.compile(r"^[A-Za-z0-9._-]{32}\Z")
_ATTEMPTS: Final = 5  # to open a body that is replaced again and again meanwhile
COLUMNS: Final = "id, key, version, latest, marker, size, etag, modified, properties, file"


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of an object, or a delete marker."""

    id: int
    key: str
    version: str
    latest: bool
    marker: bool
    size: int
    etag: str
    modified: float
    properties: Mapping[str, Any]
    file: str | None


def version_of(row: Any) -> Version:
    return Version(
        id=row[0],
        key=row[1],
        version=row[2],
        latest=bool(row[3]),
        marker=bool(row[4]),
        size=row[5],
        etag=row[6],
        modified=row[7],
        properties=json.loads(row[8]),
        file=row[9],
    )


class Store:
    """Thread-safe. One process has a folder at a time; whoever opens it sees to that."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.database = Database(folder / "objects.sqlite", fsync=fsync)
        self.bodies = Bodies(folder / "bodies", run=self.database.run, fsync=fsync)
        self.buckets = Buckets(self.database, self.bodies)
        self._sweeping = self.bodies.sweep(self._named)

    def _named(self, file: str) -> bool:
        return (
            self.database.row(
                "SELECT 1 FROM version WHERE file = ?1 UNION ALL SELECT 1 FROM part WHERE file = ?1 LIMIT 1", (file,)
            )
            is not None
        )

    def close(self) -> None:
        self._sweeping.join()
        self.database.close()

    def clear(self) -> None:
        """Forget every bucket and every object."""
        with self.database.writing() as connection:
            files = [row[0] for row in connection.execute("SELECT file FROM version WHERE file IS NOT NULL")]
            files += [row[0] for row in connection.execute("SELECT file FROM part")]
            for table in ("bucket", "version", "upload", "part"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
            self.buckets.forget()
        for file in files:
            self.bodies.remove(file)

    def bucket(self, name: str) -> Bucket:
        """Raises AwsError NoSuchBucket."""
        return self.buckets.get(name)

    def put(
        self,
        bucket: str,
        key: str,
        written: Written,
        *,
        etag: str,
        properties: Mapping[str, Any],
        check: Callable[[str | None], None] = lambda _: None,
        also: Callable[[sqlite3.Connection], None] | None = None,
        judged: Bucket | None = None,
    ) -> Version:
        """Make `written` the object's latest version. `check` sees the ETag of the one before and may refuse by AwsError; `also`
        runs in the same transaction. `judged`: the bucket that the request was let into, while its body took its time; another one of
        that name, which may be another account's, is another bucket.
        """
        now = time.time()
        text = json.dumps(properties)
        removed: str | None = None
        try:
            with self.database.alone() as connection:
                there = self.bucket(bucket)
                if judged is not None and (there.account, there.created) != (judged.account, judged.created):
                    raise no_such_bucket(bucket)
                version = _new_id() if there.versioning == ENABLED else NULL
                before = connection.execute(
                    "SELECT id, version, marker, etag, file FROM version WHERE bucket = ? AND key = ? AND latest = 1",
                    (bucket, key),
                ).fetchone()
                check(before[3] if before and not before[2] else None)
                values = (written.size, etag, now, text, written.file, written.content)
                over, removed = (before[0], before[4]) if before and before[1] == version == NULL else (None, None)
                if also is None and (over is not None or before is None):
                    number = _write(connection, bucket, key, version, values, over)
                else:
                    with self.database.writing():
                        if also is not None:
                            also(connection)
                        if over is None:
                            removed = self._make_room(connection, bucket, key, version)
                        number = _write(connection, bucket, key, version, values, over)
        except BaseException:
            self.bodies.remove(written.file)
            raise
        self.bodies.remove(removed)
        return Version(
            id=number,
            key=key,
            version=version,
            latest=True,
            marker=False,
            size=written.size,
            etag=etag,
            modified=now,
            properties=properties,
            file=written.file,
        )

    def _make_room(self, connection: sqlite3.Connection, bucket: str, key: str, version: str) -> str | None:
        """No version of the key is the latest any more; a null version that a new one replaces is gone. Gives its file."""
        connection.execute("UPDATE version SET latest = 0 WHERE bucket = ? AND key = ? AND latest = 1", (bucket, key))
        if version != NULL:
            return None
        old = connection.execute(
            "SELECT id, file FROM version WHERE bucket = ? AND key = ? AND version = ?", (bucket, key, NULL)
        ).fetchone()
        if old is None:
            return None
        connection.execute("DELETE FROM version WHERE id = ?", (old[0],))
        return old[1]

    def find(self, bucket: str, key: str, version: str | None = None) -> Version | None:
        """The latest version, which may be a delete marker, or the one named. Raises AwsError NoSuchBucket."""
        self.bucket(bucket)
        which, arguments = ("latest = 1", (bucket, key)) if version is None else ("version = ?", (bucket, key, version))
        row = self.database.row(
            f"SELECT {COLUMNS} FROM version WHERE bucket = ? AND key = ? AND {which}",  # noqa: S608
            arguments,
        )
        return version_of(row) if row else None

    def get(self, bucket: str, key: str, version: str | None = None) -> Version:
        """An object that can be read. Raises AwsError NoSuchKey, NoSuchVersion, or MethodNotAllowed for a delete marker named."""
        found = self.find(bucket, key, version)
        if found is None:
            if version is None:
                raise missing_key(key)
            if version != NULL and not _VERSION_ID.match(version):
                raise AwsError(
                    "InvalidArgument",
                    "Invalid version id specified",
                    400,
                    details={"ArgumentName": "versionId", "ArgumentValue": version},
                )
            raise AwsError(
                "NoSuchVersion",
                "The specified version does not exist.",
                404,
                details={"Key": key, "VersionId": version},
            )
        if found.marker:
            error = missing_key(key)
            if version is not None:
                error = AwsError(
                    "MethodNotAllowed",
                    "The specified method is not allowed against this resource.",
                    405,
                    headers=[("Allow", "DELETE")],
                )
            error.headers += [("x-amz-delete-marker", "true"), ("x-amz-version-id", found.version)]
            raise error
        return found

    def content(self, found: Version, start: int, length: int) -> bytes | Stream | None:
        """Bytes of a version; None when it was replaced or deleted since it was found."""
        if found.file is not None:
            try:
                file = self.bodies.open(found.file)
            except FileNotFoundError:
                return None
            return Stream(file, start, length)
        row = self.database.row(
            "SELECT content FROM version WHERE id = ? AND etag = ? AND modified = ?",
            (found.id, found.etag, found.modified),
        )
        return None if row is None or row[0] is None else row[0][start : start + length]

    def read(
        self, bucket: str, key: str, version: str | None, choose: Callable[[Version], tuple[int, int] | None]
    ) -> tuple[Version, bytes | Stream]:
        """An object and the bytes that `choose` (start and length, None for nothing) wants of it."""
        for _ in range(_ATTEMPTS):
            found = self.get(bucket, key, version)
            wanted = choose(found)
            content = b"" if wanted is None else self.content(found, *wanted)
            if content is not None:
                return found, content
        raise AwsError(
            "SlowDown", "Please reduce your request rate.", 503, why="the object changes faster than it is read"
        )

    def chunks(self, bucket: str, key: str, version: str | None, start: int, length: int) -> Iterable[bytes]:
        """The same for another write's source."""
        _, content = self.read(bucket, key, version, lambda _: (start, length))
        return content if isinstance(content, Stream) else (content,)

    def link(self, found: Version) -> Written | None:
        """The same bytes once more, for a copy that keeps the ETag; None when they went meanwhile."""
        if found.file is None:
            content = self.content(found, 0, found.size)
            return (
                None
                if not isinstance(content, bytes)
                else Written(size=found.size, md5=b"", checksums={}, content=content)
            )
        try:
            return Written(size=found.size, md5=b"", checksums={}, file=self.bodies.again(found.file))
        except FileNotFoundError:
            return None

    def update(self, found: Version, name: str, change: Callable[[Any], Any]) -> None:
        """Change one thing that is kept beside the bytes of a version (tags, ACL, lock): `change` makes the new of the old, None for none.

        Nothing is done where the version was replaced since it was found: its row may be the new one's, which was never asked about.
        """
        with self.database.writing() as connection:
            row = connection.execute(
                "SELECT properties FROM version WHERE id = ? AND etag = ? AND modified = ?",
                (found.id, found.etag, found.modified),
            ).fetchone()
            if row is None:
                return
            kept: dict[str, Any] = json.loads(row[0])
            new = change(kept.pop(name, None))
            if new is not None:
                kept[name] = new
            connection.execute("UPDATE version SET properties = ? WHERE id = ?", (json.dumps(kept), found.id))

    def delete(
        self,
        bucket: str,
        key: str,
        version: str | None,
        check: Callable[[str | None], None] = lambda _: None,
        *,
        bypass: bool = False,
    ) -> tuple[str | None, bool]:
        """Gives the version deleted or the marker made (None in a bucket without versions), and whether it is a marker.

        `bypass`: delete what a governance lock keeps.
        """
        removed: str | None = None
        with self.database.writing() as connection:
            versioning = self.bucket(bucket).versioning
            current = connection.execute(
                "SELECT id, version, marker, etag, file FROM version WHERE bucket = ? AND key = ? AND latest = 1",
                (bucket, key),
            ).fetchone()
            check(current[3] if current and not current[2] else None)
            if version is not None:
                result, removed = self._delete_version(connection, bucket, key, version, bypass=bypass)
            elif versioning is None:
                result = (None, False)
                if current:
                    connection.execute("DELETE FROM version WHERE id = ?", (current[0],))
                    removed = current[4]
            else:
                marker = _new_id() if versioning == ENABLED else NULL
                removed = self._make_room(connection, bucket, key, marker)
                connection.execute(
                    "INSERT INTO version (bucket, key, version, latest, marker, size, etag, modified, properties)"
                    " VALUES (?, ?, ?, 1, 1, 0, '', ?, '{}')",
                    (bucket, key, marker, time.time()),
                )
                result = (marker, True)
        self.bodies.remove(removed)
        return result

    def _delete_version(
        self, connection: sqlite3.Connection, bucket: str, key: str, version: str, *, bypass: bool
    ) -> tuple[tuple[str, bool], str | None]:
        row = connection.execute(
            "SELECT id, latest, marker, file, properties FROM version WHERE bucket = ? AND key = ? AND version = ?",
            (bucket, key, version),
        ).fetchone()
        if row is None:
            return (version, False), None
        locks.check_delete(json.loads(row[4]).get("lock", {}), datetime.now(UTC), bypass=bypass)
        connection.execute("DELETE FROM version WHERE id = ?", (row[0],))
        if row[1]:
            connection.execute(
                "UPDATE version SET latest = 1 WHERE id ="
                " (SELECT id FROM version WHERE bucket = ? AND key = ? ORDER BY id DESC LIMIT 1)",
                (bucket, key),
            )
        return (version, bool(row[2])), row[3]


def _write(
    connection: sqlite3.Connection, bucket: str, key: str, version: str, values: tuple[Any, ...], over: int | None
) -> int:
    """The latest version: over that row, or in a new one. Gives the row's id."""
    if over is not None:
        connection.execute(
            "UPDATE version SET marker = 0, size = ?, etag = ?, modified = ?, properties = ?, file = ?, content = ?"
            " WHERE id = ?",
            (*values, over),
        )
        return over
    made = connection.execute(
        "INSERT INTO version (bucket, key, version, latest, marker, size, etag, modified, properties, file, content)"
        " VALUES (?, ?, ?, 1, 0, ?, ?, ?, ?, ?, ?)",
        (bucket, key, version, *values),
    )
    return made.lastrowid or 0


def _new_id() -> str:
    return secrets.token_urlsafe(24)


def body_chunks(stream: Any, length: int) -> Iterable[bytes]:
    """A request's body, a piece at a time."""
    left = length
    while left and (chunk := stream.read(min(CHUNK, left))):
        left -= len(chunk)
        yield chunk
