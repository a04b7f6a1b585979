"""Coverage-guided runs of every target (guided.py), each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 50_000
GUIDED = Path(__file__).with_name("guided.py")


@pytest.mark.long
@pytest.mark.parametrize("target", ["policy", "token", "signature", "query", "body", "chunks"])
def test_guided(target: str, tmp_path: Path) -> None:
    pytest.importorskip(
        "atheris", reason="coverage-guided fuzzing needs atheris, which has wheels for some platforms only"
    )
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    done = subprocess.run(
        [
            sys.executable,
            str(GUIDED),
            target,
            f"-runs={RUNS}",
            "-seed=1",
            "-max_len=4096",
            "-timeout=20",
            f"-artifact_prefix={tmp_path}/",
            str(corpus),
        ],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert f"Done {RUNS} runs" in done.stderr
