"""Tables out of a database as Arrow batches, through ADBC: a backend of dlt's `sql_database`.

Every column has one Arrow type for the whole table, chosen before the first row is read; a value that does not fit its column is an
error that names both, never a rounded or cut value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa
from dlt.sources.sql_database.helpers import BaseTableLoader, register_table_loader_backend

from towpath.errors import WorldError

BACKEND: Final = "adbc"
BATCH_ROWS: Final = 65_536  # rows handed on at once; a few MiB of a table of common width

# pyarrow ships no types.
Table = Any
DataType = Any

Progress = Callable[[str, int], None]  # table, rows so far
_progress: list[Progress] = []


class SourceError(WorldError):
    """The source could not be read, or holds a value its column cannot carry."""


class AdbcTableLoader(BaseTableLoader):
    """dlt gives the reflected table; we give Arrow."""

    def load_rows(self, backend_kwargs: dict[str, Any] | None = None) -> Iterator[Table]:
        rows = 0
        read = _sqlite if self.engine.dialect.name == "sqlite" else _postgres
        try:
            for table in read(self.engine, self.table):
                rows += table.num_rows
                yield table
                for report in _progress:
                    report(self.table.name, rows)
        except pa.ArrowException as error:
            raise SourceError(
                f"a value does not fit its column: {error}",
                where=f"table {self.table.name}, after {rows} rows",
                todo="correct the value, or declare the column with the type it holds",
            ) from None


def register(progress: Progress | None) -> None:
    """Make the backend known to dlt; `progress` is told of every batch."""
    _progress[:] = [progress] if progress is not None else []
    register_table_loader_backend(BACKEND, AdbcTableLoader)


def _sqlite(engine: sa.Engine, table: sa.Table) -> Iterator[Table]:
    """SQLite types values, not columns, and the driver guesses from the first rows: so look first, cast, and lead with a typed row."""
    import adbc_driver_sqlite.dbapi as sqlite

    quote = engine.dialect.identifier_preparer.quote
    columns = [column.name for column in table.columns]
    source = quote(table.name)
    with closing(sqlite.connect(str(engine.url.database))) as connection, closing(connection.cursor()) as cursor:
        kinds = _sqlite_kinds(cursor, source, [quote(name) for name in columns])
        lead, select = [], []
        for name, kind in zip(columns, kinds, strict=True):
            sample, expression = _SQLITE[kind]
            lead.append(f"{sample} AS {quote(name)}")
            select.append(f"{expression.format(column=quote(name))} AS {quote(name)}")
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": BATCH_ROWS})
        cursor.execute(f"SELECT {', '.join(lead)} UNION ALL SELECT {', '.join(select)} FROM {source}")  # noqa: S608 - names quoted by the dialect
        first = True
        for batch in cursor.fetch_record_batch():
            found = pa.Table.from_batches([batch])
            if first:
                first, found = False, found.slice(1)
                yield found
            elif found.num_rows:
                yield found


# What a column holds -> the leading row's value, which gives the column its type, and the expression that reads it.
_SQLITE: Final = {
    "integer": ("0", "{column}"),
    "real": ("0.0", "CAST({column} AS REAL)"),
    "text": ("''", "CAST({column} AS TEXT)"),
    "blob": ("x''", "{column}"),
}


def _sqlite_kinds(cursor: Any, source: str, columns: list[str]) -> list[str]:
    """What each column really holds. Integers beside reals are reals; text beside anything is text; a column of NULLs is text."""
    counts = ", ".join(
        f"TOTAL(typeof({column}) = '{kind}')" for column in columns for kind in ("integer", "real", "text", "blob")
    )
    cursor.execute(f"SELECT {counts} FROM {source}")  # noqa: S608 - names quoted by the dialect
    row = cursor.fetchone()
    out: list[str] = []
    for index, column in enumerate(columns):
        integers, reals, texts, blobs = (value > 0 for value in row[4 * index : 4 * index + 4])
        if blobs and (integers or reals or texts):
            raise SourceError(
                "the column holds blobs beside other values, and no one type carries both",
                where=f"table {source}, column {column}",
                todo="make the column's values of one kind",
            )
        out.append("blob" if blobs else "text" if texts or not (integers or reals) else "real" if reals else "integer")
    return out


def _postgres(engine: sa.Engine, table: sa.Table) -> Iterator[Table]:
    """Postgres through binary COPY; what Arrow has no type for is read as text, a NUMERIC with a precision as that decimal."""
    import adbc_driver_postgresql.dbapi as postgresql

    prepare = engine.dialect.identifier_preparer
    select, casts = [], {}
    for column in table.columns:
        text, decimal = _postgres_type(column.type)
        select.append(
            f"{prepare.quote(column.name)}::text" + f" AS {prepare.quote(column.name)}"
            if text
            else prepare.quote(column.name)
        )
        if decimal is not None:
            casts[column.name] = decimal
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(postgresql.connect(url)) as connection, closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT {', '.join(select)} FROM {prepare.format_table(table)}")  # noqa: S608 - names quoted by the dialect
        empty = True
        reader = cursor.fetch_record_batch()
        for batch in reader:
            if batch.num_rows:
                empty = False
                yield _cast(pa.Table.from_batches([batch]), casts)
        if empty:
            yield _cast(reader.schema.empty_table(), casts)


_NATIVE: Final = (sa.Boolean, sa.Integer, sa.Float, sa.Date, sa.DateTime, sa.Time, sa.String, sa.LargeBinary)
LARGEST_DECIMAL: Final = 38  # digits of Arrow's decimal128


def naive_timestamps(engine: sa.Engine, table: str) -> list[str]:
    """Columns without a time zone: dlt would take them for UTC unless it is told that they are not."""
    if engine.dialect.name == "sqlite":
        return []
    columns = sa.inspect(engine).get_columns(table)
    return [
        str(item["name"]) for item in columns if isinstance(item["type"], sa.DateTime) and not item["type"].timezone
    ]


def _postgres_type(kind: sa.types.TypeEngine[Any]) -> tuple[bool, DataType | None]:
    """(read as text, decimal to cast it to). Interval, UUID, JSON, arrays and everything unknown are text on purpose."""
    if isinstance(kind, sa.Numeric) and not isinstance(kind, sa.Float):
        if kind.precision is not None and kind.precision <= LARGEST_DECIMAL and (kind.scale or 0) >= 0:
            return True, pa.decimal128(kind.precision, kind.scale or 0)
        return True, None  # an unbounded NUMERIC has no Arrow type that could hold every value
    if isinstance(kind, (sa.ARRAY, sa.JSON, sa.Uuid, sa.Interval, sa.Enum)):
        return True, None
    return not isinstance(kind, _NATIVE), None


def _cast(table: Table, casts: dict[str, DataType]) -> Table:
    for name, kind in casts.items():
        index = table.schema.get_field_index(name)
        table = table.set_column(index, pa.field(name, kind), table.column(index).cast(kind))
    return table
