"""The whole seed on real parts, as `make demo-cluster` shows it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import TestCluster

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = {"airlines": 16, "airports": 1458, "flights": 336776, "planes": 3322, "weather": 26115}


@pytest.mark.long
def test_rows_arrive_under_the_role_and_others_are_refused(cluster: TestCluster, tmp_path: Path) -> None:
    if cluster.own is None:
        pytest.skip("builds an image into the cluster of `make cluster`")
    command = [sys.executable, "-m", "tools.cluster.demo", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["rows"] == ROWS
    assert [link["ok"] for link in report["chain"]] == [True] * 9
    refused = {each["case"]: each for each in report["refusals"]}
    assert len(refused) == 4
    codes = [each["code"] for each in report["refusals"]]
    assert codes == ["guard.exchange", "guard.exchange", "service-account", "NoCredentialsError"], codes
    assert all("AccessDenied" in each["message"] for each in report["refusals"][:2])
