"""The listener, spoken to byte by byte: framing, limits, and clients that are slow, silent or gone."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from towpath.sandbox import connection, http1, server
from towpath.sandbox.server import Server
from towpath.sandbox.tls import Authority
from towpath.sandbox.wire import MEMORY_LIMIT, Request, Response

Handler = Callable[[Request], Response]


def echo(request: Request) -> Response:
    """Tells what came, in headers that no body can fake."""
    return Response(
        status=200,
        headers=[
            ("X-Saw", f"{request.method} {request.path}"),
            ("X-Length", str(request.body.length)),
            ("X-Digest", hashlib.sha256(request.body.read()).hexdigest()),
        ],
        body=b"hello",
    )


@contextmanager
def serving(handler: Handler = echo, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    running = Server(handler, host="127.0.0.1", port=0, tls=tls)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def connect(running: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


def to_the_end(client: socket.socket) -> bytes:
    out = b""
    while part := client.recv(65_536):
        out += part
    return out


def ask(running: Server, text: bytes) -> bytes:
    """Everything that is answered to `text` until the server closes."""
    with connect(running) as client:
        client.sendall(text)
        return to_the_end(client)


LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def test_one_connection_carries_many_requests() -> None:
    with serving() as running:
        answer = ask(
            running,
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + LAST,
        )
    assert [line for line in answer.decode().split("\r\n") if line.startswith("X-Saw")] == [
        "X-Saw: GET /1",
        "X-Saw: PUT /2",
        "X-Saw: GET /last",
    ]
    assert answer.count(b"Connection: close") == 1


def test_head_tells_the_length_and_sends_nothing() -> None:
    with serving() as running:
        answer = ask(running, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST)
    first, _, rest = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in first
    assert rest.startswith(b"HTTP/1.1 200")


def test_head_of_an_object_has_the_objects_length() -> None:
    def handler(_: Request) -> Response:
        return Response(status=200, headers=[("Content-Length", "12345")])

    with serving(handler) as running:
        answer = ask(running, b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"Content-Length: 12345\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(status: int) -> None:
    with serving(lambda _: Response(status=status)) as running:
        answer = ask(running, LAST)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"Content-Length" not in answer


@pytest.mark.parametrize("size", [1, 70_000, MEMORY_LIMIT, MEMORY_LIMIT + 1])
def test_body_arrives_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    with serving() as running:
        sized = ask(
            running,
            f"PUT /k HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n".encode() + body,
        )
        parts = b"".join(
            f"{len(p):X};some=extension\r\n".encode() + p + b"\r\n"
            for p in (body[i : i + 50_001] for i in range(0, size, 50_001))
        )
        chunked = ask(
            running,
            b"PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            + parts
            + b"0\r\nX-Trailer: 1\r\n\r\n",
        )
    for answer in (sized, chunked):
        assert f"X-Length: {size}\r\nX-Digest: {hashlib.sha256(body).hexdigest()}".encode() in answer


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"zz\r\n", 400),
        (b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (b"-3\r\nabc\r\n", 400),
        (b"1\r\na\r\n0\r\n" + b"X-T: 1\r\n" * 12_000, 431),
    ],
)
def test_chunks_that_are_none(rest: bytes, status: int) -> None:
    start = b"PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as running:
        assert b"X-Length: 3" in ask(running, start + b"3\r\nabc\r\n0\r\n\r\n" + LAST)
        answer = ask(running, start + rest)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"X-Saw" not in answer
    assert b"Connection: close" in answer


def test_chunked_body_too_large_is_refused_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "LARGEST_BODY", 1000)
    start = b"PUT /k HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving() as running:
        assert b"X-Length: 1000" in ask(running, start + b"3e8\r\n" + b"a" * 1000 + b"\r\n0\r\n\r\n" + LAST)
        answer = ask(running, start + b"3e9\r\n" + b"a" * 1001 + b"\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"X-Saw" not in answer


def test_head_too_large_is_told_and_closed() -> None:
    with serving() as running:
        assert b"X-Saw" in ask(running, LAST[:-2] + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n")
        answer = ask(running, b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_client_that_waits_is_told_to_go_on() -> None:
    with serving() as running, connect(running) as client:
        client.sendall(
            b"PUT /k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
        )
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abc")
        assert b"X-Length: 3" in to_the_end(client)


def test_client_that_waits_with_too_much_is_refused_before_it_sends() -> None:
    with serving() as running:
        answer = ask(
            running, b"PUT /k HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5368709121\r\n\r\n"
        )
    assert answer.startswith(b"HTTP/1.1 413 ")


class Parts:
    """A streamed body that tells when it is closed, and how many parts it gave."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = iter(parts)
        self.given = 0
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        part = next(self._parts)
        self.given += 1
        return part

    def close(self) -> None:
        self.closed.set()


def test_streamed_body_of_known_length() -> None:
    parts = Parts(b"a" * 100_000, b"", b"b" * 5)
    with serving(lambda _: Response(status=200, headers=[("Content-Length", "100005")], body=parts)) as running:
        answer = ask(running, LAST)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.count(b"Content-Length: 100005") == 1
    assert body == b"a" * 100_000 + b"b" * 5
    assert parts.closed.is_set()


def test_streamed_body_of_unknown_length() -> None:
    def handler(request: Request) -> Response:
        return echo(request) if request.path == "/last" else Response(status=200, body=iter([b"abc", b"", b"d" * 17]))

    with serving(handler) as running:
        answer = ask(running, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST)
    assert b"Transfer-Encoding: chunked" in answer
    assert b"\r\n\r\n3\r\nabc\r\n11\r\n" + b"d" * 17 + b"\r\n0\r\n\r\nHTTP/1.1 200 OK" in answer


