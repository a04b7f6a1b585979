"""The result fits into a termination message, whatever happened."""

from __future__ import annotations

import json
from pathlib import Path

from towpath.job import result as results
from towpath.job.result import Failure, Result, TableResult


def test_thousand_tables_are_totals_here_and_one_line_in_the_log() -> None:
    tables = [TableResult(table=f"schema.a_rather_long_table_name_{number:04d}", rows=number) for number in range(1000)]
    line = results.detail_line(tables)
    result = Result(
        status="succeeded",
        sync="s" * 200,
        attempt=3,
        rows=sum(t.rows for t in tables),
        tables=1000,
        digest=results.digest(line),
    )
    content = result.encode()
    assert len(content) <= results.LIMIT < 4096
    assert "\n" not in line
    assert len(json.loads(line)["tables"]) == 1000
    assert Result.model_validate_json(content) == result


def test_long_error_in_any_script_is_cut_and_the_totals_are_not() -> None:
    for text in ("x" * 10_000, "日本" * 10_000, "\x00\x1f" * 5_000, '"\\' * 5_000):
        result = Result(status="failed", sync="s", attempt=1, rows=7, error=Failure(what=text, where=text, todo=text))
        content = result.encode()
        assert len(content) <= results.LIMIT
        assert Result.model_validate_json(content).rows == 7


def test_digest_tells_two_details_apart() -> None:
    one, other = (results.detail_line([TableResult(table="t", rows=rows)]) for rows in (1, 2))
    assert results.digest(one) != results.digest(other)
    assert results.digest(one) == results.digest(results.detail_line([TableResult(table="t", rows=1)]))


def test_written_whole_and_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("old")
    results.write(Result(status="succeeded", sync="s", attempt=1), path)
    assert Result.model_validate_json(path.read_bytes()).status == "succeeded"
    assert [item.name for item in tmp_path.iterdir()] == ["result"]
