"""A sync's files put in place once: whoever writes the commit record first has won, and anyone can finish what it says.

An attempt writes apart, under `<prefix>_towpath/staging/<sync>/<attempt>-<pod uid>/`, since Kubernetes may start a pod twice. The
commit is one conditional write (If-None-Match: *, S3 "conditional writes") of `<prefix>_towpath/commits/<sync>.json`, which names the
staged files, where they go, and which older files they replace. What follows is the same whoever does it and however often: copy,
delete what is replaced, delete the staging. An attempt that comes late finds the record, finishes it, and moves nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from towpath.errors import WorldError

OURS: Final = "_towpath/"
HANDS: Final = 8
BATCH: Final = 1_000  # keys of one DeleteObjects


class CommitError(WorldError):
    """The files arrived and could not be put in place; the next attempt finishes it."""


class Record(BaseModel):
    """The commit record. Keys are whole keys of the bucket; `rows` by table, `bytes` of all files."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sync: str
    attempt: int
    pod: str
    files: dict[str, str]  # staged key -> final key
    replaces: tuple[str, ...]  # final keys there were before
    rows: dict[str, int]
    bytes: int


class Commits:
    """The commits under one prefix of a bucket. `s3` is a boto3 client; every method raises CommitError."""

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""

    def staging(self, sync: str, attempt: int, pod: str) -> str:
        """Where this very pod writes, without the bucket."""
        return f"{self._prefix}{OURS}staging/{sync}/{attempt}-{pod}"

    def find(self, sync: str) -> Record | None:
        """The record of a sync that was committed already."""
        from botocore.exceptions import ClientError

        # Listed before it is read: to a role that may list only its prefix, S3 answers for a missing key that access is denied.
        if self._record(sync) not in self._keys(self._record(sync)):
            return None
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=self._record(sync))["Body"].read()
            return Record.model_validate_json(body)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code")) in {"NoSuchKey", "404"}:
                return None
            raise self._failed("read the commit record", error) from None
        except ValidationError:
            raise CommitError(
                "the commit record is not one",
                where=f"s3://{self._bucket}/{self._record(sync)}",
                todo="look who wrote it; delete it to let the sync run again",
            ) from None

    def prepare(self, sync: str, attempt: int, pod: str, *, dataset: str, rows: Mapping[str, int], size: int) -> Record:
        """The record this pod would write: its staged files of `dataset`, and the files there are now of the same tables."""
        root = f"{self.staging(sync, attempt, pod)}/{dataset}/"
        files: dict[str, str] = {}
        replaces: list[str] = []
        for table in rows:
            final = f"{self._prefix}{dataset}/{table}/"
            files |= {key: final + key.removeprefix(f"{root}{table}/") for key in self._keys(f"{root}{table}/")}
            replaces += self._keys(final)
        return Record(
            sync=sync, attempt=attempt, pod=pod, files=files, replaces=tuple(replaces), rows=dict(rows), bytes=size
        )

    def commit(self, record: Record) -> Record:
        """Write the record; the one that counts: this one, or that of whoever was first."""
        from botocore.exceptions import ClientError

        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=self._record(record.sync),
                Body=record.model_dump_json().encode(),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status not in {409, 412}:
                raise self._failed("write the commit record", error) from None
            if status == 409:  # two writes at once; S3 asks to look again
                time.sleep(0.5)
            won = self.find(record.sync)
            return won if won is not None else self.commit(record)
        return record

    def finish(self, record: Record) -> None:
        """Copy, delete what is replaced, delete the staging of every attempt of the sync. Harmless to repeat."""
        with ThreadPoolExecutor(HANDS) as pool:
            list(pool.map(self._copy, record.files.items()))
        kept = set(record.files.values())
        self._delete(key for key in record.replaces if key not in kept)
        self._delete(self._keys(f"{self._prefix}{OURS}staging/{record.sync}/"))

    def _copy(self, pair: tuple[str, str]) -> None:
        from botocore.exceptions import ClientError

        staged, final = pair
        try:
            self._s3.copy({"Bucket": self._bucket, "Key": staged}, self._bucket, final)
        except ClientError as error:
            if str(error.response.get("Error", {}).get("Code")) in {"NoSuchKey", "404"}:
                return  # whoever finished before took it away; it was copied then
            raise self._failed(f"copy {staged}", error) from None

    def _keys(self, prefix: str) -> list[str]:
        from botocore.exceptions import ClientError

        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return [item["Key"] for page in pages for item in page.get("Contents", ())]
        except ClientError as error:
            raise self._failed(f"list {prefix}", error) from None

    def _delete(self, keys: Iterable[str]) -> None:
        from botocore.exceptions import ClientError

        left = list(keys)
        while left:
            batch, left = left[:BATCH], left[BATCH:]
            try:
                answer = self._s3.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True}
                )
            except ClientError as error:
                raise self._failed("delete replaced files", error) from None
            if errors := answer.get("Errors"):
                raise CommitError(
                    f"{errors[0].get('Code')}: {errors[0].get('Message')}",
                    where=f"s3://{self._bucket}/{errors[0].get('Key')}",
                    todo="the role needs s3:DeleteObject to replace files",
                )

    def _record(self, sync: str) -> str:
        return f"{self._prefix}{OURS}commits/{sync}.json"

    def _failed(self, what: str, error: Any) -> CommitError:
        detail = error.response.get("Error", {})
        return CommitError(
            f"cannot {what}: {detail.get('Code')}: {detail.get('Message')}",
            where=f"s3://{self._bucket}",
            todo="see the message; the role may lack a permission (towpath identity doctor)",
        )


def client(region: str, endpoint_url: str | None) -> Any:
    """An S3 client on the SDK's default credentials, which renew themselves from the token file."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 5, "mode": "standard"}, connect_timeout=10, read_timeout=60)
    return boto3.session.Session().client("s3", region_name=region, endpoint_url=endpoint_url, config=config)
