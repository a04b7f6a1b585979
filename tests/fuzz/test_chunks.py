"""aws-chunked bodies: what is stored is the content that was signed or summed, or nothing is stored."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towpath.sandbox.wire import Body

from .conftest import BUCKET, EVERYDAY, Door, fuzzing
from .mutations import spoiled, spoiled_bytes
from .signing import chunks, plain, signed

CONTENT = bytes(range(256)) * 40  # 10,240 bytes: one chunk of at least 8,192 and a rest
KEY = "chunked"


def put_signed(door: Door, body: bytes | None = None, **headers: str) -> int:
    """A PUT signed chunk by chunk, its encoded body replaced when one is given."""
    request = plain(
        "PUT",
        f"/{BUCKET}/{KEY}",
        body=CONTENT,
        headers={"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(CONTENT)), **headers},
    )
    request = signed(request, door.key, payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
    encoded = chunks(request, door.key, 8192, len(CONTENT) - 8192)
    return door.knock(replace(request, body=Body([encoded if body is None else body]))).status


def trailed() -> bytes:
    crc = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()
    return f"{len(CONTENT):x}\r\n".encode() + CONTENT + f"\r\n0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()


def put_trailed(door: Door, body: bytes, **headers: str) -> int:
    """A PUT whose body ends with a checksum, unsigned."""
    more = {
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(CONTENT)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        **headers,
    }
    request = plain("PUT", f"/{BUCKET}/{KEY}", body=body, headers=more)
    return door.knock(signed(request, door.key, payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER")).status


@pytest.fixture(autouse=True)
def _nothing_stored(door: Door) -> None:
    door.knock(signed(plain("DELETE", f"/{BUCKET}/{KEY}"), door.key))


def stored_as_sent(door: Door, status: int) -> None:
    if status == 200:
        assert door.get(KEY) == CONTENT
        door.knock(signed(plain("DELETE", f"/{BUCKET}/{KEY}"), door.key))
    else:
        assert door.get(KEY) is None


def test_right_bodies_are_stored(door: Door) -> None:
    assert put_signed(door) == 200
    assert door.get(KEY) == CONTENT
    assert put_trailed(door, trailed()) == 200
    assert door.get(KEY) == CONTENT


@EVERYDAY
def test_a_signed_chunked_body_changed(door: Door, examples: int) -> None:
    request = signed(
        plain(
            "PUT",
            f"/{BUCKET}/{KEY}",
            body=CONTENT,
            headers={"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(CONTENT))},
        ),
        door.key,
        payload="STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    )
    encoded = chunks(request, door.key, 8192, len(CONTENT) - 8192)

    def check(body: bytes) -> None:
        stored_as_sent(door, door.knock(replace(request, body=Body([body]))).status)

    fuzzing(examples)(given(spoiled_bytes(encoded))(check))()


@EVERYDAY
def test_a_trailed_body_changed(door: Door, examples: int) -> None:
    def check(body: bytes) -> None:
        stored_as_sent(door, put_trailed(door, body))

    fuzzing(examples)(given(spoiled_bytes(trailed()))(check))()


@EVERYDAY
def test_the_framing_changed(door: Door, examples: int) -> None:
    """Headers of a chunk, line ends and trailers, where a byte says most."""
    crc = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()

    def check(data: st.DataObject) -> None:
        size = data.draw(
            st.one_of(
                st.just(f"{len(CONTENT):x}"),
                spoiled(f"{len(CONTENT):x}"),
                st.sampled_from(["-1", "0x10", "f" * 40, "", "+2800", "2_800"]),
            )
        )
        last = data.draw(st.one_of(st.just("0"), spoiled("0")))
        trailer = data.draw(st.one_of(st.just(f"x-amz-checksum-crc32:{crc}"), spoiled(f"x-amz-checksum-crc32:{crc}")))
        end = data.draw(st.sampled_from(["\r\n\r\n", "\r\n", "\n\n", "", "\r\n\r\nmore", "\r\n0\r\n\r\n"]))
        body = size.encode() + b"\r\n" + CONTENT + f"\r\n{last}\r\n{trailer}{end}".encode("latin-1", "replace")
        stored_as_sent(door, put_trailed(door, body))

    fuzzing(examples)(given(st.data())(check))()


@EVERYDAY
def test_the_headers_of_a_chunked_body(door: Door, examples: int) -> None:
    names = st.sampled_from(
        [
            "x-amz-decoded-content-length",
            "x-amz-trailer",
            "content-encoding",
            "x-amz-checksum-crc32",
            "content-length",
            "trailer",
        ]
    )
    values = st.sampled_from(
        [
            "",
            "0",
            "-1",
            "9" * 30,
            "10239",
            "x-amz-checksum-sha256",
            "x-amz-meta-a",
            "gzip,aws-chunked",
            "aws-chunked,aws-chunked",
            "AAAAAA==",
            "é",
        ]
    )

    def check(changes: dict[str, str], kind: str) -> None:
        status = put_trailed(door, trailed(), **changes) if kind == "trailed" else put_signed(door, **changes)
        assert status < 500 or status == 501
        stored_as_sent(door, status)

    fuzzing(examples)(
        given(st.dictionaries(names, values, min_size=1, max_size=2), st.sampled_from(["trailed", "signed"]))(check)
    )()
