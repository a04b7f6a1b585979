"""The images' lock files have a wheel for everything, on both architectures; the Dockerfiles install by hash and end non-root."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
UV = ROOT / ".tools" / "bin" / "uv"


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("image", ["job", "agent"])
def test_a_wheel_for_everything(image: str, architecture: str, tmp_path: Path) -> None:
    uv = str(UV) if UV.exists() else shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv, which make brings into .tools")
    platform = ["--python-platform", f"{architecture}-manylinux_2_28", "--python-version", "3.11"]
    command = [
        uv,
        "pip",
        "install",
        "--dry-run",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--target",
        str(tmp_path),
        *platform,
    ]
    done = subprocess.run(
        [*command, "-r", str(ROOT / "deploy" / f"{image}.lock")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"Would (download|install) \d+ packages", done.stderr), done.stderr


@pytest.mark.parametrize("image", ["job", "agent"])
def test_dockerfile(image: str) -> None:
    text = (ROOT / "deploy" / f"{image}.Dockerfile").read_text()
    stages = text.split("\nFROM ")
    assert text.count("ARG BASE=") == 1
    assert len(stages) == 3
    assert "\nUSER 65532:65532\n" in stages[-1]
    for line in text.splitlines():
        if " install " in line and ".lock" in line:
            assert line.count("--require-hashes") == line.count(".lock")
