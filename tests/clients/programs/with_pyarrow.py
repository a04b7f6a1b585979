"""pyarrow's own S3: writes and reads one object, and tells what became of it."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pyarrow
import steps
from pyarrow import fs

steps.tell("version", version=pyarrow.__version__)
endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"])
files = fs.S3FileSystem(endpoint_override=endpoint.netloc, scheme=endpoint.scheme, region=os.environ["AWS_REGION"])
try:
    with files.open_output_stream(f"{steps.BUCKET}/{steps.ALLOWED}one") as stream:
        stream.write(steps.TEXT)
except OSError as error:
    steps.tell("refused", error=steps.words(error))
else:
    with files.open_input_stream(f"{steps.BUCKET}/{steps.ALLOWED}one") as stream:
        steps.tell("read", text=stream.read().decode())
os._exit(0)  # pyarrow can hang when it ends under web identity (apache/arrow#50188)
