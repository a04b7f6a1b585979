"""Readers that wait for calls hold a thread each, so only a few may; faults are judged before they are added."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from towpath.sandbox import admin
from towpath.sandbox.accounts import Accounts
from towpath.sandbox.admin import Admin
from towpath.sandbox.clusters import Clusters
from towpath.sandbox.faults import Faults
from towpath.sandbox.principals import Keys
from towpath.sandbox.record import Record
from towpath.sandbox.wire import Body, Request


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def own(record: Record) -> Admin:
    return Admin(
        clusters=Clusters(), record=record, faults=Faults(), secret="s", accounts=Accounts(Keys(), partition="aws")
    )


def ask(own: Admin, method: str, path: str, query: str = "", body: object = None) -> tuple[int, dict[str, Any]]:
    request = Request(
        method=method,
        path=admin.PREFIX + path,
        query=query,
        headers={"authorization": "Bearer s"},
        body=Body([json.dumps(body).encode()]),
    )
    answer = own.answer(request)
    return answer.status, json.loads(answer.read())


def test_only_a_few_may_wait(own: Admin, record: Record) -> None:
    waiting = [
        threading.Thread(target=ask, args=(own, "GET", "/calls", "after=0&wait=20")) for _ in range(admin.WAITING)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.3)
    begin = time.monotonic()
    assert ask(own, "GET", "/calls", "after=0&wait=20") == (200, {"calls": []})
    assert time.monotonic() - begin < 5
    record.close()
    for thread in waiting:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("query", ["wait=-1", "wait=x", "wait=1e9", "after=-1", "after=²", "wait="])
def test_a_query_that_is_none_waits_for_nothing(own: Admin, query: str) -> None:
    begin = time.monotonic()
    assert ask(own, "GET", "/calls", query) == (200, {"calls": []})
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("body", [None, [], {}, {"fail": "s3:PutObject:SlowDown:1"}, {"fail": [1]}, {"fail": ["x"]}])
def test_what_is_no_fault_is_refused(own: Admin, body: object) -> None:
    assert ask(own, "POST", "/faults", body={"fail": ["s3:PutObject:SlowDown:1"]})[0] == 200
    status, answer = ask(own, "POST", "/faults", body=body)
    assert status == 400
    assert "service:action:code:rate" in answer["error"] or "s3:PutObject:SlowDown:0.1" in answer["error"]
    assert len(ask(own, "GET", "/faults")[1]["faults"]) == 1
    assert ask(own, "DELETE", "/faults")[1] == {"cleared": 1}
    assert ask(own, "PUT", "/faults")[0] == 405


def test_a_sandbox_that_cannot_be_reset_says_so(own: Admin) -> None:
    assert ask(own, "POST", "/reset")[0] == 501
