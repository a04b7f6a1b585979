"""The object store by its requests, without a gate: what S3 answers, case by case."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from towpath.sandbox.errors import AwsError
from towpath.sandbox.objects.buckets import Bucket
from towpath.sandbox.objects.service import ObjectService
from towpath.sandbox.objects.store import Store
from towpath.sandbox.wire import Body, Request, Response

PART = 5 * 1024 * 1024


class Asking:
    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.service = ObjectService(self.store)
        self.bucket("lake")

    def bucket(self, name: str, **more: Any) -> None:
        self.store.buckets.keep(Bucket(name=name, account="1", region="eu-west-1", created=1e9, **more))

    def __call__(self, method: str, key: str = "", query: str = "", body: bytes = b"", **headers: str) -> Response:
        bucket, _, key = key.partition("/") if key.startswith("~") else ("lake", "", key)
        request = Request(
            method=method,
            path=f"/{bucket}/{quote(key, errors='surrogateescape')}",
            query=query,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=Body([body]),
        )
        try:
            found = self.service.answer(request, bucket.removeprefix("~"), key, account="1")
        finally:
            request.body.close()
        assert found is not None
        found.read()
        return found

    def text(self, *arguments: Any, **more: str) -> str:
        return self(*arguments, **more).read().decode()

    def code(self, *arguments: Any, **more: Any) -> str:
        with pytest.raises(AwsError) as caught:
            self(*arguments, **more)
        return caught.value.code


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[Asking]:
    found = Asking(tmp_path)
    yield found
    found.store.close()


def inside(text: str, name: str) -> list[str]:
    return re.findall(f"<{name}>([^<]*)</{name}>", text)


# --- one object ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 32 * 1024 + 1, 3_000_000])
def test_object_comes_back_as_it_went(s3: Asking, size: int) -> None:
    body = random.Random(size).randbytes(size)
    put = s3("PUT", "a b/ü", body=body, content_type="text/x", x_amz_meta_who="me", cache_control="no-cache")
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert put.header("etag") == etag
    got = s3("GET", "a b/ü")
    assert got.read() == body
    expected = {"ETag": etag, "Content-Type": "text/x", "x-amz-meta-who": "me", "Cache-Control": "no-cache"}
    assert {name: got.header(name.lower()) for name in expected} == expected
    assert got.header("content-length") == str(size)
    head = s3("HEAD", "a b/ü")
    assert (head.read(), head.header("content-length")) == (b"", str(size))
    s3("PUT", "a b/ü", body=b"other")
    assert s3("GET", "a b/ü").read() == b"other"
    assert s3("DELETE", "a b/ü").status == 204
    assert s3.code("GET", "a b/ü") == "NoSuchKey"
    assert s3("DELETE", "a b/ü").status == 204
    assert not list((s3.store.bodies._folder).glob("*/*"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", "0"),
        ("bytes=2-4", "234"),
        ("bytes=7-", "789"),
        ("bytes=-3", "789"),
        ("bytes=5-100", "56789"),
        ("bytes=-100", "0123456789"),
        ("bytes=10-", "InvalidRange"),
        ("bytes=-0", "InvalidRange"),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("rows=1-2", None),
    ],
)
def test_range(s3: Asking, text: str, expected: str | None) -> None:
    s3("PUT", "k", body=b"0123456789")
    if expected == "InvalidRange":
        assert s3.code("GET", "k", range=text) == "InvalidRange"
        return
    got = s3("GET", "k", range=text)
    assert got.status == (200 if expected is None else 206)
    assert got.read().decode() == (expected or "0123456789")


CONDITIONS = [
    # method, header, value for an object that is there, outcome; value E is the object's ETag
    ("GET", "if_match", "E", 200),
    ("GET", "if_match", "*", 200),
    ("GET", "if_match", '"x"', "PreconditionFailed"),
    ("GET", "if_none_match", "E", 304),
    ("GET", "if_none_match", '"x"', 200),
    ("GET", "if_modified_since", "Wed, 01 Jan 2020 00:00:00 GMT", 200),
    ("GET", "if_modified_since", "Wed, 01 Jan 2120 00:00:00 GMT", 304),
    ("GET", "if_unmodified_since", "Wed, 01 Jan 2020 00:00:00 GMT", "PreconditionFailed"),
    ("GET", "if_unmodified_since", "Wed, 01 Jan 2120 00:00:00 GMT", 200),
    ("PUT", "if_none_match", "*", "PreconditionFailed"),
    ("PUT", "if_none_match", "E", "NotImplemented"),
    ("PUT", "if_match", "E", 200),
    ("PUT", "if_match", '"x"', "PreconditionFailed"),
    ("DELETE", "if_match", "E", 204),
    ("DELETE", "if_match", "*", 204),
    ("DELETE", "if_match", '"x"', "PreconditionFailed"),
]


@pytest.mark.parametrize(("method", "header", "value", "outcome"), CONDITIONS)
def test_precondition(s3: Asking, method: str, header: str, value: str, outcome: int | str) -> None:
    etag = s3("PUT", "k", body=b"one").header("etag") or ""
    arguments = {header: etag if value == "E" else value}
    if isinstance(outcome, str):
        assert s3.code(method, "k", body=b"two" if method == "PUT" else b"", **arguments) == outcome
        assert s3("GET", "k").read() == b"one"
    else:
        assert s3(method, "k", body=b"two" if method == "PUT" else b"", **arguments).status == outcome


def test_precondition_on_what_is_not_there(s3: Asking) -> None:
    assert s3.code("PUT", "k", body=b"x", if_match='"x"') == "NoSuchKey"
    assert s3.code("DELETE", "k", if_match='"x"') == "NoSuchKey"
    assert s3.code("DELETE", "k", if_match="*") == "PreconditionFailed"
    assert s3("PUT", "k", body=b"x", if_none_match="*").status == 200


def test_checksum_is_verified_kept_and_told(s3: Asking) -> None:
    body = b"0123456789" * 5000
    value = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    assert s3("PUT", "k", body=body, x_amz_checksum_crc32=value).header("x-amz-checksum-crc32") == value
    assert s3("GET", "k").header("x-amz-checksum-crc32") is None
    assert s3("GET", "k", x_amz_checksum_mode="ENABLED").header("x-amz-checksum-crc32") == value
    assert s3.code("PUT", "k", body=body + b"x", x_amz_checksum_crc32=value) == "BadDigest"
    assert s3.code("PUT", "k", body=body, x_amz_checksum_crc32="AAA") == "InvalidRequest"
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
    assert s3("PUT", "k", body=body, content_md5=md5).status == 200
    assert s3.code("PUT", "k", body=body + b"x", content_md5=md5) == "BadDigest"
    assert s3.code("PUT", "k", body=body, content_md5="eA==") == "InvalidDigest"
    assert len(list(s3.store.bodies._folder.glob("*/*"))) == 1  # nothing stays of what was refused


def test_copy_takes_metadata_or_replaces_it(s3: Asking) -> None:
    s3("PUT", "from", body=b"x" * 50_000, x_amz_meta_a="1", x_amz_tagging="t=1", content_type="text/x")
    s3("PUT", "to", x_amz_copy_source="/lake/from", x_amz_meta_a="2")
    got = s3("GET", "to")
    assert (got.read(), got.header("x-amz-meta-a"), got.header("content-type")) == (b"x" * 50_000, "1", "text/x")
    assert inside(s3.text("GET", "to", "tagging"), "Value") == ["1"]
    s3("PUT", "to", x_amz_copy_source="lake/from", x_amz_metadata_directive="REPLACE", x_amz_meta_a="2")
    assert s3("GET", "to").header("x-amz-meta-a") == "2"
    s3("DELETE", "from")
    assert s3("GET", "to").read() == b"x" * 50_000
    assert s3.code("PUT", "to", x_amz_copy_source="lake/from") == "NoSuchKey"
    assert s3.code("PUT", "to", x_amz_copy_source="lake/to") == "InvalidRequest"
    assert s3.code("PUT", "n", x_amz_copy_source="lake/to", x_amz_copy_source_if_match='"x"') == "PreconditionFailed"


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("x_amz_storage_class", "COLD", "InvalidStorageClass"),
        ("x_amz_server_side_encryption_customer_algorithm", "AES256", "NotImplemented"),
        ("x_amz_object_lock_mode", "GOVERNANCE", "InvalidRequest"),
        ("x_amz_grant_read", "id=1", "NotImplemented"),
        ("x_amz_acl", "everybody", "InvalidArgument"),
        ("x_amz_meta_a", "x" * 3000, "MetadataTooLarge"),
    ],
)
def test_what_a_put_may_not_carry(s3: Asking, header: str, value: str, code: str) -> None:
    assert s3("PUT", "k").status == 200
    assert s3.code("PUT", "k", **{header: value}) == code


def test_keys_and_buckets_that_are_none(s3: Asking) -> None:
    assert s3("PUT", "k" * 1024).status == 200
    assert s3.code("PUT", "k" * 1025) == "KeyTooLongError"
    assert s3.code("PUT", "\udcff") == "InvalidURI"
    assert s3.code("GET", "~other/k") == "NoSuchBucket"
    assert s3.code("POST", "k", "restore") == "NotImplemented"


# --- versions --------------------------------------------------------------------------------------------------------


def test_versions_and_delete_markers(s3: Asking) -> None:
    s3("PUT", "k", body=b"null")
    s3.bucket("lake", versioning="Enabled")
    first = s3("PUT", "k", body=b"one").header("x-amz-version-id")
    second = s3("PUT", "k", body=b"two").header("x-amz-version-id")
    gone = s3("DELETE", "k")
    marker = gone.header("x-amz-version-id")
    assert gone.header("x-amz-delete-marker") == "true"
    assert s3.code("GET", "k") == "NoSuchKey"
    assert s3.code("GET", "k", f"versionId={marker}") == "MethodNotAllowed"
    assert [s3("GET", "k", f"versionId={v}").read() for v in ("null", first, second)] == [b"null", b"one", b"two"]
    assert s3.code("GET", "k", "versionId=" + "x" * 32) == "NoSuchVersion"
    assert s3.code("GET", "k", "versionId=short") == "InvalidArgument"
    listed = s3.text("GET", "", "versions")
    assert inside(listed, "VersionId") == [marker, second, first, "null"]
    assert inside(listed, "IsLatest") == ["true", "false", "false", "false"]
    one = s3.text("GET", "", "versions&max-keys=2")
    following = f"versions&key-marker=k&version-id-marker={inside(one, 'NextVersionIdMarker')[0]}"
    assert inside(one, "VersionId") + inside(s3.text("GET", "", following), "VersionId")[0:] == [
        marker,
        second,
        first,
        "null",
    ]
    s3("DELETE", "k", f"versionId={marker}")
    assert s3("GET", "k").read() == b"two"
    s3("DELETE", "k", f"versionId={second}")
    assert s3("GET", "k").read() == b"one"
    s3.bucket("lake", versioning="Suspended")
    assert s3("PUT", "k", body=b"three").header("x-amz-version-id") == "null"
    assert inside(s3.text("GET", "", "versions"), "VersionId") == ["null", first]
    s3("DELETE", "k")
    assert s3.code("GET", "k") == "NoSuchKey"
    assert inside(s3.text("GET", "", "versions"), "VersionId") == ["null", first]


def test_lock_keeps_a_version(s3: Asking) -> None:
    s3.bucket("lake", versioning="Enabled", locked=True)
    until = "2120-01-01T00:00:00Z"

    def put(mode: str) -> str:
        lock = {"x_amz_object_lock_mode": mode, "x_amz_object_lock_retain_until_date": until}
        return f"versionId={s3('PUT', 'k', **lock).header('x-amz-version-id')}"

    governed, complied = put("GOVERNANCE"), put("COMPLIANCE")
    for which, bypass, kept in ((governed, "false", True), (complied, "true", True), (governed, "true", False)):
        headers = {"x_amz_bypass_governance_retention": bypass}
        if kept:
            assert s3.code("DELETE", "k", which, **headers) == "AccessDenied"
        else:
            assert s3("DELETE", "k", which, **headers).status == 204
    assert s3("DELETE", "k").status == 204  # a marker hides it, and keeps it
    held = f"versionId={s3('PUT', 'h').header('x-amz-version-id')}"
    s3("PUT", "h", "legal-hold", body=b"<LegalHold><Status>ON</Status></LegalHold>")
    assert s3.code("DELETE", "h", held, x_amz_bypass_governance_retention="true") == "AccessDenied"
    s3("PUT", "h", "legal-hold", body=b"<LegalHold><Status>OFF</Status></LegalHold>")
    assert s3("DELETE", "h", held).status == 204
    sooner = b"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>2119-01-01T00:00:00Z</RetainUntilDate></Retention>"
    later = sooner.replace(b"2119", b"2121")
    assert s3.code("PUT", "k", f"retention&{complied}", body=sooner) == "AccessDenied"
    assert s3("PUT", "k", f"retention&{complied}", body=later).status == 200


# --- multipart -------------------------------------------------------------------------------------------------------


def begin(s3: Asking, key: str = "big", **headers: str) -> str:
    return "uploadId=" + inside(s3.text("POST", key, "uploads", **headers), "UploadId")[0]


def completion(*parts: tuple[int, str | None]) -> bytes:
    rows = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in parts)
    return f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()


def test_multipart(s3: Asking) -> None:
    upload = begin(s3, x_amz_meta_a="1", x_amz_checksum_algorithm="CRC32", x_amz_checksum_type="FULL_OBJECT")
    bodies = {1: b"a" * PART, 3: b"b" * 100}
    tags = {n: s3("PUT", "big", f"partNumber={n}&{upload}", body=body).header("etag") for n, body in bodies.items()}
    assert inside(s3.text("GET", "big", upload), "PartNumber") == ["1", "3"]
    assert inside(s3.text("GET", "", "uploads"), "Key") == ["big"]
    assert s3.code("GET", "big") == "NoSuchKey"
    for parts, code in (
        ([(3, tags[3]), (1, tags[1])], "InvalidPartOrder"),
        ([(1, tags[1]), (2, tags[3])], "InvalidPart"),
        ([(1, tags[3])], "InvalidPart"),
        ([], "MalformedXML"),
    ):
        assert s3.code("POST", "big", upload, body=completion(*parts)) == code
    s3("PUT", "big", body=b"there")
    whole = completion((1, tags[1]), (3, tags[3]))
    assert s3.code("POST", "big", upload, body=whole, if_none_match="*") == "PreconditionFailed"
    done = s3.text("POST", "big", upload, body=whole)
    content = bodies[1] + bodies[3]
    assert inside(done, "ChecksumCRC32") == [base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()]
    digests = hashlib.md5(bodies[1]).digest() + hashlib.md5(bodies[3]).digest()
    got = s3("GET", "big")
    assert (got.read(), got.header("x-amz-meta-a")) == (content, "1")
    assert got.header("etag") == f'"{hashlib.md5(digests).hexdigest()}-2"'
    second = s3("GET", "big", "partNumber=2")
    assert (second.status, second.read(), second.header("x-amz-mp-parts-count")) == (206, bodies[3], "2")
    assert s3.code("GET", "big", "partNumber=3") == "InvalidPartNumber"
    assert s3.code("POST", "big", upload, body=whole) == "NoSuchUpload"
    s3("PUT", "copy", x_amz_copy_source="lake/big")
    assert s3("GET", "copy").header("etag") == f'"{hashlib.md5(content).hexdigest()}"'
    assert len(list(s3.store.bodies._folder.glob("*/*"))) == 2


def test_parts_that_are_too_small_and_uploads_given_up(s3: Asking) -> None:
    upload = begin(s3)
    small = s3("PUT", "big", f"partNumber=1&{upload}", body=b"x").header("etag")
    last = s3("PUT", "big", f"partNumber=2&{upload}", body=b"y").header("etag")
    assert s3.code("POST", "big", upload, body=completion((1, small), (2, last))) == "EntityTooSmall"
    assert s3.code("PUT", "big", f"partNumber=0&{upload}") == "InvalidArgument"
    s3("PUT", "from", body=b"0123456789")
    copy = s3(
        "PUT", "big", f"partNumber=2&{upload}", x_amz_copy_source="lake/from", x_amz_copy_source_range="bytes=2-4"
    )
    assert hashlib.md5(b"234").hexdigest() in copy.read().decode()
    assert s3("DELETE", "big", upload).status == 204
    assert s3.code("PUT", "big", f"partNumber=1&{upload}", body=b"x") == "NoSuchUpload"
    assert not list(s3.store.bodies._folder.glob("*/*"))


# --- listings --------------------------------------------------------------------------------------------------------


def expected(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    """Keys and common prefixes in order, by the definition."""
    found: list[str] = []
    for key in sorted(keys, key=lambda key: key.encode()):
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            entry = key if at < 0 else key[: at + len(delimiter)]
            if not found or found[-1] != entry:
                found.append(entry)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_listing_page_by_page_is_what_the_definition_says(s3: Asking, seed: int) -> None:
    chance = random.Random(seed)
    letters = ["a", "b", "/", "//", "ü", "\U0001f600", "\uffff", "0", "a/", "&"]
    keys = list({"".join(chance.choices(letters, k=chance.randint(1, 6))) for _ in range(150)})
    for key in keys:
        s3("PUT", key)
    for prefix in ("", "a", "a/", "ü", "x", "/"):
        for delimiter in ("", "/", "a", "//"):
            for size in (3, 1000) if seed else (1, 1000):
                want = expected(keys, prefix, delimiter)
                base = f"encoding-type=url&prefix={quote(prefix)}&delimiter={quote(delimiter)}&max-keys={size}"
                assert pages(s3, f"list-type=2&{base}", "NextContinuationToken", "continuation-token") == want
                if delimiter:
                    assert pages(s3, base, "NextMarker", "marker") == want
                assert pages(s3, f"versions&{base}", "NextKeyMarker", "key-marker") == want


def pages(s3: Asking, query: str, following: str, parameter: str) -> list[str]:
    from urllib.parse import unquote

    found: list[str] = []
    more = ""
    for _ in range(1000):
        text = s3.text("GET", "", query + more)
        entries = inside(text, "Key") + re.findall("<CommonPrefixes><Prefix>([^<]*)</Prefix>", text)
        found += sorted(map(unquote, entries), key=lambda key: key.encode())
        if inside(text, "IsTruncated") == ["false"]:
            return found
        version = inside(text, "NextVersionIdMarker")
        more = f"&{parameter}={quote(unquote(inside(text, following)[0])) if parameter != 'continuation-token' else quote(inside(text, following)[0])}"
        more += f"&version-id-marker={version[0]}" if version else ""
    raise AssertionError("it does not end")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("max-keys=x", "InvalidArgument"),
        ("max-keys=-1", "InvalidArgument"),
        ("encoding-type=base64", "InvalidArgument"),
        ("list-type=2&continuation-token=*", "InvalidArgument"),
        ("versions&version-id-marker=x", "InvalidArgument"),
    ],
)
def test_listing_that_asks_wrongly(s3: Asking, query: str, code: str) -> None:
    assert s3("GET", "", "max-keys=0").status == 200
    assert s3.code("GET", "", query) == code


def test_many_deleted_at_once(s3: Asking) -> None:
    for key in ("a", "b", "c"):
        s3("PUT", key)
    answer = s3.text(
        "POST", "", "delete", b"<Delete><Object><Key>a</Key></Object><Object><Key>x</Key></Object></Delete>"
    )
    assert inside(answer, "Key") == ["a", "x"]
    quiet = s3.text("POST", "", "delete", b"<Delete><Quiet>true</Quiet><Object><Key>b</Key></Object></Delete>")
    assert inside(quiet, "Key") == []
    assert inside(s3.text("GET"), "Key") == ["c"]
    assert s3.code("POST", "", "delete", body=b"<Delete></Delete>") == "MalformedXML"
    assert s3.code("POST", "", "delete", body=b"<!DOCTYPE x [<!ENTITY e 'x'>]><Delete>&e;</Delete>") == "MalformedXML"


# --- after a kill ----------------------------------------------------------------------------------------------------


def test_bodies_that_no_row_names_are_swept_at_the_next_start(tmp_path: Path) -> None:
    asking = Asking(tmp_path)
    asking("PUT", "k", body=b"x" * 100_000)
    orphan = asking.store.bodies.write([b"y" * 100_000]).file
    assert orphan is not None
    asking.store.close()
    again = Asking(tmp_path)
    again.store._sweeping.join()
    assert not (tmp_path / "bodies" / orphan).exists()
    assert again("GET", "k").read() == b"x" * 100_000
    assert len(list((tmp_path / "bodies").glob("*/*"))) == 1
    again.store.close()
