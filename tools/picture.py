"""A terminal's picture as SVG: runs a command on a pseudo-terminal, and draws what it left on the screen, or what is on it just then.

usage: picture.py [--after SECONDS | --until TEXT] OUT.svg TITLE COMMAND…
"""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    import pyte

COLUMNS = int(os.environ.get("PICTURE_COLUMNS", "110"))
PATIENCE = 300.0  # seconds until a text has to be on the screen
# A terminal's names of colours, and rich's.
COLOURS = {name: name for name in ("red", "green", "blue", "magenta", "cyan", "white")} | {"brown": "yellow"}
# A spinner's frames begin with a braille character, and are taken back by cursor moves.
_FRAMES = re.compile(r"^(?:\x1b\[[\d;]*m|\r|\x1b\[2K|\x1b\[\?25[lh])*[\u2800-\u28ff].*\n?", re.MULTILINE)
_MOVES = re.compile(r"\x1b\[\??\d*[ABCDGHJKhl]")


def at_a_moment(moment: float | str, out: str, title: str, *command: str) -> int:
    """The screen as it is after so many seconds, or once a text stands on it; the command is then interrupted, as by Ctrl-C."""
    import pyte

    screen = pyte.Screen(COLUMNS, 24)
    stream = pyte.ByteStream(screen)
    child, descriptor = pty.fork()
    if child == 0:
        os.environ.update({"COLUMNS": str(COLUMNS), "LINES": "24", "TERM": "xterm-256color"})
        os.execvp(command[0], command)
    end = time.monotonic() + (moment if isinstance(moment, float) else PATIENCE)
    while (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            try:
                stream.feed(os.read(descriptor, 65536))
            except OSError:  # it ended of itself
                break
        if isinstance(moment, str) and moment in "\n".join(screen.display):
            break
    text = Text("\n").join(_row(screen, number) for number in range(screen.lines))
    text.rstrip()
    draw(out, title, text)
    os.kill(child, signal.SIGINT)
    while True:
        try:
            if not os.read(descriptor, 65536):
                break
        except OSError:
            break
    os.waitpid(child, 0)
    return 0


def _row(screen: pyte.Screen, number: int) -> Text:
    row = Text()
    for column in range(screen.columns):
        cell = screen.buffer[number][column]
        colour = COLOURS.get(cell.fg, "default")
        row.append(cell.data, style=f"{'bold ' if cell.bold else ''}{colour}")
    row.rstrip()
    return row


def draw(out: str, title: str, text: Text) -> None:
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(text)
        console.save_svg(out, title=title)


def main(out: str, title: str, *command: str) -> int:
    os.environ.update({"COLUMNS": str(COLUMNS), "LINES": "200", "TERM": "xterm-256color"})
    os.environ.pop("NO_COLOR", None)
    seen = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        seen.extend(data)
        return data

    status = os.waitstatus_to_exitcode(pty.spawn(list(command), read))
    text = seen.decode(errors="replace").replace("\r\n", "\n")
    text = _FRAMES.sub("", _MOVES.sub("", text.replace("\r", "\n")))
    draw(out, title, Text.from_ansi(text))
    return status


if __name__ == "__main__":
    if sys.argv[1] == "--after":
        sys.exit(at_a_moment(float(sys.argv[2]), *sys.argv[3:]))
    if sys.argv[1] == "--until":
        sys.exit(at_a_moment(*sys.argv[2:]))
    sys.exit(main(*sys.argv[1:]))
