"""How long `towpath sandbox` takes until it can be used: from the start of the process to the line that says where it is.

Peer: `moto_server` until it answers. Then the same with --state: an empty directory, and one in which ROLES roles, each with a policy,
and as many sessions were acknowledged before a kill.

usage: python -m benchmarks.sandbox_start [ROUNDS [ROLES]]
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import wrk

ROUNDS, ROLES = 7, 200
TARGET = 1.5  # seconds
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "sts:AssumeRole"}
    ],
}


def main(rounds: int, roles: int) -> None:
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    moto = [_moto() for _ in range(rounds)]
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty"
        filled = Path(folder) / "filled"
        _fill(filled, roles)
        size = (filled / "journal").stat().st_size
        cases = {
            "without --state": (),
            "--state, empty": ("--state", str(empty)),
            f"--state, {roles} roles and their sessions ({size / 2**20:.1f} MiB)": ("--state", str(filled)),
        }
        print(f"moto_server: {statistics.median(moto):.2f} s")
        seconds: list[float] = []
        for what, arguments in cases.items():
            found = [_start(*arguments) for _ in range(rounds)]
            walls, processor = [wall for wall, _ in found], [cpu for _, cpu in found]
            seconds.append(statistics.median(walls))
            print(
                f"towpath sandbox {what}: {seconds[-1]:.2f} s (median of {rounds}, {min(walls):.2f} to {max(walls):.2f}),"
                f" {statistics.median(processor):.2f} s of processor"
            )
    if seconds[0] >= TARGET:
        sys.exit(f"it took {seconds[0]:.2f} s: over the target of {TARGET} s")


def _start(*arguments: str) -> tuple[float, float]:
    """Seconds until its first line, and seconds of processor time of its whole life."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with wrk.sandbox(*arguments):
        wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _moto() -> float:
    began = time.perf_counter()
    with wrk.moto_server():
        return time.perf_counter() - began


def _fill(state: Path, roles: int) -> None:
    """Then the sandbox is killed, not stopped: what is left is what a kill leaves."""
    import boto3

    command = [sys.executable, "-c", wrk.TOWPATH, "sandbox", "--port", "0", "--json", "--state", str(state)]
    with subprocess.Popen(command, env=wrk.environment(), cwd=wrk.ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            environment = json.loads(process.stdout.readline())["environment"]

            def client(service: str, key: str, secret: str) -> Any:
                return boto3.client(
                    service,
                    endpoint_url=environment["AWS_ENDPOINT_URL"],
                    region_name="eu-west-1",
                    aws_access_key_id=key,
                    aws_secret_access_key=secret,
                )

            iam = client("iam", environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
            iam.create_user(UserName="maker")
            allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
            document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
            iam.put_user_policy(UserName="maker", PolicyName="p", PolicyDocument=document)
            key = iam.create_access_key(UserName="maker")["AccessKey"]
            sts = client("sts", key["AccessKeyId"], key["SecretAccessKey"])
            for number in range(roles):
                role = iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
                iam.put_role_policy(RoleName=f"r{number}", PolicyName="p", PolicyDocument=document)
                sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")
        finally:
            process.kill()


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS,
        int(sys.argv[2]) if len(sys.argv) > 2 else ROLES,
    )
