"""Whatever comes in, the answer is an error of AWS's or what was meant: no traceback, and nothing read that was not sent."""

from __future__ import annotations

import io
import json
import zlib
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towpath.sandbox.errors import AwsError
from towpath.sandbox.s3 import bucket_policy, checksums, deletes, forms, operations, streams
from towpath.sandbox.s3.address import Address, locate
from towpath.sandbox.s3_operations import needs
from towpath.sandbox.wire import Body, Request

HEADERS = {"x-amz-decoded-content-length": "10", "x-amz-trailer": "x-amz-checksum-crc32"}
NAMES = sorted(operations.SELECTORS | operations.PARAMETERS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["*", "Allow", "Deny", "s3:*", "arn:aws:s3:::lake/*", "AWS", "2012-10-17"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["Version", "Statement", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition", "StringEquals", "AWS", "Sid", "x"]), inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


def outcome(call: Callable[[], Any]) -> Any:
    """What it gives, or the AwsError it ends with; any other exception fails the test."""
    try:
        return call()
    except AwsError as error:
        return error


@settings(deadline=None)
@given(st.binary(max_size=200) | st.lists(st.sampled_from([b"a\r\n", b"0123456789", b"\r\n", b"0\r\n", b"x-amz-checksum-crc32:", b"\xff", b";chunk-signature=" + b"0" * 64]), max_size=12).map(b"".join))  # fmt: skip
def test_no_bytes_break_the_decoder(text: bytes) -> None:
    decoder = streams.Decoder(io.BytesIO(text), mode=streams.UNSIGNED_TRAILER, headers=HEADERS)
    content = outcome(lambda: b"".join(decoder))
    if isinstance(content, AwsError):
        assert 400 <= content.status < 500
    else:
        assert len(content) == 10
        checksum = b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
        assert decoder.trailers == {"x-amz-checksum-crc32": checksum}


@settings(deadline=None)
@given(st.binary(max_size=60_000), st.integers(8_192, 70_000))
def test_what_was_sent_in_chunks_comes_out_whole(content: bytes, size: int) -> None:
    out = b""
    for start in range(0, len(content), size):
        part = content[start : start + size]
        out += f"{len(part):X}\r\n".encode() + part + b"\r\n"
    checksum = b64encode(zlib.crc32(content).to_bytes(4, "big"))
    out += b"0\r\nX-Amz-Checksum-Crc32: " + checksum + b"\r\n\r\n"
    headers = {**HEADERS, "x-amz-decoded-content-length": str(len(content))}
    assert b"".join(streams.Decoder(io.BytesIO(out), mode=streams.UNSIGNED_TRAILER, headers=headers)) == content


@settings(deadline=None)
@given(st.binary(max_size=300).map(lambda tail: b"{" + tail) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_document_breaks_the_policy_rules(text: bytes) -> None:
    found = outcome(lambda: bucket_policy.validate(text, bucket="lake", partition="aws", exists=lambda *_: True))
    if isinstance(found, AwsError):
        assert (found.code, found.status) == ("MalformedPolicy", 400)
    else:
        assert found.statements
        assert bucket_policy.is_public(found) in {True, False}


@settings(deadline=None)
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=30),
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.text(max_size=10),
    st.dictionaries(st.sampled_from(["x-amz-copy-source", "x-amz-tagging", "x-amz-acl", "content-type", "x-amz-object-lock-retain-until-date"]), st.text(max_size=20), max_size=3),
    st.binary(max_size=40) | st.just(b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>"),
)  # fmt: skip
def test_no_request_breaks_the_reading(
    method: str, path: str, names: list[str], value: str, headers: dict[str, str], body: bytes
) -> None:
    query = "&".join(f"{name}={value}" for name in names)
    request = Request(
        method=method, path=f"/lake/{path}", query=query, headers={"host": "localhost", **headers}, body=Body([body])
    )
    found = outcome(lambda: _read(request))
    assert not isinstance(found, AwsError) or 400 <= found.status <= 501


def _read(request: Request) -> None:
    address = locate(request, ("localhost",))
    found = operations.identify(request, bucket=address.bucket, key=address.key)
    if found is operations.POST_OBJECT:
        forms.read(request)
    elif found.name == "DeleteObjects":
        deletes.read(request, address, partition="aws")
    else:
        wanted = needs(request, found, address, partition="aws")
        assert wanted[0].resource.startswith("arn:aws:s3:::lake")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_body_breaks_the_form(body: bytes) -> None:
    request = Request(
        method="POST",
        path="/lake",
        headers={"content-type": "multipart/form-data; boundary=b"},
        body=Body([b"--b\r\n" + body]),
    )
    with pytest.raises(AwsError):
        forms.read(request)


@settings(deadline=None)
@given(JSON)
def test_no_policy_breaks_the_form(policy: Any) -> None:
    text = b64encode(json.dumps(policy).encode()).decode()
    form = forms.Form(fields={"key": "k", "policy": text}, filename="f", file=Body([b"x"]))
    with pytest.raises(AwsError):
        forms.check_policy(form, bucket="lake", now=datetime.now(UTC))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_body_breaks_delete_objects(body: bytes) -> None:
    request = Request(method="POST", path="/lake", query="delete", headers={"content-md5": "x"}, body=Body([body]))
    with pytest.raises(AwsError):
        deletes.read(request, Address(bucket="lake", key="", path="/lake"), partition="aws")


@settings(deadline=None)
@given(
    st.sampled_from(sorted(["crc32", "crc32c", "crc64nvme", "sha1", "sha256", "md5", "sha512"])),
    st.lists(st.binary(max_size=50)),
)
def test_checksum_is_the_same_however_it_is_cut(name: str, parts: list[bytes]) -> None:
    one, many = checksums.new(name), checksums.new(name)
    one.update(b"".join(parts))
    for part in parts:
        many.update(part)
    assert one.digest() == many.digest()
