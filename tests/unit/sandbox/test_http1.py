"""Request heads, each as it is read or refused, from heads.yaml; and response heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h11
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from towpath.sandbox import http1

CASES: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("heads.yaml").read_text())


def read(head: bytes) -> http1.Head:
    """`head`, up to its empty line and without it, as the listener reads it."""
    reader = h11.Connection(h11.SERVER, max_incomplete_event_size=http1.LARGEST_HEAD)
    reader.receive_data(head + b"\r\n\r\n")
    try:
        event = reader.next_event()
    except h11.RemoteProtocolError as error:
        raise http1.BadRequest(error.error_status_hint, str(error)) from None
    if not isinstance(event, h11.Request):
        raise http1.BadRequest(400, "no request")
    return http1.read(event)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_head(case: dict[str, Any]) -> None:
    head = case["head"].replace("|", "\r\n").encode("latin-1")
    if "refused" in case:
        with pytest.raises(http1.BadRequest) as caught:
            read(head)
        assert caught.value.status == case["refused"]
        return
    found = read(head)
    assert {name: getattr(found, name) for name in case["read"]} == case["read"]


def test_number_of_headers_is_limited() -> None:
    lines = [f"X-{number}: 1" for number in range(http1.MOST_HEADERS - 1)]
    assert len(read("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines]).encode()).headers) == http1.MOST_HEADERS
    with pytest.raises(http1.BadRequest) as caught:
        read("\r\n".join(["GET / HTTP/1.1", "Host: a", *lines, "X: 1"]).encode())
    assert caught.value.status == 431


@given(
    st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda some: b"GET / HTTP/1.1\r\nHost: a\r\n" + some))
)
def test_anything_is_read_or_refused(head: bytes) -> None:
    try:
        found = read(head)
    except http1.BadRequest:
        return
    assert found.path.startswith("/")
    assert not any(character in value for value in found.headers.values() for character in "\r\n\0")


def test_no_value_begins_a_header_of_its_own() -> None:
    writer = h11.Connection(h11.SERVER)
    writer.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    writer.next_event()
    head = writer.send(http1.response(200, [("X-A", "1\r\nX-B: 2"), ("X-C", "né\u2028"), ("Content-Length", "0")]))
    assert head is not None
    lines = head.decode().split("\r\n")
    assert lines[:3] == ["HTTP/1.1 200 OK", "X-A: 1  X-B: 2", "X-C: né\u2028"]
    assert [line.partition(":")[0] for line in lines[3:]] == ["Content-Length", "Date", "", ""]
