"""Requests of a multipart upload."""

from __future__ import annotations

import re
from typing import Any, Final
from xml.etree.ElementTree import Element

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import checksums, conditions, properties, xml
from towpath.sandbox.objects.bodies import Stream
from towpath.sandbox.objects.buckets import Bucket
from towpath.sandbox.objects.multipart import LARGEST_NUMBER, Multipart, Upload, Wanted
from towpath.sandbox.objects.object_requests import COPY_SOURCE, LARGEST_COPY, ObjectRequests, asked, receive
from towpath.sandbox.objects.store import Store
from towpath.sandbox.wire import Request, Response

_COPY_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})")


class MultipartRequests:
    def __init__(self, store: Store, objects: ObjectRequests) -> None:
        self._store = store
        self._objects = objects
        self._uploads = Multipart(store)

    def create(self, request: Request, bucket: Bucket, key: str) -> Response:
        kept = asked(request, bucket)
        algorithm = checksums.algorithm_of(request.headers)
        kind = request.headers.get("x-amz-checksum-type")
        upload = self._uploads.create(bucket.name, key, kept, algorithm, kind)
        headers = properties.encryption(kept)
        if algorithm:
            headers.append(("x-amz-checksum-algorithm", algorithm.upper()))
            headers.append(("x-amz-checksum-type", str(upload.properties["checksum_type"])))
        inner = xml.elements([("Bucket", bucket.name), ("Key", key), ("UploadId", upload.id)])
        return xml.answer("InitiateMultipartUploadResult", inner, headers)

    def put_part(self, request: Request, bucket: Bucket, key: str) -> Response:
        number = _number(request)
        upload = self._find(request, bucket, key)
        if COPY_SOURCE in request.headers:
            return self._copy_part(request, upload, number)
        kept: dict[str, Any] = {}
        written = receive(self._store, request, kept, algorithm=upload.algorithm, inline=False)
        part = self._uploads.put(upload, number, written)
        headers = [("ETag", f'"{part.etag}"'), *properties.encryption(upload.properties)]
        headers += [(checksums.HEADER + name, value) for name, value in part.checksums.items()]
        return xml.empty(200, headers)

    def _copy_part(self, request: Request, upload: Upload, number: int) -> Response:
        _, found = self._objects.source(request)
        start, length = _copy_range(request.headers.get("x-amz-copy-source-range"), found.size)
        if length > LARGEST_COPY:
            raise AwsError(
                "InvalidRequest",
                f"The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_COPY}",
                400,
            )
        content = self._store.content(found, start, length)
        if content is None:
            raise conditions.missing_key(found.key)
        names = {upload.algorithm} if upload.algorithm else set[str]()
        try:
            written = self._store.bodies.write(
                [content] if isinstance(content, bytes) else content, names, inline=False
            )
        finally:
            if isinstance(content, Stream):
                content.close()
        part = self._uploads.put(upload, number, written)
        inner = xml.elements(
            [
                ("LastModified", xml.instant(part.modified)),
                ("ETag", f'"{part.etag}"'),
                *((checksums.XML[name], value) for name, value in part.checksums.items()),
            ]
        )
        return xml.answer("CopyPartResult", inner, properties.encryption(upload.properties))

    def list_parts(self, request: Request, bucket: Bucket, key: str) -> Response:
        upload = self._find(request, bucket, key)
        marker = whole_number(request, "part-number-marker", 0)
        limit = min(whole_number(request, "max-parts", 1000), 1000)
        found = self._uploads.parts(upload, marker, limit + 1)
        shown = found[:limit]
        inner = xml.elements(
            [
                ("Bucket", bucket.name),
                ("Key", key),
                ("UploadId", upload.id),
                ("PartNumberMarker", marker),
                ("NextPartNumberMarker", shown[-1].number if shown else marker),
                ("MaxParts", limit),
                ("IsTruncated", "true" if len(found) > limit else "false"),
                ("StorageClass", upload.properties.get("class", "STANDARD")),
            ]
        )
        if upload.algorithm:
            inner += xml.element("ChecksumAlgorithm", upload.algorithm.upper())
            inner += xml.element("ChecksumType", upload.properties["checksum_type"])
        inner += xml.owner(bucket.account, "Initiator") + xml.owner(bucket.account)
        for part in shown:
            inner += (
                "<Part>"
                + xml.elements(
                    [
                        ("PartNumber", part.number),
                        ("LastModified", xml.instant(part.modified)),
                        ("ETag", f'"{part.etag}"'),
                        ("Size", part.size),
                        *((checksums.XML[name], value) for name, value in part.checksums.items()),
                    ]
                )
                + "</Part>"
            )
        return xml.answer("ListPartsResult", inner)

    def complete(self, request: Request, bucket: Bucket, key: str) -> Response:
        upload = self._find(request, bucket, key)
        document = xml.parse(request.body.read(), "CompleteMultipartUpload")
        wanted = [_wanted(item) for item in document.findall("Part")]
        if not wanted or len(wanted) > LARGEST_NUMBER:
            raise xml.malformed()
        full = upload.properties.get("checksum_type") == checksums.FULL
        version = self._uploads.complete(
            upload,
            wanted,
            lambda current: conditions.check_write(request.headers, current, key),
            checksums.claimed(request.headers) if full else {},
            composite=None if full else checksums.claimed_composite(request.headers, upload.algorithm),
            size=request.headers.get("x-amz-mp-object-size"),
        )
        inner = xml.elements(
            [
                ("Location", f"http://{request.headers.get('host', 's3')}/{bucket.name}/{key}"),
                ("Bucket", bucket.name),
                ("Key", key),
                ("ETag", f'"{version.etag}"'),
                *checksums.elements(version.properties),
            ]
        )
        headers = [("x-amz-version-id", version.version)] if bucket.versioning else []
        return xml.answer("CompleteMultipartUploadResult", inner, headers + properties.encryption(version.properties))

    def abort(self, request: Request, bucket: Bucket, key: str) -> Response:
        self._uploads.abort(self._find(request, bucket, key))
        return xml.empty(204)

    def _find(self, request: Request, bucket: Bucket, key: str) -> Upload:
        return self._uploads.find(bucket.name, key, request.arguments["uploadId"])


