"""The key cache: how often an issuer is asked, by how many threads, and what its failure does to others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from towpath.oidc import jwks
from towpath.oidc.errors import IssuerUnreachable, TokenCode, TokenError
from towpath.oidc.jwks import JwksCache

from .conftest import ISSUER, Documents

OTHER = "https://issuer.example"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def published(*kids: str, issuer: str = ISSUER) -> dict[str, Any]:
    return {
        f"{issuer}/.well-known/openid-configuration": {"issuer": issuer, "jwks_uri": f"{issuer}/keys"},
        f"{issuer}/keys": {"keys": [{"kty": "RSA", "kid": kid} for kid in kids]},
    }


def reads(documents: Documents, issuer: str = ISSUER) -> int:
    return documents.asked.count(f"{issuer}/.well-known/openid-configuration")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_keys_are_read_once_until_their_time_is_over(clock: Clock) -> None:
    documents = Documents(published("a", "b"))
    cache = JwksCache(documents, ttl=60, clock=clock)
    assert cache.key(ISSUER, "a") == {"kty": "RSA", "kid": "a"}
    assert cache.key(ISSUER, "b")["kid"] == "b"
    clock.now += 59.9
    assert cache.key(ISSUER, "a")
    assert reads(documents) == 1
    clock.now += 0.1
    assert cache.key(ISSUER, "a")
    assert reads(documents) == 2


def test_a_retired_key_is_refused_when_the_time_is_over(clock: Clock) -> None:
    documents = Documents(published("old", "new"))
    cache = JwksCache(documents, ttl=60, clock=clock)
    assert cache.key(ISSUER, "old")
    documents.documents = published("new")
    clock.now += 60
    with pytest.raises(TokenError, match="no key 'old'; it has 'new'"):
        cache.key(ISSUER, "old")


def test_a_rotated_key_is_looked_for(clock: Clock) -> None:
    documents = Documents(published("old"))
    cache = JwksCache(documents, refetch_interval=10, clock=clock)
    assert cache.key(ISSUER, "old")
    documents.documents = published("old", "new")
    clock.now += 10
    assert cache.key(ISSUER, "new")
    assert reads(documents) == 2


def test_random_kids_cause_one_reading_an_interval(clock: Clock) -> None:
    documents = Documents(published("a"))
    cache = JwksCache(documents, refetch_interval=10, clock=clock)
    for second in range(100):
        for attempt in range(20):
            with pytest.raises(TokenError) as caught:
                cache.key(ISSUER, f"random-{second}-{attempt}")
            assert caught.value.code is TokenCode.UNKNOWN_KEY
        assert cache.key(ISSUER, "a")
        clock.now += 1
    assert reads(documents) == 10


def test_the_error_says_what_there_is_and_when_it_is_looked_for_again(clock: Clock) -> None:
    cache = JwksCache(Documents(published(*"abcdefg")), refetch_interval=10, clock=clock)
    assert cache.key(ISSUER, "a")
    clock.now += 3
    with pytest.raises(TokenError) as caught:
        cache.key(ISSUER, "z")
    assert caught.value.what == (
        "the issuer publishes no key 'z'; it has 'a', 'b', 'c', 'd', 'e' and 2 more "
        "(read 3 s ago, to be read again for an unknown key in 7 s)"
    )
    assert caught.value.where == ISSUER
    assert "publish the key" in caught.value.todo


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_failure_is_not_remembered_for_long(clock: Clock) -> None:
    documents = Documents(published("a"))
    good = documents.documents
    documents.documents = {url: IssuerUnreachable("down", where=url, todo="mend it") for url in good}
    cache = JwksCache(documents, clock=clock)
    for _ in range(5):
        with pytest.raises(IssuerUnreachable, match="down") as caught:
            cache.key(ISSUER, "a")
        assert caught.value.todo == "mend it"
    assert reads(documents) == 1
    documents.documents = good
    clock.now += jwks.FAILURE_TTL
    assert cache.key(ISSUER, "a")


def test_a_remembered_failure_does_not_grow(clock: Clock) -> None:
    documents = Documents({f"{ISSUER}/.well-known/openid-configuration": IssuerUnreachable("down")})
    cache = JwksCache(documents, clock=clock)
    depths: list[int] = []
    for _ in range(4):
        with pytest.raises(IssuerUnreachable) as caught:
            cache.key(ISSUER, "a")
        depths.append(len(caught.traceback))
    assert reads(documents) == 1
    assert depths[1] == depths[2] == depths[3]


def test_a_failed_look_for_an_unknown_key_leaves_the_known_ones(clock: Clock) -> None:
    documents = Documents(published("a"))
    cache = JwksCache(documents, refetch_interval=10, clock=clock)
    assert cache.key(ISSUER, "a")
    documents.documents = {url: IssuerUnreachable("down") for url in documents.documents}
    clock.now += 10
    with pytest.raises(IssuerUnreachable):
        cache.key(ISSUER, "z")
    assert cache.key(ISSUER, "a")
    with pytest.raises(TokenError):  # not asked again within the interval
        cache.key(ISSUER, "z")
    assert reads(documents) == 2


def test_a_discovery_document_of_another_issuer_is_that_error(clock: Clock) -> None:
    documents = Documents(published("a"))
    assert JwksCache(documents, clock=clock).key(ISSUER, "a")
    documents.documents[f"{ISSUER}/.well-known/openid-configuration"] = {"issuer": f"{ISSUER}/", "jwks_uri": "x"}
    cache = JwksCache(documents, clock=clock)
    for _ in range(2):
        with pytest.raises(TokenError, match="slash at the end") as caught:
            cache.key(ISSUER, "a")
        assert caught.value.code is TokenCode.ISSUER


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {}}, {"keys": "a"}])
def test_a_document_without_keys_is_not_cached_as_one(clock: Clock, document: dict[str, Any]) -> None:
    documents = Documents(published("a"))
    cache = JwksCache(documents, clock=clock)
    good = documents.documents[f"{ISSUER}/keys"]
    documents.documents[f"{ISSUER}/keys"] = document
    with pytest.raises(IssuerUnreachable, match="no list of keys"):
        cache.key(ISSUER, "a")
    documents.documents[f"{ISSUER}/keys"] = good
    clock.now += jwks.FAILURE_TTL
    assert cache.key(ISSUER, "a")


def test_odd_keys_are_passed_over() -> None:
    documents = Documents(published("a"))
    odd: list[Any] = [
        None,
        7,
        "a",
        [],
        {},
        {"kid": ""},
        {"kid": 5},
        {"kid": ["a"]},
        {"kid": "a", "n": 1},
        {"kid": "a", "n": 2},
    ]
    documents.documents[f"{ISSUER}/keys"] = {"keys": [*odd, *({"kid": f"k{n}"} for n in range(200))]}
    cache = JwksCache(documents)
    assert cache.key(ISSUER, "a")["n"] == 1
    assert cache.key(ISSUER, "k50")
    for kid in ("5", "", "k150"):  # the last is beyond the number of keys that is looked at
        with pytest.raises(TokenError, match="publishes no key"):
            cache.key(ISSUER, kid)


def test_the_number_of_issuers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "ISSUERS", 3)
    names = [f"https://i{n}.example" for n in range(5)]
    documents = Documents({k: v for name in names for k, v in published("a", issuer=name).items()})
    cache = JwksCache(documents)
    for name in [names[0], names[1], names[2], names[0], names[3]]:  # the fourth keeps 0 in use; 1 goes
        assert cache.key(name, "a")
    assert len(cache._entries) == 3
    assert cache.key(names[0], "a")
    assert cache.key(names[1], "a")
    assert [reads(documents, name) for name in names] == [1, 2, 1, 1, 0]


# --- threads -----------------------------------------------------------------------------------------------------


class Gate(Documents):
    """Documents of which one issuer's are only given when the gate is opened."""

    def __init__(self, documents: dict[str, Any], slow: str) -> None:
        super().__init__(documents)
        self.slow = slow
        self.entered = threading.Event()
        self.open = threading.Event()

    def get_json(self, url: str) -> dict[str, Any]:
        if url.startswith(self.slow):
            self.entered.set()
            assert self.open.wait(5)
        return super().get_json(url)


