"""What an attempt says at its end: one JSON document that fits into a container's termination message.

Kubernetes cuts that message at 4,096 bytes, so the document has totals only, and the digest of the line that has the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

LIMIT: Final = 4_000  # bytes of the document
TEXT_LIMIT: Final = 700  # characters of each of an error's three texts


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TableResult(_Model):
    table: str
    rows: int


class Failure(_Model):
    """An error as a person reads it: what, where, and what to do; `code` is a finding's where there is one."""

    code: str = ""
    what: str
    where: str = ""
    todo: str = ""


class Result(_Model):
    """Totals of one attempt. `digest` is the SHA-256 of the detail line in the log."""

    status: Literal["succeeded", "failed", "stopped"]
    sync: str
    attempt: int
    rows: int = 0
    bytes: int = 0  # of the files written
    tables: int = 0
    seconds: float = 0.0
    role: str = ""  # the caller's ARN, as GetCallerIdentity answered
    digest: str = ""
    error: Failure | None = None

    def encode(self) -> bytes:
        """At most LIMIT bytes: an error's texts are cut before anything else would have to be."""
        for keep in (TEXT_LIMIT, 200, 50, 0):
            error = self.error
            if error is not None:
                error = Failure(
                    code=error.code[:80],
                    what=_cut(error.what, keep),
                    where=_cut(error.where, keep),
                    todo=_cut(error.todo, keep),
                )
            text = self.model_copy(update={"error": error}).model_dump_json(exclude_none=True).encode()
            if len(text) <= LIMIT:
                return text
        raise AssertionError("a result without texts is small")


def detail_line(tables: list[TableResult]) -> str:
    """Every table's rows on one line, for the log: its digest is in the result."""
    return json.dumps(
        {"event": "tables", "tables": {item.table: item.rows for item in sorted(tables, key=lambda item: item.table)}},
        separators=(",", ":"),
        ensure_ascii=False,
    )


def digest(line: str) -> str:
    return "sha256:" + hashlib.sha256(line.encode()).hexdigest()


def write(result: Result, path: Path) -> None:
    """Whole or not at all where a file can be put in place at once; a container's termination log, a mount, is written into."""
    content = result.encode()
    if path.parent.is_dir() and os.access(path.parent, os.W_OK) and not path.is_mount():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
        else:
            return
    path.write_bytes(content)


def _cut(text: str, keep: int) -> str:
    return text if len(text) <= keep else text[: max(0, keep - 1)] + "…"
