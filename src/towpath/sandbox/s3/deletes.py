"""DeleteObjects, key by key: what the caller may delete is deleted, what not is an <Error> in the result, and the call succeeds.

Source: "DeleteObjects" (S3 API reference).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from towpath.iam import arn as arns
from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.s3 import checksums, xml
from towpath.sandbox.s3.address import Address
from towpath.sandbox.s3_operations import VERSIONED, Need, bypasses_governance
from towpath.sandbox.wire import Request

MOST: Final = 1000  # keys of one request
_OF_DIRECTORY_BUCKETS: Final = frozenset({"LastModifiedTime", "Size"})
_CARRIED: Final = ("Key", "VersionId", "ETag")


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """One key of the request: its element's fields, and the permissions deleting it needs."""

    fields: tuple[tuple[str, str], ...]
    needs: tuple[Need, ...]

    @property
    def key(self) -> str:
        return dict(self.fields).get("Key", "")


@dataclass(frozen=True, kw_only=True)
class Deletions:
    quiet: bool
    all: tuple[Deletion, ...]


def read(request: Request, address: Address, *, partition: str) -> Deletions:
    """Raises AwsError for a body that is not a list of 1 to 1,000 keys, or that came without a checksum."""
    if "content-md5" not in request.headers and not checksums.claims(request.headers):
        raise AwsError(
            "InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*", 400
        )
    root = xml.parse(request)
    found = [_deletion(item, request, address, partition) for item in xml.named(root, "Object")]
    if xml.tag(root) != "Delete" or not 0 < len(found) <= MOST:
        raise xml.malformed()
    return Deletions(quiet=(xml.text(root, "Quiet") or "").lower() == "true", all=tuple(found))


def _deletion(item: xml.Element, request: Request, address: Address, partition: str) -> Deletion:
    for child in item:
        if xml.tag(child) in _OF_DIRECTORY_BUCKETS:  # a condition that would not be asked
            raise not_implemented(f"{xml.tag(child)} of a key to delete is of directory buckets")
    fields = tuple((xml.tag(child), child.text or "") for child in item if xml.tag(child) in _CARRIED)
    values = dict(fields)
    if not values.get("Key") or len(values) != len(fields):
        raise xml.malformed()
    version = values.get("VersionId")
    resource = str(arns.bucket_arn(partition=partition, bucket=address.bucket, key=values["Key"]))
    actions = [VERSIONED["DeleteObject"] if version else "DeleteObject"]
    if bypasses_governance(request):
        actions.append("BypassGovernanceRetention")
    context = {"s3:VersionId": version} if version else {}
    return Deletion(
        fields=fields,
        needs=tuple(Need(action=f"s3:{action}", resource=resource, context=context) for action in actions),
    )


def body_of(deletions: Iterable[Deletion], *, quiet: bool) -> bytes:
    """The request's body with these keys alone: the emulator sees no other."""
    objects = "".join(
        "<Object>" + "".join(f"<{name}>{_escaped(value)}</{name}>" for name, value in each.fields) + "</Object>"
        for each in deletions
    )
    return f'<Delete xmlns="{xml.NAMESPACE}">{"<Quiet>true</Quiet>" if quiet else ""}{objects}</Delete>'.encode()


def with_errors(answer: bytes | None, refused: Iterable[tuple[Deletion, AwsError]]) -> bytes:
    """The emulator's DeleteResult (None: nothing was left to delete) with an <Error> for each key that was refused."""
    errors = "".join(
        "<Error>"
        + "".join(f"<{name}>{_escaped(value)}</{name}>" for name, value in each.fields if name in {"Key", "VersionId"})
        + f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        for each, error in refused
    ).encode()
    if answer is None:
        return (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="{xml.NAMESPACE}">'.encode()
            + errors
            + b"</DeleteResult>"
        )
    end = answer.rfind(b"</DeleteResult>")
    if end >= 0:
        return answer[:end] + errors + answer[end:]
    # An empty result may be written as one empty element.
    start = answer.rfind(b"<DeleteResult")
    return answer[:start] + answer[start:].rstrip().removesuffix(b"/>") + b">" + errors + b"</DeleteResult>"


def _escaped(text: str) -> str:
    return escape(text, {"\r": "&#13;", "\n": "&#10;"})
