"""polars reads and writes tables, so a text is a table of one column; it deletes nothing, so obstore does that."""

from __future__ import annotations

import obstore
import polars as pl
import steps
from obstore.store import S3Store


def url(key: str) -> str:
    return f"s3://{steps.BUCKET}/{key}"


def write(key: str, body: bytes) -> None:
    pl.DataFrame({"text": [body.decode()]}).write_parquet(url(key))


def read(key: str) -> bytes:
    return pl.scan_parquet(url(key)).collect()["text"][0].encode()


def names(prefix: str) -> list[str]:
    """Every file a scan of the prefix finds."""
    try:
        found = pl.scan_parquet(url(prefix), include_file_paths="file").collect()
    except pl.exceptions.ComputeError as error:
        if "expanded paths were empty" in str(error):
            return []
        raise
    return [path.removeprefix(f"s3://{steps.BUCKET}/") for path in found["file"].unique()]


steps.run(
    version=pl.__version__,
    write=write,
    read=read,
    names=names,
    delete=lambda key: obstore.delete(S3Store(steps.BUCKET), key),
    has_objects=False,
)
