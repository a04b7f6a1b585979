"""The data's way: Arrow batches from the source, through dlt's load packages, to Parquet files on S3, put in place by one commit.

Files of a pipeline lie under `s3://BUCKET/PREFIX/<pipeline>/<table>/`; until the commit they are apart (see commit.py). dlt's
credentials are the SDK's default chain, so a long sync renews its session from the token file.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from towpath.errors import UsageError, WorldError
from towpath.job.arrow_source import BACKEND, Progress, SourceError, naive_timestamps, register
from towpath.job.attempt import AttemptSpec
from towpath.job.commit import Commits, Record, client
from towpath.job.result import TableResult

POD: Final = "TOWPATH_POD_UID"  # one for each start of a pod
LAYOUT: Final = "{table_name}/{load_id}.{file_id}.{ext}"


class MoveError(WorldError):
    """The data did not arrive."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    tables: tuple[TableResult, ...]
    bytes: int


def move(
    spec: AttemptSpec, *, directory: Path, environ: Mapping[str, str] | None = None, progress: Progress | None = None
) -> Moved:
    """Run the sync in `directory`. Raises UsageError for a mode there is not yet, SourceError or MoveError for what went wrong."""
    found = os.environ if environ is None else environ
    pipeline = spec.pipeline
    if pipeline.mode != "full":
        raise UsageError(
            f"mode {pipeline.mode} is not built yet: to plain Parquet it would not be exactly once",
            where=f"pipeline {pipeline.name}",
            todo="use mode: full",
        )
    s3 = pipeline.destination.s3
    commits = Commits(client(spec.region, spec.endpoint_url), s3.bucket, s3.prefix)
    if (done := commits.find(spec.sync)) is not None:
        return _finished(commits, done)
    try:
        record = commits.commit(_staged(spec, commits, directory, found, progress))
    except WorldError:
        # Another pod of this sync may have committed meanwhile, and taken what this one had written apart away.
        done = commits.find(spec.sync)
        if done is None:
            raise
        record = done
    return _finished(commits, record)


def _staged(
    spec: AttemptSpec, commits: Commits, directory: Path, found: Mapping[str, str], progress: Progress | None
) -> Record:
    """Every table written apart; the record that would put it in place."""
    pipeline, s3 = spec.pipeline, spec.pipeline.destination.s3
    _configure(directory)
    import dlt
    from dlt.common.configuration.specs import AwsCredentials
    from dlt.common.exceptions import DltException
    from dlt.sources.sql_database import sql_database
    from sqlalchemy.exc import SQLAlchemyError

    counts: dict[str, int] = {}

    def count(table: str, rows: int) -> None:
        counts[table] = rows
        if progress is not None:
            progress(table, rows)

    register(count)
    engine = _engine(spec, found)
    try:
        names = _tables(spec, engine)
        pod = found.get(POD) or secrets.token_hex(8)
        staging = commits.staging(spec.sync, spec.attempt, pod)
        dataset = pipeline.name.replace("-", "_")
        credentials = AwsCredentials(region_name=spec.region, endpoint_url=spec.endpoint_url)
        destination = dlt.destinations.filesystem(
            bucket_url=f"s3://{s3.bucket}/{staging}", credentials=credentials, layout=LAYOUT
        )
        run: Any = dlt.pipeline(
            pipeline_name="sync",
            dataset_name=dataset,
            destination=destination,
            pipelines_dir=str(directory),
        )
        source: Any = sql_database(
            engine, table_names=names, backend=cast("Any", BACKEND), reflection_level="minimal", chunk_size=65_536
        )
        for name in names:
            naive = naive_timestamps(engine, name)
            source.resources[name].apply_hints(
                columns=[{"name": item, "data_type": "timestamp", "timezone": False} for item in naive]
            )
        load = run.run(source, write_disposition="replace", loader_file_format="parquet")
        load.raise_on_failed_jobs()
    except DltException as error:
        raise _failed(error, pipeline.name) from None
    except SQLAlchemyError as error:
        raise SourceError(
            f"the source cannot be read: {_plain(error)}",
            where=f"pipeline {pipeline.name}",
            todo="check the source's path or URL, its tables and the grants",
        ) from None
    finally:
        engine.dispose()
    written = {
        str(name): int(rows)
        for name, rows in run.last_trace.last_normalize_info.row_counts.items()
        if not str(name).startswith("_dlt")
    }
    if sum(written.values()) != sum(counts.values()):
        raise MoveError(
            f"{sum(counts.values())} rows were read and {sum(written.values())} written",
            where=f"pipeline {pipeline.name}",
            todo="run the sync again; if it stays so, please report it with the log",
        )
    size = sum(int(job.file_size) for package in load.load_packages for job in package.jobs["completed_jobs"])
    rows = {name: counts.get(name, 0) for name in names}
    return commits.prepare(spec.sync, spec.attempt, pod, dataset=dataset, rows=rows, size=size)


