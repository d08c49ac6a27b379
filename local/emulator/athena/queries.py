"""SELECT and EXPLAIN on DuckDB."""

from typing import Any

import duckdb

from local.emulator.athena import translation
from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.job import Job, Result, ResultColumn
from local.emulator.athena.types import Type
from local.emulator.athena.values import text


def select(job: Job) -> Result:
    with connected(job) as db:
        query = translation.translate(db, job.statement.query, job)
        rows = run(db, query.sql)
    return Result(
        columns=query.columns,
        rows=[
            [
                None if cell is None else text(cell, column.type)
                for cell, column in zip(row, query.columns, strict=True)
            ]
            for row in rows
        ],
        scanned_bytes=query.scanned_bytes,
    )


def explain(job: Job) -> Result:
    """The plan is DuckDB's, one line a row, followed by three blank lines as on Athena."""
    given = job.statement.arguments
    if given["options"]:
        raise not_supported(f"EXPLAIN ({' '.join(given['options'])})")
    if job.statement.query is None:
        raise not_supported(f"EXPLAIN of {given['inner']}")
    with connected(job) as db:
        query = translation.translate(db, job.statement.query, job)
        plan = run(db, f"EXPLAIN {'ANALYZE ' if given['analyze'] else ''}{query.sql}")
    shown = "\n".join(str(one) for _, one in plan)
    columns = [ResultColumn("Query Plan", Type("varchar", (len(shown),)))]
    rows: list[list[str | None]] = [[line] for line in [*shown.split("\n"), "", "", ""]]
    return Result(columns=columns, rows=rows, scanned_bytes=query.scanned_bytes if given["analyze"] else 0)


def connected(job: Job) -> duckdb.DuckDBPyConnection:
    """A DuckDB database for this query only."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    job.connected(db)
    return db


def run(db: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    """The rows of a statement. Raise Failure, with Athena's name for an error of DuckDB."""
    try:
        return db.execute(sql).fetchall()
    except duckdb.Error as error:
        raise failure(error) from None


# Athena's name for each error of DuckDB at run time.
_NAMES: tuple[tuple[type[duckdb.Error], str], ...] = (
    (duckdb.CatalogException, "TABLE_NOT_FOUND"),
    (duckdb.BinderException, "SYNTAX_ERROR"),
    (duckdb.ParserException, "SYNTAX_ERROR"),
    (duckdb.ConversionException, "INVALID_CAST_ARGUMENT"),
    (duckdb.OutOfRangeException, "NUMERIC_VALUE_OUT_OF_RANGE"),
    (duckdb.InvalidInputException, "INVALID_FUNCTION_ARGUMENT"),
)


def failure(error: duckdb.Error) -> Failure:
    if isinstance(error, duckdb.InterruptException):
        return Failure("Query cancelled by user")
    message = str(error).strip().partition("\n")[0].partition(": ")[2]
    if "Division by zero" in message:
        return Failure("DIVISION_BY_ZERO: Division by zero")
    name = next((name for kind, name in _NAMES if isinstance(error, kind)), "GENERIC_USER_ERROR")
    return Failure(f"{name}: {message}")
