"""A real cluster for these tests: the one TOWPATH_TEST_KUBECONFIG names, else `make cluster`'s, else they are skipped and say so.

The sandbox runs as its own process at an address pods can reach, and verifies tokens through the cluster's own discovery document.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools.cluster.lifecycle import Cluster
from tools.cluster.settings import Settings

GIVEN = os.environ.get("TOWPATH_TEST_KUBECONFIG")  # read before the tests' environment is cleaned
ADDRESS = os.environ.get("TOWPATH_TEST_ADDRESS")  # of this machine, as that cluster's pods reach it
_numbers = itertools.count()


@dataclass(frozen=True)
class TestCluster:
    """`own` is the cluster of tools/cluster, which tests may disturb; None for one that was given."""

    __test__ = False

    kubeconfig: Path
    server: str
    ca_file: Path
    address: str
    own: Cluster | None

    def kubectl(self, *words: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        program = "kubectl"
        if self.own is not None:
            from tools.cluster import binaries

            program = str(binaries.kubernetes() / "kubectl")
        done = subprocess.run(
            [program, "--kubeconfig", str(kubeconfig or self.kubeconfig), *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr}"
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.kubectl(*words, "-o", "json"))


@pytest.fixture(scope="session")
def cluster() -> TestCluster:
    own = Cluster(Settings())
    if GIVEN is None and not own.ready():
        pytest.skip("no cluster: `make cluster` brings one up (root, Debian), or name one with TOWPATH_TEST_KUBECONFIG")
    kubeconfig = Path(GIVEN) if GIVEN is not None else own.settings.kubeconfig
    config = yaml.safe_load(kubeconfig.read_text())
    found = config["clusters"][0]["cluster"]
    handle, name = tempfile.mkstemp(prefix="towpath-ca-")
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64decode(found["certificate-authority-data"]))
    return TestCluster(
        kubeconfig=kubeconfig,
        server=found["server"],
        ca_file=Path(name),
        address=ADDRESS or (own.settings.node_address if GIVEN is None else "127.0.0.1"),
        own=own if GIVEN is None else None,
    )


@pytest.fixture
def namespace(cluster: TestCluster) -> Iterator[str]:
    """A namespace for one test, gone afterwards."""
    name = f"towpath-test-{os.getpid()}-{next(_numbers)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@dataclass(frozen=True)
class RunningSandbox:
    endpoint: str
    environment: dict[str, str]


@pytest.fixture(scope="session")
def cluster_sandbox(cluster: TestCluster) -> Iterator[RunningSandbox]:
    """`towpath sandbox` beside the cluster, which knows the cluster's issuer by its public name."""
    issuer = json.loads(cluster.kubectl("get", "--raw", "/.well-known/openid-configuration"))
    mapping = f"{issuer['issuer']}={cluster.server},{cluster.ca_file}"
    command = [str(Path(sys.executable).with_name("towpath")), "sandbox", "--listen", cluster.address, "--port", "0"]
    with subprocess.Popen(
        [*command, "--map-issuer", mapping, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        found = json.loads(process.stdout.readline())
        yield RunningSandbox(
            endpoint=found["environment"]["AWS_ENDPOINT_URL"],
            environment=found["environment"] | {"TOWPATH_ISSUER_MAP": mapping},
        )
        process.terminate()


@pytest.fixture
def aws(cluster_sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """The sandbox's administrator in this process's environment; service accounts are Kubernetes' own."""
    for name, value in cluster_sandbox.environment.items():
        if not name.startswith("TOWPATH_SANDBOX_"):
            monkeypatch.setenv(name, value)
    return cluster_sandbox


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool | None, bool | None]:
    """These run one at a time with all they set up, in whichever process: some stop the node or the API server.

    A file lock and not pytest-xdist's groups, which pytest 9.2 does not heed: xdist 3.8 writes them where ids are no longer read from.
    """
    if not item.path.is_relative_to(Path(__file__).parent):
        return (yield)
    with (Path(tempfile.gettempdir()) / "towpath-cluster-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return (yield)
