"""docs/calls.svg: `towpath sandbox calls --follow` on a terminal while the demo's job moves its flights and three requests are refused.

usage: python -m tools.calls OUT.svg [COLUMNS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from towpath.demo import main as demo

LAST: Final = "s3:DeleteBucket"  # the demo's last refusal


def picture(out: str, columns: str, taken: threading.Event) -> None:
    """As soon as the demo has its sandbox, whose environment it takes for its own."""
    while "TOWPATH_SANDBOX_URL" not in os.environ:
        time.sleep(0.05)
    towpath = str(Path(sys.executable).parent / "towpath")
    command = [towpath, "sandbox", "calls", "--follow"]
    subprocess.run(
        [
            sys.executable,
            str(Path(__file__).with_name("picture.py")),
            "--until",
            LAST,
            out,
            "towpath sandbox calls --follow",
            *command,
        ],
        env={**os.environ, "PICTURE_COLUMNS": columns},
        check=True,
    )
    taken.set()


def main(out: str, columns: str = "120") -> int:
    taken = threading.Event()
    threading.Thread(target=picture, args=(out, columns, taken), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="towpath-calls-") as directory:
        demo.run(Path(directory), keep=False)
    return 0 if taken.wait(60) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
