"""DuckDB with its httpfs and aws extensions: a text is a table of one row. It deletes nothing, so obstore does that.

httpfs reads no AWS_ENDPOINT_URL: the secret says where S3 is. The aws extension's exchange does read it, and takes the
whole URL for a host name; without it, it goes to AWS's own name at port 443.
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

store = S3Store(steps.BUCKET)  # which has read the endpoints when DuckDB starts without them
endpoint = urlsplit(os.environ.pop("AWS_ENDPOINT_URL"))
del os.environ["AWS_ENDPOINT_URL_STS"]
database = duckdb.connect()
for module in (duckdb_extension_httpfs, duckdb_extension_aws):
    extension = next(Path(module.__path__[0]).rglob("*.duckdb_extension"))
    database.execute(f"LOAD '{extension}'")


def exchange() -> None:
    database.execute(
        f"""CREATE OR REPLACE SECRET lake (TYPE s3, PROVIDER credential_chain, CHAIN 'web_identity', REFRESH auto,
        REGION '{os.environ["AWS_REGION"]}', ENDPOINT '{endpoint.netloc}', URL_STYLE 'path', USE_SSL {endpoint.scheme == "https"})"""
    )


def url(key: str) -> str:
    return f"s3://{steps.BUCKET}/{key}"


def read(key: str) -> bytes:
    row = database.execute(f"SELECT text FROM read_parquet('{url(key)}')").fetchone()
    assert row is not None
    return row[0].encode()


def names(prefix: str) -> list[str]:
    listing = f"SELECT file FROM glob('{url(prefix)}*')"
    try:
        rows = database.execute(listing).fetchall()
    except duckdb.HTTPException as error:
        if "ExpiredToken" not in str(error):
            raise
        exchange()  # a read under an ended session exchanges anew by itself, a listing does not
        rows = database.execute(listing).fetchall()
    return [row[0].removeprefix(f"s3://{steps.BUCKET}/") for row in rows]


exchange()
steps.run(
    version=duckdb.__version__,
    write=lambda key, body: database.execute(
        f"COPY (SELECT '{body.decode()}' AS text) TO '{url(key)}' (FORMAT parquet)"
    ),
    read=read,
    names=names,
    delete=lambda key: obstore.delete(store, key),
    has_objects=False,
)
