"""The chart's NetworkPolicies, enforced: who reaches whom, first without them and then with them.

Agent and strangers are small pods with the chart's labels, the Job's pod is a real one of ours. A place is named ADDRESS:PORT.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.render import PLACES, template

from .agents import SMALL, Harness, syncs
from .conftest import TestCluster

SETTLED = 15.0  # seconds for a policy to take effect
SILENCES = 3
AGENT = {"app.kubernetes.io/name": "towpath-agent", "app.kubernetes.io/instance": "default"}
DNS = {"k8s-app": "kube-dns"}
METADATA = "169.254.169.254"


# In a pod's network namespace: to every question at the port of DNS, that there is no such name.
NAMESERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
print("bound", flush=True)
while True:
    question, client = server.recvfrom(512)
    server.sendto(question[:2] + bytes([0x81, 0x83]) + question[4:], client)
"""


@dataclass
class Pods:
    """Pods of one namespace that serve a page at some ports, and try to get one from others."""

    cluster: TestCluster
    namespace: str

    def start(self, name: str, *ports: int, labels: dict[str, str] | None = None, probe: int | None = None) -> None:
        container: dict[str, Any] = {
            "name": "c",
            "image": SMALL["image"],
            "imagePullPolicy": "Never",
            "command": ["sh", "-c", serving(*ports)],
            "resources": {"limits": {"memory": "32Mi"}},
        }
        if probe is not None:
            container["readinessProbe"] = {"httpGet": {"port": probe}, "periodSeconds": 1, "failureThreshold": 1}
        spec = {
            "containers": [container],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}
        self.cluster.kubectl("create", "-n", self.namespace, "-f", "-", stdin=json.dumps(pod))

    def address(self, name: str) -> str:
        self.cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", self.namespace, "--timeout=60s")
        return self.cluster.json("get", "pod", name, "-n", self.namespace)["status"]["podIP"]

    def run(self, name: str, script: str) -> str:
        """What a script in the pod says, on both channels; it may fail."""
        return self.cluster.kubectl("exec", name, "-n", self.namespace, "--", "sh", "-c", f"({script}) 2>&1 || true")

    def reaches(self, name: str, place: str) -> bool:
        """Whether a TCP connection comes about. A refusal is told at once; silence counts when it lasts, as a busy machine is silent too."""
        for _ in range(SILENCES):
            said = self.run(name, f"nc -w 5 {place.replace(':', ' ')} -e true && echo reached")
            if "timed out" not in said:
                assert "reached" in said or "can't connect" in said, said
                return "reached" in said
        return False

    def is_answered(self, name: str, address: str) -> bool:
        """Whether a nameserver's answer comes back, over UDP."""
        return "NXDOMAIN" in self.run(name, f"nslookup nothing.example {address}")

    @contextlib.contextmanager
    def nameserver(self, name: str) -> Iterator[None]:
        status = self.cluster.json("get", "pod", name, "-n", self.namespace)["status"]
        container = status["containerStatuses"][0]["containerID"].rpartition("/")[2]
        pid = next(path.parent.name for path in Path("/proc").glob("[0-9]*/cgroup") if container in path.read_text())
        command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-c", NAMESERVER]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "bound\n"
                yield
            finally:
                process.kill()

    def ready(self, name: str) -> bool:
        conditions = self.cluster.json("get", "pod", name, "-n", self.namespace)["status"]["conditions"]
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def serving(*ports: int) -> str:
    servers = " ".join(f"httpd -p {port} -h /tmp;" for port in ports)
    return f"echo > /tmp/index.html; {servers} trap exit TERM; while :; do sleep 0.2; done"


@pytest.fixture
def pods(cluster: TestCluster, namespace: str) -> Pods:
    if cluster.own is None or not cluster.own.enforces_policies():
        pytest.skip("needs the cluster of `make cluster` with NetworkPolicies enforced")
    return Pods(cluster, namespace)


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


