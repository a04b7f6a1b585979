"""What the gate answers of a bucket itself, because it decides by it: public access settings, policy status, ownership; and what it
keeps of it.
"""

from __future__ import annotations

from towpath.sandbox.buckets import Bucket
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import xml
from towpath.sandbox.wire import Response


def of_bucket(operation: str, bucket: Bucket) -> Response | None:
    """The answer to a read that `bucket` itself can give; None for every other operation."""
    if operation == "GetPublicAccessBlock":
        return _access_block(bucket)
    if operation == "GetBucketPolicyStatus":
        if bucket.policy is None:
            raise AwsError("NoSuchBucketPolicy", "The bucket policy does not exist", 404)
        return _xml("PolicyStatus", f"<IsPublic>{str(bucket.public).lower()}</IsPublic>")
    if operation == "GetBucketOwnershipControls":
        if bucket.ownership is None:
            raise AwsError("OwnershipControlsNotFoundError", "The bucket ownership controls were not found", 404)
        rule = f"<Rule><ObjectOwnership>{bucket.ownership}</ObjectOwnership></Rule>"
        return _xml("OwnershipControls", rule)
    if operation == "GetBucketRequestPayment":  # the other one, Requester, cannot be set here
        return _xml("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>")
    if operation in bucket.documents:
        found = bucket.documents[operation]
        return Response(status=200, headers=[("Content-Type", "application/xml"), *found.headers], body=found.body)
    return None


def _access_block(bucket: Bucket) -> Response:
    found = bucket.access_block
    if found is None:
        raise AwsError(
            "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found", 404
        )
    settings = {
        "BlockPublicAcls": found.block_public_acls,
        "IgnorePublicAcls": found.ignore_public_acls,
        "BlockPublicPolicy": found.block_public_policy,
        "RestrictPublicBuckets": found.restrict_public_buckets,
    }
    return _xml(
        "PublicAccessBlockConfiguration",
        "".join(f"<{name}>{str(value).lower()}</{name}>" for name, value in settings.items()),
    )


def _xml(name: str, content: str) -> Response:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{xml.NAMESPACE}">{content}</{name}>'
    return Response(status=200, headers=[("Content-Type", "application/xml")], body=text.encode())
