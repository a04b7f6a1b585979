"""Requests off a socket, however the bytes are cut: what was sent is what is handled, and anything else is not."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from towpath.sandbox.connection import Connection
from towpath.sandbox.wire import Request, Response

START = b"PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CUTS = st.lists(st.integers(1, 40), max_size=60)
PARTS = st.lists(st.binary(min_size=1, max_size=60), max_size=8)


class Client(socket.socket):
    """A socket whose client sends these bytes in these pieces, and then nothing more."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        super().__init__()
        self._data, self._cuts = data, iter(cuts)
        self.answered = b""

    def recv(self, most: int, _flags: int = 0) -> bytes:
        size = min(most, next(self._cuts, most))
        part, self._data = self._data[:size], self._data[size:]
        return part

    def send(self, data: Any, _flags: int = 0) -> int:
        self.answered += bytes(data)
        return len(data)

    def setsockopt(self, *_: Any) -> None: ...


def handled(data: bytes, cuts: list[int]) -> tuple[list[bytes], bytes]:
    """The bodies of the requests that came to the handler, and what the client was answered."""
    bodies: list[bytes] = []

    def handler(request: Request) -> Response:
        bodies.append(request.body.read())
        return Response(status=200)

    client = Client(data, cuts)
    Connection(client, remote="127.0.0.1", handler=handler, tls=None).serve()
    return bodies, client.answered


def in_chunks(parts: list[bytes], trailers: bytes = b"") -> bytes:
    return START + b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


@given(PARTS, CUTS, st.sampled_from([b"", b"X-Trailer: 1\r\n"]))
def test_chunks_are_read_as_sent_and_the_next_request_follows(
    parts: list[bytes], cuts: list[int], trailers: bytes
) -> None:
    following = b"PUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nnext"
    bodies, answered = handled(in_chunks(parts, trailers) + following, cuts)
    assert bodies == [b"".join(parts), b"next"]
    assert answered.count(b"HTTP/1.1 200 OK") == 2


@given(PARTS, CUTS, st.data())
def test_a_request_that_ends_early_is_never_handled(parts: list[bytes], cuts: list[int], data: st.DataObject) -> None:
    whole = in_chunks(parts)
    end = data.draw(st.integers(0, len(whole) - 1))
    assert handled(whole[:end], cuts)[0] == []


@given(st.binary(max_size=200), CUTS)
@example(b"1\r\na0\r\n\r\n", [])
@example(b"00000000000000001\r\na\r\n0\r\n\r\n", [])
def test_any_bytes_for_chunks_are_read_or_refused(data: bytes, cuts: list[int]) -> None:
    bodies, answered = handled(START + data, cuts)
    assert sum(map(len, bodies)) < max(1, len(data))
    assert answered.count(b"HTTP/1.1 200 OK") == len(bodies)


@pytest.mark.parametrize(("length", "handles"), [(3, [b"abc"]), (4, [])])
def test_a_body_shorter_than_its_length_is_not_handled(length: int, handles: list[bytes]) -> None:
    head = f"PUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
    assert handled(head + b"abc", [])[0] == handles
