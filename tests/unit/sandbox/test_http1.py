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


def read(head: bytes) -> http1.Head:
    """`head`, up to its empty line and without it, as the listener reads it."""
    reader = http1.Reader()
    reader.feed(head + b"\r\n\r\n")
    if not reader.events:
        raise http1.BadRequest(400, "no request")
    event = reader.events.popleft()
    if isinstance(event, http1.BadRequest):
        raise event
    assert isinstance(event, http1.Head)
    return event


def events(*parts: bytes) -> list[Any]:
    """What a reader gives of these bytes: a path for each head, the bytes of bodies joined, "end", the status of a refusal."""
    reader = http1.Reader()
    for part in parts:
        reader.feed(part)
    found: list[Any] = []
    for event in reader.events:
        match event:
            case http1.Head():
                found.append(event.path)
            case http1.BadRequest():
                found.append(event.status)
            case bytes():
                if found and isinstance(found[-1], bytes):
                    found[-1] += event
                else:
                    found.append(event)
            case _:
                found.append("end")
    return found


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


FOLLOWING = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"Host: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"


@pytest.mark.parametrize(
    ("rest", "body"),
    [
        (b"\r\n", []),
        (b"Content-Length: 0\r\n\r\n", []),
        (b"Content-Length: 3\r\n\r\nabc", [b"abc"]),
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", [b"abc"]),
    ],
)
def test_an_upgrade_is_not_made_and_nothing_is_lost(rest: bytes, body: list[bytes]) -> None:
    whole = b"POST /k HTTP/1.1\r\n" + UPGRADE + rest + FOLLOWING
    expected = ["/k", *body, "end", "/next", "end"]
    assert events(whole) == expected
    assert events(*(whole[at : at + 1] for at in range(len(whole)))) == expected


def test_after_a_refusal_nothing_follows() -> None:
    reader = http1.Reader()
    reader.feed(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n" + b"GET /b HTTP/1.1\r\n\r\n" + FOLLOWING)
    reader.feed(FOLLOWING)
    assert [type(event) for event in reader.events] == [http1.Head, http1.End, http1.BadRequest]


CHUNKED = b"PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-", b"a"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a", b"\r\nX: a"),
        (CHUNKED + b"1;", b"a"),
        (CHUNKED + b"0\r\nX: ", b"a"),
        (CHUNKED + b"0\r\nX: a", b"\r\nX: a"),
    ],
    ids=["target", "name", "value", "headers", "chunk extension", "trailer", "trailers"],
)
def test_what_has_no_end_is_refused(start: bytes, endless: bytes) -> None:
    size = 1000 // len(endless)
    few = events(start, *[endless * size] * 20)
    assert [found for found in few if isinstance(found, int)] == []
    assert events(start, *[endless * size] * 70)[-1] == 431


def test_a_body_in_chunks_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "LARGEST_BODY", 5)
    assert events(CHUNKED + b"5\r\nabcde\r\n0\r\n\r\n") == ["/k", b"abcde", "end"]
    assert events(CHUNKED + b"5\r\nabcde\r\n1\r\nf\r\n0\r\n\r\n") == ["/k", b"abcde", 413]


def test_no_value_begins_a_header_of_its_own() -> None:
    head = http1.response(200, [("X-A", "1\r\nX-B: 2"), ("X-C", "né\u2028"), ("Content-Length", "0")], close=False)
    lines = head.decode().split("\r\n")
    assert lines[:3] == ["HTTP/1.1 200 OK", "X-A: 1  X-B: 2", "X-C: né\u2028"]
    assert [line.partition(":")[0] for line in lines[3:]] == ["Content-Length", "Date", "", ""]
