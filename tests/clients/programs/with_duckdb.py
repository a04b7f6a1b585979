"""DuckDB with its httpfs and aws extensions: a text is a table of one row. It deletes nothing, so obstore does that.

Its httpfs reads no AWS_ENDPOINT_URL: the secret says where S3 is.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
import duckdb_extension_aws
import duckdb_extension_httpfs
import obstore
import steps
from obstore.store import S3Store

endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
database = duckdb.connect()
for module in (duckdb_extension_httpfs, duckdb_extension_aws):
    extension = next(Path(module.__path__[0]).rglob("*.duckdb_extension"))
    database.execute(f"LOAD '{extension}'")
database.execute(
    f"""CREATE SECRET lake (TYPE s3, PROVIDER credential_chain, CHAIN '{os.environ.get("CLIENT_CHAIN", "web_identity")}', REFRESH auto, REGION '{os.environ["AWS_REGION"]}',
    ENDPOINT '{endpoint.netloc}', URL_STYLE 'path', USE_SSL {endpoint.scheme == "https"})"""
)


def url(key: str) -> str:
    return f"s3://{steps.BUCKET}/{key}"


def read(key: str) -> bytes:
    row = database.execute(f"SELECT text FROM read_parquet('{url(key)}')").fetchone()
    assert row is not None
    return row[0].encode()


steps.run(
    version=duckdb.__version__,
    write=lambda key, body: database.execute(
        f"COPY (SELECT '{body.decode()}' AS text) TO '{url(key)}' (FORMAT parquet)"
    ),
    read=read,
    names=lambda prefix: [
        row[0].removeprefix(f"s3://{steps.BUCKET}/")
        for row in database.execute(f"SELECT file FROM glob('{url(prefix)}*')").fetchall()
    ],
    delete=lambda key: obstore.delete(S3Store(steps.BUCKET), key),
)
