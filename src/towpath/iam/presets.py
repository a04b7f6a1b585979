"""Ready-made permissions for what a pipeline does, and nothing beyond it."""

from __future__ import annotations

from typing import Any, Final

from towpath.errors import UsageError
from towpath.iam import arn as arns

PRESETS: Final = {
    "s3": "read, write or read-write one bucket, or one prefix of it: list what is there, and get, put and delete objects",
}
_ACCESS: Final = {
    "read": ["s3:GetObject"],
    "write": ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
}
_ACCESS["read-write"] = [*_ACCESS["read"], *_ACCESS["write"]]


def s3_statements(*, partition: str, bucket: str, prefix: str = "", access: str = "read-write") -> list[dict[str, Any]]:
    """Statements for objects under `prefix` ("" is the whole bucket). `access`: read, write or read-write.

    The bucket's own actions do not take a prefix in their ARN, so listing is limited by the condition key s3:prefix.
    """
    if access not in _ACCESS:
        raise UsageError(
            f"{access!r} is no kind of access", where="permissions.s3.access", todo=f"use one of {', '.join(_ACCESS)}"
        )
    bucket_arn = str(arns.bucket_arn(partition=partition, bucket=bucket))
    listing: dict[str, Any] = {"Sid": "List", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket_arn}
    if prefix:
        listing["Condition"] = {"StringLike": {"s3:prefix": sorted({prefix, prefix.rstrip("/"), f"{prefix}*"})}}
    return [
        listing,
        {
            "Sid": "Bucket",
            "Effect": "Allow",
            "Action": ["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
            "Resource": bucket_arn,
        },
        {"Sid": "Objects", "Effect": "Allow", "Action": _ACCESS[access], "Resource": f"{bucket_arn}/{prefix}*"},
    ]
