"""What S3 refuses whatever the policies say: another owner than expected, names it does not take, ACLs where they are disabled.

Sources: "Verifying bucket ownership with bucket owner condition", "Controlling ownership of objects and disabling ACLs", "Blocking public
access to your Amazon S3 storage" (S3 User Guide); "Error responses" (S3 API reference).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from towpath.sandbox.buckets import ENFORCED, Bucket
from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.http1 import is_name
from towpath.sandbox.s3 import xml
from towpath.sandbox.s3.address import RESERVED
from towpath.sandbox.wire import Request

LARGEST_MESSAGE: Final = 4 * 1024 * 1024  # bytes of any other body; it is read whole
LARGEST_PUT: Final = 5 * 1024**3  # bytes of one PUT or part
SETTING_ACLS: Final = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload", "PutObjectAcl", "PutBucketAcl"})
_OWNERSHIPS: Final = frozenset({ENFORCED, "BucketOwnerPreferred", "ObjectWriter"})
_PUBLIC_ACLS: Final = frozenset({"public-read", "public-read-write", "authenticated-read"})
_PUBLIC_GROUPS: Final = ("/groups/global/AllUsers", "/groups/global/AuthenticatedUsers")
_GRANT: Final = "x-amz-grant-"


def no_such_bucket(name: str) -> AwsError:
    return AwsError("NoSuchBucket", "The specified bucket does not exist", 404, why=f"there is no bucket {name}")


def check_owner(headers: Mapping[str, str], header: str, bucket: Bucket) -> None:
    """The bucket owner condition: x-amz-expected-bucket-owner, or its like for a copy's source."""
    expected = headers.get(header)
    if expected is None:
        return
    if not re.fullmatch(r"[0-9]{12}", expected):
        raise AwsError(
            "InvalidBucketOwnerAWSAccountID",
            "The value of the expected bucket owner parameter must be an AWS Account ID...",
            400,
        )
    if expected != bucket.owner:
        raise AwsError("AccessDenied", "Access Denied", 403, why=f"{header} is {expected}, {bucket.name} is another's")


# Of directory buckets only: ignored, an object would be written over where it was to grow, or deleted against a condition.
_OF_DIRECTORY_BUCKETS: Final = ("x-amz-write-offset-bytes", "x-amz-if-match-last-modified-time", "x-amz-if-match-size")


def check_known(headers: Mapping[str, str]) -> None:
    """Raises AwsError NotImplemented for a header whose meaning would be lost."""
    for name in _OF_DIRECTORY_BUCKETS:
        if name in headers:
            raise not_implemented(f"{name} is of directory buckets")


def check_header(name: str) -> None:
    """What is to become a header out of a presigned URL or a form: stored with an object, its name goes out to whoever reads that."""
    if not is_name(name):
        raise AwsError("InvalidArgument", f"{name[:60]!r} is no header's name.", 400)


def check_anonymous(request: Request) -> None:
    if any(name.startswith("response-") for name in request.arguments):
        raise AwsError(
            "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.", 400
        )


def check_message(request: Request) -> None:
    """Of a request whose body is no object's content."""
    if request.body.length > LARGEST_MESSAGE:
        raise AwsError("MaxMessageLengthExceeded", "Your request was too large.", 400)


def check_length(request: Request, *, streamed: bool) -> None:
    """The length of an object is told beforehand: S3 takes HTTP's own chunks only around aws-chunked ones."""
    if "transfer-encoding" in request.headers and not streamed:
        raise not_implemented("Transfer-Encoding without a streaming x-amz-content-sha256")
    if "content-length" not in request.headers and "transfer-encoding" not in request.headers:
        raise AwsError("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)
    if request.body.length > LARGEST_PUT:
        raise AwsError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.", 400)


def check_new_bucket(request: Request, name: str) -> None:
    ownership = request.headers.get("x-amz-object-ownership", ENFORCED)
    if RESERVED.fullmatch(name):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400, why="a reserved name")
    if ownership not in _OWNERSHIPS:
        raise AwsError("InvalidArgument", f"Invalid x-amz-object-ownership header: {ownership[:40]}", 400)
    acl = request.headers.get("x-amz-acl", "private")
    if ownership == ENFORCED and (acl != "private" or grants(request.headers)):
        raise AwsError(
            "InvalidBucketAclWithObjectOwnership",
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
            400,
        )
    if _is_public(request):
        raise AwsError(
            "InvalidBucketAclWithBlockPublicAccessError",
            "Bucket cannot have public ACLs set with BlockPublicAccess enabled",
            400,
        )


def check_acl(request: Request, operation: str, bucket: Bucket, *, user: str, resource: str, action: str) -> None:
    """ACLs are disabled on a new bucket; where they are not, Block Public Access refuses public ones.

    An ACL that is taken is stored, and no more: the sandbox never lets anybody in because of one.
    """
    if operation not in SETTING_ACLS:
        return
    acl = request.headers.get("x-amz-acl")
    by_body = operation in {"PutObjectAcl", "PutBucketAcl"} and request.body.length > 0
    if bucket.ownership == ENFORCED:
        if acl not in {None, "private", "bucket-owner-full-control"} or grants(request.headers) or by_body:
            raise AwsError("AccessControlListNotSupported", "The bucket does not allow ACLs", 400)
        return
    if bucket.blocked.block_public_acls and (_is_public(request) or (by_body and _grants_public(request))):
        raise AwsError(
            "AccessDenied",
            f'User: {user} is not authorized to perform: {action} on resource: "{resource}" because public access control lists (ACLs) are prevented by the BlockPublicAcls setting in S3 Block Public Access.',
            403,
        )


def grants(headers: Mapping[str, str]) -> bool:
    """Whether one of the headers gives a permission by ACL."""
    return f" {_GRANT}" in " " + " ".join(headers)


def _is_public(request: Request) -> bool:
    return request.headers.get("x-amz-acl") in _PUBLIC_ACLS or any(
        group in value for name, value in request.headers.items() if name.startswith(_GRANT) for group in _PUBLIC_GROUPS
    )


def _grants_public(request: Request) -> bool:
    return any((item.text or "").strip().endswith(_PUBLIC_GROUPS) for item in xml.named(xml.parse(request), "URI"))
