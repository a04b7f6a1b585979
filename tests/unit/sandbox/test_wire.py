"""A body as it is kept while it comes in."""

from __future__ import annotations

import tracemalloc

import pytest

from towpath.sandbox.wire import MEMORY_LIMIT, PARTS_LIMIT, Body


@pytest.mark.parametrize("count", [0, 1, 2, PARTS_LIMIT, PARTS_LIMIT + 1, 3 * PARTS_LIMIT + 5])
def test_a_body_is_its_parts_in_order(count: int) -> None:
    parts = [b"%d," % number for number in range(count)]
    body = Body(parts)
    assert (body.read(), body.length) == (b"".join(parts), sum(map(len, parts)))


def test_a_body_on_disk_is_its_parts_in_order() -> None:
    body = Body(b"%07d," % number for number in range(MEMORY_LIMIT // 8 + 3 * PARTS_LIMIT))
    assert body.read() == b"".join(b"%07d," % number for number in range(MEMORY_LIMIT // 8 + 3 * PARTS_LIMIT))
    body.close()


def test_a_body_in_small_parts_takes_little_more_than_its_bytes() -> None:
    tracemalloc.start()
    try:
        body = Body(bytes((number & 255, 1)) for number in range(MEMORY_LIMIT // 2))
        assert tracemalloc.get_traced_memory()[1] < 3 * MEMORY_LIMIT
    finally:
        tracemalloc.stop()
    assert body.length == MEMORY_LIMIT
