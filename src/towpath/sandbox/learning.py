"""A command run twice, each time in a sandbox of its own: under everything, to see what it needs, and under that alone, to see whether
it is enough.

The command is what a job is: it holds a service account's token and the name of a role, and no key. Each run has its own process with its
own sandbox, so that the second begins where the first began.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from towpath.errors import UsageError, WorldError
from towpath.iam import build, learn
from towpath.sandbox import job_role
from towpath.sandbox.client import SandboxClient, from_environment

SERVICE_ACCOUNT: Final = "learn/job"
TOKEN_SECONDS: Final = 86_400
EVERYTHING: Final = build.policy([{"Effect": "Allow", "Action": "*", "Resource": "*"}])


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is run: the command, the role it becomes, and a shell line that makes its world first, as the administrator."""

    command: Sequence[str]
    role: str = "learned"
    setup: str | None = None
    options: Sequence[str] = ()  # of `towpath sandbox`


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one run ended."""

    status: int
    seen: learn.Observed


@dataclass(frozen=True, kw_only=True)
class Learned:
    """`policy` came from the first run; the second had nothing else."""

    policy: Mapping[str, Any]
    first: Run
    second: Run

    @property
    def holds(self) -> bool:
        """Whether the second run ended as the first, and was refused nothing that the first was not."""
        before = {_what(call) for call in self.first.seen.refused}
        return self.second.status == 0 and all(_what(call) in before for call in self.second.seen.refused)


def learn_by_running(job: Job, *, generalise: Sequence[str] = ()) -> Learned:
    """Raises WorldError when the command fails even where everything is allowed, UsageError when it asks for nothing."""
    first = run(job, EVERYTHING)
    if first.status != 0:
        raise WorldError(
            f"the command ended with {first.status} although everything was allowed to it",
            where=job.command[0],
            todo="make it work first: what it needs to find there (buckets, secrets) is made by --setup",
        )
    policy = learn.policy(first.seen.permissions, generalise=generalise)
    return Learned(policy=policy, first=first, second=run(job, policy))


def run(job: Job, policy: Mapping[str, Any]) -> Run:
    """The command under a role that has this policy and no other."""
    with (
        _sandbox(job.options) as administrator,
        closing(from_environment(administrator)) as client,
        tempfile.TemporaryDirectory(prefix="towpath-learn-") as name,
    ):
        role_arn = job_role.make(administrator, job.role, policy, service_account=SERVICE_ACCOUNT)
        if job.setup is not None:
            done = subprocess.run(
                ["sh", "-c", job.setup], env={**_without_aws(), **administrator}, stdout=sys.stderr, check=False
            )
            if done.returncode:
                raise WorldError(f"the setup ended with {done.returncode}", where=job.setup, todo="correct --setup")
        token = client.token(SERVICE_ACCOUNT, expires_in=TOKEN_SECONDS)["token"]
        environment = {
            **_without_aws(),
            **job_role.environment(
                administrator, role_arn=role_arn, token=token, file=Path(name) / "token", session="learn"
            ),
        }
        with _collecting(client) as calls:
            status = _status(job.command, environment)
    return Run(status=status, seen=learn.observe(calls, principal=role_arn))


def _status(command: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        # Standard output is the policy's.
        status = subprocess.run(list(command), env=dict(environment), stdout=sys.stderr, check=False).returncode
    except OSError as error:
        raise UsageError(
            f"cannot run {command[0]}: {error.strerror}", where="towpath policy learn", todo="give a command after --"
        ) from None
    return status if status >= 0 else 128 - status


@contextmanager
def _sandbox(options: Sequence[str]) -> Generator[dict[str, str]]:
    """A sandbox in a process of its own; gives the administrator's environment. Raises WorldError when it does not start."""
    # A session of its own: Ctrl-C is the command's to end on, and the sandbox's end comes after it.
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "towpath", "sandbox", "--port", "0", "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        line = cast("Any", child.stdout).readline()
        if not line:
            raise WorldError("the sandbox did not start", where="towpath sandbox", todo="see its words above")
        yield json.loads(line)["environment"]
    finally:
        child.terminate()
        child.wait(timeout=20)
        cast("Any", child.stdout).close()


@contextmanager
def _collecting(client: SandboxClient) -> Generator[list[dict[str, Any]]]:
    """Every call from now until the end of the block, however many: the record itself keeps only the last."""
    begin = client.calls()
    number = begin[-1]["number"] if begin else 0
    calls: list[dict[str, Any]] = []
    over = threading.Event()

    def collect() -> None:
        last = number
        while not over.is_set():
            calls.extend(new := client.calls(last, wait=0.5))
            last = new[-1]["number"] if new else last
        calls.extend(client.calls(last))

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    try:
        yield calls
    finally:
        over.set()
        thread.join(timeout=20)


def _what(call: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(call["action"]), str(call["resource"]), str(call["code"])


def _without_aws() -> dict[str, str]:
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("AWS_", "TOWPATH_SANDBOX_", "TOWPATH_ISSUER_MAP"))
    }
