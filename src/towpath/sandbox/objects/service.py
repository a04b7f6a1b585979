"""S3's requests about objects, answered. `answer` gives None for what is the bucket's configuration: the emulator has that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from towpath.sandbox.errors import AwsError, not_implemented
from towpath.sandbox.objects import conditions, xml
from towpath.sandbox.objects.buckets import Bucket, no_such_bucket
from towpath.sandbox.objects.listing_requests import ListingRequests
from towpath.sandbox.objects.multipart_requests import MultipartRequests
from towpath.sandbox.objects.object_requests import COPY_SOURCE, ObjectRequests, bypasses, verified
from towpath.sandbox.objects.store import KEY_LIMIT, Store
from towpath.sandbox.wire import Request, Response

DELETE_LIMIT: Final = 1000
# Sub-resources of an object that are recognised and not there.
MISSING: Final = ("annotation", "encryption", "restore", "select", "torrent", "renameObject")

Answer = Callable[[Request, Bucket, str], Response]


class ObjectService:
    """One request about objects at a time; thread-safe. Buckets are created by whoever also tells the emulator."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._objects = ObjectRequests(store)
        self._uploads = MultipartRequests(store, self._objects)
        self._listings = ListingRequests(store)

    def answer(self, request: Request, bucket: str, key: str, *, account: str) -> Response | None:
        """`account` is the bucket's owner, as it was judged. Raises AwsError as S3 would."""
        if not bucket:
            return self._listings.buckets(request, account)
        found = self.store.bucket(bucket)
        if found.account != account:  # deleted since, and made anew by somebody else
            raise no_such_bucket(bucket)
        if not key:
            return self._bucket(request, found)
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            raise AwsError("InvalidURI", "Couldn't parse the specified URI.", 400) from None
        if size > KEY_LIMIT:
            raise AwsError(
                "KeyTooLongError",
                "Your key is too long",
                400,
                details={"Size": str(size), "MaxSizeAllowed": str(KEY_LIMIT)},
            )
        act = self._act(request)
        if act is None:
            raise not_implemented(f"{request.method} ?{request.query[:100]} of an object")
        return act(request, found, key)

    def _act(self, request: Request) -> Answer | None:
        method, sub = request.method, request.arguments
        if not sub:
            sub = {}
        elif any(name in sub for name in MISSING):
            return None
        if "acl" in sub:
            return self._objects.acl if method in {"GET", "PUT"} else None
        if "tagging" in sub:
            return self._objects.tagging if method in {"GET", "PUT", "DELETE"} else None
        if "retention" in sub:
            return self._objects.retention if method in {"GET", "PUT"} else None
        if "legal-hold" in sub:
            return self._objects.legal_hold if method in {"GET", "PUT"} else None
        if "attributes" in sub:
            return self._objects.attributes if method == "GET" else None
        if "uploadId" in sub:
            return {
                "PUT": self._uploads.put_part,
                "GET": self._uploads.list_parts,
                "POST": self._uploads.complete,
                "DELETE": self._uploads.abort,
            }.get(method)
        if method == "POST":
            return self._uploads.create if "uploads" in sub else None
        if method == "PUT":
            return self._objects.copy if COPY_SOURCE in request.headers else self._objects.put
        if method == "DELETE":
            return self._objects.delete
        return self._objects.get if method in {"GET", "HEAD"} else None

    def _bucket(self, request: Request, bucket: Bucket) -> Response | None:
        method, sub = request.method, request.arguments
        if method == "HEAD":
            return xml.empty(200, [("x-amz-bucket-region", bucket.region), ("Content-Type", "application/xml")])
        if method == "POST":
            return self._delete_many(request, bucket) if "delete" in sub else None
        if method != "GET":
            return None
        if "versions" in sub:
            return self._listings.versions(request, bucket)
        if "uploads" in sub:
            return self._listings.uploads(request, bucket)
        if "versioning" in sub:
            return xml.answer(
                "VersioningConfiguration", xml.element("Status", bucket.versioning) if bucket.versioning else ""
            )
        if "location" in sub:
            return xml.answer("LocationConstraint", "" if bucket.region == "us-east-1" else bucket.region)
        return None if CONFIGURATION & sub.keys() else self._listings.objects(request, bucket)

    def _delete_many(self, request: Request, bucket: Bucket) -> Response:
        verified(request)
        document = xml.parse(request.body.read(), "Delete")
        items = document.findall("Object")
        if not 0 < len(items) <= DELETE_LIMIT:
            raise xml.malformed()
        quiet = (document.findtext("Quiet") or "").lower() == "true"
        out = ""
        for item in items:
            key, version = item.findtext("Key") or "", item.findtext("VersionId")
            etag = item.findtext("ETag")
            head: list[tuple[str, object]] = [("Key", key)]
            head += [("VersionId", version)] if version else []
            try:
                gone, marker = self.store.delete(
                    bucket.name,
                    key,
                    version or None,
                    lambda current, etag=etag, key=key: conditions.check_delete(etag, current, key),
                    bypass=bypasses(request),
                )
            except AwsError as error:
                out += f"<Error>{xml.elements([*head, ('Code', error.code), ('Message', error.message)])}</Error>"
                continue
            if marker:
                head += [("DeleteMarker", "true"), ("DeleteMarkerVersionId", gone)]
            out += "" if quiet else f"<Deleted>{xml.elements(head)}</Deleted>"
        return xml.answer("DeleteResult", out)


# A bucket's configuration, which the emulator keeps.
CONFIGURATION: Final = frozenset(
    {
        *("accelerate", "acl", "analytics", "cors", "encryption", "intelligent-tiering", "inventory", "lifecycle"),
        *("logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus"),
        *("publicAccessBlock", "replication", "requestPayment", "tagging", "versioning", "website"),
    }
)
