"""An attempt accepted to its container running, beside a bare `create` of the same Job, side by side in one run; and the agent's own cost.

python -m benchmarks.launch [LAUNCHES]: needs the cluster of `make cluster`. Targets: 0.2 s more at the median, 1 s at p99; launches a
minute at least 95 % of what a bare create loop reaches.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from tools.cluster.lifecycle import Cluster as TestCluster
from tools.cluster.settings import Settings

from towpath.agent.agent import Agent
from towpath.agent.kubernetes.cluster import Cluster
from towpath.agent.kubernetes.job import job_manifest
from towpath.agent.kubernetes.settings import JobSettings, parse_settings
from towpath.agent.kubernetes.watch import Seen, Watch
from towpath.agent.ledger import ConfigMapLedger
from towpath.agent.messages import Report
from towpath.agent.work import Attempt, Identity, Limits, Phase, Sync
from towpath.job.pipeline import parse_pipelines
from towpath.kubernetes.connection import Connection

NAMESPACE = "towpath-benchmark"
ROLE = "arn:aws:iam::123456789012:role/hd-orders"
AT_ONCE = 20
SCRIPT = """sleep 1; printf '{"status":"succeeded","sync":"s","attempt":1,"rows":5}' > /dev/termination-log"""


def settings(script: str = SCRIPT) -> JobSettings:
    return parse_settings(
        {
            "image": "towpath.local/busybox:1",
            "imagePullPolicy": "Never",
            "region": "eu-west-1",
            "resources": {"cpu": "1m", "memory": "4Mi", "memoryLimit": "32Mi"},
            "command": ["sh", "-c", script],
        },
        source="benchmark",
    )


def syncs(count: int, name: str) -> list[Sync]:
    pipelines = [
        {"name": f"{name}-{number}", "source": {"sqlite": "/x"}, "destination": {"s3": {"bucket": "orders-lake"}}}
        for number in range(count)
    ]
    return [Sync.of(each) for each in parse_pipelines({"pipelines": pipelines}, source="benchmark")]


class Pods:
    """When each Job's container was first seen running, by a watch of our own."""

    def __init__(self, kubeconfig: Any) -> None:
        self.running: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self._connection = Connection(kubeconfig=kubeconfig)
        self._watch = Watch(self._connection, "Pod", f"/api/v1/namespaces/{NAMESPACE}/pods", {}, self._put)
        self._watch.start()

    def _put(self, notice: Any) -> None:
        if not isinstance(notice, Seen):
            return
        name = notice.value["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name", "")
        text = json.dumps(notice.value.get("status", {}).get("containerStatuses", []))
        if '"running"' in text or '"terminated"' in text:
            self.running.setdefault(name, time.monotonic())
        if '"terminated"' in text:
            self.ended.setdefault(name, time.monotonic())

    def close(self) -> None:
        self._watch.stop()
        self._connection.close()


class Counting:
    """The connection's HTTP client, counting what goes through it."""

    def __init__(self, http: Any) -> None:
        self._http = http
        self.requests = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._http, name)
        if name not in {"request", "get", "stream"}:
            return found

        def counted(*words: Any, **named: Any) -> Any:
            self.requests += 1
            return found(*words, **named)

        return counted


def bare(kubeconfig: Any, count: int, pods: Pods, turn: int) -> tuple[list[float], float]:
    """A loop that creates the same Jobs with as many at once, and deletes each when it is done; seconds to running, and in all."""
    connection = Connection(kubeconfig=kubeconfig)
    cluster = Cluster(connection, NAMESPACE)
    owner = ConfigMapLedger(connection, NAMESPACE, "bare").open()
    jobs = []
    for sync in syncs(count, f"bare{turn}"):
        attempt = Attempt(sync=sync, number=1, identity=Identity(role_arn=ROLE))
        jobs.append(job_manifest(attempt, settings(), agent="bare", region="eu-west-1", owner=owner))
    accepted: dict[str, float] = {}

    def one(manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        accepted[name] = time.monotonic()
        cluster.create(manifest)
        while name not in pods.ended:
            time.sleep(0.01)
        cluster.delete(name)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, jobs))
    cluster.close()
    return spans(accepted, pods)


