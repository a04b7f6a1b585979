"""SQLite to Parquet on S3 under the assumed role, value by value."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from towpath.agent.launchers.process import Token, run_attempt

from .conftest import Lake


def database(path: Path, *statements: str) -> str:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return str(path)


def test_every_value_arrives_as_it_was(lake: Lake, tmp_path: Path) -> None:
    count = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 3000)"
    path = database(
        tmp_path / "t.sqlite",
        "CREATE TABLE kinds (id INTEGER, r REAL, t TEXT, b BLOB, n TEXT, mixed, whole REAL)",
        "INSERT INTO kinds VALUES (1, 0.1, 'ü 日本', x'00ff', NULL, 7, 1)",
        "INSERT INTO kinds VALUES (9223372036854775807, -1e308, '', x'', NULL, 'seven', 2.5)",
        "INSERT INTO kinds VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        # What the driver would guess from the first rows is wrong for these.
        "CREATE TABLE late (id INTEGER, t TEXT, r REAL, i INTEGER)",
        f"INSERT INTO late {count} SELECT v, NULL, NULL, NULL FROM n",
        "INSERT INTO late VALUES (3001, 'late', 0.5, 5)",
        "CREATE TABLE vacant (id INTEGER, t TEXT)",
    )
    result = lake.run({"sqlite": path})
    assert (result.status, result.error, result.tables, result.rows) == ("succeeded", None, 3, 3004)
    assert lake.read("kinds", "SELECT * FROM t ORDER BY id NULLS LAST") == [
        (1, 0.1, "ü 日本", b"\x00\xff", None, "7", 1.0),
        (9223372036854775807, -1e308, "", b"", None, "seven", 2.5),
        (None, None, None, None, None, None, None),
    ]
    assert lake.read("late", "SELECT count(*), max(t), max(r), max(i) FROM t") == [(3001, "late", 0.5, 5)]


def test_full_sync_repeated_replaces(lake: Lake, tmp_path: Path) -> None:
    path = database(tmp_path / "t.sqlite", "CREATE TABLE orders (id INTEGER)", "INSERT INTO orders VALUES (1), (2)")
    assert lake.run({"sqlite": path}).rows == 2
    database(tmp_path / "t.sqlite", "DELETE FROM orders WHERE id = 1", "INSERT INTO orders VALUES (3), (4)")
    assert lake.run({"sqlite": path}).rows == 3
    assert lake.read("orders") == [(2,), (3,), (4,)]


def test_only_the_tables_asked_for(lake: Lake, tmp_path: Path) -> None:
    path = database(
        tmp_path / "t.sqlite",
        "CREATE TABLE a (id INTEGER)",
        "INSERT INTO a VALUES (1)",
        "CREATE TABLE b (id INTEGER)",
        "INSERT INTO b VALUES (1)",
    )
    assert lake.run({"sqlite": {"path": path, "tables": ["a"]}}).tables == 1
    assert not [key for key in lake.keys() if "/b/" in key]
    result = lake.run({"sqlite": {"path": path, "tables": ["a", "zzz"]}})
    assert result.error is not None
    assert "no table zzz" in result.error.what


@pytest.mark.parametrize(
    ("statements", "says", "where"),
    [
        (["CREATE TABLE t (c)", "INSERT INTO t VALUES (x'00'), (1)"], "blobs beside other values", "column c"),
        ([], "no tables", "orders"),
    ],
)
def test_source_that_cannot_be_carried(
    lake: Lake, tmp_path: Path, statements: list[str], says: str, where: str
) -> None:
    result = lake.run({"sqlite": database(tmp_path / "t.sqlite", *statements)})
    assert result.status == "failed"
    assert result.error is not None
    assert says in result.error.what
    assert where in result.error.where
    assert not [key for key in lake.keys() if key.endswith(".parquet")]


def test_missing_database_and_append(lake: Lake, tmp_path: Path) -> None:
    missing = lake.run({"sqlite": str(tmp_path / "none.sqlite")})
    assert missing.error is not None
    assert "no SQLite database" in missing.error.what
    path = database(tmp_path / "t.sqlite", "CREATE TABLE a (id INTEGER)")
    for mode in ("append", "merge"):
        result = lake.run({"sqlite": path}, pipeline={"mode": mode})
        assert result.error is not None
        assert "not built yet" in result.error.what


def test_guard_stops_before_the_source_is_opened(lake: Lake, tmp_path: Path) -> None:
    path = database(tmp_path / "t.sqlite", "CREATE TABLE a (id INTEGER)", "INSERT INTO a VALUES (1)")
    assert lake.run({"sqlite": path}).status == "succeeded"
    before = lake.keys()
    source = {"sqlite": str(tmp_path / "never-looked-for.sqlite")}
    wrong_role = lake.run(source, role_arn="arn:aws:iam::123456789012:role/another")
    assert wrong_role.error is not None
    assert (wrong_role.error.code, "AccessDenied: Not authorized" in wrong_role.error.what) == ("guard.exchange", True)
    wrong_account = run_attempt(lake.spec(source), token=lambda: lake.token("somebody-else"))
    assert wrong_account.error is not None
    assert wrong_account.error.code == "guard.exchange"
    with_key = lake.run(source, extra={"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"})
    assert with_key.error is not None
    assert with_key.error.code == "guard.static-key"
    assert lake.keys() == before


def test_permission_the_role_lacks_is_said(lake: Lake, tmp_path: Path) -> None:
    path = database(tmp_path / "t.sqlite", "CREATE TABLE a (id INTEGER)", "INSERT INTO a VALUES (1)")
    lake.s3().create_bucket(
        Bucket="lake-not-ours", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )  # a bucket that is not there is told before a permission that is not
    result = lake.run({"sqlite": path}, pipeline={"destination": {"s3": {"bucket": "lake-not-ours"}}})
    assert result.status == "failed"
    assert result.error is not None
    assert (
        "not authorized" in result.error.what.lower()
        or "AccessDenied" in result.error.what
        or "Forbidden" in result.error.what
    )


def test_token_is_renewed_in_its_file(lake: Lake, tmp_path: Path) -> None:
    """As the kubelet does it: asked for again before the old one ends."""
    path = database(tmp_path / "t.sqlite", "CREATE TABLE a (id INTEGER)", "INSERT INTO a VALUES (1)")
    asked: list[float] = []

    def token() -> Token:
        asked.append(time.monotonic())
        return Token(text=lake.token().text, lifetime=1.5)

    assert run_attempt(lake.spec({"sqlite": path}), token=token).status == "succeeded"
    assert len(asked) >= 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_launcher_leaves_no_process_and_no_file(lake: Lake, tmp_path: Path, number: signal.Signals) -> None:
    path = database(
        tmp_path / "t.sqlite",
        "CREATE TABLE big (id INTEGER, t TEXT)",
        "INSERT INTO big WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n WHERE v < 2000000) SELECT v, 'x' FROM n",
    )
    spec = lake.spec({"sqlite": path})
    script = tmp_path / "launch.py"
    script.write_text(
        "import signal, sys\n"
        "from towpath.agent.launchers.process import Token, run_attempt\n"
        "from towpath.job.attempt import AttemptSpec\n"
        "def stop(*_): raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"spec = AttemptSpec.model_validate_json({spec.model_dump_json()!r})\n"
        f"token = {lake.token().text!r}\n"
        "try:\n    run_attempt(spec, token=lambda: Token(text=token, lifetime=600), on_event=lambda event: print(event['event'], flush=True))\n"
        "except KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    child = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(scratch)},
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "guard\n"
        assert list(scratch.iterdir())
        child.send_signal(number)
        assert child.wait(30) == 130
    assert list(scratch.iterdir()) == []
    left = subprocess.run(["pgrep", "-f", "towpath.job"], capture_output=True, text=True, check=False).stdout.split()
    mine = (
        [pid for pid in left if str(scratch) in Path(f"/proc/{pid}/environ").read_text(errors="replace")]
        if Path("/proc").exists()
        else left
    )
    assert mine == []
