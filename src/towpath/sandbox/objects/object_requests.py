"""Requests about one object: put, get, head, delete, copy, tags, ACL, attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from towpath.sandbox import request_ids
from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects import checksums, conditions, locks, properties, xml
from towpath.sandbox.objects.bodies import Written
from towpath.sandbox.objects.conditions import http_date
from towpath.sandbox.objects.store import NULL, Bucket, Store, Version, body_chunks
from towpath.sandbox.wire import Request, Response

LARGEST_COPY: Final = 5 * 1024**3  # bytes
COPY_SOURCE: Final = "x-amz-copy-source"
_ATTEMPTS: Final = 5


class ObjectRequests:
    def __init__(self, store: Store) -> None:
        self._store = store

    # --- reading -----------------------------------------------------------------------------------------------------

    def get(self, request: Request, bucket: Bucket, key: str) -> Response:
        """GET and HEAD, with range, part number and preconditions."""
        chosen: dict[str, Any] = {}

        def choose(found: Version) -> tuple[int, int] | None:
            chosen["unchanged"] = conditions.check_read(request.headers, found.etag, found.modified)
            chosen["part"] = part = _part(request, found)
            chosen["range"] = part or conditions.byte_range(request.headers.get("range"), found.size)
            if chosen["unchanged"] or request.method == "HEAD":
                return None
            return chosen["range"] or (0, found.size)

        found, content = self._store.read(bucket.name, key, request.arguments.get("versionId"), choose)
        headers = [
            *request_ids.of_s3(),
            ("Last-Modified", http_date(found.modified)),
            ("ETag", f'"{found.etag}"'),
            *_version_header(bucket, found.version),
        ]
        if chosen["unchanged"]:
            return Response(status=304, headers=headers)
        headers.append(("Accept-Ranges", "bytes"))
        headers += properties.response_headers(found.properties, request.arguments)
        span: tuple[int, int] | None = chosen["range"]
        if span is None and request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
            headers += checksums.response_headers(found.properties)
        if span is not None:
            headers.append(("Content-Range", f"bytes {span[0]}-{span[0] + span[1] - 1}/{found.size}"))
        if chosen["part"] is not None and "parts" in found.properties:
            headers.append(("x-amz-mp-parts-count", str(len(found.properties["parts"]))))
        headers.append(("Content-Length", str(found.size if span is None else span[1])))
        return Response(status=200 if span is None else 206, headers=headers, body=content)

    def attributes(self, request: Request, bucket: Bucket, key: str) -> Response:
        wanted = {item.strip() for item in request.headers.get("x-amz-object-attributes", "").split(",")} - {""}
        known = {"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"}
        if not wanted or wanted - known:
            raise AwsError(
                "InvalidArgument",
                "Invalid attribute name specified.",
                400,
                details={"ArgumentName": "x-amz-object-attributes"},
            )
        found = self._store.get(bucket.name, key, request.arguments.get("versionId"))
        out = ""
        if "ETag" in wanted:
            out += xml.element("ETag", found.etag)
        if "Checksum" in wanted and "checksums" in found.properties:
            out += f"<Checksum>{xml.elements(checksums.elements(found.properties))}</Checksum>"
        if "ObjectParts" in wanted and "parts" in found.properties:
            out += _parts(found.properties)
        if "StorageClass" in wanted:
            out += xml.element("StorageClass", found.properties.get("class", "STANDARD"))
        if "ObjectSize" in wanted:
            out += xml.element("ObjectSize", found.size)
        headers = [("Last-Modified", http_date(found.modified)), *_version_header(bucket, found.version)]
        return xml.answer("GetObjectAttributesResponse", out, headers)

    # --- writing -----------------------------------------------------------------------------------------------------

    def put(self, request: Request, bucket: Bucket, key: str) -> Response:
        kept = asked(request, bucket)
        written = receive(self._store, request, kept)
        version = self._store.put(
            bucket.name,
            key,
            written,
            etag=written.md5.hex(),
            properties=kept,
            check=lambda current: conditions.check_write(request.headers, current, key),
            judged=bucket,
        )
        headers = [("ETag", f'"{version.etag}"'), *_version_header(bucket, version.version)]
        return xml.empty(200, headers + checksums.response_headers(kept) + properties.encryption(kept))

    def delete(self, request: Request, bucket: Bucket, key: str) -> Response:
        wanted = request.headers.get("if-match")
        version, marker = self._store.delete(
            bucket.name,
            key,
            request.arguments.get("versionId"),
            lambda current: conditions.check_delete(wanted, current, key),
            bypass=bypasses(request),
        )
        return xml.empty(204, _deleted(version, marker=marker))

    def copy(self, request: Request, bucket: Bucket, key: str) -> Response:
        headers = request.headers
        given = asked(request, bucket)
        for _ in range(_ATTEMPTS):
            source_bucket, found = self.source(request)
            if found.size > LARGEST_COPY:
                raise AwsError(
                    "InvalidRequest",
                    f"The specified copy source is larger than the maximum allowable size for a copy source: {LARGEST_COPY}",
                    400,
                )
            kept = _merged(headers, found.properties, given)
            same = (source_bucket.name, found.key) == (bucket.name, key) and found.latest
            if same and not _changes(headers):
                raise AwsError(
                    "InvalidRequest",
                    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
                    400,
                )
            written = self._copied(source_bucket, found, kept, checksums.algorithm_of(headers))
            if written is not None:
                break
        else:
            raise AwsError("SlowDown", "Please reduce your request rate.", 503)
        version = self._store.put(
            bucket.name,
            key,
            written,
            etag=written.md5.hex() or found.etag,
            properties=kept,
            check=lambda current: conditions.check_write(headers, current, key),
            judged=bucket,
        )
        inner = xml.elements(
            [
                ("LastModified", xml.instant(version.modified)),
                ("ETag", f'"{version.etag}"'),
                *checksums.elements(kept),
            ]
        )
        more = [*_version_header(bucket, version.version), *_source_header(source_bucket, found)]
        return xml.answer("CopyObjectResult", inner, more + properties.encryption(kept))

    def source(self, request: Request) -> tuple[Bucket, Version]:
        """What a copy reads. Raises AwsError as S3 does for a source that is not there or does not meet its preconditions."""
        path, _, version = request.headers[COPY_SOURCE].partition("?versionId=")
        name, _, key = unquote(path).removeprefix("/").partition("/")
        bucket = self._store.bucket(name)
        found = self._store.find(name, key, version or None)
        if found is not None and found.marker and version:
            raise AwsError(
                "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker by version id.",
                400,
            )
        found = self._store.get(name, key, version or None)
        conditions.check_read(request.headers, found.etag, found.modified, prefix=f"{COPY_SOURCE}-")
        return bucket, found

    def _copied(self, bucket: Bucket, found: Version, kept: dict[str, Any], algorithm: str | None) -> Written | None:
        """The bytes for the copy; None when they went meanwhile. One PUT's ETag is MD5, so what was in parts is read again."""
        if "-" not in found.etag and (algorithm is None or algorithm in kept.get("checksums", {})):
            return self._store.link(found)
        names = {algorithm} if algorithm else set(kept.get("checksums", {}))
        content = self._store.content(found, 0, found.size)
        if content is None:
            return None
        written = self._store.bodies.write([content] if isinstance(content, bytes) else content, names)
        kept.pop("checksum_type", None)
        kept["checksums"] = {name: checksums.text(digest) for name, digest in written.checksums.items()}
        return written

    # --- beside the bytes --------------------------------------------------------------------------------------------

    def tagging(self, request: Request, bucket: Bucket, key: str) -> Response:
        found = self._store.get(bucket.name, key, request.arguments.get("versionId"))
        headers = _version_header(bucket, found.version)
        if request.method == "GET":
            tags: Mapping[str, str] = found.properties.get("tags", {})
            pairs = "".join(f"<Tag>{xml.elements([('Key', k), ('Value', v)])}</Tag>" for k, v in tags.items())
            return xml.answer("Tagging", f"<TagSet>{pairs}</TagSet>", headers)
        if request.method == "DELETE":
            self._store.update(found, "tags", lambda _: None)
            return xml.empty(204, headers)
        verified(request)
        document = xml.parse(request.body.read(), "Tagging")
        pairs_sent = [(tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in document.iter("Tag")]
        tags_sent = properties.tags(pairs_sent)
        self._store.update(found, "tags", lambda _: tags_sent)
        return xml.empty(200, headers)

    def retention(self, request: Request, bucket: Bucket, key: str) -> Response:
        return self._lock(request, bucket, key, "Retention")

    def legal_hold(self, request: Request, bucket: Bucket, key: str) -> Response:
        return self._lock(request, bucket, key, "LegalHold")

    def _lock(self, request: Request, bucket: Bucket, key: str, kind: str) -> Response:
        if not bucket.locked:
            raise locks.missing()
        found = self._store.get(bucket.name, key, request.arguments.get("versionId"))
        lock: Mapping[str, str] = found.properties.get("lock", {})
        if request.method == "GET":
            return xml.answer(kind, locks.retention_answer(lock) if kind == "Retention" else locks.hold_answer(lock))
        verified(request)
        document = xml.parse(request.body.read(), kind)

        def changed(there: Mapping[str, str] | None) -> dict[str, str]:
            if kind == "LegalHold":
                return locks.held(there or {}, document)
            return locks.retained(there or {}, document, datetime.now(UTC), bypass=bypasses(request))

        self._store.update(found, "lock", changed)
        return xml.empty(200)

    def acl(self, request: Request, bucket: Bucket, key: str) -> Response:
        found = self._store.get(bucket.name, key, request.arguments.get("versionId"))
        if request.method == "GET":
            return xml.answer("AccessControlPolicy", _acl(bucket.account, found.properties.get("acl", "private")))
        name = request.headers.get("x-amz-acl")
        if name is None or request.body.length:
            raise AwsError("NotImplemented", "Only canned ACLs (x-amz-acl) are implemented by this sandbox.", 501)
        canned = properties.canned_acl(name)
        self._store.update(found, "acl", lambda _: canned)
        return xml.empty(200)


def asked(request: Request, bucket: Bucket) -> dict[str, Any]:
    """What a new object keeps beside its bytes, as its request says and as its bucket does. Raises AwsError."""
    kept = properties.from_headers(request.headers)
    if bucket.locked:
        if lock := locks.from_headers(request.headers, bucket.retention, datetime.now(UTC)):
            kept["lock"] = lock
    elif any(name.startswith("x-amz-object-lock-") for name in request.headers):
        raise locks.missing()
    return kept


def bypasses(request: Request) -> bool:
    return request.headers.get(locks.BYPASS, "").lower() == "true"


def receive(
    store: Store, request: Request, kept: dict[str, Any], *, algorithm: str | None = None, inline: bool = True
) -> Written:
    """The request's body on disk, its checksums verified and noted in `kept`. `algorithm`: one to compute in any case."""
    claimed, md5 = checksums.claimed(request.headers), checksums.content_md5(request.headers)
    names = set(claimed) | ({algorithm} if algorithm else set())
    chunks = body_chunks(request.body.stream(), request.body.length)
    written = store.bodies.write(chunks, names, inline=inline, known=request.body.digests)
    try:
        checksums.verify(written.checksums, claimed)
        if md5 is not None and md5 != written.md5:
            raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.", 400)
    except AwsError:
        store.bodies.remove(written.file)
        raise
    if names:
        kept["checksums"] = {name: checksums.text(digest) for name, digest in written.checksums.items()}
    return written


def verified(request: Request) -> None:
    """Raises AwsError BadDigest unless a small body is what its Content-MD5 and checksum header say."""
    claimed, md5 = checksums.claimed(request.headers), checksums.content_md5(request.headers)
    body = request.body.read()
    for name, digest in {**claimed, **({"md5": md5} if md5 else {})}.items():
        each = checksums.checksum(name)
        each.update(body)
        if each.digest() != digest:
            raise AwsError(
                "BadDigest",
                "The Content-MD5 or checksum value that you specified did not match what the server received.",
                400,
            )


def _part(request: Request, found: Version) -> tuple[int, int] | None:
    text = request.arguments.get("partNumber")
    if text is None:
        return None
    sizes: list[int] = found.properties.get("parts", [found.size])
    if not text.isdigit() or not 1 <= int(text) <= len(sizes):
        raise AwsError("InvalidPartNumber", "The requested partnumber is not satisfiable", 416)
    number = int(text)
    return (sum(sizes[: number - 1]), sizes[number - 1]) if found.size else None


def _merged(headers: Mapping[str, str], source: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What the copy keeps beside its bytes: class, encryption and ACL are the request's own, metadata and tags as it directs."""
    kept = dict(given)
    if headers.get("x-amz-metadata-directive", "COPY").upper() != "REPLACE":
        kept["headers"] = source["headers"]
        kept.pop("meta", None)
        kept |= {"meta": source["meta"]} if "meta" in source else {}
    if headers.get("x-amz-tagging-directive", "COPY").upper() != "REPLACE":
        kept.pop("tags", None)
        kept |= {"tags": source["tags"]} if "tags" in source else {}
    if "checksums" in source:
        kept["checksums"] = source["checksums"]
    return kept


def _changes(headers: Mapping[str, str]) -> bool:
    changing = ("x-amz-storage-class", "x-amz-website-redirect-location", *properties.ENCRYPTION)
    replaced = headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    return replaced or any(name in headers for name in changing)


def _version_header(bucket: Bucket, version: str) -> list[tuple[str, str]]:
    return [("x-amz-version-id", version)] if bucket.versioning or version != NULL else []


def _source_header(bucket: Bucket, found: Version) -> list[tuple[str, str]]:
    return [("x-amz-copy-source-version-id", found.version)] if bucket.versioning else []


def _deleted(version: str | None, *, marker: bool) -> Iterable[tuple[str, str]]:
    if marker:
        yield "x-amz-delete-marker", "true"
    if version is not None:
        yield "x-amz-version-id", version


def _parts(kept: Mapping[str, Any]) -> str:
    sizes: list[int] = kept["parts"]
    sums: list[str] = kept.get("part_checksums", [])
    name = next(iter(kept.get("checksums", {})), "")
    out = xml.element("PartsCount", len(sizes))
    for number, (size, value) in enumerate(zip(sizes, sums, strict=False), 1):
        out += f"<Part>{xml.elements([('PartNumber', number), ('Size', size), (checksums.XML[name], value)])}</Part>"
    return f"<ObjectParts>{out}</ObjectParts>"


_GROUPS: Final = {
    "all": "http://acs.amazonaws.com/groups/global/AllUsers",
    "authenticated": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
}
_GRANTS: Final[dict[str, list[tuple[str, str]]]] = {
    "public-read": [("all", "READ")],
    "public-read-write": [("all", "READ"), ("all", "WRITE")],
    "authenticated-read": [("authenticated", "READ")],
}


def _acl(account: str, canned: str) -> str:
    instance = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
    own = f'<Grantee {instance} xsi:type="CanonicalUser">{xml.element("ID", xml.owner_id(account))}</Grantee>'
    grants = [(own, "FULL_CONTROL")]
    for group, permission in _GRANTS.get(canned, []):
        grants.append(
            (f'<Grantee {instance} xsi:type="Group">{xml.element("URI", _GROUPS[group])}</Grantee>', permission)
        )
    listed = "".join(f"<Grant>{who}{xml.element('Permission', what)}</Grant>" for who, what in grants)
    return f"{xml.owner(account)}<AccessControlList>{listed}</AccessControlList>"
