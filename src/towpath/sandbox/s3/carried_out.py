"""Which of S3's operations this sandbox carries out. What is not named here is judged as any other, and then answered NotImplemented.

The emulator goes by fewer query parameters than S3 has: to it DELETE ?metrics of a bucket is DeleteBucket, and GET ?analytics is a listing.
So only what was seen to do what it is called is let through (tests/integration/sandbox/test_s3_carried_out.py), and a new operation is not.
"""

from __future__ import annotations

from typing import Final

from towpath.sandbox.errors import not_implemented

CARRIED_OUT: Final = frozenset(
    """
    ListBuckets CreateBucket DeleteBucket HeadBucket GetBucketLocation ListObjects ListObjectsV2 ListObjectVersions ListMultipartUploads
    GetBucketAccelerateConfiguration PutBucketAccelerateConfiguration
    GetBucketAcl PutBucketAcl
    GetBucketCors PutBucketCors DeleteBucketCors
    GetBucketEncryption PutBucketEncryption DeleteBucketEncryption
    GetBucketInventoryConfiguration PutBucketInventoryConfiguration ListBucketInventoryConfigurations
    GetBucketLifecycleConfiguration PutBucketLifecycleConfiguration DeleteBucketLifecycle
    GetBucketLogging PutBucketLogging
    GetBucketNotificationConfiguration PutBucketNotificationConfiguration
    GetBucketOwnershipControls PutBucketOwnershipControls DeleteBucketOwnershipControls
    GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPolicyStatus
    GetBucketRequestPayment
    GetBucketReplication PutBucketReplication DeleteBucketReplication
    GetBucketTagging PutBucketTagging DeleteBucketTagging
    GetBucketVersioning PutBucketVersioning
    GetBucketWebsite PutBucketWebsite DeleteBucketWebsite
    GetObjectLockConfiguration PutObjectLockConfiguration
    GetPublicAccessBlock PutPublicAccessBlock DeletePublicAccessBlock
    GetObject HeadObject PutObject PostObject CopyObject DeleteObject DeleteObjects GetObjectAttributes
    GetObjectAcl PutObjectAcl GetObjectTagging PutObjectTagging DeleteObjectTagging
    GetObjectLegalHold PutObjectLegalHold GetObjectRetention PutObjectRetention
    CreateMultipartUpload UploadPart UploadPartCopy ListParts CompleteMultipartUpload AbortMultipartUpload
    """.split()  # noqa: SIM905 - two hundred quotation marks would hide the names
)


def check(operation: str) -> None:
    """Raises AwsError NotImplemented."""
    if operation not in CARRIED_OUT:
        raise not_implemented(f"this sandbox does not carry out {operation}")
