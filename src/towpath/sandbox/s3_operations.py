"""S3: which permissions on which resources a request needs.

Source: "Actions, resources, and condition keys for Amazon S3" (Service Authorization Reference) and "Required permissions
for Amazon S3 API operations" (S3 User Guide). HeadBucket and both ListObjects are s3:ListBucket; HeadObject is s3:GetObject; each
step of a multipart upload is s3:PutObject, except listing and aborting; CopyObject reads its source too; DeleteObjects
deletes key by key. A request that no row knows is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from defusedxml import DefusedXmlException, ElementTree

from towpath.iam import arn as arns
from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request

BUCKET_NAME: Final = re.compile(r"^[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]$")


# s3.<region>.amazonaws.com and its dual-stack and global forms, with or without a bucket before it.
_AWS_HOST: Final = re.compile(
    r"^(?:(?P<bucket>.+)\.)?s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)$"
)


@dataclass(frozen=True, kw_only=True)
class Need:
    """One permission a request needs, with the condition keys that only this request can tell."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict[str, str])


# Sub-resource in the query string -> the permission's name after Get, Put and Delete ("" = the method has none).
_BUCKET: Final[dict[str, tuple[str, str, str]]] = {
    "accelerate": ("GetAccelerateConfiguration", "PutAccelerateConfiguration", ""),
    "acl": ("GetBucketAcl", "PutBucketAcl", ""),
    "cors": ("GetBucketCORS", "PutBucketCORS", "PutBucketCORS"),
    "encryption": ("GetEncryptionConfiguration", "PutEncryptionConfiguration", "PutEncryptionConfiguration"),
    "inventory": ("GetInventoryConfiguration", "PutInventoryConfiguration", "PutInventoryConfiguration"),
    "lifecycle": ("GetLifecycleConfiguration", "PutLifecycleConfiguration", "PutLifecycleConfiguration"),
    "location": ("GetBucketLocation", "", ""),
    "logging": ("GetBucketLogging", "PutBucketLogging", ""),
    "notification": ("GetBucketNotification", "PutBucketNotification", ""),
    "object-lock": ("GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration", ""),
    "ownershipControls": ("GetBucketOwnershipControls", "PutBucketOwnershipControls", "PutBucketOwnershipControls"),
    "policy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    "policyStatus": ("GetBucketPolicyStatus", "", ""),
    "publicAccessBlock": ("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock", "PutBucketPublicAccessBlock"),
    "replication": ("GetReplicationConfiguration", "PutReplicationConfiguration", "PutReplicationConfiguration"),
    "requestPayment": ("GetBucketRequestPayment", "PutBucketRequestPayment", ""),
    "tagging": ("GetBucketTagging", "PutBucketTagging", "PutBucketTagging"),
    "uploads": ("ListBucketMultipartUploads", "", ""),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning", ""),
    "versions": ("ListBucketVersions", "", ""),
    "website": ("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite"),
}
_OBJECT: Final[dict[str, tuple[str, str, str]]] = {
    "acl": ("GetObjectAcl", "PutObjectAcl", ""),
    "attributes": ("GetObjectAttributes", "", ""),
    "legal-hold": ("GetObjectLegalHold", "PutObjectLegalHold", ""),
    "retention": ("GetObjectRetention", "PutObjectRetention", ""),
    "tagging": ("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging"),
}
_VERSIONED: Final = {
    "GetObject",
    "GetObjectAcl",
    "GetObjectTagging",
    "PutObjectAcl",
    "PutObjectTagging",
    "DeleteObject",
    "DeleteObjectTagging",
    "GetObjectAttributes",
}
_COLUMN: Final = {"GET": 0, "HEAD": 0, "PUT": 1, "DELETE": 2}
# Context keys of a listing: query parameter -> condition key.
_LISTING: Final = {"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys"}
_HEADERS: Final = {
    "x-amz-acl": "s3:x-amz-acl",
    "x-amz-server-side-encryption": "s3:x-amz-server-side-encryption",
    "x-amz-storage-class": "s3:x-amz-storage-class",
    "x-amz-copy-source": "s3:x-amz-copy-source",
}


def split(request: Request, base_hosts: frozenset[str]) -> tuple[str, str, str]:
    """Bucket and key ("" where there is none), and the raw path in path style.

    The bucket is the first segment of the path or, virtual-hosted, what the Host header has before the endpoint's own name.
    """
    endpoint = _AWS_HOST.match(request.host)
    bucket = (
        endpoint["bucket"]
        if endpoint
        else next((request.host[: -len(base) - 1] for base in base_hosts if request.host.endswith("." + base)), None)
    )
    if bucket:
        return (
            bucket,
            request.key_path.removeprefix("/"),
            f"/{bucket}{request.path if request.path.startswith('/') else '/' + request.path}",
        )
    bucket, _, key = request.key_path.removeprefix("/").partition("/")
    return bucket, key, request.path


def needs(request: Request, bucket: str, key: str, *, partition: str) -> tuple[Need, ...]:
    """Every permission this request needs. Raises AwsError for a method or sub-resource with no row here."""
    if not bucket:
        if request.method == "GET":
            return (Need(action="s3:ListAllMyBuckets", resource="*"),)
        raise _unknown(request)
    if not BUCKET_NAME.match(bucket):
        raise AwsError("InvalidBucketName", "The specified bucket is not valid.", 400)
    return _object(request, bucket, key, partition) if key else _bucket(request, bucket, partition)


