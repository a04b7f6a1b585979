"""Where a sandbox keeps things on disk: the directory given with `--state`, or one of its own that goes when it ends.

One sandbox has a directory at a time: it holds a lock that the system gives back when the process ends, however it ends. That is also
how a directory of a process that was killed is told from one in use.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from towpath.sandbox.errors import SandboxError

PREFIX: Final = "towpath-sandbox-"
LOCK: Final = "lock"
JOURNAL: Final = "journal"
OBJECTS: Final = "objects"
TLS: Final = "tls"
RESETTING: Final = "resetting"  # there while everything is being emptied


class StateDirectory:
    """A locked directory, mode 0700. `close` gives it back, and removes it if it was made for this sandbox alone."""

    def __init__(self, path: Path, lock: int, *, temporary: bool) -> None:
        self.path = path
        self.temporary = temporary
        self._lock = lock
        atexit.register(self.close)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises SandboxError if it is another sandbox's just now, or holds something else."""
        where = str(path)
        if path.exists() and not path.is_dir():
            raise SandboxError(f"{path} is not a directory", where="--state", todo="give a directory of yours")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.stat()
            names = {item.name for item in path.iterdir()}
        except OSError as error:
            raise SandboxError(
                f"cannot use {path}: {error.strerror}", where=where, todo="give a directory of yours with --state"
            ) from None
        if names and LOCK not in names:
            raise SandboxError(
                f"{path} holds something that no sandbox made", where=where, todo="give an empty or a new directory"
            )
        if found.st_uid != os.getuid():
            raise SandboxError(f"{path} belongs to somebody else", where=where, todo="give a directory of yours")
        try:
            path.chmod(0o700)
            lock = _locked(path)
        except OSError as error:
            raise SandboxError(
                f"{path} cannot be locked: {error.strerror}",
                where=str(error.filename or path / LOCK),
                todo="see that the directory can be written and its disk has room, or give another with --state",
            ) from None
        if lock is None:
            with suppress(OSError):
                where = f"{path} (process {(path / LOCK).read_text().strip()})"
            raise SandboxError(
                f"another sandbox has {path}", where=where, todo="stop that one first, or give another directory"
            )
        return cls(path, lock, temporary=False)

    @classmethod
    def make(cls) -> Self:
        """One of its own, after removing those that processes left behind when they were killed."""
        _remove_stale(Path(tempfile.gettempdir()))
        while True:
            path = Path(tempfile.mkdtemp(prefix=PREFIX))  # mode 0700
            lock = _locked(path)
            if lock is not None and (path / LOCK).exists():
                return cls(path, lock, temporary=True)

    def close(self) -> None:
        if self._lock < 0:
            return
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1
        atexit.unregister(self.close)


def _locked(path: Path) -> int | None:
    """A descriptor that holds the directory's lock, or None if another process has it."""
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            # One without its lock is being made, or is no sandbox's.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or not (path / LOCK).exists():
                continue
            lock = _locked(path)
            if lock is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(lock)
