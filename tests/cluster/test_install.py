"""The agent installed: by Helm and by plain YAML, which are the same; it works with exactly its Role, and a drain may take it.

Its NetworkPolicies are enforced here, unless the cluster was brought up without: test_network_policy.py looks at each of their rules.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.cluster import binaries, build
from tools.render import CHART, PLACES, RENDERED, template

from towpath.agent.install import Installation, manifests

from .agents import SMALL, SUCCEED, Harness
from .conftest import TestCluster

pytestmark = pytest.mark.long
PIPELINES = [
    {"name": name, "source": {"sqlite": "/x"}, "destination": {"s3": {"bucket": "orders-lake"}}}
    for name in ("one", "two")
]
SETTINGS = {key: value for key, value in SMALL.items() if key != "region"}


def values(script: str, **more: Any) -> dict[str, Any]:
    repository, _, tag = build.AGENT.rpartition(":")
    return {
        "region": "eu-west-1",
        "pipelines": PIPELINES,
        "job": {**SETTINGS, "command": ["sh", "-c", script]},
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        **more,
    }


def plain(script: str, namespace: str, directory: Path) -> list[dict[str, Any]]:
    """What `towpath agent install` prints for the same values."""
    (directory / "syncs.yaml").write_text(yaml.safe_dump({"pipelines": PIPELINES}))
    (directory / "settings.yaml").write_text(yaml.safe_dump({**SETTINGS, "command": ["sh", "-c", script]}))
    found = manifests(
        Installation(
            namespace=namespace,
            region="eu-west-1",
            queue=directory / "syncs.yaml",
            settings=directory / "settings.yaml",
            image=build.AGENT,
        )
    )
    for each in found:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    return found


@pytest.fixture(scope="session")
def agent_image(cluster: TestCluster) -> str:
    if cluster.own is None:
        pytest.skip("builds an image into the cluster of `make cluster`")
    build.load(cluster.own.settings, build.build("agent"))
    return build.AGENT


@pytest.fixture
def harness(cluster: TestCluster, namespace: str) -> Harness:
    found = Harness(cluster=cluster, namespace=namespace)
    found.prepare()
    return found


def test_the_rendered_chart_is_the_current_one() -> None:
    assert template(PLACES, namespace="default") == RENDERED.read_text(), "run make chart"


def test_plain_yaml_and_chart_are_the_same(tmp_path: Path) -> None:
    def known(objects: Any) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for each in objects:
            if not each:
                continue
            each["metadata"].pop("namespace", None)
            for place in (
                each.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations") or {},
                each.get("data") or {},
            ):
                place.pop("checksum/settings", None)
                for key in ("syncs.yaml", "settings.yaml"):
                    if key in place:
                        place[key] = yaml.safe_load(place[key])
            out[f"{each['kind']} {each['metadata']['name']}"] = each
        return out

    chart = known(yaml.safe_load_all(template(values("true"), namespace="data")))
    assert known(plain("true", "data", tmp_path)) == chart
    assert len(chart) == 9


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"atOnce": "ten"}, "/atOnce"),
        ({"atOnce": 0}, "/atOnce"),
        ({"region": "europe"}, "/region"),
        ({"pipelines": []}, "/pipelines"),
        ({"pipelines": [{"name": "One", "source": {}, "destination": {}}]}, "/pipelines/0/name"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"nodeselector": {}}, "nodeselector"),
        ({"name": "Data Team"}, "/name"),
    ],
)
def test_a_wrong_value_is_named(more: dict[str, Any], says: str) -> None:
    with pytest.raises(binaries.Unavailable) as caught:
        template(values("true", **more), namespace="data")
    assert says in str(caught.value)


def ledger(harness: Harness) -> list[str]:
    found = harness.cluster.json("get", "configmap", "towpath-agent-default", "-n", harness.namespace).get("data") or {}
    return [json.loads(text)["last"] for text in found.values()]


def wait(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.3)


def connects(harness: Harness, pod: str, address: str, port: int) -> bool:
    """Whether the agent's own Python in its pod gets a connection."""
    attempt = f"import socket; print(socket.socket().connect_ex(({address!r}, {port})))"
    words = ("exec", pod, "-n", harness.namespace, "--", "/opt/towpath/bin/python", "-c", attempt)
    return harness.cluster.kubectl(*words).strip() == "0"


