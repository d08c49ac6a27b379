"""A Glue table's files as a DuckDB query, with the columns and types of the table."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
from ministack.services import athena

from local.emulator.athena import storage
from local.emulator.athena.catalog import Column, Table
from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql.types import Type, quoted

# Parquet types that Athena can read as the table's type, by DuckDB's names.
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT")
_READABLE = {
    **{name.lower(): _INTEGERS[: number + 1] for number, name in enumerate(_INTEGERS)},
    "real": ("FLOAT",),
    "double": ("FLOAT", "DOUBLE"),
    "boolean": ("BOOLEAN",),
    "varchar": ("VARCHAR", "JSON"),
    "char": ("VARCHAR",),
    "varbinary": ("BLOB", "VARCHAR"),
    "date": ("DATE",),
    "timestamp": ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"),
}
_LAZY_DEFAULT_DELIMITER = "\x01"
# DuckDB would read empty text as NULL, and Hive does not.
_NOT_IN_ANY_FILE = "\x02\x03\x02"


@dataclass(frozen=True)
class Relation:
    """`sql` is a query for DuckDB; its columns are the table's, then its partition keys, then `$path`."""

    sql: str
    scanned_bytes: int


def of(db: duckdb.DuckDBPyConnection, table: Table) -> Relation:
    """Raise Failure for a table that cannot be read locally."""
    if table.parameters.get("projection.enabled", "").lower() == "true":
        raise not_supported(f"partition projection (table {table.name})")
    read = _reader(table)
    parts, scanned = [], 0
    for location, values in _places(table):
        files = storage.files(location)
        if files:
            parts.append(_part(table, read(db, table, files), values))
            scanned += sum(file.stat().st_size for file in files)
    return Relation(" UNION ALL ".join(parts) or _nothing(table), scanned)


def _places(table: Table) -> list[tuple[str, tuple[str, ...]]]:
    """Each location that holds data, with the values of the partition keys there."""
    if not table.keys:
        return [(table.location, ())]
    return [(one.location, one.values) for one in table.partitions]


def _part(table: Table, source: str, values: tuple[str, ...]) -> str:
    keys = [
        f"CAST({'NULL' if value == '__HIVE_DEFAULT_PARTITION__' else _literal(value)} AS {key.type.duckdb}) "
        f"AS {quoted(key.name)}"
        for key, value in zip(table.keys, values, strict=True)
    ]
    columns = [quoted(one.name) for one in table.columns]
    path = """regexp_replace(filename, '^.*/tables/([^/]+)/[^/]+/', 's3://\\1/') AS "$path\""""
    return f"SELECT {', '.join([*columns, *keys, path])} FROM {source}"


def _nothing(table: Table) -> str:
    empty = [
        f"CAST(NULL AS {one.type.duckdb}) AS {quoted(one.name)}" for one in [*table.columns, *table.keys]
    ]
    return f"""SELECT {", ".join([*empty, 'NULL::VARCHAR AS "$path"'])} WHERE false"""


def _reader(table: Table) -> Any:
    form = athena._data_format(table.glue)
    library = str(table.serde.get("SerializationLibrary") or "")
    if form == "csv" and "OpenCSVSerde" in library:
        return _open_csv
    if form == "csv" and (not library or "LazySimpleSerDe" in library):
        return _delimited_text
    readers = {"parquet": _parquet, "json": _json}
    if form not in readers:
        raise not_supported(f"reading {library or form} (table {table.name})")
    return readers[form]


