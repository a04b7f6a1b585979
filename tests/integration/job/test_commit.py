"""One sync is committed once: pods that start twice, attempts that come late, and whatever is killed in between."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from towpath.agent.launchers import process
from towpath.iam import build, presets
from towpath.job.commit import CommitError, Commits, Record

from .conftest import Lake

ROWS = 2_000


def database(path: Path, rows: int = ROWS) -> dict[str, str]:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as found:
        found.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        found.executemany("INSERT INTO t VALUES (?, ?)", ((number, f"row {number}") for number in range(rows)))
        found.commit()
    return {"sqlite": str(path)}


def ids(lake: Lake) -> list[int]:
    return [row[0] for row in lake.read("t", "SELECT id FROM t ORDER BY 1")]


def left_apart(lake: Lake) -> list[str]:
    return [key for key in lake.keys() if "/staging/" in key]


def test_a_second_attempt_of_a_committed_sync_moves_nothing(lake: Lake, tmp_path: Path) -> None:
    source = database(tmp_path / "t.sqlite")
    first = lake.run(source, sync="one")
    database(tmp_path / "t.sqlite", rows=5)
    second = lake.run(source, sync="one", attempt=2)
    assert (first.rows, second.rows) == (ROWS, ROWS)
    assert ids(lake) == list(range(ROWS))
    assert lake.run(source, sync="two").rows == 5
    assert ids(lake) == list(range(5))
    assert left_apart(lake) == []


def test_two_pods_of_one_attempt_leave_each_row_once(lake: Lake, tmp_path: Path) -> None:
    source = database(tmp_path / "t.sqlite")
    with ThreadPoolExecutor(2) as pool:
        results = [future.result() for future in [pool.submit(lake.run, source, sync="twice") for _ in range(2)]]
    assert [result.status for result in results] == ["succeeded", "succeeded"]
    assert ids(lake) == list(range(ROWS))
    assert left_apart(lake) == []


def put(lake: Lake, key: str) -> str:
    lake.s3().put_object(Bucket=lake.bucket, Key=key, Body=key.encode())
    return key


def staged(lake: Lake, commits: Commits, sync: str, pod: str) -> Record:
    """A pod that has staged two files of table t."""
    for name in ("a", "b"):
        put(lake, f"{commits.staging(sync, 1, pod)}/orders/t/{sync}-{pod}-{name}.parquet")
    return commits.prepare(sync, 1, pod, dataset="orders", rows={"t": 2}, size=1)


def final(lake: Lake) -> set[str]:
    return {key.rpartition("/")[2] for key in lake.keys() if key.startswith("raw/orders/t/")}


def test_the_first_to_commit_has_won(lake: Lake) -> None:
    commits = Commits(lake.s3(), lake.bucket, "raw/")
    put(lake, "raw/orders/t/old.parquet")
    one, two = staged(lake, commits, "s", "one"), staged(lake, commits, "s", "two")
    assert commits.commit(one) == one
    assert commits.commit(two) == one
    commits.finish(one)
    commits.finish(one)
    assert final(lake) == {"s-one-a.parquet", "s-one-b.parquet"}
    assert left_apart(lake) == []


def test_a_late_pod_brings_nothing_back(lake: Lake) -> None:
    """It had won, was away while another finished for it and the next sync replaced everything, and goes on now."""
    commits = Commits(lake.s3(), lake.bucket, "raw/")
    first = commits.commit(staged(lake, commits, "first", "p"))
    commits.finish(first)
    second = commits.commit(staged(lake, commits, "second", "p"))
    commits.finish(second)
    commits.finish(first)
    assert final(lake) == {"second-p-a.parquet", "second-p-b.parquet"}


class Dying:
    """An S3 client whose process ends before its Nth call."""

    def __init__(self, s3: Any, calls: int) -> None:
        self._s3 = s3
        self._left = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._s3, name)

        def called(*words: Any, **named: Any) -> Any:
            if self._left <= 0:
                raise KeyboardInterrupt
            self._left -= 1
            return found(*words, **named)

        return called


@pytest.mark.parametrize("calls", range(9))
def test_ended_before_any_call_and_finished_by_the_next(lake: Lake, calls: int) -> None:
    put(lake, "raw/orders/t/old.parquet")
    good = Commits(lake.s3(), lake.bucket, "raw/")
    dying = Commits(Dying(lake.s3(), calls), lake.bucket, "raw/")
    ended = False
    try:
        record = staged(lake, dying, "s", "dying")
        dying.finish(dying.commit(record))
    except KeyboardInterrupt:
        ended = True
    assert ended == (calls < 8), "the number of calls has changed: look at the range"
    record = good.find("s") or good.commit(staged(lake, good, "s", "next"))
    good.finish(record)
    assert final(lake) == {f"s-{record.pod}-a.parquet", f"s-{record.pod}-b.parquet"}
    assert left_apart(lake) == []


def test_a_role_limited_to_the_prefix_is_enough(lake: Lake, tmp_path: Path) -> None:
    """The preset `s3: {bucket, prefix}`, which lets list, get, put and delete under the prefix and nothing else."""
    statements = presets.s3_statements(partition="aws", bucket=lake.bucket, prefix="raw/")
    lake.limit(build.policy(statements))
    assert lake.run(database(tmp_path / "t.sqlite", rows=3)).status == "succeeded"
    assert ids(lake) == [0, 1, 2]


def test_a_record_that_is_none_is_named(lake: Lake) -> None:
    put(lake, "raw/_towpath/commits/s.json")
    with pytest.raises(CommitError) as caught:
        Commits(lake.s3(), lake.bucket, "raw/").find("s")
    assert "commits/s.json" in caught.value.where


@pytest.mark.long
def test_killed_at_any_moment_each_row_arrives_once(lake: Lake, tmp_path: Path) -> None:
    """kill -9 at moments spread over a whole run, each then tried again until it is done."""
    source = database(tmp_path / "t.sqlite")
    started = time.monotonic()
    lake.run(source, sync="measure")
    whole = time.monotonic() - started
    moments = [whole * share / 20 for share in range(4, 21)]
    for number, moment in enumerate(moments):
        rows = ROWS + number
        database(tmp_path / "t.sqlite", rows)
        spec = lake.spec(source, sync=f"killed-{number}")
        with killed_after(moment, lake, spec, tmp_path):
            pass
        result = lake.run(source, sync=f"killed-{number}", attempt=2)
        assert result.status == "succeeded"
        assert ids(lake) == list(range(rows)), f"killed after {moment:.2f} s"
        assert left_apart(lake) == []


def killed_after(seconds: float, lake: Lake, spec: Any, directory: Path) -> Any:
    """One attempt's process, as the launcher starts it, killed after a while."""
    folder = directory / f"attempt-{spec.sync}"
    folder.mkdir()
    files = process._files(folder, spec)
    files["token"].write_text(lake.token().text)
    environment = process.child_environment(spec, files, os.environ)
    child = subprocess.Popen([sys.executable, "-P", "-m", "towpath.job"], env=environment, stderr=subprocess.DEVNULL)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait()
    return child
