"""A terminal's picture as SVG: runs a command on a pseudo-terminal, and draws what it left on the screen.

usage: picture.py OUT.svg TITLE COMMAND…
"""

from __future__ import annotations

import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 110
# A spinner's frames begin with a braille character, and are taken back by cursor moves.
_FRAMES = re.compile(r"^(?:\x1b\[[\d;]*m|\r|\x1b\[2K|\x1b\[\?25[lh])*[\u2800-\u28ff].*\n?", re.MULTILINE)
_MOVES = re.compile(r"\x1b\[\??\d*[ABCDGHJKhl]")


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
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(text))
        console.save_svg(out, title=title)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
