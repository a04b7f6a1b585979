"""What towpath costs before it does anything: the size of a base install, the time to import it, and the time to `--help`.

Peer: the aws CLI's `aws --version`, the smallest thing it does. Both with their bytecode compiled, from the same virtual environment;
the base install is made anew in a temporary one, from the locked versions, without extras.

usage: python -m benchmarks.start [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 11
TARGET = 0.3  # seconds to --help
BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parent.parent


def main(rounds: int) -> None:
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        theirs.append(timed([str(BIN / "aws"), "--version"]))
        ours.append(timed([str(BIN / "towpath"), "--help"]))
    mine, peer = statistics.median(ours), statistics.median(theirs)
    print(
        f"towpath --help: {mine:.2f} s (median of {rounds}, {min(ours):.2f} to {max(ours):.2f}; target under {TARGET} s)"
    )
    print(f"aws --version: {peer:.2f} s; ratio {peer / mine:.1f}")
    seconds = statistics.median(timed([sys.executable, "-c", "import towpath"]) for _ in range(rounds))
    nothing = statistics.median(timed([sys.executable, "-c", "pass"]) for _ in range(rounds))
    print(f"import towpath: {(seconds - nothing) * 1000:.0f} ms over a bare interpreter's {nothing * 1000:.0f} ms")
    with tempfile.TemporaryDirectory() as name:
        environment = Path(name) / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        uv = ROOT / ".tools" / "bin" / "uv"
        subprocess.run(
            [str(uv), "pip", "install", "--quiet", "--python", str(environment / "bin" / "python"), str(ROOT)],
            check=True,
        )
        site = next(environment.glob("lib/python*/site-packages"))
        packages = len(list(site.glob("*.dist-info")))
        size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and path.suffix != ".pyc")
        print(f"base install: {size / 2**20:.0f} MiB in {packages} packages, without bytecode")
    if mine >= TARGET:
        sys.exit(f"towpath --help took {mine:.2f} s: over the target")


def timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