def _wanted(item: Element) -> Wanted:
    number = item.findtext("PartNumber") or ""
    etag = item.findtext("ETag")
    if not re.fullmatch(r"[0-9]{1,9}", number) or etag is None:
        raise xml.malformed()
    sums = {name: item.findtext(element) or "" for name, element in checksums.XML.items()}
    return Wanted(number=int(number), etag=etag, checksums={name: value for name, value in sums.items() if value})


def _number(request: Request) -> int:
    text = request.arguments.get("partNumber", "")
    if not text.isdigit() or not 1 <= int(text) <= LARGEST_NUMBER:
        raise AwsError(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {LARGEST_NUMBER}, inclusive",
            400,
            details={"ArgumentName": "partNumber", "ArgumentValue": text},
        )
    return int(text)


def _copy_range(text: str | None, size: int) -> tuple[int, int]:
    if text is None:
        return 0, size
    match = _COPY_RANGE.fullmatch(text)
    if match is None or int(match[2]) < int(match[1]):
        raise AwsError(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
            400,
            details={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": text},
        )
    if int(match[2]) >= size:
        raise AwsError(
            "InvalidArgument",
            f"Range specified is not valid for source object of size: {size}",
            400,
            details={"ArgumentName": "x-amz-copy-source-range", "ArgumentValue": text},
        )
    return int(match[1]), int(match[2]) - int(match[1]) + 1


def whole_number(request: Request, name: str, default: int) -> int:
    text = request.arguments.get(name, "")
    if not text:
        return default
    if not text.isdigit() or int(text) > 2**31 - 1:
        raise AwsError(
            "InvalidArgument",
            f"Provided {name} not an integer or within integer range",
            400,
            details={"ArgumentName": name, "ArgumentValue": text},
        )
    return int(text)