def together(number: int, call: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(number)

    def run() -> object:
        barrier.wait(5)
        return call()

    with ThreadPoolExecutor(number) as pool:
        return [future.result(5) for future in [pool.submit(run) for _ in range(number)]]


def test_many_threads_cause_one_reading() -> None:
    documents = Gate(published("a"), ISSUER)
    cache = JwksCache(documents)
    threading.Timer(0.1, documents.open.set).start()
    assert together(20, lambda: cache.key(ISSUER, "a")["kid"]) == ["a"] * 20
    assert reads(documents) == 1


def test_many_threads_meet_one_failure() -> None:
    documents = Gate({f"{ISSUER}/.well-known/openid-configuration": IssuerUnreachable("down")}, ISSUER)
    cache = JwksCache(documents)
    threading.Timer(0.1, documents.open.set).start()

    def call() -> str:
        with pytest.raises(IssuerUnreachable) as caught:
            cache.key(ISSUER, "a")
        return caught.value.what

    assert together(20, call) == ["down"] * 20
    assert reads(documents) == 1


def test_many_threads_with_random_kids_cause_one_reading(clock: Clock) -> None:
    documents = Documents(published("a"))
    cache = JwksCache(documents, refetch_interval=10, clock=clock)
    assert cache.key(ISSUER, "a")
    clock.now += 10

    def call() -> str:
        with pytest.raises(TokenError) as caught:
            cache.key(ISSUER, f"random-{threading.get_ident()}")
        return caught.value.code

    assert together(20, call) == [TokenCode.UNKNOWN_KEY] * 20
    assert reads(documents) == 2


def test_a_hanging_issuer_holds_up_nobody_else(clock: Clock) -> None:
    documents = Gate(published("a") | published("b", issuer=OTHER), OTHER)
    cache = JwksCache(documents, refetch_interval=10, clock=clock)
    documents.open.set()
    assert cache.key(OTHER, "b")
    documents.open.clear()
    documents.entered.clear()
    clock.now += 10
    with ThreadPoolExecutor(3) as pool:
        hanging = pool.submit(cache.key, OTHER, "unknown")
        assert documents.entered.wait(5)
        try:
            assert pool.submit(cache.key, ISSUER, "a").result(1)["kid"] == "a"
            # Nor those whose key of the hanging issuer is known: an attacker's random kid must not stop them.
            assert pool.submit(cache.key, OTHER, "b").result(1)["kid"] == "b"
        finally:
            documents.open.set()
        with pytest.raises(TokenError):
            hanging.result(5)
