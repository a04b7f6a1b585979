"""deltalake reads and writes tables: a key is a table's folder, whose commit is one conditional write.

It deletes rows, not tables, so obstore takes the folder away.
"""

from __future__ import annotations

from importlib.metadata import version

import obstore
import polars
import steps
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from obstore.store import S3Store


def url(key: str) -> str:
    return f"s3://{steps.BUCKET}/{key}"


def write(key: str, body: bytes) -> None:
    write_deltalake(url(key), polars.DataFrame({"text": [body.decode()]}))


def read(key: str) -> bytes:
    reader = QueryBuilder().register("found", DeltaTable(url(key))).execute("select text from found")
    return polars.DataFrame(reader)["text"][0].encode()


def delete(key: str) -> None:
    store = S3Store(steps.BUCKET)
    obstore.delete(store, [item["path"] for item in obstore.list(store, f"{key}/").collect()])


steps.run(
    version=version("deltalake"),
    write=write,
    read=read,
    names=lambda prefix: [f"{prefix}one"] if DeltaTable.is_deltatable(url(f"{prefix}one")) else [],
    delete=delete,
)
