"""Multipart uploads: parts are files of their own until the upload is completed into one object.

Source: "Uploading and copying objects using multipart upload" and CompleteMultipartUpload (S3 User Guide and API Reference).
"""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import checksums
from towpath.sandbox.objects.bodies import Written
from towpath.sandbox.objects.store import Store, Version
from towpath.sandbox.s3.checksums import mismatch

SMALLEST: Final = 5 * 1024 * 1024  # bytes of a part that is not the last
LARGEST_NUMBER: Final = 10_000
FULL_ONLY, COMPOSITE_ONLY = frozenset({"crc64nvme"}), frozenset({"sha1", "sha256"})


@dataclass(frozen=True, kw_only=True)
class Upload:
    id: str
    bucket: str
    key: str
    started: float
    properties: Mapping[str, Any]  # the object's; "algorithm" and "checksum_type" are the upload's own

    @property
    def algorithm(self) -> str | None:
        return self.properties.get("algorithm")


@dataclass(frozen=True, kw_only=True)
class Part:
    number: int
    size: int
    etag: str
    modified: float
    checksums: Mapping[str, str]
    file: str


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A part as CompleteMultipartUpload names it."""

    number: int
    etag: str
    checksums: Mapping[str, str]


class Multipart:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = store.database

    def create(
        self, bucket: str, key: str, properties: Mapping[str, Any], algorithm: str | None, kind: str | None
    ) -> Upload:
        if algorithm is not None:
            kind = kind or (checksums.FULL if algorithm in FULL_ONLY else checksums.COMPOSITE)
            impossible = FULL_ONLY if kind == checksums.COMPOSITE else COMPOSITE_ONLY
            if kind not in {checksums.FULL, checksums.COMPOSITE} or algorithm in impossible:
                raise AwsError(
                    "InvalidRequest",
                    f"The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.",
                    400,
                )
            properties = {**properties, "algorithm": algorithm, "checksum_type": kind}
        upload = Upload(
            id=secrets.token_urlsafe(48), bucket=bucket, key=key, started=time.time(), properties=properties
        )
        with self._database.writing() as connection:
            self._store.bucket(bucket)
            connection.execute(
                "INSERT INTO upload VALUES (?, ?, ?, ?, ?)",
                (upload.id, bucket, key, upload.started, json.dumps(properties)),
            )
        return upload

    def find(self, bucket: str, key: str, identifier: str) -> Upload:
        """Raises AwsError NoSuchUpload, NoSuchBucket."""
        self._store.bucket(bucket)
        row = self._database.row(
            "SELECT started, properties FROM upload WHERE id = ? AND bucket = ? AND key = ?", (identifier, bucket, key)
        )
        if row is None:
            raise _no_upload(identifier)
        return Upload(id=identifier, bucket=bucket, key=key, started=row[0], properties=json.loads(row[1]))

    def put(self, upload: Upload, number: int, written: Written) -> Part:
        if written.file is None:
            raise AssertionError("a part is a file")
        part = Part(
            number=number,
            size=written.size,
            etag=written.md5.hex(),
            modified=time.time(),
            checksums={name: checksums.text(digest) for name, digest in written.checksums.items()},
            file=written.file,
        )
        try:
            with self._database.writing() as connection:
                self._still(connection, upload)
                old = connection.execute(
                    "SELECT file FROM part WHERE upload = ? AND number = ?", (upload.id, number)
                ).fetchone()
                connection.execute(
                    "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (upload.id, number, part.size, part.etag, part.modified, json.dumps(part.checksums), part.file),
                )
        except BaseException:
            self._store.bodies.remove(written.file)
            raise
        self._store.bodies.remove(old[0] if old else None)
        return part

    def _still(self, connection: sqlite3.Connection, upload: Upload) -> None:
        if connection.execute("SELECT 1 FROM upload WHERE id = ?", (upload.id,)).fetchone() is None:
            raise _no_upload(upload.id)

    def parts(self, upload: Upload, after: int = 0, limit: int = LARGEST_NUMBER) -> list[Part]:
        rows = self._database.rows(
            "SELECT number, size, etag, modified, checksums, file FROM part WHERE upload = ? AND number > ?"
            " ORDER BY number LIMIT ?",
            (upload.id, after, limit),
        )
        return [
            Part(number=r[0], size=r[1], etag=r[2], modified=r[3], checksums=json.loads(r[4]), file=r[5]) for r in rows
        ]

    def abort(self, upload: Upload) -> None:
        with self._database.writing() as connection:
            self._still(connection, upload)
            files = _forget(connection, upload)
        for file in files:
            self._store.bodies.remove(file)

    def complete(
        self,
        upload: Upload,
        wanted: Sequence[Wanted],
        check: Callable[[str | None], None],
        claimed: Mapping[str, bytes],
        *,
        composite: str | None = None,
        size: str | None = None,
    ) -> Version:
        """Join the parts into one file, then in one transaction make it the object and forget the upload.

        `claimed`: the whole object's checksum as the client has it; `composite`: that of its parts' checksums; `size`: in bytes, as it
        was sent. Killed in between, the upload is as it was.
        """
        chosen = _choose(self.parts(upload), wanted)
        if size is not None and size != str(sum(part.size for part in chosen)):
            raise AwsError(
                "InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was computed.", 400
            )
        if composite is not None and upload.algorithm is not None:
            found = checksums.composite(upload.algorithm, _digests(chosen, upload.algorithm))
            if composite not in {found, found.partition("-")[0]}:
                raise mismatch(upload.algorithm.upper())
        full = upload.algorithm if upload.properties.get("checksum_type") == checksums.FULL else None
        try:
            written = self._store.bodies.write(
                self._store.bodies.chunks(part.file for part in chosen),
                {*claimed, *([full] if full else [])} if full else (),
            )
        except FileNotFoundError:  # completed or aborted meanwhile by somebody else
            raise _no_upload(upload.id) from None
        properties = {k: v for k, v in upload.properties.items() if k != "algorithm"}
        properties["parts"] = [part.size for part in chosen]
        if full:
            properties["checksums"] = {full: checksums.text(written.checksums[full])}
            _verify(self._store, written, claimed)
        elif upload.algorithm:
            name = upload.algorithm
            properties["checksums"] = {name: checksums.composite(name, _digests(chosen, name))}
            properties["part_checksums"] = [part.checksums[name] for part in chosen]
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in chosen), usedforsecurity=False).hexdigest()
        files: list[str] = []

        def forget(connection: sqlite3.Connection) -> None:
            self._still(connection, upload)
            files.extend(_forget(connection, upload))

        version = self._store.put(
            upload.bucket,
            upload.key,
            written,
            etag=f"{digest}-{len(chosen)}",
            properties=properties,
            check=check,
            also=forget,
        )
        for file in files:
            self._store.bodies.remove(file)
        return version


def _digests(parts: Iterable[Part], algorithm: str) -> list[bytes]:
    return [checksums.raw(part.checksums[algorithm]) for part in parts]


def _verify(store: Store, written: Written, claimed: Mapping[str, bytes]) -> None:
    try:
        checksums.verify(written.checksums, claimed)
    except AwsError:
        store.bodies.remove(written.file)
        raise


def _forget(connection: sqlite3.Connection, upload: Upload) -> list[str]:
    files = [row[0] for row in connection.execute("SELECT file FROM part WHERE upload = ?", (upload.id,))]
    connection.execute("DELETE FROM part WHERE upload = ?", (upload.id,))
    connection.execute("DELETE FROM upload WHERE id = ?", (upload.id,))
    return files


def _choose(parts: Iterable[Part], wanted: Sequence[Wanted]) -> list[Part]:
    if any(a.number >= b.number for a, b in itertools.pairwise(wanted)):
        raise AwsError(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            400,
        )
    there = {part.number: part for part in parts}
    chosen: list[Part] = []
    for item in wanted:
        part = there.get(item.number)
        if (
            part is None
            or part.etag != item.etag.strip('"')
            or any(part.checksums.get(name, value) != value for name, value in item.checksums.items())
        ):
            raise AwsError(
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
                400,
                details={"PartNumber": str(item.number), "ETag": item.etag},
            )
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < SMALLEST:
            raise AwsError(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                400,
                details={
                    "ProposedSize": str(part.size),
                    "MinSizeAllowed": str(SMALLEST),
                    "PartNumber": str(part.number),
                },
            )
    return chosen


def _no_upload(identifier: str) -> AwsError:
    return AwsError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        404,
        details={"UploadId": identifier},
    )
