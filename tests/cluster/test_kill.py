"""The agent killed (-9) at each of its steps, again and again: no attempt lost, none launched twice, nothing left over."""

from __future__ import annotations

import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .agents import SMALL, SUCCEED, Harness
from .conftest import TestCluster

TIMES = 50
STEPS = ("claimed", "created", "watching", "ended", "reported", "deleted")
SYNCS = 3
# An agent that kills its own process, as nothing inside can prevent, at the Nth time it comes to a step.
SCRIPT = """
import os, signal, sys
from pathlib import Path
from towpath.agent import main
from towpath.agent.agent import Agent
from towpath.agent.work import Phase
step, count = sys.argv[1], [int(sys.argv[2])]
def end(seen):
    if seen == step:
        count[0] -= 1
        if count[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
class Dying(Agent):
    def __init__(self, *args, report, **named):
        def told(what):
            if what.state.phase is Phase.RUNNING:
                end("watching")
            report(what)
        super().__init__(*args, report=told, on_step=end, **named)
main.Agent = Dying
sys.exit(main.run(main.AgentOptions(
    queue=Path(sys.argv[3]), settings=Path(sys.argv[4]), kubeconfig=Path(sys.argv[5]), namespace=sys.argv[6], run=sys.argv[7], name="kill", as_json=True,
)))
"""


@pytest.mark.long
def test_killed_at_each_step_fifty_times(cluster: TestCluster, namespace: str, tmp_path: Path) -> None:
    """What was launched is counted by the job controller's own events: it makes one pod for each Job there ever was."""
    harness = Harness(cluster=cluster, namespace=namespace)
    harness.prepare()
    pipelines = [
        {"name": f"s{number}", "source": {"sqlite": "/x"}, "destination": {"s3": {"bucket": "orders-lake"}}}
        for number in range(SYNCS)
    ]
    (tmp_path / "syncs.yaml").write_text(yaml.safe_dump({"pipelines": pipelines}))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({**SMALL, "command": ["sh", "-c", f"sleep 1.2; {SUCCEED}"]}))
    table: dict[str, collections.Counter[str]] = {step: collections.Counter() for step in STEPS}
    for number in range(TIMES):
        step = STEPS[number % len(STEPS)]
        nth = number // len(STEPS) % SYNCS + 1
        outcome = one_round(harness, tmp_path, step, nth, run=f"round-{number}")
        table[step] += outcome
    print(json.dumps(table))
    for step, counts in table.items():
        assert counts["killed"] == counts["rounds"] > 0, (step, counts)
        assert counts["succeeded"] == counts["rounds"] * SYNCS, (step, counts)
        assert counts["launched twice"] == counts["left over"] == counts["lost"] == 0, (step, counts)
    cluster.kubectl("wait", "-n", namespace, "pods", "--all", "--for=delete", "--timeout=60s")
    assert cluster.kubectl("get", "jobs,pods,secrets", "-n", namespace, "-o", "name") == ""


def one_round(harness: Harness, tmp_path: Path, step: str, nth: int, *, run: str) -> collections.Counter[str]:
    """Kill one agent at its step, let the next one finish; what came of it."""
    before = created(harness)
    words = [sys.executable, "-c", SCRIPT]
    rest = [
        str(tmp_path / "syncs.yaml"),
        str(tmp_path / "settings.yaml"),
        str(harness.cluster.kubeconfig),
        harness.namespace,
        run,
    ]
    first = subprocess.run([*words, step, str(nth), *rest], capture_output=True, text=True, check=False, timeout=60)
    second = subprocess.run([*words, "never", "1", *rest], capture_output=True, text=True, check=False, timeout=60)
    assert second.returncode == 0, f"{run}, killed at {step} {nth}: {second.stdout}\n{second.stderr}"
    ledger = harness.cluster.json("get", "configmap", "towpath-agent-kill", "-n", harness.namespace)["data"]
    histories = [json.loads(text) for text in ledger.values()][-SYNCS:]
    names = collections.Counter(created(harness)) - collections.Counter(before)
    left = harness.cluster.kubectl("get", "jobs", "-n", harness.namespace, "-o", "name").split()
    return collections.Counter(
        {
            "rounds": 1,
            "killed": int(first.returncode == -9),
            "succeeded": sum(history["last"] == "succeeded" for history in histories),
            "lost": sum(history["open"] for history in histories),
            "launched twice": sum(count - 1 for count in names.values()),
            "left over": len(left),
            "launches": sum(names.values()),
        }
    )


def created(harness: Harness) -> list[str]:
    """The Job of every pod the job controller ever made here: a Job that was launched twice made two."""
    events = harness.cluster.json(
        "get", "events", "-n", harness.namespace, "--field-selector", "reason=SuccessfulCreate"
    )["items"]
    return [event["involvedObject"]["name"] for event in events for _ in range(event.get("count") or 1)]