def _parquet(db: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> str:
    source = (
        f"read_parquet({_paths(files)}, union_by_name = true, hive_partitioning = false, filename = true)"
    )
    found = {
        str(name).lower(): (str(name), str(kind))
        for name, kind, *_ in db.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
    }
    columns = [_parquet_column(table, one, found.get(one.name)) for one in table.columns]
    return f"(SELECT {', '.join([*columns, 'filename'])} FROM {source})"


def _parquet_column(table: Table, column: Column, found: tuple[str, str] | None) -> str:
    """A column by its name; one that is not in the files is NULL."""
    if found is None:
        return f"CAST(NULL AS {column.type.duckdb}) AS {quoted(column.name)}"
    name, kind = found
    readable = _READABLE.get(column.type.name)
    if readable is not None and kind not in readable:
        raise Failure(
            f"HIVE_BAD_DATA: Field {column.name}'s type {kind} in parquet file of {table.location} is "
            f"incompatible with type {column.type} defined in table schema"
        )
    return f"CAST({quoted(name)} AS {column.type.duckdb}) AS {quoted(column.name)}"


def _json(_db: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> str:
    columns = ", ".join(f"{_literal(one.name)}: {_literal(one.type.duckdb)}" for one in table.columns)
    return (
        f"read_json({_paths(files)}, columns = {{{columns}}}, format = 'newline_delimited', "
        "hive_partitioning = false, filename = true)"
    )


def _delimited_text(_db: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> str:
    """LazySimpleSerDe: no quoting, and NULL for a value that is invalid for the column's type."""
    given = table.serde.get("Parameters") or {}
    escape = given.get("escape.delim")
    if escape and any(escape.encode() in file.read_bytes() for file in files):
        raise not_supported(f"escaped text (table {table.name})")
    null = given.get("serialization.null.format", "\\N")
    return _csv(
        table, files, delimiter(table), quote="", convert=lambda name, kind: _lazily(name, kind, null)
    )


def delimiter(table: Table) -> str:
    """What is between the columns of LazySimpleSerDe."""
    given = table.serde.get("Parameters") or {}
    found = given.get("field.delim") or given.get("serialization.format") or "1"
    return _LAZY_DEFAULT_DELIMITER if found == "1" else _unescaped(str(found))


def _lazily(name: str, kind: Type, null: str) -> str:
    text = f"nullif({name}, {_literal(null)})"
    if kind.name in {"array", "map", "row", "varbinary"}:
        raise not_supported(f"{kind} in a text file")
    shapes = {
        **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), r"[+-]?\d+"),
        "boolean": "(?i)true|false",
        "date": r"\d{4}-\d{2}-\d{2}",
    }
    if shape := shapes.get(kind.name):
        text = f"CASE WHEN regexp_full_match({text}, '{shape}') THEN {text} END"
    return f"TRY_CAST({text} AS {kind.duckdb})"


def _open_csv(_db: duckdb.DuckDBPyConnection, table: Table, files: list[Path]) -> str:
    """OpenCSVSerde: every value may be quoted; one that is invalid for the column's type fails the query."""
    given = table.serde.get("Parameters") or {}
    for one in table.columns:
        if one.type.name not in {"varchar", "boolean", "integer", "bigint", "double"}:
            raise not_supported(f"{one.type} in OpenCSVSerde (table {table.name})")
    return _csv(
        table,
        files,
        _unescaped(given.get("separatorChar", ",")),
        quote=given.get("quoteChar", '"'),
        convert=lambda name, kind: (
            name if kind.name == "varchar" else f"CAST(nullif({name}, '') AS {kind.duckdb})"
        ),
    )


def _csv(table: Table, files: list[Path], between: str, *, quote: str, convert: Any) -> str:
    raw = [f"c{number}" for number in range(len(table.columns))]
    types = ", ".join(f"'{name}': 'VARCHAR'" for name in raw)
    skipped = table.parameters.get("skip.header.line.count", "0")
    skip = int(skipped) if skipped.isdecimal() else 0
    columns = [
        f"{convert(name, one.type)} AS {quoted(one.name)}"
        for name, one in zip(raw, table.columns, strict=True)
    ]
    options = {
        "auto_detect": "false",
        "header": "false",
        "skip": str(skip),
        "delim": _literal(between),
        "quote": _literal(quote),
        "escape": _literal(quote),
        "nullstr": _literal(_NOT_IN_ANY_FILE),
        "columns": f"{{{types}}}",
        "null_padding": "true",
        "strict_mode": "false",
        "hive_partitioning": "false",
        "filename": "true",
    }
    given = ", ".join(f"{name} = {value}" for name, value in options.items())
    return f"(SELECT {', '.join([*columns, 'filename'])} FROM read_csv({_paths(files)}, {given}))"


def _unescaped(text: str) -> str:
    r"""DDL writes a delimiter as `\t` or `\001`."""
    return re.sub(
        r"\\(t|n|\d{3})", lambda match: {"t": "\t", "n": "\n"}.get(match[1]) or chr(int(match[1], 8)), text
    )


def _paths(files: list[Path]) -> str:
    return "[" + ", ".join(_literal(str(file)) for file in files) + "]"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
