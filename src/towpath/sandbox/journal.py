"""What was acknowledged, line by line, so that it can be made again: `--state`'s memory of everything but objects.

    b5f0c2d1 {"format": 1, …}                      first what the file is, and what made it
    1c291ca3 [["call", {…}], ["key", {…}]]         then a line for each acknowledged request: its facts, in order

A line is in the file (and with `fsync` on the disk) before its request is answered, so a kill loses nothing acknowledged. Each begins
with its checksum: of a torn last line nothing was acknowledged, and it is cut off; one that is wrong elsewhere is refused. Facts are
secrets (keys, tokens): the file can be read by its owner alone.
"""

from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

from towpath.sandbox.errors import SandboxError

FORMAT: Final = 1

Fact = tuple[str, dict[str, Any]]  # kind, and what happened
Handlers = Mapping[str, Callable[[dict[str, Any]], None]]


class Journal:
    """Append-only. Facts told inside `together` become one line; two threads' lines never mix."""

    def __init__(self, path: Path, header: Mapping[str, Any], *, fsync: bool = False) -> None:
        """Raises SandboxError for a file of another format, or made under other settings than `header` says."""
        self._path = path
        self._header = {"format": FORMAT, **header}
        self._fsync = fsync
        self._order = threading.RLock()  # held from the first to the last change of one request
        self._lock = threading.Lock()
        self._local = threading.local()
        self._replaying = False
        self._file: IO[bytes]
        if path.exists() and path.stat().st_size:
            self._check_header()
            self._cut_torn_line()
            self._file = path.open("ab", buffering=0)
        else:
            self.restart()

    # --- writing -----------------------------------------------------------------------------------------------------

    def add(self, kind: str, fact: dict[str, Any]) -> None:
        if self._replaying:
            return
        group: list[Fact] | None = getattr(self._local, "group", None)
        if group is not None:
            group.append((kind, fact))
        else:
            self._write([(kind, fact)])

    @contextmanager
    def together(self) -> Generator[None]:
        """Everything told by this thread meanwhile is one line, written when the block ends, however it ends.

        One such block at a time: what depends on another request's change is written after it.
        """
        if getattr(self._local, "group", None) is not None:
            yield
            return
        with self._order:
            group: list[Fact] = []
            self._local.group = group
            try:
                yield
            finally:
                self._local.group = None
                if group:
                    self._write(group)

    def _write(self, facts: list[Fact]) -> None:
        line = _line(facts)
        with self._lock:
            self._file.write(line)
            if self._fsync:
                os.fsync(self._file.fileno())

    def restart(self) -> None:
        """Begin anew with nothing but the header."""
        self._replace([])

    def rewrite(self, keep: Callable[[list[Fact]], list[Fact]]) -> None:
        """Replace the lines by what `keep` leaves of each. In one step: a kill leaves the one file or the other."""
        self._replace(list(filter(None, (keep(facts) for facts in self._lines()))))

    def _replace(self, lines: list[list[Fact]]) -> None:
        with self._lock:
            new = self._path.with_suffix(".new")
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_line(self._header))
                file.writelines(map(_line, lines))
                file.flush()
                if self._fsync:
                    os.fsync(file.fileno())
            new.replace(self._path)
            if hasattr(self, "_file"):
                self._file.close()
            self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        with self._order, self._lock:
            self._file.close()

    # --- reading -----------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes."""
        return self._path.stat().st_size

    def replay(self, handlers: Handlers) -> int:
        """Give every fact to its handler, in order; what they tell meanwhile is not written again. Gives how many."""
        self._replaying = True
        count = 0
        try:
            for facts in self._lines():
                for kind, fact in facts:
                    handler = handlers.get(kind)
                    if handler is None:
                        raise self._other(f"it has a fact of kind {kind!r}")
                    handler(fact)
                    count += 1
        finally:
            self._replaying = False
        return count

    def _lines(self) -> Iterator[list[Fact]]:
        with self._path.open("rb") as file:
            file.readline()
            for number, line in enumerate(file, 2):
                value = _parsed(line)
                if not isinstance(value, list):
                    raise self._damaged(number)
                yield [(fact[0], fact[1]) for fact in value]

    def _cut_torn_line(self) -> None:
        """Only the last line can be torn: each is one write, and the next begins behind it."""
        with self._path.open("r+b") as file:
            good = start = 0
            for line in file:
                start += len(line)
                if _parsed(line) is None:
                    if file.read(1):
                        return  # not the last: `_lines` says where
                    break
                good = start
            file.truncate(good)

    def _check_header(self) -> None:
        with self._path.open("rb") as file:
            found = _parsed(file.readline())
        if not isinstance(found, dict) or "format" not in found:
            raise self._damaged(1)
        for name, value in self._header.items():
            if found.get(name) != value:
                raise self._other(f"{name} is {found.get(name)!r} there and {value!r} here")

    def _damaged(self, line: int) -> SandboxError:
        return SandboxError(
            f"line {line} of the journal is damaged",
            where=str(self._path),
            todo="restore the directory from a copy, or start with an empty one",
        )

    def _other(self, what: str) -> SandboxError:
        return SandboxError(
            f"this directory was made by another version or under other settings: {what}",
            where=str(self._path),
            todo="start with the version and settings that made it, or with another directory",
        )


def _line(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parsed(line: bytes) -> Any:
    """The line's value; None if it is not whole."""
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    text = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(text):
            return None
        return json.loads(text)
    except ValueError:
        return None
