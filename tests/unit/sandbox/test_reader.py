"""Bodies off a socket, however the bytes are cut: what was sent is what is read, and anything else is refused."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from towpath.sandbox.connection import Disconnected, Reader
from towpath.sandbox.http1 import BadRequest


class Source:
    """A socket that gives these bytes in these pieces, and then ends."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        self._data, self._cuts = data, iter(cuts)

    def recv(self, most: int) -> bytes:
        size = min(most, next(self._cuts, most))
        part, self._data = self._data[:size], self._data[size:]
        return part


def reader(data: bytes, cuts: list[int]) -> Reader:
    return Reader(cast("socket.socket", Source(data, cuts)))


CUTS = st.lists(st.integers(1, 40), max_size=60)
PARTS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


def in_chunks(parts: list[bytes], trailers: bytes = b"") -> bytes:
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


@given(PARTS, CUTS, st.sampled_from([b"", b"X-Trailer: 1\r\n"]))
def test_chunks_are_read_as_sent(parts: list[bytes], cuts: list[int], trailers: bytes) -> None:
    found = reader(in_chunks(parts, trailers) + b"next", cuts)
    assert b"".join(found.chunked()) == b"".join(parts)
    assert b"".join(found.sized(4)) == b"next"


@given(PARTS, CUTS, st.data())
def test_chunks_that_end_early_are_never_a_whole_body(parts: list[bytes], cuts: list[int], data: st.DataObject) -> None:
    whole = in_chunks(parts)
    end = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Disconnected):
        b"".join(reader(whole[:end], cuts).chunked())


@given(st.binary(max_size=200), CUTS)
@example(b"1\r\na0\r\n\r\n", [])
@example(b"00000000000000001\r\na\r\n0\r\n\r\n", [])
def test_anything_is_read_or_refused(data: bytes, cuts: list[int]) -> None:
    with contextlib.suppress(BadRequest, Disconnected):
        body = b"".join(reader(data, cuts).chunked())
        assert len(body) < len(data)


@given(st.binary(max_size=200), CUTS)
def test_heads_end_at_their_empty_line(data: bytes, cuts: list[int]) -> None:
    head = re.sub(rb"[\r\n]{2,}", b"-", data).rstrip(b"\r\n").lstrip(b"\r\n")
    found = reader(head + b"\r\n\r\nrest", cuts)
    if head:
        assert found.head(lambda: None) == head
        assert b"".join(found.sized(4)) == b"rest"


def test_sized_body_that_ends_early_is_not_whole() -> None:
    assert b"".join(reader(b"abc", []).sized(3)) == b"abc"
    with pytest.raises(Disconnected):
        b"".join(reader(b"ab", []).sized(3))
