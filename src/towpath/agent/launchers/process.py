"""One attempt as a local process, exactly as a pod would run it: a token in a file, and an environment made from nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

from pydantic import ValidationError

from towpath.errors import WorldError
from towpath.job.attempt import AttemptSpec
from towpath.job.result import Result

INHERITED: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "DYLD_LIBRARY_PATH",
    "LD_LIBRARY_PATH",
)
RENEW: Final = 0.8  # of a token's life, as the kubelet does it
GRACE: Final = 10.0  # seconds between SIGTERM and SIGKILL
TAIL: Final = 40  # lines of the log kept for an error

Event = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Token:
    text: str
    lifetime: float  # seconds


class AttemptError(WorldError):
    """The attempt ended without a result."""


def run_attempt(
    spec: AttemptSpec,
    *,
    token: Callable[[], Token],
    on_event: Callable[[Event], None] | None = None,
    extra: Mapping[str, str] | None = None,
) -> Result:
    """Run the attempt and give its result. `token` is asked again before the token expires.

    `extra` are variables the pipeline's secrets are handed over in. Whatever ends this call ends the process and removes its files.
    Raises AttemptError when there is no result.
    """
    with tempfile.TemporaryDirectory(prefix="towpath-attempt-") as name:  # made 0700
        directory = Path(name)
        files = _files(directory, spec)
        first = token()
        _write_token(files["token"], first.text)
        environment = child_environment(spec, files, os.environ) | dict(extra or {})
        # -P: the working directory is not on the module path, so that a file lying there cannot pass for a module.
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "towpath.job"],
            env=environment,
            cwd=Path.cwd(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        stop = threading.Event()
        renewer = threading.Thread(target=_renew, args=(stop, token, first, files["token"]), daemon=True)
        renewer.start()
        tail: list[str] = []
        try:
            _follow(cast("IO[str]", child.stderr), tail, on_event)
            status = child.wait()
        finally:
            stop.set()
            _end(child)
            renewer.join(timeout=5)
        return _result(files["result"], status, tail)


def child_environment(spec: AttemptSpec, files: Mapping[str, Path], environ: Mapping[str, str]) -> dict[str, str]:
    """The child's whole environment: what Python needs, and the variables of the pod. No key, and nothing of a sandbox's. Pure."""
    out = {name: environ[name] for name in INHERITED if name in environ}
    out |= {
        "HOME": str(files["home"]),
        "TMPDIR": str(files["home"]),
        "AWS_ROLE_ARN": spec.role_arn,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(files["token"]),
        "AWS_REGION": spec.region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(files["config"]),
        "AWS_SHARED_CREDENTIALS_FILE": str(files["config"]),
        "TOWPATH_ATTEMPT": str(files["spec"]),
        "TOWPATH_RESULT": str(files["result"]),
    }
    if spec.endpoint_url is not None:
        out["AWS_ENDPOINT_URL"] = spec.endpoint_url
    if spec.ca_bundle is not None:
        out["AWS_CA_BUNDLE"] = spec.ca_bundle
    return out


def _files(directory: Path, spec: AttemptSpec) -> dict[str, Path]:
    files = {name: directory / name for name in ("token", "config", "spec", "result", "home")}
    files["home"].mkdir(mode=0o700)
    files["config"].touch(mode=0o600)
    files["spec"].write_text(spec.model_dump_json(), encoding="utf-8")
    return files


def _write_token(path: Path, text: str) -> None:
    """Put a new token in place at once: a reader sees the old one or the new one."""
    temporary = path.with_name(".token")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
    temporary.replace(path)


def _renew(stop: threading.Event, token: Callable[[], Token], first: Token, path: Path) -> None:
    current = first
    while not stop.wait(max(1.0, current.lifetime * RENEW)):
        try:
            current = token()
        except WorldError:
            current = Token(text=current.text, lifetime=10.0)  # try again soon; the old token serves until it expires
            continue
        _write_token(path, current.text)


def _follow(stream: IO[str], tail: list[str], on_event: Callable[[Event], None] | None) -> None:
    with stream:
        for line in stream:
            tail.append(line.rstrip())
            del tail[:-TAIL]
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if on_event is not None and isinstance(event, dict):
                on_event(cast("Event", event))


def _end(child: subprocess.Popen[str]) -> None:
    """End the process and everything it started."""
    for number, grace in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        if child.poll() is not None:
            break
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            continue


def _result(path: Path, status: int, tail: list[str]) -> Result:
    try:
        result = Result.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        ended = f"by signal {-status}" if status < 0 else f"with status {status}"
        raise AttemptError(
            f"the attempt ended {ended} and left no result",
            where="towpath.job",
            todo="the last lines of its log: " + " | ".join(tail[-3:]),
        ) from None
    if (status == 0) != (result.status == "succeeded"):
        raise AttemptError(
            f"the attempt says {result.status} and ended with status {status}",
            where="towpath.job",
            todo="the last lines of its log: " + " | ".join(tail[-3:]),
        )
    return result
