"""When a sync is tried again, and what that costs."""

from __future__ import annotations

import pytest

from towpath.agent.work import History, Limits, Phase, State, Sync, after
from towpath.job.pipeline import parse_pipelines

LIMITS = Limits(retries=2, disruptions=3, first_wait=5, longest_wait=8)
BEGUN = History(attempts=1, open=True)


def state(phase: Phase, code: str = "crash") -> State:
    return State(phase=phase, code=code, what="x", todo="y")


@pytest.mark.parametrize(
    ("history", "phase", "code", "again", "last"),
    [
        (BEGUN, Phase.SUCCEEDED, "", None, "succeeded"),
        (BEGUN, Phase.FAILED, "crash", 5.0, "retrying"),
        (History(attempts=2, open=True, retries=1), Phase.FAILED, "oom", 8.0, "retrying"),
        (History(attempts=3, open=True, retries=2), Phase.FAILED, "crash", None, "failed"),
        (BEGUN, Phase.FAILED, "guard.static-key", None, "failed"),
        (BEGUN, Phase.FAILED, "service-account", None, "failed"),
        (BEGUN, Phase.FAILED, "invalid", None, "failed"),
        (BEGUN, Phase.DISRUPTED, "evicted", 0.0, "disrupted"),
        (History(attempts=9, open=True, retries=2), Phase.DISRUPTED, "evicted", 0.0, "disrupted"),
        (History(attempts=9, open=True, disruptions=3), Phase.DISRUPTED, "evicted", None, "failed"),
        (BEGUN, Phase.STOPPED, "stopped", None, "stopped"),
    ],
)
def test_after(history: History, phase: Phase, code: str, again: float | None, last: str) -> None:
    found, wait = after(history, state(phase, code), LIMITS)
    assert (wait, found.last, found.open, found.attempts) == (again, last, False, history.attempts)


def test_a_disruption_costs_no_retry_and_a_failure_forgets_disruptions() -> None:
    disrupted, _ = after(History(attempts=1, open=True, retries=1), state(Phase.DISRUPTED), LIMITS)
    assert (disrupted.retries, disrupted.disruptions) == (1, 1)
    failed, _ = after(History(attempts=2, open=True, retries=1, disruptions=2), state(Phase.FAILED), LIMITS)
    assert (failed.retries, failed.disruptions) == (2, 0)


@pytest.mark.parametrize(
    ("last", "finished"),
    [("succeeded", True), ("failed", True), ("stopped", False), ("retrying", False), ("disrupted", False)],
)
def test_finished(last: str, finished: bool) -> None:
    assert History(attempts=1, last=last).finished is finished
    assert not History(attempts=1, open=True, last=last).finished


def test_a_sync_is_known_by_what_it_says() -> None:
    def sync(run: str = "", prefix: str = "raw/") -> str:
        value = {
            "name": "a",
            "source": {"sqlite": "/x"},
            "destination": {"s3": {"bucket": "orders-lake", "prefix": prefix}},
        }
        return Sync.of(parse_pipelines({"pipelines": [value]}, source="test")[0], run).id

    assert sync() == sync()
    assert len({sync(), sync("2"), sync(prefix="b/")}) == 3
    assert sync().startswith("a-")
