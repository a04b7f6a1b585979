"""deltalake reads and writes tables: a key is a table's folder, whose commit is one conditional write.

It deletes rows, not tables, so obstore takes the folder away.
"""

from __future__ import annotations

from importlib.metadata import version

import obstore
import polars as pl
import steps
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from obstore.store import S3Store

tables: dict[str, DeltaTable] = {}  # kept open, so that the second read is by the same client of S3


def url(key: str) -> str:
    return f"s3://{steps.BUCKET}/{key}"


def write(key: str, body: bytes) -> None:
    write_deltalake(url(key), pl.DataFrame({"text": [body.decode()]}))


def read(key: str) -> bytes:
    if key not in tables:
        tables[key] = DeltaTable(url(key))
    reader = QueryBuilder().register("found", tables[key]).execute("select text from found")
    return pl.DataFrame(reader)["text"][0].encode()


def delete(key: str) -> None:
    store = S3Store(steps.BUCKET)
    obstore.delete(store, [item["path"] for item in obstore.list(store, f"{key}/").collect()])


steps.run(
    version=version("deltalake"),
    write=write,
    read=read,
    names=lambda prefix: [f"{prefix}one"] if DeltaTable.is_deltatable(url(f"{prefix}one")) else [],
    delete=delete,
    has_objects=False,
)
