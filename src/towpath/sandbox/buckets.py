"""What the gate knows of each bucket: whose it is, its policy, its public access settings, who owns what is put into it.

All of it follows from requests that passed: `follow` is called with each, live and when a journal is replayed, and nothing else
changes it. A bucket that is not here does not exist for the gate.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from towpath.iam.decide import NamedPolicy
from towpath.iam.policy import PolicyKind, parse_policy
from towpath.sandbox.s3 import bucket_policy, documents, xml
from towpath.sandbox.s3.address import locate
from towpath.sandbox.s3.operations import identify
from towpath.sandbox.wire import Request

ENFORCED: Final = "BucketOwnerEnforced"  # ACLs disabled: what a new bucket is since April 2023


@dataclass(frozen=True, kw_only=True)
class AccessBlock:
    """S3 Block Public Access of one bucket; a new bucket has all four since April 2023."""

    block_public_acls: bool = True
    ignore_public_acls: bool = True
    block_public_policy: bool = True
    restrict_public_buckets: bool = True


OPEN: Final = AccessBlock(
    block_public_acls=False, ignore_public_acls=False, block_public_policy=False, restrict_public_buckets=False
)


@dataclass(frozen=True, kw_only=True)
class Bucket:
    name: str
    owner: str  # account
    policy: NamedPolicy | None = None
    public: bool = False  # whether the policy grants to anybody
    access_block: AccessBlock | None = AccessBlock()  # None: deleted, which is the same as all off
    ownership: str | None = ENFORCED  # None: no ownership controls, the uploader owns and ACLs count
    documents: Mapping[str, documents.Document] = field(
        default_factory=dict[str, documents.Document]
    )  # by the operation that reads each

    @property
    def blocked(self) -> AccessBlock:
        return self.access_block or OPEN


class Buckets:
    """Every bucket of every account, by name. Thread-safe."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._lock = threading.Lock()
        self._writing = threading.RLock()

    def find(self, name: str) -> Bucket | None:
        return self._buckets.get(name)

    def with_policies(self) -> list[Bucket]:
        with self._lock:
            return [bucket for bucket in self._buckets.values() if bucket.policy is not None]

    def clear(self) -> None:
        """Forget every bucket, as when the emulator's state is thrown away."""
        with self._lock:
            self._buckets = {}

    @contextmanager
    def writing(self) -> Generator[None]:
        """Around a write that `follow` will be told of: a check ("is the name taken?") and its write are one step."""
        with self._writing:
            yield

    def follow(self, request: Request, *, account: str) -> None:
        """Keep step with a request that the emulator has carried out for the bucket's `account`; in path style, its body readable."""
        address = locate(request, ())
        if not address.bucket or address.key:
            return
        operation = identify(request, bucket=address.bucket, key=address.key).name
        with self._lock:
            known = self._buckets.get(address.bucket)
            if operation == "CreateBucket":
                # us-east-1 answers a second CreateBucket of one's own with success, and nothing changes.
                if known is None:
                    self._buckets[address.bucket] = _created(request, address.bucket, account)
            elif operation == "DeleteBucket":
                self._buckets.pop(address.bucket, None)
            elif known is not None:
                self._buckets[address.bucket] = _changed(known, operation, request)


def _created(request: Request, name: str, account: str) -> Bucket:
    return Bucket(name=name, owner=account, ownership=request.headers.get("x-amz-object-ownership", ENFORCED))


def _changed(bucket: Bucket, operation: str, request: Request) -> Bucket:
    if operation == "PutBucketPolicy":
        # It passed `bucket_policy.validate` before it was stored.
        document = parse_policy(request.body.read(), kind=PolicyKind.RESOURCE, name=f"bucket policy of {bucket.name}")
        named = NamedPolicy(name=f"bucket policy of {bucket.name}", document=document)
        return replace(bucket, policy=named, public=bucket_policy.is_public(document))
    if operation == "DeleteBucketPolicy":
        return replace(bucket, policy=None, public=False)
    if operation == "PutPublicAccessBlock":
        return replace(bucket, access_block=access_block(request))
    if operation == "DeletePublicAccessBlock":
        return replace(bucket, access_block=None)
    if operation == "PutBucketOwnershipControls":
        return replace(bucket, ownership=xml.text(xml.parse(request), "ObjectOwnership"))
    if operation == "DeleteBucketOwnershipControls":
        return replace(bucket, ownership=None)
    if operation in documents.KEEPING:
        return replace(bucket, documents={**bucket.documents, documents.KEEPING[operation]: documents.kept(request)})
    if operation in documents.REMOVING:
        gone = documents.REMOVING[operation]
        return replace(bucket, documents={name: text for name, text in bucket.documents.items() if name != gone})
    return bucket


def access_block(request: Request) -> AccessBlock:
    """The settings a PutPublicAccessBlock asks for; one that is left out is off."""
    body = xml.parse(request)

    def on(name: str) -> bool:
        return (xml.text(body, name) or "").lower() == "true"

    return AccessBlock(
        block_public_acls=on("BlockPublicAcls"),
        ignore_public_acls=on("IgnorePublicAcls"),
        block_public_policy=on("BlockPublicPolicy"),
        restrict_public_buckets=on("RestrictPublicBuckets"),
    )