@contextlib.contextmanager
def served(address: str, port: int) -> Iterator[str]:
    """A server on the node itself; its place."""
    server = ThreadingHTTPServer((address, port), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{address}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def metadata(cluster: TestCluster) -> Iterator[str]:
    """Something at the address of the instance metadata service, as on a node of EC2."""
    assert cluster.own is not None
    words = (f"{METADATA}/32", "dev", cluster.own.settings.name)
    subprocess.run(["ip", "address", "replace", *words], check=True)
    try:
        with served(METADATA, 80) as place:
            yield place
    finally:
        subprocess.run(["ip", "address", "delete", *words], check=True)


def policies(**more: Any) -> str:
    """The chart's NetworkPolicies, and nothing else of it."""
    found = [each for each in yaml.safe_load_all(template({**PLACES, **more}, namespace="x")) if each]
    return yaml.safe_dump_all([each for each in found if each["kind"] == "NetworkPolicy"])


def settle(true: Callable[[], bool]) -> None:
    end = time.monotonic() + SETTLED
    while not true():
        assert time.monotonic() < end, f"not within {SETTLED} s"


def test_the_agent_reaches_the_api_server_and_dns_and_nobody_reaches_it(
    pods: Pods, cluster: TestCluster, metadata: str
) -> None:
    own = cluster.own
    assert own is not None
    system = Pods(cluster, "kube-system")
    pods.start("agent", 8080, labels=AGENT, probe=8080)
    pods.start("stranger")
    pods.start("other", 53, 443, 8080)
    system.start(pods.namespace, 53, labels=DNS)
    try:
        agent, other, dns = pods.address("agent"), pods.address("other"), system.address(pods.namespace)
        with served(own.settings.node_address, 0) as node, system.nameserver(pods.namespace), pods.nameserver("other"):
            allowed = [
                f"{own.settings.kubernetes_service}:443",
                f"{own.settings.node_address}:{own.settings.port}",
                f"{dns}:53",
            ]
            refused = [
                f"{other}:53",
                f"{other}:8080",
                f"{own.settings.node_address}:{own.settings.kubelet_port}",
                node,
                metadata,
            ]
            anywhere = f"{other}:443"
            for place in [*allowed, *refused, anywhere]:
                assert pods.reaches("agent", place), f"without a policy: {place}"
            assert pods.is_answered("agent", dns)
            assert pods.is_answered("agent", other)
            assert pods.reaches("stranger", f"{agent}:8080")

            cluster.kubectl("apply", "-n", pods.namespace, "-f", "-", stdin=policies())
            settle(lambda: not pods.reaches("stranger", f"{agent}:8080"))
            assert {place: pods.reaches("agent", place) for place in allowed} == dict.fromkeys(allowed, True)
            assert {place: pods.reaches("agent", place) for place in refused} == dict.fromkeys(refused, False)
            assert pods.is_answered("agent", dns)
            assert not pods.is_answered("agent", other)
            assert pods.reaches("stranger", f"{other}:8080")  # nobody else's pods are touched

            # As long as the API server's address is not named, its port is open anywhere.
            assert pods.reaches("agent", anywhere)
            named = [f"{own.settings.kubernetes_service}/32", f"{own.settings.node_address}/32"]
            narrow = policies(networkPolicy={"apiServerAddresses": named})
            cluster.kubectl("apply", "-n", pods.namespace, "-f", "-", stdin=narrow)
            settle(lambda: not pods.reaches("agent", anywhere))
            assert {place: pods.reaches("agent", place) for place in allowed} == dict.fromkeys(allowed, True)
        # The kubelet's probe comes through, and is a probe: it tells when nothing answers any more.
        time.sleep(3)
        assert pods.ready("agent")
        pods.run("agent", "for p in /proc/[0-9]*; do grep -q ^httpd $p/cmdline && kill ${p#/proc/}; done")
        settle(lambda: not pods.ready("agent"))
    finally:
        cluster.kubectl("delete", "pod", pods.namespace, "-n", "kube-system", "--wait=false")


def test_a_job_serves_nobody_and_gets_no_credentials_of_the_node(
    pods: Pods, cluster: TestCluster, metadata: str
) -> None:
    harness = Harness(cluster=cluster, namespace=pods.namespace)
    harness.prepare()
    pods.start("stranger")
    pods.start("source", 5432, 8080)
    harness.start(syncs("one"), {"command": ["sh", "-c", serving(8080)]})
    try:
        harness.running()
        job = cluster.kubectl(
            "get",
            "pods",
            "-n",
            pods.namespace,
            "-l",
            "towpath.dev/pipeline=one",
            "-o",
            "jsonpath={.items[0].metadata.name}",
        )
        address, source = pods.address(job), pods.address("source")
        with served(cluster.address, 0) as sts:
            places = [f"{source}:5432", f"{source}:8080", sts, metadata]
            for place in places:
                assert pods.reaches(job, place), f"without a policy: {place}"
            assert pods.reaches("stranger", f"{address}:8080")

            cluster.kubectl("apply", "-n", pods.namespace, "-f", "-", stdin=policies(name="test"))
            settle(lambda: not pods.reaches("stranger", f"{address}:8080"))
            assert {place: pods.reaches(job, place) for place in places} == {
                places[0]: True,
                places[1]: True,
                sts: True,
                metadata: False,
            }
            # Named, its ways are those and no other.
            egress = [
                {"to": [{"ipBlock": {"cidr": f"{source}/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]},
                {"to": [{"ipBlock": {"cidr": f"{cluster.address}/32"}}]},
            ]
            narrow = policies(name="test", networkPolicy={"jobEgress": egress})
            cluster.kubectl("apply", "-n", pods.namespace, "-f", "-", stdin=narrow)
            settle(lambda: not pods.reaches(job, places[1]))
            assert {place: pods.reaches(job, place) for place in places} == {
                places[0]: True,
                places[1]: False,
                sts: True,
                metadata: False,
            }
    finally:
        harness.stop()
