"""What the agent is told by flags and environment is looked at before any cluster is."""

from __future__ import annotations

from pathlib import Path

import pytest

from towpath.agent import install, main
from towpath.errors import TowpathError, UsageError, WorldError

PIPELINES = "pipelines: [{name: a, source: {sqlite: x}, destination: {s3: {bucket: lake}}}]\n"
KUBECONFIG = """
current-context: x
clusters: [{name: x, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: x, context: {cluster: x, user: x}}]
users: [{name: x, user: {token: abc}}]
"""


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    path = tmp_path / "syncs.yaml"
    path.write_text(PIPELINES)
    return path


def run(queue: Path, *, region: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> TowpathError:
    monkeypatch.setenv("AWS_REGION", region)
    options = main.AgentOptions(queue=queue, namespace=namespace, kubeconfig=queue.parent / "kubeconfig")
    with pytest.raises(TowpathError) as refused:
        main.run(options)
    return refused.value


def test_run(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = run(queue, region="eu-west-1", namespace="data", monkeypatch=monkeypatch)
    assert isinstance(right, WorldError)  # it got as far as the cluster, which is named
    assert right.what.startswith("the cluster at https://127.0.0.1:1 cannot be reached")
    moon = run(queue, region="moon", namespace="data", monkeypatch=monkeypatch)
    assert moon.what == "'moon' is not a region"
    strange = run(queue, region="eu-west-1", namespace="A B", monkeypatch=monkeypatch)
    assert (strange.what.partition(":")[0], strange.where) == ("'A B' is not a namespace", "--namespace")


def test_install(queue: Path) -> None:
    right = install.manifests(install.Installation(namespace="data", region="eu-west-1", queue=queue))
    assert {item["metadata"]["namespace"] for item in right} == {"data"}
    with pytest.raises(UsageError, match="'A B' is not a namespace"):
        install.manifests(install.Installation(namespace="A B", region="eu-west-1", queue=queue))
