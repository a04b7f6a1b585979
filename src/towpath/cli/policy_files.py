"""What `towpath policy` reads and prints: documents from files or standard input, JSON on standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from towpath.iam.decide import NamedPolicy
    from towpath.iam.policy import PolicyKind


def read(file: str, kind: PolicyKind | None) -> NamedPolicy:
    """Raises PolicyError, and UsageError for a file that cannot be read."""
    from towpath.iam.question import read_policy

    return read_policy(text_of(file), name=file if file != "-" else "standard input", kind=kind)


def text_of(file: str) -> str:
    import sys

    from towpath.errors import UsageError

    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("it is not UTF-8", where=file, todo="give a text file") from None
    except OSError as error:
        raise UsageError(f"cannot read it: {error.strerror}", where=file, todo="give a file that is there") from None


def kind_named(text: str | None) -> PolicyKind | None:
    from towpath.errors import UsageError
    from towpath.iam.policy import PolicyKind

    if text is None:
        return None
    try:
        return PolicyKind(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no kind of policy", where="--kind", todo=f"use {', '.join(PolicyKind)}"
        ) from None


def print_json(value: object) -> None:
    typer.echo(json_text(value))


def json_text(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
