"""Whatever standard output is, a command ends with words and a status, never with a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOWPATH = str(Path(sys.executable).parent / "towpath")
GOOD = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::lake/*"}]}'
EXPLAIN = ["explain", "--policy", "-", "--action", "s3:GetObject", "--resource", "arn:aws:s3:::lake/é"]


def policy(*words: str, env: dict[str, str] | None = None, to: str | None = None) -> subprocess.CompletedProcess[bytes]:
    with Path(to or os.devnull).open("wb") as out:
        return subprocess.run(
            [TOWPATH, "policy", *words],
            input=GOOD.encode(),
            env={**os.environ, **(env or {})},
            stdout=out if to else subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_encoding_without_our_signs(encoding: str) -> None:
    done = policy(*EXPLAIN, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    text = done.stdout.decode(encoding)
    assert ("✓ allowed" if encoding == "utf-8" else "+ allowed") in text
    assert ("arn:aws:s3:::lake/\\u00e9" if encoding == "ascii" else "arn:aws:s3:::lake/é") in text


def test_json_stays_json_in_ascii() -> None:
    done = policy(*EXPLAIN, "--json", env={"PYTHONIOENCODING": "ascii"})
    assert json.loads(done.stdout)["request"]["resource"] == "arn:aws:s3:::lake/é"


def test_help_in_ascii() -> None:
    done = policy("--help", env={"PYTHONIOENCODING": "ascii", "TERM": "dumb"})
    assert done.returncode == 0, done.stderr
    assert b"Usage" in done.stdout


@pytest.mark.parametrize("words", [["check", "-"], ["presets"], ["presets", "s3", "--bucket", "lake"], ["--help"]])
def test_a_full_disk(words: list[str]) -> None:
    assert policy(*words).returncode == 0
    done = policy(*words, to="/dev/full")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(
        "error: the system says: no space left on device\n  where: writing the output"
    )
    assert b"Traceback" not in done.stderr


def test_a_reader_that_left() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as out:
        done = subprocess.run(
            [TOWPATH, "policy", "presets", "--json"], stdout=out, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == b""


def test_closed_output() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{TOWPATH} policy presets >&-"], capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr


def test_help_shows_no_value_for_a_flag() -> None:
    for command in (["identity", "doctor"], ["sandbox"], ["sandbox", "fail", "list"], []):
        done = subprocess.run([TOWPATH, *command, "--help"], capture_output=True, text=True, check=False, timeout=60)
        assert "--help" in done.stdout
        assert "<bool>" not in done.stdout


def test_help_cuts_nothing_off_at_80_columns() -> None:
    for command in (["sandbox"], ["sandbox", "run"], ["policy", "explain"], ["policy", "learn"], ["agent", "run"]):
        done = subprocess.run(
            [TOWPATH, *command, "--help"],
            env={**os.environ, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        described = done.stdout.replace("COMMAND…", "").replace("FILE…", "")
        assert "…" not in described, described
