"""Requests that list: buckets, keys (both versions of the call), versions, uploads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import listing, xml
from towpath.sandbox.objects.buckets import Bucket
from towpath.sandbox.objects.multipart_requests import whole_number
from towpath.sandbox.objects.store import Store, Version, version_of
from towpath.sandbox.wire import Request, Response

LIMIT: Final = 1000
Text = Callable[[str], str]


class ListingRequests:
    def __init__(self, store: Store) -> None:
        self._store = store

    def buckets(self, request: Request, account: str) -> Response:
        found = self._store.buckets.all(account)
        prefix, region = request.arguments.get("prefix", ""), request.arguments.get("bucket-region")
        after = _token(request)
        limit = whole_number(request, "max-buckets", 10_000)
        chosen = [
            b
            for b in found
            if b.name.startswith(prefix) and region in {None, b.region} and (not after or b.name > after)
        ]
        rows = "".join(
            f"<Bucket>{xml.elements([('Name', b.name), ('CreationDate', xml.instant(b.created)), ('BucketRegion', b.region)])}</Bucket>"
            for b in chosen[:limit]
        )
        more = xml.element("ContinuationToken", _as_token(chosen[limit - 1].name)) if len(chosen) > limit > 0 else ""
        return xml.answer("ListAllMyBucketsResult", f"{xml.owner(account)}<Buckets>{rows}</Buckets>{more}")

    def objects(self, request: Request, bucket: Bucket) -> Response:
        second = request.arguments.get("list-type") == "2"
        prefix, delimiter, limit, text = _common(request)
        after = request.arguments.get("start-after" if second else "marker", "")
        token = _token(request) if second else ""
        found = listing.page(
            listing.objects(self._store.database, bucket.name),
            prefix=prefix,
            delimiter=delimiter,
            after=token or after,
            limit=limit,
        )
        owned = not second or request.arguments.get("fetch-owner", "").lower() == "true"
        head: list[tuple[str, object]] = [("Name", bucket.name), ("Prefix", text(prefix))]
        if second:
            head += [("StartAfter", text(after))] if after else []
            head += [("ContinuationToken", request.arguments["continuation-token"])] if token else []
            head += [("KeyCount", len(found.entries) + len(found.prefixes))]
            head += [("NextContinuationToken", _as_token(found.last))] if found.truncated else []
        else:
            head += [("Marker", text(after))]
            # S3 names the next marker only where a delimiter was given; otherwise it is the last key.
            head += [("NextMarker", text(found.last))] if found.truncated and delimiter else []
        head += _tail(request, delimiter, limit, text, found)
        rows = "".join(
            f"<Contents>{_entry(version_of(row), text, bucket, owned=owned)}</Contents>" for row in found.entries
        )
        return xml.answer("ListBucketResult", xml.elements(head) + rows + _prefixes(found, text))

    def versions(self, request: Request, bucket: Bucket) -> Response:
        prefix, delimiter, limit, text = _common(request)
        key, version = request.arguments.get("key-marker", ""), request.arguments.get("version-id-marker", "")
        if version and not key:
            raise AwsError(
                "InvalidArgument",
                "A version-id marker cannot be specified without a key marker.",
                400,
                details={"ArgumentName": "version-id-marker", "ArgumentValue": version},
            )
        number = listing.version_number(self._store.database, bucket.name, key, version) if version else ""
        found = listing.page(
            listing.versions(self._store.database, bucket.name),
            prefix=prefix,
            delimiter=delimiter,
            after=key,
            after_id=number or "",
            limit=limit,
        )
        entries = [version_of(row) for row in found.entries]
        head: list[tuple[str, object]] = [
            ("Name", bucket.name),
            ("Prefix", text(prefix)),
            ("KeyMarker", text(key)),
            ("VersionIdMarker", version),
        ]
        if found.truncated:
            head.append(("NextKeyMarker", text(found.last)))
            if found.last_id:
                head.append(("NextVersionIdMarker", entries[-1].version))
        head += _tail(request, delimiter, limit, text, found)
        rows = "".join(
            f"<{kind}>{_entry(each, text, bucket, owned=True, versioned=True)}</{kind}>"
            for each in entries
            for kind in ("DeleteMarker" if each.marker else "Version",)
        )
        return xml.answer("ListVersionsResult", xml.elements(head) + rows + _prefixes(found, text))

    def uploads(self, request: Request, bucket: Bucket) -> Response:
        prefix, delimiter, limit, text = _common(request, "max-uploads")
        key, identifier = request.arguments.get("key-marker", ""), request.arguments.get("upload-id-marker", "")
        found = listing.page(
            listing.uploads(self._store.database, bucket.name),
            prefix=prefix,
            delimiter=delimiter,
            after=key,
            after_id=identifier if key else "",
            limit=limit,
        )
        head: list[tuple[str, object]] = [
            ("Bucket", bucket.name),
            ("KeyMarker", text(key)),
            ("UploadIdMarker", identifier),
            ("Prefix", text(prefix)),
        ]
        if found.truncated:
            head += [("NextKeyMarker", text(found.last)), ("NextUploadIdMarker", found.last_id)]
        head += _tail(request, delimiter, limit, text, found, "MaxUploads")
        owners = xml.owner(bucket.account, "Initiator") + xml.owner(bucket.account)
        rows = "".join(
            f"<Upload>{xml.elements([('Key', text(row[1])), ('UploadId', row[0])])}{owners}"
            f"{xml.elements([('StorageClass', 'STANDARD'), ('Initiated', xml.instant(row[2]))])}</Upload>"
            for row in found.entries
        )
        return xml.answer("ListMultipartUploadsResult", xml.elements(head) + rows + _prefixes(found, text))


def _common(request: Request, limit_name: str = "max-keys") -> tuple[str, str, int, Text]:
    arguments = request.arguments
    encoding = arguments.get("encoding-type")
    if encoding not in {None, "url"}:
        raise AwsError(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            400,
            details={"ArgumentName": "encoding-type", "ArgumentValue": str(encoding)},
        )
    text: Text = (lambda value: quote(value, safe="/*-._")) if encoding else (lambda value: value)
    limit = min(whole_number(request, limit_name, LIMIT), LIMIT)
    return arguments.get("prefix", ""), arguments.get("delimiter", ""), limit, text


def _tail(
    request: Request, delimiter: str, limit: int, text: Text, found: listing.Page, name: str = "MaxKeys"
) -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = [(name, limit)]
    out += [("Delimiter", text(delimiter))] if delimiter else []
    out += [("EncodingType", "url")] if "encoding-type" in request.arguments else []
    return [*out, ("IsTruncated", "true" if found.truncated else "false")]


def _prefixes(found: listing.Page, text: Text) -> str:
    return "".join(f"<CommonPrefixes>{xml.element('Prefix', text(item))}</CommonPrefixes>" for item in found.prefixes)


def _entry(each: Version, text: Text, bucket: Bucket, *, owned: bool, versioned: bool = False) -> str:
    out: list[tuple[str, object]] = [("Key", text(each.key))]
    if versioned:
        out += [("VersionId", each.version), ("IsLatest", "true" if each.latest else "false")]
    out.append(("LastModified", xml.instant(each.modified)))
    if not each.marker:
        out += [("ETag", f'"{each.etag}"')]
        for name in each.properties.get("checksums", {}):
            out += [
                ("ChecksumAlgorithm", name.upper()),
                ("ChecksumType", each.properties.get("checksum_type", "FULL_OBJECT")),
            ]
        out += [("Size", each.size), ("StorageClass", each.properties.get("class", "STANDARD"))]
    return xml.elements(out) + (xml.owner(bucket.account) if owned else "")


def _as_token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _token(request: Request) -> str:
    text = request.arguments.get("continuation-token")
    if text is None:
        return ""
    try:
        return base64.b64decode(text.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise AwsError(
            "InvalidArgument",
            "The continuation token provided is incorrect",
            400,
            details={"ArgumentName": "continuation-token"},
        ) from None
