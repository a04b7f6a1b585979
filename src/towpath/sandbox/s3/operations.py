"""S3's operations: how a request tells which one it is, and the actions that permit it.

Sources: the S3 API reference (request syntax of each operation) and "Required permissions for Amazon S3 API operations" (S3 User
Guide). tests/unit/sandbox/test_s3_operations.py serialises every operation of botocore's model and asks this table for its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from towpath.sandbox.errors import AwsError
from towpath.sandbox.wire import Request

SERVICE, BUCKET, OBJECT = "service", "bucket", "object"


@dataclass(frozen=True, slots=True)
class S3Operation:
    """One operation. `selector` is the query parameter that names it ("" for the plain methods), `extra` what tells it from another of
    the same method and selector: `?name`, `?name=value`, or a header's name. Actions stand without `s3:`.
    """

    name: str
    method: str
    level: str
    selector: str
    actions: tuple[str, ...]
    extra: str = ""


def _rows(level: str, *rows: tuple[str, ...]) -> list[S3Operation]:
    return [S3Operation(row[0], row[1], level, row[2], tuple(row[3].split()), *row[4:]) for row in rows]


OPERATIONS: Final = (
    *_rows(SERVICE, ("ListBuckets", "GET", "", "ListAllMyBuckets")),
    *_rows(
        BUCKET,
        ("CreateBucket", "PUT", "", "CreateBucket"),
        ("DeleteBucket", "DELETE", "", "DeleteBucket"),
        ("HeadBucket", "HEAD", "", "ListBucket"),
        ("ListObjects", "GET", "", "ListBucket"),
        ("ListObjectsV2", "GET", "", "ListBucket", "?list-type=2"),
        ("DeleteObjects", "POST", "delete", "DeleteObject"),
        ("GetBucketAbac", "GET", "abac", "GetBucketAbac"),
        ("PutBucketAbac", "PUT", "abac", "PutBucketAbac"),
        ("GetBucketAccelerateConfiguration", "GET", "accelerate", "GetAccelerateConfiguration"),
        ("PutBucketAccelerateConfiguration", "PUT", "accelerate", "PutAccelerateConfiguration"),
        ("GetBucketAcl", "GET", "acl", "GetBucketAcl"),
        ("PutBucketAcl", "PUT", "acl", "PutBucketAcl"),
        ("ListBucketAnalyticsConfigurations", "GET", "analytics", "GetAnalyticsConfiguration"),
        ("GetBucketAnalyticsConfiguration", "GET", "analytics", "GetAnalyticsConfiguration", "?id"),
        ("PutBucketAnalyticsConfiguration", "PUT", "analytics", "PutAnalyticsConfiguration", "?id"),
        ("DeleteBucketAnalyticsConfiguration", "DELETE", "analytics", "PutAnalyticsConfiguration", "?id"),
        ("GetBucketCors", "GET", "cors", "GetBucketCORS"),
        ("PutBucketCors", "PUT", "cors", "PutBucketCORS"),
        ("DeleteBucketCors", "DELETE", "cors", "PutBucketCORS"),
        ("GetBucketEncryption", "GET", "encryption", "GetEncryptionConfiguration"),
        ("PutBucketEncryption", "PUT", "encryption", "PutEncryptionConfiguration"),
        ("DeleteBucketEncryption", "DELETE", "encryption", "PutEncryptionConfiguration"),
        ("ListBucketIntelligentTieringConfigurations", "GET", "intelligent-tiering", "GetIntelligentTieringConfiguration"),
        ("GetBucketIntelligentTieringConfiguration", "GET", "intelligent-tiering", "GetIntelligentTieringConfiguration", "?id"),
        ("PutBucketIntelligentTieringConfiguration", "PUT", "intelligent-tiering", "PutIntelligentTieringConfiguration", "?id"),
        ("DeleteBucketIntelligentTieringConfiguration", "DELETE", "intelligent-tiering", "PutIntelligentTieringConfiguration", "?id"),
        ("ListBucketInventoryConfigurations", "GET", "inventory", "GetInventoryConfiguration"),
        ("GetBucketInventoryConfiguration", "GET", "inventory", "GetInventoryConfiguration", "?id"),
        ("PutBucketInventoryConfiguration", "PUT", "inventory", "PutInventoryConfiguration", "?id"),
        ("DeleteBucketInventoryConfiguration", "DELETE", "inventory", "PutInventoryConfiguration", "?id"),
        ("GetBucketLifecycleConfiguration", "GET", "lifecycle", "GetLifecycleConfiguration"),
        ("PutBucketLifecycleConfiguration", "PUT", "lifecycle", "PutLifecycleConfiguration"),
        ("DeleteBucketLifecycle", "DELETE", "lifecycle", "PutLifecycleConfiguration"),
        ("GetBucketLocation", "GET", "location", "GetBucketLocation"),
        ("GetBucketLogging", "GET", "logging", "GetBucketLogging"),
        ("PutBucketLogging", "PUT", "logging", "PutBucketLogging"),
        ("GetBucketMetadataConfiguration", "GET", "metadataConfiguration", "GetBucketMetadataTableConfiguration"),
        ("DeleteBucketMetadataConfiguration", "DELETE", "metadataConfiguration", "DeleteBucketMetadataTableConfiguration"),
        ("GetBucketMetadataTableConfiguration", "GET", "metadataTable", "GetBucketMetadataTableConfiguration"),
        ("DeleteBucketMetadataTableConfiguration", "DELETE", "metadataTable", "DeleteBucketMetadataTableConfiguration"),
        ("ListBucketMetricsConfigurations", "GET", "metrics", "GetMetricsConfiguration"),
        ("GetBucketMetricsConfiguration", "GET", "metrics", "GetMetricsConfiguration", "?id"),
        ("PutBucketMetricsConfiguration", "PUT", "metrics", "PutMetricsConfiguration", "?id"),
        ("DeleteBucketMetricsConfiguration", "DELETE", "metrics", "PutMetricsConfiguration", "?id"),
        ("GetBucketNotificationConfiguration", "GET", "notification", "GetBucketNotification"),
        ("PutBucketNotificationConfiguration", "PUT", "notification", "PutBucketNotification"),
        ("GetObjectLockConfiguration", "GET", "object-lock", "GetBucketObjectLockConfiguration"),
        ("PutObjectLockConfiguration", "PUT", "object-lock", "PutBucketObjectLockConfiguration"),
        ("GetBucketOwnershipControls", "GET", "ownershipControls", "GetBucketOwnershipControls"),
        ("PutBucketOwnershipControls", "PUT", "ownershipControls", "PutBucketOwnershipControls"),
        ("DeleteBucketOwnershipControls", "DELETE", "ownershipControls", "PutBucketOwnershipControls"),
        ("GetBucketPolicy", "GET", "policy", "GetBucketPolicy"),
        ("PutBucketPolicy", "PUT", "policy", "PutBucketPolicy"),
        ("DeleteBucketPolicy", "DELETE", "policy", "DeleteBucketPolicy"),
        ("GetBucketPolicyStatus", "GET", "policyStatus", "GetBucketPolicyStatus"),
        ("GetPublicAccessBlock", "GET", "publicAccessBlock", "GetBucketPublicAccessBlock"),
        ("PutPublicAccessBlock", "PUT", "publicAccessBlock", "PutBucketPublicAccessBlock"),
        ("DeletePublicAccessBlock", "DELETE", "publicAccessBlock", "PutBucketPublicAccessBlock"),
        ("GetBucketReplication", "GET", "replication", "GetReplicationConfiguration"),
        ("PutBucketReplication", "PUT", "replication", "PutReplicationConfiguration"),
        ("DeleteBucketReplication", "DELETE", "replication", "PutReplicationConfiguration"),
        ("GetBucketRequestPayment", "GET", "requestPayment", "GetBucketRequestPayment"),
        ("PutBucketRequestPayment", "PUT", "requestPayment", "PutBucketRequestPayment"),
        ("GetBucketTagging", "GET", "tagging", "GetBucketTagging"),
        ("PutBucketTagging", "PUT", "tagging", "PutBucketTagging"),
        ("DeleteBucketTagging", "DELETE", "tagging", "PutBucketTagging"),
        ("ListMultipartUploads", "GET", "uploads", "ListBucketMultipartUploads"),
        ("GetBucketVersioning", "GET", "versioning", "GetBucketVersioning"),
        ("PutBucketVersioning", "PUT", "versioning", "PutBucketVersioning"),
        ("ListObjectVersions", "GET", "versions", "ListBucketVersions"),
        ("GetBucketWebsite", "GET", "website", "GetBucketWebsite"),
        ("PutBucketWebsite", "PUT", "website", "PutBucketWebsite"),
        ("DeleteBucketWebsite", "DELETE", "website", "DeleteBucketWebsite"),
    ),
    *_rows(
        OBJECT,
        ("GetObject", "GET", "", "GetObject"),
        ("HeadObject", "HEAD", "", "GetObject"),
        ("PutObject", "PUT", "", "PutObject"),
        ("CopyObject", "PUT", "", "PutObject", "x-amz-copy-source"),
        ("DeleteObject", "DELETE", "", "DeleteObject"),
        ("GetObjectAcl", "GET", "acl", "GetObjectAcl"),
        ("PutObjectAcl", "PUT", "acl", "PutObjectAcl"),
        ("ListObjectAnnotations", "GET", "annotation", "ListObjectAnnotations"),
        ("GetObjectAnnotation", "GET", "annotation", "GetObjectAnnotation", "?annotationName"),
        ("PutObjectAnnotation", "PUT", "annotation", "PutObjectAnnotation", "?annotationName"),
        ("DeleteObjectAnnotation", "DELETE", "annotation", "DeleteObjectAnnotation", "?annotationName"),
        ("GetObjectAttributes", "GET", "attributes", "GetObjectAttributes GetObject"),
        ("UpdateObjectEncryption", "PUT", "encryption", "UpdateObjectEncryption PutObject"),
        ("GetObjectLegalHold", "GET", "legal-hold", "GetObjectLegalHold"),
        ("PutObjectLegalHold", "PUT", "legal-hold", "PutObjectLegalHold"),
        ("RestoreObject", "POST", "restore", "RestoreObject"),
        ("GetObjectRetention", "GET", "retention", "GetObjectRetention"),
        ("PutObjectRetention", "PUT", "retention", "PutObjectRetention"),
        ("SelectObjectContent", "POST", "select", "GetObject"),
        ("GetObjectTagging", "GET", "tagging", "GetObjectTagging"),
        ("PutObjectTagging", "PUT", "tagging", "PutObjectTagging"),
        ("DeleteObjectTagging", "DELETE", "tagging", "DeleteObjectTagging"),
        ("GetObjectTorrent", "GET", "torrent", "GetObjectTorrent"),
        ("CreateMultipartUpload", "POST", "uploads", "PutObject"),
        ("AbortMultipartUpload", "DELETE", "uploadId", "AbortMultipartUpload"),
        ("CompleteMultipartUpload", "POST", "uploadId", "PutObject"),
        ("ListParts", "GET", "uploadId", "ListMultipartUploadParts"),
        ("UploadPart", "PUT", "uploadId", "PutObject", "?partNumber"),
        ("UploadPartCopy", "PUT", "uploadId", "PutObject", "x-amz-copy-source"),
    ),
)  # fmt: skip
# The browser's form: no operation of the SDKs, and told by its Content-Type.
POST_OBJECT: Final = S3Operation("PostObject", "POST", BUCKET, "", ("PutObject",))
# What the gate refuses whoever asks, and why.
REFUSED: Final[dict[str, str]] = {
    "CreateSession": "directory buckets (S3 Express One Zone) have actions and sessions of their own",
    "ListDirectoryBuckets": "directory buckets (S3 Express One Zone) are signed for another service, s3express",
    "RenameObject": "only directory buckets (S3 Express One Zone) can rename",
    "WriteGetObjectResponse": "S3 Object Lambda is another service, s3-object-lambda",
    "CreateBucketMetadataConfiguration": "it needs permissions of S3 Tables on resources the gate does not know",
    "CreateBucketMetadataTableConfiguration": "it needs permissions of S3 Tables on resources the gate does not know",
    "UpdateBucketMetadataAnnotationTableConfiguration": "it needs permissions of S3 Tables on resources the gate does not know",
    "UpdateBucketMetadataInventoryTableConfiguration": "it needs permissions of S3 Tables on resources the gate does not know",
    "UpdateBucketMetadataJournalTableConfiguration": "it needs permissions of S3 Tables on resources the gate does not know",
}
# Older names of the same request.
SYNONYMS: Final = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}
_REFUSED_SELECTORS: Final = frozenset(
    {
        "session",
        "renameObject",
        "metadataAnnotationTable",
        "metadataInventoryTable",
        "metadataJournalTable",
    }
)
SELECTORS: Final = frozenset(row.selector for row in OPERATIONS if row.selector) | _REFUSED_SELECTORS
# Every other parameter that S3 reads from a query string; what is not here does not reach the emulator.
PARAMETERS: Final = frozenset(
    [
        "annotation-prefix",
        "annotationName",
        "bucket-region",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "id",
        "key-marker",
        "list-type",
        "marker",
        "max-annotation-results",
        "max-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "partNumber",
        "prefix",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "select-type",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "versionId",
    ]
)
_INDEX: Final[dict[tuple[str, str, str], list[S3Operation]]] = {}
for _row in OPERATIONS:
    _INDEX.setdefault((_row.level, _row.method, _row.selector), []).append(_row)


def identify(request: Request, *, bucket: str, key: str) -> S3Operation:
    """The operation `request` asks for. Raises AwsError for what is none, and for what is refused whoever asks."""
    level = OBJECT if key else BUCKET if bucket else SERVICE
    found = sorted(SELECTORS.intersection(request.arguments)) if request.query else []
    if len(found) > 1:
        # Two readers of one request could each follow another of them.
        raise AwsError(
            "InvalidArgument", f"Conflicting query string parameters: {', '.join(found)}", 400, why="two sub-resources"
        )
    selector = found[0] if found else ""
    if selector == "annotation" and "versionId" in request.arguments:
        raise _not_allowed(request, "the actions on annotations of a version are not in any table here")
    if level == BUCKET and request.method == "POST" and not selector and is_form(request.headers):
        return POST_OBJECT
    if selector == "uploadId" and request.method == "PUT" and "partNumber" not in request.arguments:
        raise AwsError("InvalidArgument", "This operation does not accept a query-string without partNumber.", 400)
    if request.arguments.get("versionId") == "":
        raise AwsError("InvalidArgument", "Version id cannot be the empty string", 400)
    rows = _INDEX.get((level, request.method, selector), [])
    best = max((row for row in rows if _has(request, row.extra)), key=lambda row: _rank(row.extra), default=None)
    if best is None:
        raise _not_allowed(request, f"no permission is known for {request.method} ?{selector} of a {level}")
    return best


def is_form(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def query_of(request: Request, operation: S3Operation) -> dict[str, str]:
    """The parameters that belong to the operation; the emulator is given no other."""
    if not request.query:
        return {}
    found = {name: value for name, value in request.arguments.items() if name in PARAMETERS}
    if operation.selector:
        found[operation.selector] = request.arguments[operation.selector]
    elif operation.method not in {"GET", "HEAD"}:
        found.pop("partNumber", None)
    return found


def _has(request: Request, extra: str) -> bool:
    if not extra:
        return True
    if not extra.startswith("?"):
        return extra in request.headers
    name, equals, value = extra[1:].partition("=")
    return name in request.arguments and (not equals or request.arguments[name] == value)


def _rank(extra: str) -> int:
    return 2 if extra and not extra.startswith("?") else 1 if extra else 0


def _not_allowed(request: Request, why: str) -> AwsError:
    return AwsError("MethodNotAllowed", "The specified method is not allowed against this resource.", 405, why=why)