@pytest.mark.parametrize("told", [3, 7])
def test_streamed_body_of_another_length_ends_the_connection(told: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A client must see that what it has is not all, and nothing of it may be taken for the next answer."""
    with serving(
        lambda _: Response(status=200, headers=[("Content-Length", str(told))], body=iter([b"abc", b"de"]))
    ) as running:
        answer = ask(running, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert answer.partition(b"\r\n\r\n")[2] in {b"abc", b"abcde"}
    assert "ended by ValueError: a body of " in capsys.readouterr().err


def test_client_that_leaves_ends_the_stream() -> None:
    parts = Parts(*[b"a" * 1_000_000] * 200)
    with serving(lambda _: Response(status=200, headers=[("Content-Length", "200000000")], body=parts)) as running:
        with connect(running) as client:
            client.sendall(LAST)
            assert client.recv(1000)
        assert parts.closed.wait(10)
    assert parts.given < 200


def test_handler_that_breaks_breaks_one_connection(capsys: pytest.CaptureFixture[str]) -> None:
    def handler(request: Request) -> Response:
        if request.path == "/broken":
            raise LookupError("of the test")
        return echo(request)

    with serving(handler) as running:
        assert ask(running, b"GET /broken HTTP/1.1\r\nHost: a\r\n\r\n") == b""
        assert b"X-Saw: GET /last" in ask(running, LAST)
    assert capsys.readouterr().err == "towpath sandbox: GET request ended by LookupError: of the test\n"


def test_silent_clients_hold_up_nobody() -> None:
    with serving(tls=Authority(["localhost"]).context) as running, ExitStack() as open_ones:
        for number in range(100):
            silent = open_ones.enter_context(connect(running))
            if number % 2:
                silent.sendall(b"\x16")  # a TLS hello that never goes on
        began = time.monotonic()
        assert b"X-Saw: GET /last" in ask(running, LAST)
        assert time.monotonic() - began < 2
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 2


def test_slow_head_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SLICE", 0.05)
    monkeypatch.setattr(connection, "HEAD_TIME", 0.3)
    with serving() as running, connect(running) as client:
        began = time.monotonic()
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            while time.monotonic() - began < 10:
                client.sendall(b"G")
                time.sleep(0.02)
        assert 0.2 < time.monotonic() - began < 5


def test_slow_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SLICE", 0.05)
    monkeypatch.setattr(connection, "PACE_TIME", 0.3)
    with serving() as running:
        assert b"X-Length: 3" in ask(
            running, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
        )
        assert ask(running, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab") == b""


def test_slow_reader_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SLICE", 0.05)
    monkeypatch.setattr(connection, "PACE_TIME", 0.3)
    parts = Parts(*[b"a" * 1_000_000] * 200)
    with (
        serving(lambda _: Response(status=200, headers=[("Content-Length", "200000000")], body=parts)) as running,
        connect(running) as client,
    ):
        client.sendall(LAST)
        assert parts.closed.wait(10)
    assert parts.given < 200


def test_idle_connection_goes_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)
    with serving() as running, ExitStack() as open_ones:
        clients = [open_ones.enter_context(connect(running)) for _ in range(3)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            while not all(found.is_idle for found in running._open()):  # an answer is read before its thread rests
                time.sleep(0.01)
        assert b"X-Saw: GET /last" in ask(running, LAST)
        assert clients[0].recv(1000) == b""  # the one idle longest
        clients[2].sendall(LAST)
        assert b"X-Saw: GET /last" in to_the_end(clients[2])


def test_stop_ends_idle_connections_at_once_and_lets_a_request_end() -> None:
    before = set(threading.enumerate())  # other tests' sandboxes have theirs
    begun, go_on = threading.Event(), threading.Event()

    def handler(request: Request) -> Response:
        if request.path == "/slow":
            begun.set()
            go_on.wait(10)
        return echo(request)

    running = Server(handler, host="127.0.0.1", port=0)
    running.start()
    with connect(running) as idle, connect(running) as busy:
        busy.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert begun.wait(5)
        threading.Timer(0.2, go_on.set).start()
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 1.5
        assert b"X-Saw: GET /slow" in to_the_end(busy)
        assert idle.recv(1) == b""
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("sandbox-")]


def test_stop_waits_for_nobody_for_long() -> None:
    never = threading.Event()

    def handler(request: Request) -> Response:
        never.wait(20)
        return echo(request)

    running = Server(handler, host="127.0.0.1", port=0)
    running.start()
    with connect(running) as client:
        client.sendall(LAST)
        time.sleep(0.1)
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 5
    never.set()


@pytest.mark.parametrize(
    "first",
    [
        b"PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0\r\nX: y\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nGET /",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /x\r\n0\r\n\r\n",
        b"PUT /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
    ids=["length", "chunks", "upgrade", "too long a chunk", "upgrade and gzip"],
)
def test_bytes_cut_anywhere_get_the_same_answers(first: bytes) -> None:
    def said(answer: bytes) -> list[str]:
        return [line for line in answer.decode().split("\r\n") if line.startswith(("HTTP/1.1", "X-"))]

    whole = first + LAST
    with serving() as running:
        expected = said(ask(running, whole))
        assert expected
        for at in range(1, len(whole)):
            with connect(running) as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.sendall(whole[:at])
                time.sleep(0.002)
                client.sendall(whole[at:])
                client.shutdown(socket.SHUT_WR)
                assert said(to_the_end(client)) == expected, at
