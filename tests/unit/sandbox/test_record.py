"""The record keeps the last calls, tells a reader of every one, and never holds more than it may."""

from __future__ import annotations

import threading
import time

from towpath.sandbox.record import Needed, Record

NEED = Needed(action="s3:DeleteObject", resource="arn:aws:s3:::lake/a", context={})


def add(record: Record, needs: int = 1) -> int:
    return record.add(
        at=0.0, who="w", service="s3", action="s3:DeleteObject", resource="r", decision="allowed", why="", status=200, code="",
        needs=(NEED,) * needs,
    ).number  # fmt: skip


def test_the_oldest_go_first_and_numbers_go_on() -> None:
    record = Record(kept=3)
    for _ in range(5):
        add(record)
    assert [call.number for call in record.after(0)] == [3, 4, 5]
    assert [call.number for call in record.after(4)] == [5]
    assert record.after(5) == []
    record.clear()
    assert record.after(0) == []
    assert add(record) == 6


def test_needs_are_bounded_together() -> None:
    record = Record(kept=100, needs_kept=1000)
    for _ in range(10):
        add(record, needs=400)
    assert [call.number for call in record.after(0)] == [9, 10]
    add(record, needs=5000)
    assert [call.number for call in record.after(0)] == [11]


def test_a_reader_waits_for_the_next_call_and_misses_none() -> None:
    record = Record()
    seen: list[int] = []

    def read() -> None:
        last = 0
        while last < 200:
            calls = record.after(last, wait=5)
            seen.extend(call.number for call in calls)
            last = calls[-1].number

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(200):
        add(record)
    reader.join(10)
    assert seen == list(range(1, 201))


def test_a_wait_ends_with_time_and_with_the_record() -> None:
    record = Record()
    begin = time.monotonic()
    assert record.after(0, wait=0.2) == []
    assert 0.15 < time.monotonic() - begin < 5
    threading.Timer(0.2, record.close).start()
    begin = time.monotonic()
    assert record.after(0, wait=60) == []
    assert time.monotonic() - begin < 30
