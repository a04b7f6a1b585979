"""The identity chain: `towpath identity apply` as one cold process, beside the procedure's own commands typed with the aws CLI.

Peer: awscli from PyPI. Both run against the same sandbox, round by round in turn, each round with names of its own; both have their
bytecode compiled, as an installed program has. The procedure's commands are its six and create-open-id-connect-provider; its
kubectl command is not counted against it, towpath's annotation is part of what is timed.

usage: python -m benchmarks.identity_apply [ROUNDS]
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from towpath.sandbox.main import Sandbox, without_aws

ROUNDS = 7
TARGET = 6.0
BIN = Path(sys.executable).parent
ACCOUNT = "123456789012"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
            "Resource": ["arn:aws:s3:::orders-lake", "arn:aws:s3:::orders-lake/*"],
        }
    ],
}
EC2 = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def main(rounds: int) -> None:
    compileall()
    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        environment = {**without_aws(os.environ), **sandbox.environment()}
        (directory / "s3-policy.json").write_text(json.dumps(POLICY))
        (directory / "trust-policy.json").write_text(json.dumps(EC2))
        ours: list[float] = []
        theirs: list[float] = []
        for number in range(rounds):
            # A cluster of its own for each, so that each has a provider to make.
            for who in ("cli", "towpath"):
                run(
                    [
                        str(BIN / "aws"),
                        "eks",
                        "create-cluster",
                        "--name",
                        f"{who}-{number}",
                        "--role-arn",
                        f"arn:aws:iam::{ACCOUNT}:role/x",
                        "--resources-vpc-config",
                        "{}",
                    ],
                    environment,
                    directory,
                )
            theirs.append(timed(lambda number=number: by_hand(number, environment, directory)))
            ours.append(timed(lambda number=number: by_towpath(number, environment, directory)))
    cli, towpath = statistics.median(theirs), statistics.median(ours)
    print(
        f"aws CLI {importlib.metadata.version('awscli')}, 7 commands: {cli:.2f} s (median of {rounds}, {min(theirs):.2f} to {max(theirs):.2f})"
    )
    print(
        f"towpath identity apply, 1 cold process: {towpath:.2f} s (median of {rounds}, {min(ours):.2f} to {max(ours):.2f})"
    )
    print(f"ratio {cli / towpath:.1f} (target: at least {TARGET:.0f})")


def by_hand(number: int, environment: dict[str, str], directory: Path) -> None:
    """The procedure, as it is written."""

    def aws(*words: str) -> str:
        return run([str(BIN / "aws"), *words], environment, directory)

    policy, role = f"cli-policy-{number}", f"cli-role-{number}"
    aws("iam", "create-policy", "--policy-name", policy, "--policy-document", "file://s3-policy.json")
    aws("iam", "create-role", "--role-name", role, "--assume-role-policy-document", "file://trust-policy.json")
    aws("iam", "attach-role-policy", "--role-name", role, "--policy-arn", f"arn:aws:iam::{ACCOUNT}:policy/{policy}")
    issuer = aws(
        "eks",
        "describe-cluster",
        "--name",
        f"cli-{number}",
        "--region",
        "eu-west-1",
        "--query",
        "cluster.identity.oidc.issuer",
        "--output",
        "text",
    ).strip()
    aws("iam", "list-open-id-connect-providers")
    aws("iam", "create-open-id-connect-provider", "--url", issuer, "--client-id-list", "sts.amazonaws.com")
    host = issuer.removeprefix("https://")
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:sub": "system:serviceaccount:data:hd-job-sa"}},
    }
    (directory / "trust-policy-irsa.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    aws("iam", "update-assume-role-policy", "--role-name", role, "--policy-document", "file://trust-policy-irsa.json")


def by_towpath(number: int, environment: dict[str, str], directory: Path) -> None:
    command = [
        str(BIN / "towpath"),
        "identity",
        "apply",
        "--eks",
        f"towpath-{number}",
        "--region",
        "eu-west-1",
        "--namespace",
        "data",
        "--service-account",
        "hd-job-sa",
    ]
    run(
        [*command, "--role", f"towpath-role-{number}", "--policy-file", "s3-policy.json", "--state", "state", "--yes"],
        environment,
        directory,
    )


def run(command: list[str], environment: dict[str, str], directory: Path) -> str:
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def timed(work: object) -> float:
    started = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - started


def compileall() -> None:
    import towpath

    subprocess.run(
        [sys.executable, "-m", "compileall", "-q", str(Path(towpath.__file__).parent)],
        check=False,
        stdout=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
