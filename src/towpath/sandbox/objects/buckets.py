"""Buckets: created, changed, found, deleted. Every one is in memory too, since each request asks for one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects.bodies import Bodies
from towpath.sandbox.objects.database import Database

ENABLED: Final = "Enabled"


@dataclass(frozen=True, kw_only=True)
class Bucket:
    name: str
    account: str  # the owner's
    region: str
    created: float  # seconds since 1970
    versioning: str | None = None  # Enabled or Suspended; None when it never was
    locked: bool = False  # whether it has Object Lock
    retention: Mapping[str, Any] | None = None  # of new objects: `mode` and `days`


def no_such_bucket(name: str) -> AwsError:
    return AwsError("NoSuchBucket", "The specified bucket does not exist", 404, details={"BucketName": name})


class Buckets:
    """Thread-safe: a change replaces the mapping that readers hold."""

    def __init__(self, database: Database, bodies: Bodies) -> None:
        self._database = database
        self._bodies = bodies
        rows = self._database.rows("SELECT name, account, region, created, versioning, locked, retention FROM bucket")
        self._buckets = {
            row[0]: Bucket(
                name=row[0],
                account=row[1],
                region=row[2],
                created=row[3],
                versioning=row[4],
                locked=bool(row[5]),
                retention=json.loads(row[6]) if row[6] else None,
            )
            for row in rows
        }

    def get(self, name: str) -> Bucket:
        """Raises AwsError NoSuchBucket."""
        found = self._buckets.get(name)
        if found is None:
            raise no_such_bucket(name)
        return found

    def find(self, name: str) -> Bucket | None:
        return self._buckets.get(name)

    def all(self, account: str | None = None) -> list[Bucket]:
        return sorted(
            (bucket for bucket in self._buckets.values() if account in {None, bucket.account}),
            key=lambda bucket: bucket.name,
        )

    def keep(self, bucket: Bucket) -> None:
        """Create a bucket, or change what is known of one."""
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO bucket VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(bucket.name, bucket.account, bucket.region, bucket.created, bucket.versioning, bucket.locked),
                    json.dumps(bucket.retention) if bucket.retention else None,
                ),
            )
            self._buckets = {**self._buckets, bucket.name: bucket}

    def delete(self, name: str) -> None:
        """Raises AwsError BucketNotEmpty. Uploads that were never completed go with it."""
        with self._database.writing() as connection:
            bucket = self.get(name)
            if connection.execute("SELECT 1 FROM version WHERE bucket = ? LIMIT 1", (name,)).fetchone():
                raise AwsError(
                    "BucketNotEmpty",
                    "The bucket you tried to delete is not empty"
                    + (". You must delete all versions in the bucket." if bucket.versioning else ""),
                    409,
                    details={"BucketName": name},
                )
            uploads = "SELECT id FROM upload WHERE bucket = ?"
            files = [
                row[0]
                for row in connection.execute(f"SELECT file FROM part WHERE upload IN ({uploads})", (name,))  # noqa: S608
            ]
            connection.execute(f"DELETE FROM part WHERE upload IN ({uploads})", (name,))  # noqa: S608
            connection.execute("DELETE FROM upload WHERE bucket = ?", (name,))
            connection.execute("DELETE FROM bucket WHERE name = ?", (name,))
            self._buckets = {key: value for key, value in self._buckets.items() if key != name}
        for file in files:
            self._bodies.remove(file)

    def forget(self) -> None:
        """Those in memory; whoever calls deletes the rows."""
        self._buckets = {}
