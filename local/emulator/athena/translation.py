"""Translates a query to DuckDB's SQL over the tables of the Glue Data Catalog."""

from dataclasses import dataclass, field

import duckdb
from sqlglot import exp

from local.emulator.athena import catalog, information_schema, relations
from local.emulator.athena.catalog import Column, Table
from local.emulator.athena.errors import Failure, ScanLimitExceeded, not_supported
from local.emulator.athena.job import Job, ResultColumn
from local.emulator.athena.sql import coercion, grammar, places
from local.emulator.athena.sql.dialect import parse
from local.emulator.athena.sql.queries import Queries
from local.emulator.athena.sql.shapes import Columns
from local.emulator.athena.sql.values import literal

_PARTITIONS = "$partitions"


@dataclass(frozen=True)
class Translated:
    """`sql` is for DuckDB; `columns` are the result's as Athena names them."""

    sql: str
    columns: list[ResultColumn]
    scanned_bytes: int


def translate(db: duckdb.DuckDBPyConnection, query: exp.Expr | None, job: Job) -> Translated:
    """Raise Failure for a query that fails on Athena or that is not supported locally."""
    if query is None:
        raise TypeError(f"{job.statement.kind} has no query")
    grammar.check(query)
    tables = _Tables(db, job)
    found = Queries(job.statement.text, tables).query(query)
    if job.bytes_limit is not None and tables.scanned_bytes > job.bytes_limit:
        raise ScanLimitExceeded(tables.scanned_bytes)
    columns = [
        ResultColumn(name or f"_col{number}", kind) for number, (name, kind) in enumerate(found.columns)
    ]
    return Translated(found.sql, columns, tables.scanned_bytes)


@dataclass
class _Tables:
    """The tables that a statement reads. A view resolves names in the database of its creation."""

    db: duckdb.DuckDBPyConnection
    job: Job
    database: str = ""
    text: str = ""
    views: tuple[str, ...] = ()
    scanned_bytes: int = 0
    _known: dict[tuple[str, str], tuple[str, Columns, tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = self.database or self.job.database
        self.text = self.text or self.job.statement.text

    def table(self, node: exp.Table) -> tuple[str, Columns, tuple[str, ...]]:
        key = (node.db.lower() or self.database, node.name.lower())
        if key not in self._known:
            self._known[key] = self._read(node, *key)
        return self._known[key]

    def _read(self, node: exp.Table, database: str, name: str) -> tuple[str, Columns, tuple[str, ...]]:
        place = places.position(self.text, places.start(node))
        wanted = node.catalog.lower() or self.job.catalog
        if wanted != catalog.DEFAULT:
            raise Failure(f"CATALOG_NOT_FOUND: {place}Catalog '{wanted}' does not exist")
        if database == "information_schema":
            return (*information_schema.relation(name, place), ())
        if not catalog.has_database(database):
            raise Failure(f"SCHEMA_NOT_FOUND: {place}Schema '{database}' does not exist")
        found = catalog.table(database, name.removesuffix(_PARTITIONS))
        if found is None:
            raise Failure(
                f"TABLE_NOT_FOUND: {place}Table '{catalog.DEFAULT}.{database}.{name}' does not exist"
            )
        if found.is_view:
            if f"{database}.{name}" in self.views:
                raise Failure(f"VIEW_IS_RECURSIVE: {place}View '{database}.{name}' is recursive")
            return (*self._view(found), ())
        if name.endswith(_PARTITIONS):
            return (*_partitions(found), ())
        if "$" in name:
            raise not_supported(f"the table {name}")
        relation = relations.of(self.db, found)
        self.scanned_bytes += relation.scanned_bytes
        columns: Columns = [(one.name, one.type) for one in [*found.columns, *found.keys]]
        return relation.sql, [*columns, ("$path", coercion.VARCHAR)], ("$path",)

    def _view(self, view: Table) -> tuple[str, Columns]:
        described = view.view
        text = str(described["originalSql"])
        views = (*self.views, f"{view.database}.{view.name}")
        inner = _Tables(self.db, self.job, str(described["schema"]), text, views)
        tree = parse(text)
        grammar.check(tree)
        found = Queries(text, inner).query(tree)
        self.scanned_bytes += inner.scanned_bytes
        return found.sql, [
            (one["name"], kind) for one, (_, kind) in zip(described["columns"], found.columns, strict=True)
        ]


def _partitions(table: Table) -> tuple[str, Columns]:
    """The partitions in Glue, one a row."""
    columns: Columns = [(one.name, one.type) for one in table.keys]
    if not columns:
        raise Failure(f"TABLE_NOT_FOUND: Table '{table.name}{_PARTITIONS}' does not exist")
    rows = [
        "("
        + ", ".join(
            f"CAST({literal(value)} AS {kind.duckdb})"
            for value, (_, kind) in zip(one.values, columns, strict=True)
        )
        + ")"
        for one in table.partitions
    ]
    empty = ", ".join(f"CAST(NULL AS {kind.duckdb})" for _, kind in columns)
    return f"VALUES {', '.join(rows)}" if rows else f"SELECT {empty} WHERE false", columns


def check_insert(given: list[ResultColumn], wanted: list[Column]) -> None:
    """INSERT accepts values that need no cast."""
    kinds = [[one.type for one in wanted], [one.type for one in given]]
    fits = len(given) == len(wanted) and all(
        coercion.coercible(one, kind) or (one.name == kind.name == "varchar")
        for kind, one in zip(*kinds, strict=True)
    )
    if not fits:
        table, query = ([str(kind) for kind in one] for one in kinds)
        shown = f"Table: [{', '.join(table)}], Query: [{', '.join(query)}]"
        raise Failure(f"TYPE_MISMATCH: Insert query has mismatched column types: {shown}")
