"""Processes in cgroups of their own, known by pid and start time, ended by exactly that."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")


class Daemons:
    """`directory` holds a pid file and a log for each; `cgroup` is the name of the tree they and all pods live in."""

    def __init__(self, directory: Path, cgroup: str) -> None:
        self._directory = directory
        self._cgroup = cgroup

    def start(self, name: str, command: list[str], *, environment: dict[str, str] | None = None) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        groups = [make_cgroup(root / self._cgroup / "daemons" / name, root) for root in hierarchies()]
        enter = "; ".join(f"echo $$ > '{group}/cgroup.procs'" for group in groups)

        # Spawned, not held: whoever started it may end long before it does.
        opened = os.open(self.log(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            pid = os.posix_spawn(
                "/bin/sh",
                ["/bin/sh", "-c", f'{enter}; cd /; exec "$@"', name, *command],
                os.environ if environment is None else environment,
                setsid=True,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing, 0),
                    (os.POSIX_SPAWN_DUP2, opened, 1),
                    (os.POSIX_SPAWN_DUP2, opened, 2),
                ],
            )
        finally:
            os.close(opened)
            os.close(nothing)
        (self._directory / f"{name}.pid").write_text(json.dumps([pid, start_time(pid)]))

    def log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def running(self, name: str) -> int | None:
        """The pid, when that very process still runs."""
        try:
            pid, started = json.loads((self._directory / f"{name}.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if start_time(pid) == started else None

    def stop(self, name: str, *, grace: float = 5.0) -> None:
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
            pid = self.running(name)
            if pid is None:
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            wait(lambda: self.running(name) is None, patience)
        (self._directory / f"{name}.pid").unlink(missing_ok=True)

    def last_words(self, name: str, lines: int = 5) -> str:
        try:
            return "\n".join(self.log(name).read_text(errors="replace").strip().splitlines()[-lines:])
        except OSError:
            return ""


def start_time(pid: int) -> str | None:
    """Field 22 of /proc/PID/stat; with the pid it names one process of this boot. None for one that ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def hierarchies() -> list[Path]:
    """The roots under which a process is placed: one for each v1 controller, or the one of v2."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in sorted(CGROUPS.iterdir()) if path.is_dir() and path.name != "unified"]


def make_cgroup(group: Path, root: Path) -> Path:
    """The group and those above it. A v1 cpuset accepts no process before it is told its processors."""
    for path in [*reversed([p for p in group.parents if p.is_relative_to(root) and p != root]), group]:
        path.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (path / name).exists() and not (path / name).read_text().strip():
                (path / name).write_text((path.parent / name).read_text().strip())
    return group


def processes(cgroup: str) -> set[int]:
    """Every process anywhere in the tree."""
    found: set[int] = set()
    for path in _groups(cgroup):
        with contextlib.suppress(OSError):
            found |= {int(word) for word in (path / "cgroup.procs").read_text().split()}
    return found


def remove_cgroups(cgroup: str) -> None:
    """End whatever is left in the tree, then the tree."""
    for pid in processes(cgroup):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait(lambda: not processes(cgroup), 10)

    def gone() -> bool:
        for path in _groups(cgroup):
            with contextlib.suppress(OSError):
                path.rmdir()
        return not list(_groups(cgroup))

    wait(gone, 5)


def _groups(cgroup: str) -> Iterator[Path]:
    """Deepest first; in the unified hierarchy beside v1 too, where the runtime makes groups of the same name."""
    for root in {*hierarchies(), *(path for path in CGROUPS.glob("unified") if path.is_dir())}:
        for path, _, _ in os.walk(root / cgroup, topdown=False):
            yield Path(path)


def wait(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
