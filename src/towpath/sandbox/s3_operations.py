"""S3: which permissions on which resources a request needs.

Source: "Required permissions for Amazon S3 API operations" (S3 User Guide) and the permissions each operation's page of the S3 API
reference names: a copy reads its source and its source's tags; headers that set tags, an ACL or a lock need the permission to set
them; GetObjectAttributes needs GetObject too; a version has actions of its own. The table is s3/operations.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from towpath.iam import arn as arns
from towpath.iam.context import Value
from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import condition_keys, rules, xml
from towpath.sandbox.s3.address import BUCKET_NAME, Address
from towpath.sandbox.s3.operations import SERVICE, S3Operation
from towpath.sandbox.wire import Request

# Action on an object -> the action on a version of it.
VERSIONED: Final = {
    "GetObject": "GetObjectVersion",
    "GetObjectAcl": "GetObjectVersionAcl",
    "GetObjectAttributes": "GetObjectVersionAttributes",
    "GetObjectTagging": "GetObjectVersionTagging",
    "GetObjectTorrent": "GetObjectVersionTorrent",
    "PutObjectAcl": "PutObjectVersionAcl",
    "PutObjectTagging": "PutObjectVersionTagging",
    "DeleteObject": "DeleteObjectVersion",
    "DeleteObjectTagging": "DeleteObjectVersionTagging",
}
_WRITING: Final = frozenset({"PutObject", "CopyObject", "CreateMultipartUpload", "PostObject"})
_BYPASSING: Final = frozenset({"DeleteObject", "PutObjectRetention"})


@dataclass(frozen=True, kw_only=True)
class Need:
    """One permission a request needs, with the condition keys that only this request can tell."""

    action: str
    resource: str
    context: Mapping[str, Value] = field(default_factory=dict[str, Value])

    @property
    def bucket(self) -> str:
        """The bucket of an S3 resource; "" for any other."""
        parts = self.resource.split(":", 5)
        return parts[5].partition("/")[0] if len(parts) == 6 and parts[2] == "s3" else ""


@dataclass(frozen=True, kw_only=True)
class CopySource:
    """What an x-amz-copy-source header names."""

    bucket: str
    key: str
    version: str = ""


def needs(request: Request, operation: S3Operation, address: Address, *, partition: str) -> tuple[Need, ...]:
    """Every permission the request needs, its own first. DeleteObjects' are asked key by key (s3/deletes.py) and not here."""
    if operation.level == SERVICE:
        return tuple(Need(action=f"s3:{action}", resource="*") for action in operation.actions)
    resource = str(arns.bucket_arn(partition=partition, bucket=address.bucket, key=address.key))
    context = condition_keys.of_request(request, operation)
    versioned = "versionId" in request.arguments
    own = [VERSIONED.get(action, action) if versioned else action for action in operation.actions]
    extra = _bucket_extras(request) if operation.name == "CreateBucket" else _object_extras(request, operation)
    found = [Need(action=f"s3:{action}", resource=resource, context=context) for action in (*own, *extra)]
    if operation.name == "PutBucketReplication":
        found.append(_pass_role(request))
    source = copy_source(request) if operation.name in {"CopyObject", "UploadPartCopy"} else None
    if source is not None:
        found.append(read_source(source, partition=partition))
    return tuple(found)


def _object_extras(request: Request, operation: S3Operation) -> list[str]:
    headers = request.headers
    out: list[str] = []
    if operation.name in _WRITING:
        if "x-amz-tagging" in headers and (operation.name != "CopyObject" or replaces_tags(request)):
            out.append("PutObjectTagging")
        if "x-amz-acl" in headers or rules.grants(headers):
            out.append("PutObjectAcl")
        if "x-amz-object-lock-mode" in headers or "x-amz-object-lock-retain-until-date" in headers:
            out.append("PutObjectRetention")
        if "x-amz-object-lock-legal-hold" in headers:
            out.append("PutObjectLegalHold")
    if operation.name in _BYPASSING and bypasses_governance(request):
        out.append("BypassGovernanceRetention")
    return out


def _bucket_extras(request: Request) -> list[str]:
    """CreateBucket (S3 API reference, Permissions): an ACL but `private`, Object Lock, ownership and tags need their own."""
    headers = request.headers
    out: list[str] = []
    if headers.get("x-amz-acl", "private") != "private" or rules.grants(headers):
        out.append("PutBucketAcl")
    if headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        out += ["PutBucketObjectLockConfiguration", "PutBucketVersioning"]
    if "x-amz-object-ownership" in headers:
        out.append("PutBucketOwnershipControls")
    body = xml.parse_or_none(request)
    if body is not None and next(xml.named(body, "Tag"), None) is not None:
        out.append("TagResource")
    return out


def _pass_role(request: Request) -> Need:
    role = xml.text(xml.parse(request), "Role") or ""
    return Need(action="iam:PassRole", resource=role or "*", context={"iam:PassedToService": "s3.amazonaws.com"})


def bypasses_governance(request: Request) -> bool:
    return request.headers.get("x-amz-bypass-governance-retention", "").lower() == "true"


def replaces_tags(request: Request) -> bool:
    return request.headers.get("x-amz-tagging-directive", "COPY").upper() == "REPLACE"


def copy_source(request: Request) -> CopySource:
    """Raises AwsError InvalidArgument for a header that names no object."""
    path, _, version = request.headers.get("x-amz-copy-source", "").partition("?versionId=")
    bucket, _, key = unquote(path).removeprefix("/").partition("/")
    if not BUCKET_NAME.fullmatch(bucket) or not key:
        raise AwsError(
            "InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey", 400
        )
    return CopySource(bucket=bucket, key=key, version=unquote(version))


def read_source(source: CopySource, *, partition: str, tagging: bool = False) -> Need:
    """The permission to read a copy's source, or its tags."""
    action = "GetObjectTagging" if tagging else "GetObject"
    return Need(
        action=f"s3:{VERSIONED[action] if source.version else action}",
        resource=str(arns.bucket_arn(partition=partition, bucket=source.bucket, key=source.key)),
        context={"s3:VersionId": source.version} if source.version else {},
    )
