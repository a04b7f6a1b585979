"""An attempt accepted to its container running, beside a bare `create` of the same Job, in turn in one run; and the agent's own cost.

python -m benchmarks.launch [LAUNCHES]: needs the cluster of `make cluster`, best without NetworkPolicies (TOWPATH_CLUSTER_POLICIES=no:
each pod's rules cost both peers), and the machine for itself. Targets: 0.2 s more at the
median, 1 s at p99; launches a minute at least 95 % of what a bare create loop reaches. How the two are compared stands in paired.py.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, cast

from tools.cluster.lifecycle import Cluster as TestCluster
from tools.cluster.settings import Settings

from benchmarks.paired import Turn, estimate, judged, median_difference, order, percentile, rate_ratio, tail_difference
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
Steps = dict[str, list[float]]  # seconds
ROLE = "arn:aws:iam::123456789012:role/hd-orders"
AT_ONCE = 10
BLOCK = 20  # launches of each peer in a block: two waves
BLOCKS = 12  # a multiple of six, so that each order comes as often
PEERS = ("ours", "bare", "again")  # the third is the second once more: what the machine alone makes of a difference
MEDIAN, TAIL, RATE = 0.2, 1.0, 0.95  # the targets: seconds more, seconds more, of a bare loop's launches
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


class Timed:
    """A ledger or a cluster, and how long some of its methods took: seconds by name, and when the first of each sync began."""

    def __init__(self, inner: Any, *names: str) -> None:
        self._inner = inner
        self._names = names
        self.seconds: dict[str, list[float]] = {name: [] for name in names}
        self.began: dict[str, float] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._names:
            return found

        def timed(first: Any, *words: Any) -> Any:
            start = time.monotonic()
            if isinstance(first, str):
                self.began.setdefault(first, start)
            try:
                return found(first, *words)
            finally:
                self.seconds[name].append(time.monotonic() - start)

        return timed


def bare(kubeconfig: Any, count: int, pods: Pods, name: str, steps: Steps) -> Turn:
    """A loop that creates the same Jobs with as many at once, and deletes each when it is done."""
    connection = Connection(kubeconfig=kubeconfig)
    cluster = Timed(Cluster(connection, NAMESPACE), "create")
    owner = ConfigMapLedger(connection, NAMESPACE, "bare").open()
    jobs = []
    for sync in syncs(count, name):
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
    steps["a bare create"] += cluster.seconds["create"]
    return turn(accepted, pods)


def ours(kubeconfig: Any, count: int, pods: Pods, name: str, steps: Steps) -> tuple[Turn, float]:
    """The same Jobs by the agent, and API requests an attempt."""
    accepted: dict[str, float] = {}
    asked: dict[str, float] = {}

    def told(report: Report) -> None:
        if report.state.phase is Phase.PENDING and report.job not in accepted:
            accepted[report.job] = asked[report.sync] = time.monotonic()

    connection = Connection(kubeconfig=kubeconfig)
    connection.http = counting = Counting(connection.http)
    ledger = Timed(ConfigMapLedger(connection, NAMESPACE, "ours"), "write")
    cluster = Timed(Cluster(connection, NAMESPACE), "identity", "create")
    agent = Agent(
        cast("Cluster", cluster),
        cast("ConfigMapLedger", ledger),
        settings(),
        name="ours",
        region="eu-west-1",
        owner=ledger.open(),
        capacity=AT_ONCE,
        limits=Limits(retries=0),
        report=told,
    )
    histories = agent.run(syncs(count, name))
    assert {history.last for history in histories.values()} == {"succeeded"}, histories
    steps["until a thread begins"] += [ledger.began[sync] - moment for sync, moment in asked.items()]
    steps["the ledger's writing"] += ledger.seconds["write"]
    steps["the service account"] += cluster.seconds["identity"]
    steps["the create"] += cluster.seconds["create"]
    return turn(accepted, pods), counting.requests / count


def turn(accepted: dict[str, float], pods: Pods) -> Turn:
    """Seconds from accepted to running of each, in the order accepted; the rate from the first accepted to the last running."""
    first, last = min(accepted.values()), max(pods.running[name] for name in accepted)
    moments = sorted(accepted.items(), key=lambda item: item[1])
    seconds = tuple(pods.running[name] - moment for name, moment in moments)
    return Turn(seconds=seconds, rate=len(accepted) / (last - first))


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


def main() -> int:
    blocks = max(1, int(sys.argv[1]) // BLOCK) if len(sys.argv) > 1 else BLOCKS
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
    steps: Steps = defaultdict(list)
    turns: dict[str, list[Turn]] = {peer: [] for peer in PEERS}
    requests: list[float] = []
    # The first block warms up: images, caches, this process. It does not count.
    for block in range(-1, blocks):
        for peer in order(PEERS, block):
            name = f"{peer}{block + 1}"
            if peer == "ours":
                found, asked = ours(kubeconfig, BLOCK, pods, name, steps)
                requests.append(asked)
            else:
                found = bare(kubeconfig, BLOCK, pods, name, steps)
            turns[peer].append(found)
            clear(test)
        if block < 0:
            steps.clear()
            requests.clear()
            turns = {peer: [] for peer in PEERS}
    pods.close()
    say(turns, steps, requests, policies=test.enforces_policies())
    before, more_memory = many(kubeconfig, 200)
    print(f"agent's memory: {before:.0f} MiB, and {more_memory:.1f} MiB more with 200 attempts running")
    test.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    return 0


def say(turns: dict[str, list[Turn]], steps: Steps, requests: list[float], *, policies: bool) -> None:
    launches = len(turns["ours"]) * BLOCK
    print(
        f"{datetime.now().astimezone():%Y-%m-%d}: {launches} launches each in blocks of {BLOCK}, {AT_ONCE} at once, a job of 1 s, "
        f"load {os.getloadavg()[0]:.1f}, NetworkPolicies {'enforced' if policies else 'not enforced'}"
    )
    for peer, words in (("bare", "bare create"), ("again", "bare create, again"), ("ours", "towpath agent")):
        seconds = [value for each in turns[peer] for value in each.seconds]
        rate = 60 * statistics.median(each.rate for each in turns[peer])
        middle, tail = statistics.median(seconds), percentile(seconds, 0.99)
        print(f"{words}: accepted to running {middle:.2f} s (p99 {tail:.2f} s), {rate:.0f} launches a minute")
    pairs = list(zip(turns["ours"], turns["bare"], strict=True))
    noise = list(zip(turns["again"], turns["bare"], strict=True))
    for words, statistic in (("median", median_difference), ("p99", tail_difference), ("rate", rate_ratio)):
        found, null = estimate(pairs, statistic), estimate(noise, statistic)
        if words == "rate":
            print(
                f"launches a minute, ratio {found.value:.2f} [{found.low:.2f}, {found.high:.2f}], target at least {RATE}: "
                f"{judged(found.at_least(RATE), null, 1.0)}; bare against bare {null.value:.2f} [{null.low:.2f}, {null.high:.2f}]"
            )
        else:
            target = {"median": MEDIAN, "p99": TAIL}[words]
            print(
                f"{words} {found.value:+.2f} s [{found.low:+.2f}, {found.high:+.2f}], target at most +{target}: "
                f"{judged(found.at_most(target), null, 0.0)}; bare against bare {null.value:+.2f} s [{null.low:+.2f}, {null.high:+.2f}]"
            )
    for step, values in steps.items():
        print(f"  {step}: {1000 * statistics.median(values):.0f} ms (p99 {1000 * percentile(values, 0.99):.0f} ms)")
    print(f"API requests an attempt: {statistics.median(requests):.1f}, and three watches")


def clear(test: TestCluster) -> None:
    """Before the other's turn: nothing is still being taken away."""
    test.kubectl("wait", "-n", NAMESPACE, "pods", "--all", "--for=delete", "--timeout=120s")
    test.kubectl(
        "delete", "configmaps", "-n", NAMESPACE, "towpath-agent-bare", "towpath-agent-ours", "--ignore-not-found"
    )


if __name__ == "__main__":
    sys.exit(main())
