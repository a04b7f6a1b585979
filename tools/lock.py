"""Resolve the dependencies anew: `requirements.lock` (every platform, with hashes) and the same pins in pyproject.toml.

uv's own lock file records from which index each file came. This project's is to be installable from any index, so the lock is
the hashed requirements file, and `[tool.uv] constraint-dependencies` holds the same versions for `uv run` and `uv sync`. The images' parts of it are in deploy/.

usage: lock.py PATH_TO_UV [--keep]     --keep moves no version: only what is new or gone in pyproject.toml changes
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What each image installs: a lock file in deploy/ for each.
IMAGES = {
    "job": ["--no-default-groups", "--extra", "job"],
    "agent": ["--no-default-groups", "--extra", "agent"],
    "build": ["--only-group", "build"],
}
BEGIN, END = "# begin pins (make lock)", "# end pins"


def main(uv: str, *, keep: bool) -> None:
    project = ROOT / "pyproject.toml"
    text = project.read_text()
    if not keep:  # with the old pins nothing could ever move
        project.write_text(with_pins(text, []))
    try:
        (ROOT / "uv.lock").unlink(missing_ok=True)
        lock = export(uv, "--all-extras")
        (ROOT / "requirements.lock").write_text(lock)
        for name, words in IMAGES.items():
            (ROOT / "deploy" / f"{name}.lock").write_text(export(uv, "--frozen", *words))
        pins = [
            re.sub(r" ?\\$", "", line).strip() for line in lock.splitlines() if line and not line.startswith((" ", "#"))
        ]
    except subprocess.CalledProcessError as error:
        project.write_text(text)
        sys.exit(f"lock.py: uv could not resolve:\n{error.stderr}")
    project.write_text(with_pins(text, pins))
    (ROOT / "uv.lock").unlink(missing_ok=True)
    print(f"{len(pins)} packages pinned")


def export(uv: str, *words: str) -> str:
    """A requirements file with hashes."""
    quiet = ["--quiet", "--no-emit-project", "--no-header", "--no-annotate", "--format", "requirements-txt"]
    return subprocess.run([uv, "export", *quiet, *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def with_pins(text: str, pins: list[str]) -> str:
    lines = "".join(f'    "{pin.replace(chr(34), chr(39))}",\n' for pin in pins)
    block = f"{BEGIN}\nconstraint-dependencies = [\n{lines}]\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, text, flags=re.DOTALL)


if __name__ == "__main__":
    main(sys.argv[1], keep="--keep" in sys.argv[2:])
