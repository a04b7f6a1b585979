"""Decisions a second: `iam.decide` beside the core of npm's @cloud-copilot/iam-simulate, in one run, on the same cases.

A role's session with five of AWS's managed policies, loaded and compiled once. Every case is another request: its action, its resource
and the values of its twelve condition keys. Request and context are made inside the clock on both sides; no side remembers decisions.
Each side runs in a process of its own, one after the other, alternating, and the better round of each counts.

The peer runs in node, installed by npm from tests/oracle's lock file into .cache/oracle; nothing of it is imported here.

usage: python -m benchmarks.decide [CASES] [ROUNDS]
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import botocore.session
from moto.iam.aws_managed_policies import aws_managed_policies_data  # pyright: ignore[reportMissingTypeStubs]
from tests.oracle import engine

from towpath.iam.context import Context
from towpath.iam.decide import Caller, NamedPolicy, PolicySet, Request, decide
from towpath.iam.policy import PolicyKind, parse_policy

CASES = 100_000
PEER_SHARE = 10  # the peer answers every tenth case: it is that much slower, and its rate does not depend on the number
ROUNDS = 3
TARGET = 20
ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/etl/nightly"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/nightly/run-1"
POLICIES = (
    "AmazonAthenaFullAccess",
    "AWSGlueConsoleFullAccess",
    "AmazonEMRFullAccessPolicy_v2",
    "AmazonMSKFullAccess",
    "SecretsManagerReadWrite",
)
SERVICES = ("athena", "glue", "s3", "emr", "kafka", "ec2", "iam", "secretsmanager", "dynamodb", "logs", "lambda", "sns")
SAYS = {"Allowed": "allowed", "ImplicitlyDenied": "implicitDeny", "ExplicitlyDenied": "explicitDeny"}

Case = tuple[str, str, dict[str, str]]


def main(count: int, rounds: int) -> None:
    if (why := engine.missing()) is not None:
        sys.exit(why)
    documents = _documents()
    cases = _cases(count + 2_000, random.Random(20260128))
    cases, warm = cases[:count], cases[count:]
    ours: list[tuple[float, list[str], list[int]]] = []
    theirs: list[tuple[float, list[str], list[int]]] = []
    for _ in range(rounds):
        theirs.append(_peer(documents, cases[::PEER_SHARE], warm))
        ours.append(_own(documents, cases, warm))
    mine, peer = min(ours), min(theirs)
    rate, peer_rate = count / mine[0], len(peer[1]) / peer[0]
    _say("towpath iam.decide", rate, mine)
    _say("iam-simulate core", peer_rate, peer)
    print(f"ratio {rate / peer_rate:.1f} (target {TARGET}); rounds: {rounds}, {count:,} and {len(peer[1]):,} cases")
    apart = [
        case
        for case, a, b in zip(cases[::PEER_SHARE], mine[1][::PEER_SHARE], peer[1], strict=True)
        if a != SAYS.get(b, b)
    ]
    print(f"disagreements: {len(apart)}")
    if apart:
        sys.exit(f"the two disagree, first on {apart[0]}")
    if rate < TARGET * peer_rate:
        sys.exit(f"under the target of {TARGET} times the peer")


def _say(name: str, rate: float, run: tuple[float, list[str], list[int]]) -> None:
    _, outcomes, nanoseconds = run
    ordered = sorted(nanoseconds)
    p50, p99 = (ordered[len(ordered) * share // 100] / 1000 for share in (50, 99))
    counts = Counter(SAYS.get(outcome, outcome) for outcome in outcomes)
    told = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in sorted(counts))
    print(f"{name}: {rate:,.0f} decisions a second, p50 {p50:.1f} µs, p99 {p99:.1f} µs; {told}")


def _documents() -> list[dict[str, Any]]:
    known = json.loads(aws_managed_policies_data)
    return [known[name]["Document"] for name in POLICIES]


def _cases(count: int, chance: random.Random) -> list[Case]:
    """Actions of a dozen services as botocore's models name them; resources and contexts as a data pipeline's requests have them."""
    session = botocore.session.get_session()
    actions: list[tuple[str, str]] = []
    for service in SERVICES:
        prefix = {"emr": "elasticmapreduce"}.get(service, service)
        actions += [(prefix, name) for name in session.get_service_model(service).operation_names]
    made: list[Case] = []
    for number in range(count):
        service, action = chance.choice(actions)
        if service == "s3":
            action = chance.choice(("GetObject", "PutObject", "ListBucket", "DeleteObject", action))
        made.append((f"{service}:{action}", _resource(service, number, chance), _context(number, chance)))
    return made


def _resource(service: str, number: int, chance: random.Random) -> str:
    if chance.random() < 0.25:
        return "*"
    region = chance.choice(("eu-west-1", "us-east-1"))
    name = f"{chance.choice(('aws-athena-query-results', 'aws-glue', 'orders', 'AmazonMSK_', 'crawler'))}-{number}"
    kind = {
        "s3": lambda: f"arn:aws:s3:::{name}" + chance.choice(("", f"/raw/part-{number}.parquet")),
        "iam": lambda: f"arn:aws:iam::{ACCOUNT}:role/{chance.choice(('service-role/', 'aws-service-role/', ''))}{name}",
        "ec2": lambda: f"arn:aws:ec2:{region}:{ACCOUNT}:{chance.choice(('instance', 'vpc', 'security-group'))}/{name}",
    }
    return kind.get(service, lambda: f"arn:aws:{service}:{region}:{ACCOUNT}:{name}")()


def _context(number: int, chance: random.Random) -> dict[str, str]:
    return {
        "aws:PrincipalArn": ROLE,
        "aws:PrincipalAccount": ACCOUNT,
        "aws:PrincipalType": "AssumedRole",
        "aws:userid": f"AROAEXAMPLEEXAMPLE000:run-{number}",
        "aws:RequestedRegion": chance.choice(("eu-west-1", "us-east-1")),
        "aws:SourceIp": f"10.{number % 250}.{chance.randrange(250)}.7",
        "aws:SecureTransport": chance.choice(("true", "false")),
        "aws:CurrentTime": f"2026-01-{1 + number % 28:02d}T12:00:{number % 60:02d}Z",
        "aws:ResourceAccount": ACCOUNT,
        "aws:ResourceTag/for-use-with-amazon-emr-managed-policies": chance.choice(("true", "false")),
        "iam:PassedToService": chance.choice(
            ("glue.amazonaws.com", "ec2.amazonaws.com", "elasticmapreduce.amazonaws.com")
        ),
        "iam:AWSServiceName": chance.choice(("kafka.amazonaws.com", "autoscaling.amazonaws.com")),
    }


def _own(documents: list[dict[str, Any]], cases: list[Case], warm: list[Case]) -> tuple[float, list[str], list[int]]:
    """In this process: seconds in all, outcomes, nanoseconds of each."""
    policies = PolicySet(
        identity=tuple(
            NamedPolicy(name=name, document=parse_policy(document, kind=PolicyKind.IDENTITY))
            for name, document in zip(POLICIES, documents, strict=True)
        )
    )
    caller = Caller(arn=SESSION, account=ACCOUNT, role_arn=ROLE)
    clock = time.perf_counter_ns
    for action, resource, keys in warm:
        decide(Request(action=action, resource=resource, caller=caller, context=Context(keys)), policies)
    outcomes: list[str] = [""] * len(cases)
    nanoseconds: list[int] = [0] * len(cases)
    gc.collect()
    started = clock()
    for place, (action, resource, keys) in enumerate(cases):
        before = clock()
        made = decide(Request(action=action, resource=resource, caller=caller, context=Context(keys)), policies)
        nanoseconds[place] = clock() - before
        outcomes[place] = made.outcome
    return (clock() - started) / 1e9, outcomes, nanoseconds


def _peer(documents: list[dict[str, Any]], cases: list[Case], warm: list[Case]) -> tuple[float, list[str], list[int]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cases.json"
        principal, account = SESSION, ACCOUNT
        path.write_text(
            json.dumps(
                {"principal": principal, "account": account, "policies": documents, "cases": cases, "warm": warm}
            )
        )
        done = subprocess.run(
            ["node", str(Path(__file__).with_name("decide_peer.mjs")), str(engine.CACHE), str(path)],
            check=True,
            capture_output=True,
            text=True,
        )
    answer = json.loads(done.stdout)
    return answer["seconds"], answer["outcomes"], answer["nanoseconds"]


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:3]]
    main(*(numbers + [CASES, ROUNDS][len(numbers) :]))
