from __future__ import annotations

import io

import boto3
import steps

s3 = boto3.client("s3")


def write(key: str, body: bytes) -> None:
    s3.upload_fileobj(io.BytesIO(body), steps.BUCKET, key)  # in parts from 8 MiB


steps.run(
    version=boto3.__version__,
    write=write,
    read=lambda key: s3.get_object(Bucket=steps.BUCKET, Key=key)["Body"].read(),
    names=lambda prefix: [
        item["Key"] for item in s3.list_objects_v2(Bucket=steps.BUCKET, Prefix=prefix).get("Contents", [])
    ],
    delete=lambda key: s3.delete_object(Bucket=steps.BUCKET, Key=key),
)