def _bucket(request: Request, bucket: str, partition: str) -> tuple[Need, ...]:
    resource = str(arns.bucket_arn(partition=partition, bucket=bucket))
    found = request.arguments
    if request.method == "POST" and "delete" in found:
        return _delete_many(request, bucket, partition)
    for name, actions in _BUCKET.items():
        if name in found:
            return (_row(request, actions, resource, _listing(request) if name in {"versions", "uploads"} else {}),)
    if request.method in {"GET", "HEAD"}:
        return (Need(action="s3:ListBucket", resource=resource, context=_listing(request)),)
    if request.method == "PUT":
        return (Need(action="s3:CreateBucket", resource=resource, context=_from_headers(request)),)
    if request.method == "DELETE":
        return (Need(action="s3:DeleteBucket", resource=resource),)
    raise _unknown(request)


def _object(request: Request, bucket: str, key: str, partition: str) -> tuple[Need, ...]:
    resource = str(arns.bucket_arn(partition=partition, bucket=bucket, key=key))
    found = request.arguments
    context = _from_headers(request)
    if "versionId" in found:
        context["s3:VersionId"] = found["versionId"]
    for name, actions in _OBJECT.items():
        if name in found:
            return (_row(request, actions, resource, context),)
    if "uploadId" in found:
        action = {"GET": "ListMultipartUploadParts", "DELETE": "AbortMultipartUpload"}.get(request.method, "PutObject")
        return (Need(action=f"s3:{action}", resource=resource, context=context), *_source(request, partition))
    if request.method == "POST" and "uploads" in found:
        return (Need(action="s3:PutObject", resource=resource, context=context),)
    if request.method == "POST" and "restore" in found:
        return (Need(action="s3:RestoreObject", resource=resource, context=context),)
    if request.method == "PUT":
        return (
            Need(action="s3:PutObject", resource=resource, context=context),
            *_extras(request, resource),
            *_source(request, partition),
        )
    if request.method in {"GET", "HEAD", "DELETE"}:
        return (_row(request, ("GetObject", "", "DeleteObject"), resource, context),)
    raise _unknown(request)


def _row(request: Request, actions: tuple[str, str, str], resource: str, context: Mapping[str, str]) -> Need:
    column = _COLUMN.get(request.method)
    name = actions[column] if column is not None else ""
    if not name:
        raise _unknown(request)
    if "versionId" in request.arguments and name in _VERSIONED:
        name = name.replace("Object", "ObjectVersion", 1)
    return Need(action=f"s3:{name}", resource=resource, context=context)


def _extras(request: Request, resource: str) -> tuple[Need, ...]:
    """A PUT that also sets tags or an ACL needs those permissions too."""
    out: list[Need] = []
    if "x-amz-tagging" in request.headers:
        out.append(Need(action="s3:PutObjectTagging", resource=resource))
    if "x-amz-acl" in request.headers or any(name.startswith("x-amz-grant-") for name in request.headers):
        out.append(Need(action="s3:PutObjectAcl", resource=resource))
    return tuple(out)


def _source(request: Request, partition: str) -> tuple[Need, ...]:
    source = request.headers.get("x-amz-copy-source")
    if source is None:
        return ()
    path, _, version = unquote(source).partition("?versionId=")
    bucket, _, key = path.removeprefix("/").partition("/")
    if not BUCKET_NAME.match(bucket) or not key:
        raise AwsError(
            "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", 400
        )
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return (Need(action=action, resource=str(arns.bucket_arn(partition=partition, bucket=bucket, key=key))),)


def _delete_many(request: Request, bucket: str, partition: str) -> tuple[Need, ...]:
    text = request.body.read()
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, DefusedXmlException, ValueError):
        raise _malformed() from None
    out: list[Need] = []
    for item in root.iter():
        if item.tag.rpartition("}")[2] == "Object":
            parts = {child.tag.rpartition("}")[2]: child.text or "" for child in item}
            action = "s3:DeleteObjectVersion" if parts.get("VersionId") else "s3:DeleteObject"
            out.append(
                Need(
                    action=action,
                    resource=str(arns.bucket_arn(partition=partition, bucket=bucket, key=parts.get("Key", ""))),
                )
            )
    if not 0 < len(out) <= 1000:
        raise _malformed()
    return tuple(out)


def _malformed() -> AwsError:
    return AwsError(
        "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema", 400
    )


def _unknown(request: Request) -> AwsError:
    return AwsError(
        "MethodNotAllowed",
        "The specified method is not allowed against this resource.",
        405,
        why=f"no permission is known for {request.method} ?{request.query[:100]}",
    )


def _listing(request: Request) -> dict[str, str]:
    # A parameter that was not sent is a key that is not there: `StringEquals s3:prefix ""` does not match its absence.
    return {key: request.arguments[name] for name, key in _LISTING.items() if name in request.arguments}


def _from_headers(request: Request) -> dict[str, str]:
    return {key: request.headers[name] for name, key in _HEADERS.items() if name in request.headers}
