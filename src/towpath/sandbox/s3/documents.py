"""Configurations of a bucket that are kept as they were given, since the emulator keeps only parts of them: it drops a lifecycle rule's
object sizes, say. It is asked first all the same, for what it refuses. Nothing here acts on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from defusedxml import ElementTree

from towpath.sandbox.s3 import xml
from towpath.sandbox.wire import Request

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# What keeps a document -> what reads it; and what takes it away -> the same.
KEEPING: Final = {
    "PutBucketCors": "GetBucketCors",
    "PutBucketLifecycleConfiguration": "GetBucketLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "GetBucketNotificationConfiguration",
    "PutBucketReplication": "GetBucketReplication",
    "PutObjectLockConfiguration": "GetObjectLockConfiguration",
}
REMOVING: Final = {
    "DeleteBucketCors": "GetBucketCors",
    "DeleteBucketLifecycle": "GetBucketLifecycleConfiguration",
    "DeleteBucketReplication": "GetBucketReplication",
}
_SMALLEST: Final = "x-amz-transition-default-minimum-object-size"
# Elements to which S3 gives an id where the client gave none, and the id's name.
_NAMED: Final[dict[str, dict[str, str]]] = {
    "LifecycleConfiguration": {"Rule": "ID"},
    "ReplicationConfiguration": {"Rule": "ID"},
    "NotificationConfiguration": {
        "TopicConfiguration": "Id",
        "QueueConfiguration": "Id",
        "CloudFunctionConfiguration": "Id",
    },
}


@dataclass(frozen=True, kw_only=True)
class Document:
    """What a later read answers."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def kept(request: Request) -> Document:
    """The request's body in S3's namespace, each rule with an id."""
    root = xml.parse(request)
    for item in root.iter():
        item.tag = xml.tag(item)
    names = _NAMED.get(root.tag, {})
    for item in list(root):
        if item.tag in names and item.find(names[item.tag]) is None:
            _name(item, names[item.tag])
    root.set("xmlns", xml.NAMESPACE)
    headers = ()
    if root.tag == "LifecycleConfiguration":
        headers = ((_SMALLEST, request.headers.get(_SMALLEST, "all_storage_classes_128K")),)
    return Document(body=b'<?xml version="1.0" encoding="UTF-8"?>\n' + _text(root), headers=headers)


def _name(item: Element, name: str) -> None:
    """Of its content, so that a replayed journal gives the same."""
    identifier: Any = item.makeelement(name, {})
    identifier.text = hashlib.sha256(_text(item)).hexdigest()[:48]
    item.insert(0, identifier)


def _text(element: Element) -> bytes:
    return bytes(ElementTree.tostring(element))
