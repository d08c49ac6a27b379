"""Translates a query from Athena's dialect to DuckDB's."""

from dataclasses import dataclass
from typing import Any

import duckdb
from sqlglot import exp

from local.emulator.athena import catalog, dialect, hive, places, relations, types
from local.emulator.athena.catalog import Column, Table
from local.emulator.athena.errors import Failure, ScanLimitExceeded
from local.emulator.athena.job import Job, ResultColumn
from local.emulator.athena.types import Type, quoted

_TYPES = {
    "HUGEINT": "bigint",
    "UBIGINT": "bigint",
    "UINTEGER": "bigint",
    "FLOAT": "real",
    "BLOB": "varbinary",
    '"NULL"': "unknown",
}


@dataclass(frozen=True)
class Translated:
    """`sql` is for DuckDB; `columns` are the result's as Athena names them."""

    sql: str
    columns: list[ResultColumn]
    scanned_bytes: int


def translate(db: duckdb.DuckDBPyConnection, query: exp.Expr | None, job: Job) -> Translated:
    """Create in DuckDB what the query reads. Raise Failure for a query that fails on Athena."""
    if query is None:
        raise TypeError("no query")
    scanned = _attach(db, query, job)
    sql = dialect.to_duckdb(query)
    described = db.execute(f"DESCRIBE {sql}").fetchall()
    columns = [ResultColumn(str(name).lower(), _type(str(kind))) for name, kind, *_ in described]
    return Translated(sql, columns, scanned)


def _type(duck: str) -> Type:
    if duck.endswith("[]"):
        return Type("array", (_type(duck[:-2]),))
    try:
        return types.parse(_TYPES.get(duck, duck.replace("STRUCT", "row")))
    except ValueError:
        return Type("varchar")


def _attach(db: duckdb.DuckDBPyConnection, tree: exp.Expr, job: Job) -> int:
    """Create the Glue tables of the statement in DuckDB; return the bytes of their files."""
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(job.database)}; USE {quoted(job.database)}")
    scanned = 0
    seen = set()
    for named in dialect.tables(tree):
        if (named.catalog.lower() or job.catalog) != catalog.DEFAULT:
            place = hive.position(job.statement.text, places.start(named))
            missing = named.catalog.lower() or job.catalog
            raise Failure(f"CATALOG_NOT_FOUND: {place}Catalog '{missing}' does not exist")
        key = (named.db.lower() or job.database, named.name.lower())
        found = catalog.table(*key)
        if found is None or key in seen:
            continue
        seen.add(key)
        relation = relations.of(db, found)
        scanned += relation.scanned_bytes
        schema, name = map(quoted, key)
        db.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        db.execute(f"""CREATE VIEW {schema}.{name} AS SELECT * EXCLUDE ("$path") FROM ({relation.sql})""")
    if job.bytes_limit is not None and scanned > job.bytes_limit:
        raise ScanLimitExceeded(scanned)
    return scanned


def check_insert(given: list[ResultColumn], wanted: list[Column]) -> None:
    if len(given) != len(wanted):
        raise Failure("TYPE_MISMATCH: line 1:1: Insert query has mismatched column types")


def delimiter(table: Table) -> Any:
    return (table.serde.get("Parameters") or {}).get("field.delim", "\x01")
