"""pyarrow's own S3. It exchanges at AWS's own name or not at all: told another endpoint, it goes on without a signature."""

from __future__ import annotations

import os
import sys
import traceback
from urllib.parse import urlsplit

import pyarrow as pa
import steps
from pyarrow import fs

endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
if "CLIENT_BY_NAME" in os.environ:
    del os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_ENDPOINT_URL_STS"]
files = fs.S3FileSystem(endpoint_override=endpoint.netloc, scheme=endpoint.scheme, region=os.environ["AWS_REGION"])


def write(key: str, body: bytes) -> None:
    with files.open_output_stream(f"{steps.BUCKET}/{key}") as stream:
        stream.write(body)


def read(key: str) -> bytes:
    with files.open_input_stream(f"{steps.BUCKET}/{key}") as stream:
        return stream.read()


def names(prefix: str) -> list[str]:
    found = files.get_file_info(fs.FileSelector(f"{steps.BUCKET}/{prefix}", allow_not_found=True))
    return [item.path.removeprefix(f"{steps.BUCKET}/") for item in found if item.is_file]


status = 1
try:
    steps.run(
        version=pa.__version__,
        write=write,
        read=read,
        names=names,
        delete=lambda key: files.delete_file(f"{steps.BUCKET}/{key}"),
    )
    status = 0
except OSError:
    traceback.print_exc()
sys.stderr.flush()
os._exit(status)  # pyarrow may hang when it ends under web identity (apache/arrow#50188)
