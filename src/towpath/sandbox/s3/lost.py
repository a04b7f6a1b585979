"""Parts of a setting that would be acknowledged and lost: they are refused as NotImplemented, and the rest of the setting is taken.

S3 acts on some of them (an MFA device to delete a version, a kind of encryption that is blocked, a tag that a policy asks for); of the
others a read would tell something else than what was written. Each was seen to be lost by writing it and reading it back
(tests/integration/sandbox/lost_settings.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from towpath.sandbox.errors import not_implemented
from towpath.sandbox.s3 import xml
from towpath.sandbox.wire import Request

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Operation -> the element's path below the root, and the value that is lost; None: whatever its value.
LOST: Final[dict[str, tuple[tuple[str, str | None], ...]]] = {
    "CreateBucket": (("Tags", None),),
    "PutBucketAcl": (("AccessControlList/Grant/Grantee/EmailAddress", None),),
    "PutBucketEncryption": (("Rule/BlockedEncryptionTypes", None),),
    "PutBucketInventoryConfiguration": (
        ("IncludedObjectVersions", "Current"),
        ("Destination/S3BucketDestination/Encryption/SSE-S3", None),
    ),
    "PutBucketLogging": (("LoggingEnabled/TargetObjectKeyFormat", None),),
    "PutBucketVersioning": (("MfaDelete", "Enabled"),),
}


def check(operation: str, request: Request) -> None:
    """Raises AwsError NotImplemented, naming the part. The body is one that its schema allows."""
    lost = LOST.get(operation)
    if lost is None or not request.body.length:
        return
    root = xml.parse(request)
    for path, value in lost:
        for found in _at(root, path.split("/")):
            if value is None or (found.text or "").strip() == value:
                told = path if value is None else f"{path} {value}"
                raise not_implemented(f"this sandbox does not keep {told} of {operation}")


def _at(element: Element, path: list[str]) -> Iterator[Element]:
    """Every element at the path, in whatever namespace."""
    if not path:
        yield element
        return
    for child in element:
        if xml.tag(child) == path[0]:
            yield from _at(child, path[1:])
