"""Standard output as it is: an encoding that lacks our signs, a pipe whose reader left, a disk that is full."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Final, TextIO

from towpath.errors import WorldError

# What stands for a sign that the stream's encoding lacks. Rich draws its own boxes and trees in ASCII there.
PLAIN: Final = {
    "✓": "+", "✗": "x", "–": "-", "→": "->", "…": "...", "·": "-", "×": "x",
    "│": "|", "─": "-", "├": "|", "└": "`", "╭": "+", "╮": "+", "╰": "+", "╯": "+",
}  # fmt: skip
HANDLER: Final = "towpath.plain"


def plain(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: a sign by its stand-in, anything else as JSON escapes it, so that JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(PLAIN.get(sign) or _escaped(sign) for sign in text), error.end


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


def take_any_encoding() -> None:
    """From here on nothing that is printed fails for its signs."""
    codecs.register_error(HANDLER, plain)
    for stream in (sys.stdout, sys.stderr):
        # Not so where the caller closed it, or put something else in its place.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def flush() -> None:
    """What was printed goes out now, where a failure can still be told. Raises BrokenPipeError, OSError."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # pyright: ignore[reportUnnecessaryComparison] - None where it was closed
            stream.flush()


def abandon(stream: TextIO | None) -> None:
    """Nobody reads it, or nothing more goes into it: the interpreter must not try again when it ends."""
    if stream is None:
        return
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # no file behind it
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def failed(error: OSError) -> WorldError:
    """The words for a failure of the file system that no command foresaw."""
    reason = error.strerror or str(error)
    return WorldError(
        f"the system says: {reason[:1].lower()}{reason[1:]}",
        where=str(error.filename) if error.filename is not None else "writing the output",
        todo="see that the file or directory can be used, and that its disk has room, then run the same command again",
    )
