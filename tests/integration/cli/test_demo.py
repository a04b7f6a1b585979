"""`towpath demo` as a user runs it: the report, the second run, and Ctrl-C in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOWPATH = str(Path(sys.executable).parent / "towpath")
ROWS = {"airlines": 16, "airports": 1458, "flights": 336776, "planes": 3322, "weather": 26115}

pytestmark = pytest.mark.long


def test_demo_twice(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run([TOWPATH, "demo"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / "demo" / "report.json").read_text())
        assert report["rows"] == ROWS
        assert [link["ok"] for link in report["chain"]] == [True] * 9
        assert [(item["code"], item["message"]) for item in report["refusals"][:2]] == [
            ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
            ("InvalidIdentityToken", "Incorrect token audience"),
        ]
        assert report["refusals"][2]["code"] == "AccessDenied"
        assert "9 of 9 links proved · 367,687 rows moved and counted · 3 refusals" in done.stdout


def test_keep_leaves_it_running_until_ctrl_c(tmp_path: Path) -> None:
    with subprocess.Popen([TOWPATH, "demo", "--keep"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        environment: dict[str, str] = {}
        for line in running.stdout:
            if line.startswith("  export "):
                name, _, value = line.removeprefix("  export ").strip().partition("=")
                environment[name] = value
            if "Ctrl-C stops it" in line:
                break
        doctor = subprocess.run(
            [TOWPATH, "identity", "doctor", "--manifest", "demo/towpath.yaml"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert doctor.stdout.count("✓") == 9


@pytest.mark.parametrize("after", [1.0, 3.0, 5.0])
def test_ctrl_c_leaves_nothing(tmp_path: Path, after: float) -> None:
    with subprocess.Popen(
        [TOWPATH, "demo"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        time.sleep(after)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(30) == 130
        assert running.stderr is not None
        assert running.stderr.read() == ""
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    assert not (tmp_path / "demo" / "report.json").exists()
