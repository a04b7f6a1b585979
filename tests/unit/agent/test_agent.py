"""The agent's loop and its hands against a cluster in memory: what is written down and in which order; tests/cluster has a real one."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from towpath.agent.agent import Agent
from towpath.agent.kubernetes.cluster import ROLE_ARN, identity_of
from towpath.agent.kubernetes.settings import JobSettings
from towpath.agent.kubernetes.watch import Listed, Seen
from towpath.agent.work import History, Sync
from towpath.errors import MissingPermissionError, WorldError
from towpath.job.pipeline import parse_pipelines

HERE = Path(__file__).parent


@dataclass(kw_only=True)
class Memory:
    """Cluster and ledger: a Job that is created ends at once as the case `ends` says; or creating it raises `refuses`."""

    ends: str = "succeeded"
    refuses: Exception | None = None
    inbox: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    done: list[str] = field(default_factory=list)

    def watch(self, inbox: queue.SimpleQueue[Any]) -> None:
        self.inbox = inbox
        for kind in ("Job", "Pod", "Event"):
            inbox.put(Listed(kind=kind, values=()))

    def identity(self, _: str) -> Any:
        return identity_of({ROLE_ARN: "arn:aws:iam::123456789012:role/hd-orders"})

    def create(self, manifest: Mapping[str, Any]) -> bool:
        if self.refuses is not None:
            raise self.refuses
        self.done.append("create")
        name = manifest["metadata"]["name"]
        case = yaml.safe_load((HERE / "states" / f"{self.ends}.yaml").read_text())
        labels = {"batch.kubernetes.io/job-name": name}
        pod = case["pod"] | {"metadata": case["pod"].get("metadata", {}) | {"name": f"{name}-x", "labels": labels}}
        self.inbox.put(Seen(kind="Pod", name=f"{name}-x", value=pod))
        job = case["job"] | {"metadata": case["job"].get("metadata", {}) | {"name": name}}
        self.inbox.put(Seen(kind="Job", name=name, value=job))
        return True

    def get(self, _: str) -> None:
        return None

    def tail(self, _: str) -> list[str]:
        return ["the last line"]

    def delete(self, _: str) -> None:
        self.done.append("delete")

    def close(self) -> None: ...

    def prune(self, _: object) -> None: ...

    def read(self) -> dict[str, History]:
        return {}

    def write(self, _: str, history: History, state: Any) -> None:
        self.done.append("begun" if state is None else f"{state.phase} {state.code}".strip())


def sync() -> Sync:
    case = yaml.safe_load((HERE / "jobs" / "plain.yaml").read_text())
    (pipeline,) = parse_pipelines({"pipelines": [case["pipeline"]]}, source="case")
    return Sync.of(pipeline)


def run(memory: Memory) -> tuple[History, list[str]]:
    """One sync's first attempt; gives its history and the steps done."""
    one = sync()
    steps: list[str] = []
    made: Any = memory

    def on_step(step: str) -> None:
        steps.append(step)
        if step == "deleted":
            agent.stop(leave=True)

    agent = Agent(made, made, JobSettings(), name="default", region="eu-west-1", owner={}, on_step=on_step)
    return agent.run([one])[one.id], steps


def test_each_step_is_written_before_the_next() -> None:
    memory = Memory()
    history, steps = run(memory)
    assert (history.attempts, history.finished) == (1, True)
    assert memory.done == ["begun", "create", "succeeded", "delete"]
    assert steps == ["claimed", "created", "ended", "reported", "deleted"]


def test_attempt_that_came_to_no_job_is_written_down_too() -> None:
    memory = Memory(refuses=WorldError("exceeded quota: pods", where="jobs", todo="raise it"))
    history, steps = run(memory)
    assert (history.attempts, history.open) == (1, False)
    assert memory.done == ["begun", "failed quota", "delete"]
    assert steps == ["claimed", "ended", "reported", "deleted"]


def test_error_of_a_hand_ends_the_run() -> None:
    memory = Memory(refuses=MissingPermissionError("create jobs", where="jobs"))
    with pytest.raises(MissingPermissionError, match="not allowed to call create jobs"):
        run(memory)
    assert memory.done == ["begun"]
