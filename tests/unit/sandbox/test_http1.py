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


@pytest.mark.parametrize(
    ("coding", "expected"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", ["/k", b"a", "end", "/next", "end"]),
        (b"Transfer-Encoding: gzip\r\n\r\n", [501]),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", [501]),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
        (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [400]),
    ],
)
def test_an_upgrade_with_a_refused_body_is_refused(coding: bytes, expected: list[Any]) -> None:
    assert events(b"POST /k HTTP/1.1\r\n" + UPGRADE + coding + FOLLOWING) == expected


# Whole connections, cut in every way: where the cuts are is chance, and must not change what is read.
CONNECTIONS = [
    FOLLOWING + b"\r\n" + FOLLOWING,
    b"POST /k HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /" + FOLLOWING,
    CHUNKED + b'3;a="x\\"y"\r\nabc\r\nA\r\n0\r\n\r\nGET /\r\n0\r\nX-A: b\r\n\r\n' + FOLLOWING,
    CHUNKED + b"3\r\nabcX\r\n0\r\n\r\n" + FOLLOWING,
    CHUNKED + b"3\nabc\n0\n\n" + FOLLOWING,
    CHUNKED + b"0\r\nContent-Length: 31\r\n\r\n" + FOLLOWING,
    CHUNKED + b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + FOLLOWING,
    CHUNKED + b"0\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + FOLLOWING,
    CHUNKED + b"10000000000000000\r\n" + FOLLOWING,
    b"POST /k HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 3\r\n\r\nabc" + FOLLOWING,
    b"POST /k HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: b\r\n\r\n" + FOLLOWING,
    b"POST /k HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: gzip\r\n\r\n" + FOLLOWING,
    b"POST /k HTTP/1.1\r\n" + UPGRADE + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n" + FOLLOWING,
    b"CONNECT /k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + FOLLOWING,
    b"GET /k HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + FOLLOWING,
    b"GET /k HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + FOLLOWING,
    b"GET /k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + FOLLOWING,
    b"HEAD /k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + FOLLOWING,
    b"PUT /k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + FOLLOWING,
    b"GET /k HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + FOLLOWING,
    b"GET /k HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n" + FOLLOWING,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FOLLOWING,
    b"GET /k\r\n\r\n" + FOLLOWING,
    b"OPTIONS /k RTSP/1.0\r\nHost: a\r\n\r\n" + FOLLOWING,
]


@pytest.mark.parametrize("whole", CONNECTIONS)
def test_the_same_bytes_cut_anywhere_are_the_same_events(whole: bytes) -> None:
    expected = events(whole)
    assert expected
    for first in range(len(whole) + 1):
        assert events(whole[:first], whole[first:]) == expected, first
        for second in range(first, len(whole) + 1, 7):
            assert events(whole[:first], whole[first:second], whole[second:]) == expected, (first, second)
    assert events(*(whole[at : at + 1] for at in range(len(whole)))) == expected


@given(st.lists(st.sampled_from(CONNECTIONS), min_size=1, max_size=3), st.data())
def test_changed_bytes_cut_anywhere_are_the_same_events(several: list[bytes], data: st.DataObject) -> None:
    whole = bytearray(b"".join(several))
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"0", b"\0", b";", b"", b"\xff"])
        )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    parts = [bytes(whole[a:b]) for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert events(*parts) == events(bytes(whole))


@pytest.mark.parametrize("name", ["X-A\r\nX-B", "X A", "X:A", "", "X-\u00e9"])
def test_no_name_begins_a_header_of_its_own(name: str) -> None:
    lines = http1.response(200, [("X-Good", "1"), (name, "2")], close=False).split(b"\r\n")
    assert [line.partition(b":")[0] for line in lines[1:]] == [b"X-Good", b"Date", b"", b""]
