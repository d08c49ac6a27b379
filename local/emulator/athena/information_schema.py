"""The information_schema, from the Glue Data Catalog. Trino leaves out tables that Glue denies it to list."""

from collections.abc import Callable

from local.emulator.athena import catalog
from local.emulator.athena.errors import Failure
from local.emulator.athena.sql.coercion import BIGINT, VARCHAR
from local.emulator.athena.sql.shapes import Columns
from local.emulator.athena.sql.values import literal

Row = list[str | int | None]


def relation(name: str, place: str) -> tuple[str, Columns]:
    """DuckDB's SQL for a table of the information_schema, and its columns."""
    if name not in _TABLES:
        message = f"Table '{catalog.DEFAULT}.information_schema.{name}' does not exist"
        raise Failure(f"TABLE_NOT_FOUND: {place}{message}")
    names, rows = _TABLES[name]
    columns: Columns = [(one, BIGINT if one == "ordinal_position" else VARCHAR) for one in names]
    lines = [f"({', '.join(map(_cell, row))})" for row in rows()]
    empty = ", ".join(f"CAST(NULL AS {kind.duckdb})" for _, kind in columns)
    return f"SELECT {empty} WHERE false" + "".join(f" UNION ALL VALUES {line}" for line in lines), columns


def _cell(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    return literal(value) if isinstance(value, str) else f"CAST({value} AS BIGINT)"


def _schemata() -> list[Row]:
    return [[catalog.DEFAULT, name] for name in ["information_schema", *catalog.databases()]]


def _tables() -> list[Row]:
    return [
        [catalog.DEFAULT, database, one.name, "VIEW" if one.is_view else "BASE TABLE"]
        for database in catalog.databases()
        for one in catalog.listable(database)
    ]


def _views() -> list[Row]:
    return [
        [catalog.DEFAULT, database, one.name, one.view["originalSql"]]
        for database in catalog.databases()
        for one in catalog.listable(database)
        if one.is_view
    ]


def _columns() -> list[Row]:
    rows: list[Row] = []
    for database in catalog.databases():
        for table in catalog.listable(database):
            keys = {one.name for one in table.keys}
            for number, one in enumerate([*table.columns, *table.keys], 1):
                extra = "partition key" if one.name in keys else None
                place: Row = [catalog.DEFAULT, database, table.name]
                column: Row = [one.name, number, None, "YES", str(one.type), one.comment or None, extra]
                rows.append([*place, *column])
    return rows


_PLACE = ["table_catalog", "table_schema", "table_name"]
_COLUMN = [
    "column_name",
    "ordinal_position",
    "column_default",
    "is_nullable",
    "data_type",
    "comment",
    "extra_info",
]
_TABLES: dict[str, tuple[list[str], Callable[[], list[Row]]]] = {
    "schemata": (["catalog_name", "schema_name"], _schemata),
    "tables": ([*_PLACE, "table_type"], _tables),
    "views": ([*_PLACE, "view_definition"], _views),
    "columns": ([*_PLACE, *_COLUMN], _columns),
}
