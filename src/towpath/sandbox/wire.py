"""What goes through the gate: one request as it came over the wire, one response as it will go back."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, unquote

LARGEST_FORM: Final = 4 * 1024 * 1024  # bytes
MOST_FIELDS: Final = 10_000  # of a form
MEMORY_LIMIT: Final = 4 * 1024 * 1024  # bytes of one body kept in memory; the rest goes to an unnamed temporary file
PARTS_LIMIT: Final = 1024  # pieces of a body kept as they came: one of two bytes takes fifty


T = TypeVar("T")


class FormTooLarge(Exception):
    """A form of more than LARGEST_FORM bytes (`status` 413) or MOST_FIELDS fields (400)."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class lazy(Generic[T]):  # noqa: N801 - as functools.cached_property, which takes a lock each time until Python 3.12
    """An attribute worked out when it is first read. Two threads may both do so, and find the same."""

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        value = self._work(instance)
        instance.__dict__[self._name] = value  # from now on found there, and not here
        return value


class Body:
    """A request's body, read once off the socket, readable again from the start; hashed when somebody asks."""

    def __init__(self, source: Iterable[bytes] = ()) -> None:
        self.length = 0
        self.digests: dict[str, bytes] = {}  # by algorithm (crc32, sha256, md5, …): those that somebody has worked out
        self._memory = b""
        self._file: IO[bytes] | None = None
        parts: list[bytes] = []
        gathered = bytearray()
        try:
            for part in source:
                self.length += len(part)
                if self._file is not None:
                    self._file.write(part)
                    continue
                parts.append(part)
                if len(parts) > PARTS_LIMIT:
                    gathered += b"".join(parts)
                    parts.clear()
                if self.length > MEMORY_LIMIT:
                    self._file = TemporaryFile()  # noqa: SIM115 - close() closes it
                    self._file.write(gathered)
                    self._file.writelines(parts)
                    parts, gathered = [], bytearray()
        except BaseException:
            self.close()
            raise
        self._memory = parts[0] if len(parts) == 1 and not gathered else b"".join((gathered, *parts))

    @lazy
    def sha256(self) -> str:
        """In hexadecimal."""
        if self._file is None:
            found = hashlib.sha256(self._memory)
        else:
            found = hashlib.file_digest(self.stream(), "sha256")  # pyright: ignore[reportArgumentType]
        self.digests["sha256"] = found.digest()
        return found.hexdigest()

    def stream(self) -> IO[bytes]:
        """From the start; the body's own file where it is on disk, so one reader at a time."""
        if self._file is None:
            return io.BytesIO(self._memory)
        self._file.seek(0)
        return self._file

    def blocks(self, size: int = 256 * 1024) -> Iterator[bytes]:
        """From the start, up to `size` bytes at a time."""
        stream = self.stream()
        while data := stream.read(size):
            yield data

    def read(self) -> bytes:
        return self._memory if self._file is None else self.stream().read()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True, kw_only=True)
class Request:
    """One HTTP request. `path` and `query` are raw, as on the request line; `headers` have lower-case names."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Body = field(default_factory=Body)
    remote: str = "127.0.0.1"
    secure: bool = False  # it came over TLS

    @lazy
    def host(self) -> str:
        """The Host header without its port, in lower case; an IPv6 literal without its brackets."""
        host = self.headers.get("host", "").strip().lower()
        if host.startswith("["):
            return host[1:].partition("]")[0]
        return host.rpartition(":")[0] if ":" in host else host

    @lazy
    def key_path(self) -> str:
        """The path, percent-decoded."""
        return unquote(self.path, errors="surrogateescape")

    @lazy
    def arguments(self) -> dict[str, str]:
        """The query string's parameters; of a repeated one the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}

    @lazy
    def form(self) -> dict[str, str]:
        """The parameters of an AWS Query call: query string and form body together, the body winning. Raises FormTooLarge."""
        found = dict(self.arguments)
        if self.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            if self.body.length > LARGEST_FORM:
                raise FormTooLarge(413, f"A form has at most {LARGEST_FORM} bytes.")
            text = self.body.read().decode("utf-8", errors="replace")
            try:
                found.update(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
            except ValueError:
                raise FormTooLarge(400, f"A form has at most {MOST_FIELDS} fields.") from None
        return found


@dataclass(kw_only=True)
class Response:
    """One HTTP response; `headers` keep their order and may repeat."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: bytes | Iterator[bytes] = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    def read(self) -> bytes:
        """The body as bytes; a streamed one is collected, and can then be sent all the same."""
        if not isinstance(self.body, bytes):
            self.body = b"".join(self.body)
        return self.body