def _finished(commits: Commits, record: Record) -> Moved:
    """What the record says, in place: this attempt's own, or what an earlier one had committed."""
    commits.finish(record)
    tables = tuple(TableResult(table=name, rows=rows) for name, rows in record.rows.items())
    return Moved(tables=tables, bytes=record.bytes)


def _configure(directory: Path) -> None:
    """Dlt reads nothing of the machine's, writes nothing beside the attempt's directory, and tells nobody."""
    os.environ |= {
        "DLT_DATA_DIR": str(directory / "dlt"),
        "DLT_PROJECT_DIR": str(directory),
        "DLT_CONFIG_FOLDER": str(directory / "config"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        # Arrow files are as large as the batches make them; smaller pieces would only be more requests.
        "NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID": "false",
    }


def _engine(spec: AttemptSpec, environ: Mapping[str, str]) -> Any:
    import sqlalchemy as sa

    source = spec.pipeline.source
    if source.sqlite is not None:
        path = Path(source.sqlite.path)
        if not path.is_file():
            raise SourceError(
                "there is no SQLite database",
                where=str(path),
                todo="give the path of the database file as the job sees it",
            )
        return sa.create_engine(f"sqlite:///{path}")
    sql = source.sql
    url = environ.get(spec.source_url_variable or "", "") if sql is None or not isinstance(sql.url, str) else sql.url
    if not url:
        raise SourceError(
            "the source's URL is not there",
            where=f"variable {spec.source_url_variable}",
            todo="let the Secret that the pipeline names hold the key it names",
        )
    if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise SourceError(
            "only PostgreSQL and SQLite can be read so far",
            where=f"pipeline {spec.pipeline.name}",
            todo="give a URL that begins with postgresql://",
        )
    return sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))


def _tables(spec: AttemptSpec, engine: Any) -> list[str]:
    """The tables asked for, or all. Raises SourceError for one that is not there, and for none at all."""
    import sqlalchemy as sa

    present = sorted(sa.inspect(engine).get_table_names())
    source = spec.pipeline.source.sqlite or spec.pipeline.source.sql
    wanted = source.tables if source is not None and source.tables is not None else tuple(present)
    if missing := sorted(set(wanted) - set(present)):
        raise SourceError(
            f"the source has no table {', '.join(missing)}",
            where=f"pipeline {spec.pipeline.name}",
            todo=f"it has {', '.join(present[:20]) or 'none'}",
        )
    if not wanted:
        raise SourceError("the source has no tables", where=f"pipeline {spec.pipeline.name}", todo="check the database")
    return list(wanted)


def _failed(error: BaseException, pipeline: str) -> WorldError:
    """The cause that a person can act on, out of dlt's chain of exceptions."""
    cause: BaseException | None = error
    innermost: BaseException = error
    while cause is not None:
        if isinstance(cause, WorldError):
            return cause
        innermost, cause = cause, cause.__cause__ or cause.__context__
    return MoveError(
        f"{type(innermost).__name__}: {_plain(innermost)}",
        where=f"pipeline {pipeline}",
        todo="see the message; the role may lack a permission (towpath identity doctor)",
    )


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]
