"""Pipelines as they are written, and each mistake told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from towpath.job.pipeline import PipelineError, load_pipelines

GOOD = """
pipelines:
  - name: flights
    identity: hd-job-sa
    source: {sql: {url: {secret: orders-db, key: url}, tables: [flights]}}
    destination: {s3: {bucket: orders-lake, prefix: raw/, format: parquet}}
    mode: full
    schedule: null
"""


def test_the_design_documents_example(tmp_path: Path) -> None:
    path = tmp_path / "syncs.yaml"
    path.write_text(GOOD)
    (pipeline,) = load_pipelines(path)
    assert pipeline.source.sql is not None
    assert pipeline.source.sql.tables == ("flights",)
    assert pipeline.destination.s3.bucket == "orders-lake"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("name: flights", "name: Flights"), ["'Flights' is not a name"]),
        (("mode: full", "mode: fulll"), ["pipelines[0].mode"]),
        (("destination:", "destinaton:"), ["'destinaton' is not known", "did you mean destination?"]),
        (("bucket: orders-lake", "bucket: Orders"), ["is not a bucket's name"]),
        (("prefix: raw/", "prefix: /raw"), ["does not begin with a slash"]),
        (("{secret: orders-db, key: url}", "postgresql://u:secret@h/d"), ["the URL holds a password"]),
        (("format: parquet", "format: csv"), ["format"]),
        (("source: {sql", "source: {mysql"), ["'mysql' is not known"]),
        (("  - name", " - name: x\n  - name"), ["line"]),
    ],
)
def test_mistake_is_told_with_its_place(tmp_path: Path, change: tuple[str, str], says: list[str]) -> None:
    path = tmp_path / "syncs.yaml"
    path.write_text(GOOD)
    assert load_pipelines(path)
    path.write_text(GOOD.replace(*change))
    with pytest.raises(PipelineError) as caught:
        load_pipelines(path)
    text = f"{caught.value} {caught.value.todo}"
    assert str(path) in text
    for part in says:
        assert part in text
    assert "secret@h" not in text


def test_two_pipelines_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "syncs.yaml"
    path.write_text(GOOD + GOOD.replace("\npipelines:\n", ""))
    with pytest.raises(PipelineError, match="two pipelines are called flights"):
        load_pipelines(path)
