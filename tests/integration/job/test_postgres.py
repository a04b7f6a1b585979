"""Postgres to Parquet on S3, value by value, for the types no Arrow path carries by itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from .conftest import Lake

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of our own on loopback, as the user postgres where we are root; gone at the end."""
    binaries = BINARIES[0] if BINARIES else Path(found).parent if (found := shutil.which("initdb")) else None
    if binaries is None:
        pytest.skip("no PostgreSQL server here: Debian's package postgresql brings one")
    directory = tmp_path_factory.mktemp("postgres")
    user: list[str] = []
    if os.geteuid() == 0:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        for parent in (directory, *directory.parents):
            if str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o011)
        shutil.chown(directory, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = directory / "data"
    subprocess.run(
        [*user, str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-N"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    process = subprocess.Popen(
        [*user, str(binaries / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={directory}", "-F"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        for _ in range(100):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def fill(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


TABLE = """
CREATE TABLE kinds (
  id bigint PRIMARY KEY, n numeric(20, 4), unbounded numeric, t text, b boolean, d date, ts timestamp, tz timestamptz, f double precision,
  u uuid, j jsonb, a int[], i interval, raw bytea, s smallint, v varchar(10)
)"""
ROW = """
INSERT INTO kinds VALUES (
  1, 1234567890123456.7891, 1e-30, 'ü 日本', true, '2013-01-01', '2013-01-01 10:00:00.123456', '2013-01-01 10:00:00+02', 0.1,
  '00000000-0000-0000-0000-000000000001', '{"a": [1, null]}', '{1,2,NULL}', '1 year 2 days 03:04:05', '\\x00ff', -5, 'v'
)"""


def test_every_type_arrives_exact(lake: Lake, server: str) -> None:
    fill(
        server,
        "DROP TABLE IF EXISTS kinds",
        TABLE,
        ROW,
        "INSERT INTO kinds (id) VALUES (2)",
        "DROP TABLE IF EXISTS nothing",
        "CREATE TABLE nothing (id int)",
    )
    result = lake.run({"sql": {"url": server, "tables": ["kinds", "nothing"]}})
    assert (result.error, result.rows, result.tables) == (None, 2, 2)
    first, second = lake.read("kinds")
    assert first[:9] == (
        1, Decimal("1234567890123456.7891"), "0.000000000000000000000000000001", "ü 日本", True, date(2013, 1, 1),
        datetime(2013, 1, 1, 10, 0, 0, 123456), datetime(2013, 1, 1, 8, 0, tzinfo=UTC), 0.1,
    )  # fmt: skip
    assert first[9:] == (
        "00000000-0000-0000-0000-000000000001",
        '{"a": [1, null]}',
        "{1,2,NULL}",
        "1 year 2 days 03:04:05",
        b"\x00\xff",
        -5,
        "v",
    )
    assert second == (2, *[None] * 15)


def test_url_from_a_secret_reaches_the_job_and_no_log(lake: Lake, server: str) -> None:
    fill(server, "DROP TABLE IF EXISTS small", "CREATE TABLE small AS SELECT generate_series(1, 100000) AS id")
    source = {"sql": {"url": {"secret": "orders-db", "key": "url"}, "tables": ["small"]}}
    result = lake.run(source, source_url_variable="SOURCE_URL", extra={"SOURCE_URL": server})
    assert (result.error, result.rows) == (None, 100_000)
    wrong = server.replace("postgres@", "nobody:hunter2@")
    failed = lake.run(source, source_url_variable="SOURCE_URL", extra={"SOURCE_URL": wrong})
    assert failed.status == "failed"
    assert "hunter2" not in failed.model_dump_json()
    absent = lake.run(source, source_url_variable="SOURCE_URL")
    assert absent.error is not None
    assert "SOURCE_URL" in absent.error.where


def test_number_that_does_not_fit_is_an_error_not_a_rounding(lake: Lake, server: str) -> None:
    fill(
        server,
        "DROP TABLE IF EXISTS odd",
        "CREATE TABLE odd (n numeric(10, 2))",
        "INSERT INTO odd VALUES (1.25), ('NaN')",
    )
    result = lake.run({"sql": {"url": server, "tables": ["odd"]}})
    assert result.status == "failed"
    assert result.error is not None
    assert "table odd" in result.error.where
