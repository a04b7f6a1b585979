"""Entries of several attempts in one patch: each write returns when its own entry is written, and no earlier."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from towpath.agent.ledger import ConfigMapLedger
from towpath.agent.work import History
from towpath.errors import WorldError
from towpath.kubernetes.connection import ClusterUnreachable, Connection

HISTORY = History(attempts=1, open=True)


class Slow:
    """A connection whose patches wait until they are let through, one permit each."""

    def __init__(self) -> None:
        self.permits = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.patches: list[dict[str, str]] = []
        self.at_once = 0
        self.fails: list[WorldError] = []

    def request(self, verb: str, _resource: str, _path: str, **named: Any) -> dict[str, Any]:
        assert verb == "patch"
        self.at_once += 1
        assert self.at_once == 1, "two patches of one object at once"
        self.begun.release()
        assert self.permits.acquire(timeout=5)
        self.at_once -= 1
        if self.fails:
            raise self.fails.pop()
        self.patches.append(dict(named["body"]["data"]))
        return {}


def joined(ledger: ConfigMapLedger, count: int) -> bool:
    return ledger._open is not None and len(ledger._open.entries) == count


def wait(true: Any) -> None:
    for _ in range(500):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("not within 5 s")


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def ledger(slow: Slow) -> ConfigMapLedger:
    return ConfigMapLedger(cast("Connection", slow), "data", "test")


def test_those_who_wait_are_written_together(slow: Slow, ledger: ConfigMapLedger) -> None:
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(ledger.write, "s0", HISTORY, None)
        assert slow.begun.acquire(timeout=5)
        others = [pool.submit(ledger.write, f"s{number}", HISTORY, None) for number in range(1, 10)]
        wait(lambda: joined(ledger, 9))
        assert not first.done()
        slow.permits.release()
        first.result(5)
        # The first is written, and nobody else has gone on.
        assert slow.begun.acquire(timeout=5)
        assert not any(each.done() for each in others)
        slow.permits.release()
        for each in others:
            each.result(5)
    assert [sorted(patch) for patch in slow.patches] == [["s0"], [f"s{number}" for number in range(1, 10)]]
    assert json.loads(slow.patches[1]["s5"])["open"] is True


def test_a_patch_that_fails_fails_for_each_of_its_entries_and_for_no_other(slow: Slow, ledger: ConfigMapLedger) -> None:
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ledger.write, "s0", HISTORY, None)
        assert slow.begun.acquire(timeout=5)
        others = [pool.submit(ledger.write, name, HISTORY, None) for name in ("s1", "s2")]
        wait(lambda: joined(ledger, 2))
        slow.permits.release()
        first.result(5)
        assert slow.begun.acquire(timeout=5)
        slow.fails.append(ClusterUnreachable("away", where="here", todo="wait"))
        slow.permits.release()
        for each in others:
            with pytest.raises(ClusterUnreachable):
                each.result(5)
    slow.permits.release()
    ledger.write("s1", HISTORY, None)
    assert [sorted(patch) for patch in slow.patches] == [["s0"], ["s1"]]
