"""A sandbox for as long as a terminal, or one command, lasts."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from towpath.errors import UsageError
from towpath.sandbox.settings import SandboxSettings

if TYPE_CHECKING:
    from towpath.sandbox.main import Sandbox


def serve(settings: SandboxSettings, *, as_json: bool) -> None:
    """Run until SIGINT or SIGTERM. Prints one JSON document, or shell exports a person can paste."""
    stopped = threading.Event()
    _on_stop(lambda _: stopped.set())
    with _starting(settings) as sandbox:
        _announce(sandbox, as_json=as_json)
        stopped.wait()
    if not as_json:
        kept = f"IAM, STS, EKS and S3 are kept in {settings.state}" if settings.state else "nothing it held is kept"
        sys.stderr.write(f"sandbox stopped; {kept}\n")


def run(settings: SandboxSettings, command: Sequence[str]) -> int:
    """COMMAND's exit status (128 + n when signal n ended it), with a sandbox beside it."""
    from towpath.sandbox.main import without_aws

    with _starting(settings) as sandbox:
        environment = {**without_aws(os.environ), **sandbox.environment()}
        # From here a signal is the command's to end on: SIGTERM is passed on, Ctrl-C it gets from the terminal itself.
        child: subprocess.Popen[bytes] | None = None
        terminated = threading.Event()

        def on_stop(number: int) -> None:
            if number == signal.SIGTERM:
                terminated.set()
                if child is not None:
                    child.terminate()

        _on_stop(on_stop)
        try:
            child = subprocess.Popen(list(command), env=environment)
        except OSError as error:
            raise UsageError(
                f"cannot run {command[0]}: {error.strerror}",
                where="towpath sandbox run",
                todo="give a command on the PATH, after --",
            ) from None
        if terminated.is_set():
            child.terminate()
        status = child.wait()
    return status if status >= 0 else 128 - status


def _starting(settings: SandboxSettings) -> Sandbox:
    from towpath.sandbox.main import Sandbox

    return Sandbox(settings)


def _announce(sandbox: Sandbox, *, as_json: bool) -> None:
    from towpath.sandbox.server import is_loopback

    environment = sandbox.environment()
    if as_json:
        print(
            json.dumps(
                {
                    "endpoint": sandbox.endpoint,
                    "tls_endpoint": sandbox.tls_endpoint,
                    "ca_file": sandbox.ca_file,
                    "region": sandbox.settings.region,
                    "account": sandbox.settings.account,
                    "cluster": sandbox.settings.cluster,
                    "environment": environment,
                }
            ),
            flush=True,
        )
        return
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")
    sys.stdout.flush()
    sys.stderr.write(
        f"sandbox at {sandbox.endpoint}, and over TLS at the same port (account {sandbox.settings.account}, {sandbox.settings.region}, EKS cluster {sandbox.settings.cluster}); Ctrl-C stops it\n"
    )
    if sandbox.settings.state:
        sys.stderr.write(f"IAM, STS, EKS and S3 are kept in {sandbox.settings.state}; every other service is not\n")
    if not is_loopback(sandbox.settings.listen):
        sys.stderr.write(f"warning: it listens on {sandbox.settings.listen}, open to that network\n")


def _on_stop(handler: Callable[[int], None]) -> None:
    def act(number: int, _frame: FrameType | None) -> None:
        handler(number)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, act)
