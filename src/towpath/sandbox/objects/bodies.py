"""Bodies of objects: small ones as bytes for the database, larger ones as files that are written once and never changed.

A file is there before the row that names it, and the row is gone before the file: what a kill leaves over is a file that no row
names, and `sweep` takes those away.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from towpath.sandbox.objects.checksums import Checksum, checksum

INLINE: Final = 32 * 1024  # bytes up to which a body is kept in the database
CHUNK: Final = 1024 * 1024  # bytes read at a time


@dataclass(frozen=True, kw_only=True)
class Written:
    """A body on disk (`file`) or still in memory (`content`), which no row names yet."""

    size: int
    md5: bytes
    checksums: dict[str, bytes]  # by algorithm: crc32, sha256, …
    content: bytes | None = None
    file: str | None = None


class Stream(Iterator[bytes]):
    """`length` bytes of an open file from `start` on. Whoever gets one closes it."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        self._file = file
        self._left = length
        file.seek(start)

    def __next__(self) -> bytes:
        chunk = self._file.read(min(CHUNK, self._left)) if self._left else b""
        if not chunk:
            self.close()
            raise StopIteration
        self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()


class Bodies:
    """Files of one directory, spread over 256 of its own. Names begin with the number of the run that made them."""

    def __init__(self, folder: Path, *, run: int, fsync: bool = False) -> None:
        self._folder = folder
        self._run = run
        self._fsync = fsync
        for number in range(256):
            (folder / f"{number:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(
        self,
        chunks: Iterable[bytes],
        algorithms: Iterable[str] = (),
        *,
        inline: bool = True,
        known: Mapping[str, bytes] | None = None,
    ) -> Written:
        """`algorithms`: the checksums wanted, beside MD5; worked out on the way, but for those that are `known`."""
        known = known or {}
        wanted = {"md5", *algorithms}
        sums: dict[str, Checksum] = {name: checksum(name) for name in wanted if name not in known}
        held: list[bytes] = []
        size, name, file = 0, "", None
        try:
            for chunk in chunks:
                for each in sums.values():
                    each.update(chunk)
                size += len(chunk)
                if file is None and inline and size <= INLINE:
                    held.append(bytes(chunk))
                    continue
                if file is None:
                    name = self._name()
                    file = (self._folder / name).open("xb", buffering=0)
                    for early in held:
                        file.write(early)
                _all(file, chunk)
            if file is None and not inline:
                name = self._name()
                file = (self._folder / name).open("xb", buffering=0)
            if file is not None and self._fsync:
                os.fsync(file.fileno())
        except BaseException:
            if file is not None:
                self.remove(name)
            raise
        finally:
            if file is not None:
                file.close()
        digests = {name: sums[name].digest() if name in sums else known[name] for name in wanted}
        return Written(
            size=size,
            md5=digests.pop("md5"),
            checksums=digests,
            content=b"".join(held) if file is None else None,
            file=name or None,
        )

    def again(self, file: str) -> str:
        """Another name for the same bytes, for a copy. Raises FileNotFoundError if they went meanwhile."""
        name = self._name()
        try:
            os.link(self._folder / file, self._folder / name)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links, or with too many of this one
            with self.open(file) as source, (self._folder / name).open("xb") as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
        return name

    def open(self, file: str) -> IO[bytes]:
        return (self._folder / file).open("rb", buffering=0)

    def chunks(self, files: Iterable[str]) -> Iterator[bytes]:
        """The bytes of several files one after another. Raises FileNotFoundError."""
        for file in files:
            with self.open(file) as source:
                while chunk := source.read(CHUNK):
                    yield chunk

    def remove(self, file: str | None) -> None:
        if file is not None:
            (self._folder / file).unlink(missing_ok=True)

    def sweep(self, named: Callable[[str], bool]) -> threading.Thread:
        """Remove, in the background, the files of earlier runs that no row names."""
        thread = threading.Thread(target=self._sweep, args=(named,), name="sandbox-sweep", daemon=True)
        thread.start()
        return thread

    def _sweep(self, named: Callable[[str], bool]) -> None:
        for folder in sorted(self._folder.iterdir()):
            for path in folder.iterdir():
                name = f"{folder.name}/{path.name}"
                if int(path.name.partition("-")[0], 16) < self._run and not named(name):
                    self.remove(name)

    def _name(self) -> str:
        text = secrets.token_hex(12)
        return f"{text[:2]}/{self._run:x}-{text[2:]}"


def _all(file: IO[bytes], chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]
