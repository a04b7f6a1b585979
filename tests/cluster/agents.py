"""An agent in a thread, whose reports are kept with their times, in a namespace where hd-job-sa has a role."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from towpath.agent.agent import Agent
from towpath.agent.kubernetes.cluster import Cluster
from towpath.agent.kubernetes.settings import parse_settings
from towpath.agent.kubernetes.watch import Seen, Watch
from towpath.agent.ledger import ConfigMapLedger
from towpath.agent.messages import Report
from towpath.agent.work import History, Limits, Phase, Sync
from towpath.job.pipeline import parse_pipelines
from towpath.kubernetes.connection import Connection

from .conftest import TestCluster

ROLE_ARN = "arn:aws:iam::123456789012:role/hd-orders"
SUCCEED = """printf '{"status":"succeeded","sync":"s","attempt":1,"rows":5,"tables":1}' > /dev/termination-log"""
SMALL = {
    "image": "towpath.local/busybox:1",
    "imagePullPolicy": "Never",
    "region": "eu-west-1",
    "resources": {"cpu": "10m", "memory": "16Mi", "memoryLimit": "32Mi"},
}


def shell(script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script]}


def syncs(*names: str, identity: str = "hd-job-sa", run: str = "") -> list[Sync]:
    pipelines = [
        {
            "name": name,
            "identity": identity,
            "source": {"sqlite": "/x"},
            "destination": {"s3": {"bucket": "orders-lake"}},
        }
        for name in names
    ]
    return [Sync.of(each, run) for each in parse_pipelines({"pipelines": pipelines}, source="test")]


@dataclass
class Harness:
    """`run` starts an agent over syncs with the given job settings; `wait_for` a report that a test wants."""

    cluster: TestCluster
    namespace: str
    reports: list[tuple[float, Report]] = field(default_factory=list)
    agents: list[Agent] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    histories: dict[str, History] = field(default_factory=dict)
    errors: list[BaseException] = field(default_factory=list)

    def prepare(self) -> None:
        self.cluster.kubectl("create", "serviceaccount", "hd-job-sa", "-n", self.namespace)
        self.annotate()

    def annotate(self, name: str = "hd-job-sa") -> None:
        annotation = f"eks.amazonaws.com/role-arn={ROLE_ARN}"
        self.cluster.kubectl("annotate", "--overwrite", "serviceaccount", name, "-n", self.namespace, annotation)

    def start(
        self,
        work: list[Sync],
        settings: dict[str, Any],
        *,
        retries: int = 0,
        capacity: int = 10,
        on_step: Callable[[str], None] | None = None,
    ) -> Agent:
        connection = Connection(kubeconfig=self.cluster.kubeconfig)
        ledger = ConfigMapLedger(connection, self.namespace, "test")
        try:
            owner = ledger.open()
        except BaseException:
            connection.close()
            raise
        agent = Agent(
            Cluster(connection, self.namespace),
            ledger,
            parse_settings({**SMALL, **settings}, source="test"),
            name="test",
            region="eu-west-1",
            owner=owner,
            capacity=capacity,
            limits=Limits(retries=retries, first_wait=0.2),
            report=lambda report: self.reports.append((time.monotonic(), report)),
            on_step=on_step,
        )

        def run() -> None:
            try:
                self.histories |= agent.run(work)
            except BaseException as error:
                self.errors.append(error)

        thread = threading.Thread(target=run)
        self.agents.append(agent)
        self.threads.append(thread)
        thread.start()
        return agent

    def finish(self, seconds: float = 60) -> None:
        """Until every agent is done. Raises what an agent raised."""
        for thread in self.threads:
            thread.join(seconds)
            assert not thread.is_alive(), f"not done after {seconds} s: {self.said()}"
        if self.errors:
            raise self.errors[0]

    def stop(self, *, leave: bool = False) -> None:
        for agent in self.agents:
            agent.stop(leave=leave)
        for thread in self.threads:
            thread.join(30)

    def wait_for(self, right: Callable[[Report], bool], seconds: float = 30) -> tuple[float, Report]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for moment, report in list(self.reports):
                if right(report):
                    return moment, report
            if self.errors:
                raise self.errors[0]
            time.sleep(0.01)
        raise AssertionError(f"not reported within {seconds} s; reported: {self.said()}")

    def trouble(self, code: str, seconds: float = 30) -> Report:
        return self.wait_for(lambda report: report.state.code == code, seconds)[1]

    def running(self, seconds: float = 30) -> Report:
        return self.wait_for(lambda report: report.state.phase is Phase.RUNNING, seconds)[1]

    def said(self) -> list[str]:
        return [f"{r.sync} {r.attempt} {r.state.phase} {r.state.code} {r.state.what}" for _, r in self.reports]

    def pod(self) -> str:
        return self.cluster.kubectl("get", "pods", "-n", self.namespace, "-o", "jsonpath={.items[0].metadata.name}")

    def jobs(self) -> list[str]:
        return self.cluster.kubectl("get", "jobs", "-n", self.namespace, "-o", "name").split()


@dataclass
class Onlooker:
    """A second watch of the pods, to know when the API first showed a change."""

    cluster: TestCluster
    namespace: str
    seen: list[tuple[float, Any]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._connection = Connection(kubeconfig=self.cluster.kubeconfig)
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        self._watch = Watch(
            self._connection, "Pod", path, {}, lambda notice: self.seen.append((time.monotonic(), notice))
        )
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.stop()
        self._connection.close()

    def first(self, right: Callable[[Any], bool]) -> float:
        """When a pod was first seen that is `right`."""
        return next(moment for moment, notice in self.seen if isinstance(notice, Seen) and right(notice.value))
