"""The second opinion as a process of its own: found, installed once, asked line by line."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from .world import World

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".cache" / "oracle"
LOCK = HERE / "package-lock.json"
SAYS = {"Allowed": "allowed", "ImplicitlyDenied": "implicitDeny", "ExplicitlyDenied": "explicitDeny"}


def missing() -> str | None:
    """Why the engine cannot run here, in words; None when it can. Installs it into `.cache/oracle` when it is not there."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            return f"the second opinion on decisions needs {program}, which is not on this machine's PATH"
    stamp = CACHE / hashlib.sha256(LOCK.read_bytes()).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:  # test processes side by side install it once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return None
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, CACHE)
        done = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=CACHE,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return f"npm could not install the second opinion on decisions: {last}"
        stamp.touch()
    return None


class Engine:
    """One node process, for as long as the `with` block lasts."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["node", str(HERE / "engine.mjs"), str(CACHE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def ask(self, world: World) -> list[str]:
        """One outcome for each request: allowed, implicitDeny, explicitDeny, or `error: …` where the engine gave up."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(world.as_json()) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the engine ended"
        return [SAYS.get(outcome, outcome) for outcome in json.loads(line)]
