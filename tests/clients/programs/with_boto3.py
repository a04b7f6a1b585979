from __future__ import annotations

import boto3
import steps

s3 = boto3.client("s3")
steps.run(
    version=boto3.__version__,
    write=lambda key, body: s3.put_object(Bucket=steps.BUCKET, Key=key, Body=body),
    read=lambda key: s3.get_object(Bucket=steps.BUCKET, Key=key)["Body"].read(),
    names=lambda prefix: [
        item["Key"] for item in s3.list_objects_v2(Bucket=steps.BUCKET, Prefix=prefix).get("Contents", [])
    ],
    delete=lambda key: s3.delete_object(Bucket=steps.BUCKET, Key=key),
)
