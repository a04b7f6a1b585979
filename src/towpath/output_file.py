"""The file that a command's `--out` names."""

from __future__ import annotations

from pathlib import Path

from towpath.errors import UsageError


def write(path: Path, text: str, *, noun: str) -> None:
    """Raises UsageError, which says that the `noun` cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"cannot write the {noun}: {error.strerror}",
            where=str(path),
            todo="give a path that can be written with --out",
        ) from None
