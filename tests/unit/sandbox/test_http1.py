"""Request heads, each as it is read or refused, from heads.yaml; and response heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.sandbox import http1

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("heads.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_head(case: dict[str, Any]) -> None:
    head = case["head"].replace("|", "\r\n").encode("latin-1")
    if "refused" in case:
        with pytest.raises(http1.BadRequest) as caught:
            http1.parse(head)
        assert caught.value.status == case["refused"]
        return
    read = http1.parse(head)
    assert {name: getattr(read, name) for name in case["read"]} == case["read"]


def test_number_of_headers_is_limited() -> None:
    lines = [f"X-{number}: 1" for number in range(http1.MOST_HEADERS - 1)]
    assert len(http1.parse("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines]).encode()).headers) == http1.MOST_HEADERS
    with pytest.raises(http1.BadRequest) as caught:
        http1.parse("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "X: 1"]).encode())
    assert caught.value.status == 431


@given(
    st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda some: b"GET / HTTP/1.1\r\nHost: a\r\n" + some))
)
def test_anything_is_read_or_refused(head: bytes) -> None:
    try:
        read = http1.parse(head)
    except http1.BadRequest:
        return
    assert read.path.startswith("/")
    assert not any(character in value for value in read.headers.values() for character in "\r\n\0")


@pytest.mark.parametrize(
    ("line", "size"),
    [(b"0", 0), (b"1f", 31), (b"1F;chunk-signature=ab", 31), (b"10 ;x", 16), (b"00000000000000ff", 255)],
)
def test_chunk_size(line: bytes, size: int) -> None:
    assert http1.chunk_size(line) == size


@pytest.mark.parametrize("line", [b"", b"-1", b"+1", b"0x1", b"1_0", b" 1", b"g", b"00000000000000001", "²".encode()])
def test_chunk_size_refused(line: bytes) -> None:
    with pytest.raises(http1.BadRequest):
        http1.chunk_size(line)


def test_no_value_begins_a_header_of_its_own() -> None:
    head = http1.render(200, [("X-A", "1\r\nX-B: 2"), ("X-C", "né\u2028")], close=True).decode()
    assert head.startswith("HTTP/1.1 200 OK\r\nX-A: 1  X-B: 2\r\nX-C: né\u2028\r\nDate: ")
    assert head.endswith(" GMT\r\nConnection: close\r\n\r\n")
