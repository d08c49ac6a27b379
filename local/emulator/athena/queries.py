"""SELECT and EXPLAIN on DuckDB."""

import threading
from typing import Any

import duckdb

from local.emulator.athena import duckdb_errors, translation
from local.emulator.athena.errors import not_supported
from local.emulator.athena.job import Job, Result, ResultColumn
from local.emulator.athena.sql import json_text
from local.emulator.athena.sql.types import Type
from local.emulator.athena.values import text


def select(job: Job) -> Result:
    with connected(job) as db:
        query = translation.translate(db, job.statement.query, job)
        rows = run(db, _shown(query))
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


def _shown(query: translation.Translated) -> str:
    """Convert intervals of months to text: DuckDB's client would return days."""
    if not any(one.type.name == _MONTHS for one in query.columns):
        return query.sql
    names = [f"c{number}" for number in range(len(query.columns))]
    cells = [
        f"printf('%s%d-%d', {_SIGN}, abs({_COUNT}) // 12, abs({_COUNT}) % 12)".replace("VALUE", name)
        if one.type.name == _MONTHS
        else name
        for name, one in zip(names, query.columns, strict=True)
    ]
    return f"SELECT {', '.join(cells)} FROM ({query.sql}) AS r({', '.join(names)})"


_MONTHS = "interval year to month"
_COUNT = "(12 * date_part('year', VALUE) + date_part('month', VALUE))"
_SIGN = f"CASE WHEN {_COUNT} < 0 THEN '-' ELSE '' END"


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


class _Shared:
    """All queries share a database, since opening one takes longer than most queries. What they create in it
    is temporary, and so belongs to their connection.
    """

    lock = threading.Lock()
    database: duckdb.DuckDBPyConnection | None = None


def connected(job: Job) -> duckdb.DuckDBPyConnection:
    """A connection for this query only."""
    with _Shared.lock:
        try:
            db = _connect()
        except duckdb.Error:
            # An internal error of DuckDB invalidates a database.
            _Shared.database = None
            db = _connect()
    job.connected(db)
    return db


def _connect() -> duckdb.DuckDBPyConnection:
    if _Shared.database is None:
        _Shared.database = duckdb.connect()
        json_text.register(_Shared.database)
    db = _Shared.database.cursor()
    db.execute("SET TimeZone = 'UTC'")
    return db


def run(db: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    """The rows of a statement. Raise Failure, with Athena's name for an error of DuckDB."""
    try:
        return db.execute(sql).fetchall()
    except duckdb.Error as error:
        raise duckdb_errors.failure(error) from None
