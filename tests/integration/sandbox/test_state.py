"""Where a sandbox keeps things: whose directory it is, which is refused, what is removed, and what a reset leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from .test_kill import TRUST, Killed, policy

COMMAND = "from towpath.cli.main import main; main()"


def refused(state: Path, *more: str) -> str:
    found = subprocess.run(
        [sys.executable, "-c", COMMAND, "sandbox", "--port", "0", "--json", "--state", str(state), *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    return found.stderr


@pytest.fixture
def killed(tmp_path: Path) -> Any:
    found = Killed(tmp_path / "state")
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def test_directory_is_its_owners_and_one_sandboxs(killed: Killed) -> None:
    assert stat.S_IMODE(killed.state.stat().st_mode) == 0o700
    for path in killed.state.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert killed.process is not None
    told = refused(killed.state)
    assert f"another sandbox has {killed.state}" in told
    assert f"(process {killed.process.pid})" in told
    killed.kill()
    killed.start()


def test_what_another_version_or_account_made_is_refused(killed: Killed) -> None:
    killed.kill()
    assert "account is '123456789012' there and '111111111111' here" in refused(
        killed.state, "--account", "111111111111"
    )
    journal = killed.state / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(b'"format":1', b'"format":2', 1))
    assert "line 1 of the journal is damaged" in refused(killed.state)
    first, rest = whole.split(b"\n", 1)
    newer = first[9:].replace(b'"format":1', b'"format":2', 1)
    journal.write_bytes(b"%08x %s\n" % (zlib.crc32(newer), newer) + rest)
    assert "made by another version or under other settings: format is 2 there and 1 here" in refused(killed.state)
    journal.write_bytes(whole)
    killed.start()


def test_somebody_elses_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "holds something that no sandbox made" in refused(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_a_directory_of_yours_nothing_stays(tmp_path: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    # Of a process that was killed, as the lock nobody holds says; and of something that is no sandbox's.
    stale, other = tmp_path / "towpath-sandbox-stale", tmp_path / "towpath-sandbox-other"
    (stale / "objects").mkdir(parents=True)
    (stale / "lock").write_text("1")
    other.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "sandbox", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["endpoint"]
    own = [path for path in tmp_path.glob("towpath-sandbox-*") if path != other and (path / "lock").exists()]
    assert len(own) == 1
    assert own[0] != stale
    assert stat.S_IMODE(own[0].stat().st_mode) == 0o700
    process.send_signal(number)
    assert process.wait(30) == 0
    process.stdout.close()
    assert [path for path in tmp_path.glob("towpath-sandbox-*") if (path / "lock").exists()] == []
    assert other.exists()


def test_reset_leaves_the_administrator_and_nothing_else_even_after_a_kill(killed: Killed) -> None:
    def fill() -> None:
        killed.client("s3").create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        killed.client("s3").put_object(Bucket="lake", Key="k", Body=b"x" * 100_000)
        killed.client("s3").put_bucket_policy(
            Bucket="lake",
            Policy=policy("s3:GetObject", "arn:aws:s3:::lake/*", Principal={"AWS": "arn:aws:iam::123456789012:root"}),
        )
        killed.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
        killed.own("PATCH", "/clusters/sandbox/namespaces/data/serviceaccounts/sa", annotations={"a/b": "c"})

    def empty() -> bool:
        return (
            killed.client("s3").list_buckets()["Buckets"] == []
            and killed.client("iam").list_roles()["Roles"] == []
            and killed.client("eks").list_clusters()["clusters"] == ["sandbox"]
            and killed.own("GET", "/clusters/sandbox/namespaces/data/serviceaccounts")["items"] == []
        )

    fill()
    assert not empty()
    before = dict(killed.environment)
    killed.own("POST", "/reset")
    assert empty()
    killed.kill()
    killed.start()
    assert empty()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TOWPATH_SANDBOX_SECRET"):
        assert killed.environment[name] == before[name]
    fill()  # and the names are free again
    assert not any((killed.state / "objects" / "bodies").glob("*/1-*"))  # nor is anything left of the bodies before
    killed.kill()
    # Killed while it was being emptied: the next start ends that.
    (killed.state / "resetting").touch()
    killed.start()
    assert empty()
    fill()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("journal", b'{"format": 1, "x', "line 1 of the journal is damaged"),
        ("journal", b"garbage\nmore\n", "line 1 of the journal is damaged"),
        ("journal", None, "the sandbox cannot use its directory: is a directory"),
        ("objects", b"x", "the sandbox cannot use its directory: file exists"),
        ("objects/objects.sqlite", b"garbage" * 9, "the sandbox cannot use its directory: file is not a database"),
        ("tls", b"x", "the sandbox cannot use its directory: file exists"),
        ("lock", None, "cannot be locked: Is a directory"),
    ],
)
def test_a_directory_with_something_else_in_it(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / name).parent.mkdir(parents=True, exist_ok=True)
    if name != "lock":
        (state / "lock").touch()
    if content is None:
        (state / name).mkdir()
    else:
        (state / name).write_bytes(content)
    told = refused(state)
    assert says in told
    assert f"where: {state}" in told
    assert "  do: " in told


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.touch()
    assert f"{file} is not a directory\n  where: --state" in refused(file)
