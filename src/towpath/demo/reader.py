"""Another pair of eyes: botocore fetches what s3fs wrote, DuckDB counts what pyarrow encoded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import botocore.session
import duckdb

from towpath.sandbox.main import Sandbox


def client(service: str, sandbox: Sandbox) -> Any:
    """An SDK client as the sandbox's administrator."""
    environment = sandbox.aws_environment()
    session: Any = botocore.session.Session()
    return session.create_client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def count(sandbox: Sandbox, bucket: str, prefix: str, *, tables: tuple[str, ...]) -> dict[str, int]:
    """Rows by table of the Parquet files under `prefix`TABLE/."""
    s3 = client("s3", sandbox)
    rows = dict.fromkeys(tables, 0)
    with tempfile.TemporaryDirectory(prefix="towpath-read-") as directory, duckdb.connect() as database:
        for table in tables:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}{table}/")
            for number, item in enumerate(
                item for page in pages for item in page.get("Contents", ()) if item["Key"].endswith(".parquet")
            ):
                path = Path(directory) / f"{table}-{number}.parquet"
                path.write_bytes(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
                rows[table] += int(
                    database.execute("SELECT count(*) FROM read_parquet(?)", [str(path)]).fetchall()[0][0]
                )
    return rows
