"""Listings: keys, versions and uploads in the order of their UTF-8 bytes, rolled up at a delimiter, a page at a time.

A common prefix is one entry however many keys lie under it, and is skipped over in one step. Source: ListObjectsV2,
ListObjectVersions, ListMultipartUploads (S3 API Reference).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from towpath.sandbox.objects.database import Database
from towpath.sandbox.objects.store import COLUMNS

PAGE: Final = 1000  # entries of one answer, and rows read at a time
AFTER_PREFIX: Final = 8  # rows read behind a common prefix, where another one is likely
_LAST: Final = "\U0010ffff"


@dataclass(kw_only=True)
class Page:
    """Entries (rows as they were read) and common prefixes of one answer; `last` is the entry or prefix that the next page begins after."""

    entries: list[Any] = field(default_factory=list[Any])
    prefixes: list[str] = field(default_factory=list[str])
    truncated: bool = False
    last: str = ""
    last_id: str = ""  # of a version or an upload


Row = tuple[str, str, Any]  # key, id (of a version or upload), entry
Read = Callable[[str, str, int], list[Row]]  # from this key on (and after that id of it), at most so many


def page(read: Read, *, prefix: str, delimiter: str, after: str, after_id: str = "", limit: int) -> Page:
    """`after`: the last key or common prefix of the page before, "" for the first."""
    found = Page()
    if limit == 0:
        return found
    start, identifier = after, after_id
    # A page that ended with a common prefix goes on behind everything under it.
    if delimiter and after.startswith(prefix) and (rolled := _rolled(after, prefix, delimiter)) and rolled == after:
        start, identifier = _behind(after), ""
    elif after and not after_id:
        start = after + "\0"
    if start < prefix:
        start, identifier = prefix, ""
    count = PAGE + 1
    while True:
        rows = read(start, identifier, count)
        if not rows:
            return found
        for key, each, entry in rows:
            if not key.startswith(prefix):
                return found
            common = _rolled(key, prefix, delimiter) if delimiter else None
            if len(found.entries) + len(found.prefixes) == limit:
                found.truncated = True
                return found
            if common is not None:
                found.prefixes.append(common)
                found.last, found.last_id = common, ""
                start, identifier = _behind(common), ""
                count = AFTER_PREFIX
                break
            found.entries.append(entry)
            found.last, found.last_id = key, each
            start, identifier = key, each
        else:
            if len(rows) < count:
                return found
            count = PAGE + 1


def _rolled(key: str, prefix: str, delimiter: str) -> str | None:
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def _behind(prefix: str) -> str:
    """The first text that comes after everything that begins with `prefix`."""
    for at in range(len(prefix) - 1, -1, -1):
        if prefix[at] < _LAST:
            code = ord(prefix[at]) + 1
            return prefix[:at] + chr(0xE000 if 0xD800 <= code < 0xE000 else code)
    return prefix + _LAST


def objects(database: Database, bucket: str) -> Read:
    """The latest versions that are no delete markers."""

    def read(start: str, identifier: str, count: int) -> list[Row]:
        rows = database.rows(
            f"SELECT {COLUMNS} FROM version WHERE bucket = ? AND key {'>' if identifier else '>='} ? AND latest = 1"  # noqa: S608
            " AND marker = 0 ORDER BY key LIMIT ?",
            (bucket, start, count),
        )
        return [(row[1], str(row[0]), row) for row in rows]

    return read


def versions(database: Database, bucket: str) -> Read:
    """Every version and delete marker, of one key the newest first."""

    def read(start: str, identifier: str, count: int) -> list[Row]:
        # The ids of a key's versions fall; the identifier is the id of the last one seen.
        rows: list[Any] = []
        if identifier:
            rows = database.rows(
                f"SELECT {COLUMNS} FROM version WHERE bucket = ? AND key = ? AND id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608
                (bucket, start, int(identifier), count),
            )
        rows += database.rows(
            f"SELECT {COLUMNS} FROM version WHERE bucket = ? AND key {'>' if identifier else '>='} ?"  # noqa: S608
            " ORDER BY key, id DESC LIMIT ?",
            (bucket, start, count - len(rows)),
        )
        return [(row[1], str(row[0]), row) for row in rows]

    return read


def version_number(database: Database, bucket: str, key: str, version: str) -> str | None:
    """The id under which `versions` goes on after a version named by a client."""
    row = database.row("SELECT id FROM version WHERE bucket = ? AND key = ? AND version = ?", (bucket, key, version))
    return str(row[0]) if row else None


def uploads(database: Database, bucket: str) -> Read:
    """Uploads that are neither completed nor aborted: (id, key, started, properties)."""

    def read(start: str, identifier: str, count: int) -> list[Row]:
        rows = database.rows(
            "SELECT id, key, started, properties FROM upload WHERE bucket = ? AND (key > ? OR (key = ? AND id > ?))"
            " ORDER BY key, id LIMIT ?",
            (bucket, start, start, identifier, count),
        )
        return [(row[1], row[0], row) for row in rows]

    return read