def ours(kubeconfig: Any, count: int, pods: Pods, turn: int) -> tuple[list[float], float, float]:
    """The same Jobs by the agent; seconds from accepted to running, in all, and API requests an attempt."""
    accepted: dict[str, float] = {}

    def told(report: Report) -> None:
        if report.state.phase is Phase.PENDING:
            accepted.setdefault(report.job, time.monotonic())

    connection = Connection(kubeconfig=kubeconfig)
    connection.http = counting = Counting(connection.http)
    ledger = ConfigMapLedger(connection, NAMESPACE, "ours")
    agent = Agent(
        Cluster(connection, NAMESPACE),
        ledger,
        settings(),
        name="ours",
        region="eu-west-1",
        owner=ledger.open(),
        capacity=AT_ONCE,
        limits=Limits(retries=0),
        report=told,
    )
    histories = agent.run(syncs(count, f"ours{turn}"))
    assert {history.last for history in histories.values()} == {"succeeded"}, histories
    return *spans(accepted, pods), counting.requests / count


def spans(accepted: dict[str, float], pods: Pods) -> tuple[list[float], float]:
    """Seconds from accepted to running of each, and from the first accepted to the last running."""
    last = max(pods.running[name] for name in accepted)
    return [pods.running[name] - moment for name, moment in accepted.items()], last - min(accepted.values())


def many(kubeconfig: Any, count: int) -> tuple[float, float]:
    """MiB of this process before, and more with `count` attempts running."""
    connection = Connection(kubeconfig=kubeconfig)
    ledger = ConfigMapLedger(connection, NAMESPACE, "many")
    running: set[str] = set()
    everything = threading.Event()

    def told(report: Report) -> None:
        if report.state.phase is Phase.RUNNING:
            running.add(report.job)
            if len(running) == count:
                everything.set()

    agent = Agent(
        Cluster(connection, NAMESPACE),
        ledger,
        settings("sleep 600"),
        name="many",
        region="eu-west-1",
        owner=ledger.open(),
        capacity=count,
        report=told,
    )
    before = memory()
    thread = threading.Thread(target=agent.run, args=(syncs(count, "many"),))
    thread.start()
    everything.wait(300)
    after = memory()
    print(f"{len(running)} of {count} running", file=sys.stderr)
    agent.stop(leave=False)
    thread.join()
    return before, after - before


def memory() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    test = TestCluster(Settings())
    if not test.ready():
        print("launch: there is no cluster: run make cluster first")
        return 0
    kubeconfig = test.settings.kubeconfig
    test.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    test.kubectl("create", "namespace", NAMESPACE)
    test.kubectl("create", "serviceaccount", "hd-job-sa", "-n", NAMESPACE)
    test.kubectl("annotate", "serviceaccount", "hd-job-sa", "-n", NAMESPACE, f"eks.amazonaws.com/role-arn={ROLE}")
    pods = Pods(kubeconfig)
    # Quarters, each first in turn, so that neither has the quieter machine.
    quarter = count // 4
    bare_times: list[float] = []
    our_times: list[float] = []
    bare_seconds = our_seconds = requests = 0.0
    for turn in range(4):
        for peer in ("bare", "ours") if turn in {0, 3} else ("ours", "bare"):
            if peer == "bare":
                times, seconds = bare(kubeconfig, quarter, pods, turn)
                bare_times, bare_seconds = bare_times + times, bare_seconds + seconds
            else:
                times, seconds, requests = ours(kubeconfig, quarter, pods, turn)
                our_times, our_seconds = our_times + times, our_seconds + seconds
            clear(test)
    pods.close()
    print(f"{datetime.now().astimezone():%Y-%m-%d}: {count} launches each, {AT_ONCE} at once, a job of 1 s")
    for name, times, seconds in (("bare create", bare_times, bare_seconds), ("towpath agent", our_times, our_seconds)):
        rate = 60 * len(times) / seconds
        print(
            f"{name}: accepted to running {statistics.median(times):.2f} s (p99 {percentile(times, 0.99):.2f} s), {rate:.0f} launches a minute"
        )
    more = statistics.median(our_times) - statistics.median(bare_times)
    tail = percentile(our_times, 0.99) - percentile(bare_times, 0.99)
    print(f"median {more:+.2f} s (target at most +0.2), p99 {tail:+.2f} s (target at most +1)")
    print(f"launches a minute, ratio {bare_seconds / our_seconds:.2f} (target at least 0.95)")
    print(f"API requests an attempt: {requests:.1f}, and three watches")
    before, more_memory = many(kubeconfig, 200)
    print(f"agent's memory: {before:.0f} MiB, and {more_memory:.1f} MiB more with 200 attempts running")
    test.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    return 0


def clear(test: TestCluster) -> None:
    """Before the other's turn: nothing is still being taken away."""
    test.kubectl("wait", "-n", NAMESPACE, "pods", "--all", "--for=delete", "--timeout=120s")
    test.kubectl(
        "delete", "configmaps", "-n", NAMESPACE, "towpath-agent-bare", "towpath-agent-ours", "--ignore-not-found"
    )


if __name__ == "__main__":
    sys.exit(main())