def test_installed_by_helm_it_does_its_work_and_survives_a_drain(
    harness: Harness, agent_image: str, tmp_path: Path
) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values(f"sleep 6; {SUCCEED}")))
    words = [binaries.helm(), "--kubeconfig", str(harness.cluster.kubeconfig), "-n", harness.namespace]
    subprocess.run(
        [*words, "install", "towpath", str(CHART), "-f", str(tmp_path / "values.yaml"), "--wait", "--timeout", "60s"],
        check=True,
        capture_output=True,
    )
    wait(lambda: len(harness.jobs()) == 2)
    pod = harness.cluster.json("get", "pods", "-n", harness.namespace, "-l", "app.kubernetes.io/name=towpath-agent")[
        "items"
    ][0]
    variables = {each["name"] for each in pod["spec"]["containers"][0]["env"]}
    assert not {name for name in variables if "ROLE" in name or "KEY" in name}
    if harness.cluster.own is not None and harness.cluster.own.enforces_policies():
        own = harness.cluster.own.settings
        wait(lambda: not connects(harness, pod["metadata"]["name"], own.node_address, own.kubelet_port))
        assert connects(harness, pod["metadata"]["name"], own.kubernetes_service, 443)
        assert connects(harness, pod["metadata"]["name"], own.node_address, own.port)
    # A drain evicts; the budget allows it, and the next agent adopts what runs.
    name = pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": harness.namespace},
    }
    path = f"/api/v1/namespaces/{harness.namespace}/pods/{name}/eviction"
    harness.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    wait(lambda: ledger(harness) == ["succeeded", "succeeded"])
    wait(lambda: harness.jobs() == [])
    made = harness.cluster.json(
        "get", "events", "-n", harness.namespace, "--field-selector", "reason=SuccessfulCreate"
    )["items"]
    assert len([each for each in made if each["involvedObject"]["kind"] == "Job"]) == 2
    subprocess.run([*words, "uninstall", "towpath"], check=True, capture_output=True)


def test_installed_by_plain_yaml_and_given_more_to_do(harness: Harness, agent_image: str, tmp_path: Path) -> None:
    objects = plain(SUCCEED, harness.namespace, tmp_path)
    text = yaml.safe_dump_all(objects)
    harness.cluster.kubectl("apply", "-f", "-", stdin=text)
    wait(lambda: ledger(harness) == ["succeeded", "succeeded"])
    agent = "deployment/towpath-agent-default"
    harness.cluster.kubectl("rollout", "status", agent, "-n", harness.namespace, "--timeout=60s")
    work = next(each for each in objects if each["metadata"]["name"].endswith("-work"))
    more = [*PIPELINES, {**PIPELINES[0], "name": "three"}]
    work["data"]["syncs.yaml"] = yaml.safe_dump({"pipelines": more})
    harness.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(work))
    wait(lambda: len(ledger(harness)) == 3 and set(ledger(harness)) == {"succeeded"}, 120)


def test_an_agent_that_hangs_is_started_anew(harness: Harness, agent_image: str, tmp_path: Path) -> None:
    """Its process is stopped, not ended: only the probe on its progress can tell."""
    harness.cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(plain(SUCCEED, harness.namespace, tmp_path)))
    wait(lambda: ledger(harness) == ["succeeded", "succeeded"])
    harness.cluster.kubectl(
        "rollout", "status", "deployment/towpath-agent-default", "-n", harness.namespace, "--timeout=60s"
    )
    pod = harness.cluster.json("get", "pods", "-n", harness.namespace, "-l", "app.kubernetes.io/name=towpath-agent")[
        "items"
    ][0]
    container = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    stopped = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cgroup")
        if container in path.read_text() and b"agent" in (path.parent / "cmdline").read_bytes()
    ]
    assert stopped
    for number in stopped:
        os.kill(number, signal.SIGSTOP)

    def restarts() -> int:
        found = harness.cluster.json("get", "pod", pod["metadata"]["name"], "-n", harness.namespace)
        return found["status"]["containerStatuses"][0]["restartCount"]

    wait(lambda: restarts() >= 1, 150)


def test_the_command_prints_it(tmp_path: Path) -> None:
    plain("true", "data", tmp_path)
    words = [str(Path(sys.executable).with_name("towpath")), "agent", "install", "--from", str(tmp_path / "syncs.yaml")]
    done = subprocess.run([*words, "--region", "eu-west-1", "-n", "data"], capture_output=True, text=True, check=True)
    assert {each["kind"] for each in yaml.safe_load_all(done.stdout)} >= {"Deployment", "Role", "NetworkPolicy"}
    wrong = subprocess.run([*words, "--region", "mars"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "'mars' is not a region" in wrong.stderr
