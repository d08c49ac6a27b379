"""CREATE TABLE AS, INSERT INTO and UNLOAD: queries whose rows become objects on S3."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyorc

from local.emulator.athena import catalog, relations, storage, translation
from local.emulator.athena.catalog import Column, Table
from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.job import Job, Result, ResultColumn
from local.emulator.athena.queries import connected, run
from local.emulator.athena.sql.types import Type, quoted

_ROWS = ResultColumn("rows", Type("bigint"))
_DEFAULT_PARTITION = "__HIVE_DEFAULT_PARTITION__"
_HIVE = "org.apache.hadoop.hive"
# Input format, output format and SerDe of each format that can be written locally.
_FORMATS = {
    "PARQUET": (
        f"{_HIVE}.ql.io.parquet.MapredParquetInputFormat",
        f"{_HIVE}.ql.io.parquet.MapredParquetOutputFormat",
        f"{_HIVE}.ql.io.parquet.serde.ParquetHiveSerDe",
    ),
    "JSON": (
        "org.apache.hadoop.mapred.TextInputFormat",
        f"{_HIVE}.ql.io.HiveIgnoreKeyTextOutputFormat",
        "org.openx.data.jsonserde.JsonSerDe",
    ),
    "TEXTFILE": (
        "org.apache.hadoop.mapred.TextInputFormat",
        f"{_HIVE}.ql.io.HiveIgnoreKeyTextOutputFormat",
        f"{_HIVE}.serde2.lazy.LazySimpleSerDe",
    ),
}
_CTAS_OPTIONS = {"format", "external_location", "partitioned_by", "field_delimiter", "write_compression"}
_CTAS_OPTIONS |= {"parquet_compression", "table_type", "is_external"}
_UNLOAD_OPTIONS = {"format", "partitioned_by", "field_delimiter", "compression"}
_ORC_COMPRESSION = {
    "": pyorc.CompressionKind.ZLIB,
    "ZLIB": pyorc.CompressionKind.ZLIB,
    "SNAPPY": pyorc.CompressionKind.SNAPPY,
    "LZ4": pyorc.CompressionKind.LZ4,
    "ZSTD": pyorc.CompressionKind.ZSTD,
    "NONE": pyorc.CompressionKind.NONE,
}
# Parquet's default, and what DuckDB writes.
_PARQUET_COMPRESSION = {"", "SNAPPY", "GZIP", "ZSTD", "UNCOMPRESSED", "NONE"}
_TEXT_COMPRESSION = {"", "GZIP", "NONE"}
_COMPRESSION = {"PARQUET": _PARQUET_COMPRESSION, "ORC": set(_ORC_COMPRESSION)}


@dataclass(frozen=True, kw_only=True)
class _Files:
    """How to write rows. `keys` are the last columns, by which the objects are partitioned."""

    location: str
    name: str
    form: str
    delimiter: str
    compression: str
    columns: list[Column]
    keys: list[Column]


def create_table_as(job: Job) -> Result:
    given = job.statement.arguments
    options = given["options"]
    database, name = job.target
    cleaning = (
        f". You may need to manually clean the data at location '{job.scratch}tables/{job.query_id}' before "
        "retrying. Athena will not delete data in your account."
    )
    if catalog.table(database, name):
        if given["exists_is_fine"]:
            return Result(columns=[_ROWS], updated=0)
        target = f"{catalog.DEFAULT}.{database}.{name}"
        raise Failure(
            f"TABLE_ALREADY_EXISTS: line 1:1: Destination table '{target}' already exists{cleaning}"
        )
    _check_options(options, _CTAS_OPTIONS)
    if str(options.get("table_type", "HIVE")).upper() != "HIVE":
        raise not_supported(f"table_type = '{options['table_type']}'")
    job.existing_database(database)
    location = options.get("external_location", f"{job.scratch}tables/{job.query_id}").rstrip("/")
    if storage.keys(location):
        reason = f"Target directory for table '{database}.{name}' already exists: {location}"
        raise Failure(f"HIVE_PATH_ALREADY_EXISTS: {reason}{cleaning}")
    with connected(job) as db:
        query = translation.translate(db, job.statement.query, job)
        files = _files(
            job,
            location,
            options,
            [Column(one.name, _stored(one.type)) for one in named_columns(query.columns)],
            form=_known_form(options.get("format", "PARQUET"), {*_FORMATS}),
        )
        rows = f"SELECT * FROM ({query.sql}) WHERE false" if given["without_data"] else query.sql
        written, partitions, count = _write(db, rows, files)
    catalog.create_table(database, _table_input(name, files))
    _register(database, name, location, partitions)
    return Result(columns=[_ROWS], scanned_bytes=query.scanned_bytes, updated=count, manifest=written)


def named_columns(columns: list[ResultColumn]) -> list[Column]:
    """The columns of a new table or view. Athena requires names, all different."""
    names = [one.name for one in columns]
    for number, name in enumerate(names, 1):
        if name == f"_col{number - 1}":
            raise Failure(f"MISSING_COLUMN_NAME: line 1:1: Column name not specified at position {number}")
        if names.count(name) > 1:
            raise Failure(f"DUPLICATE_COLUMN_NAME: line 1:1: Column name '{name}' specified more than once")
    return [Column(one.name, one.type) for one in columns]


def _stored(kind: Type) -> Type:
    """The type that Hive stores."""
    if kind.name == "unknown":
        raise Failure("COLUMN_TYPE_UNKNOWN: line 1:1: Column type is unknown")
    if kind.name in {"json", "time", "uuid", "timestamp with time zone"} or kind.name.startswith("interval"):
        raise Failure(f"NOT_SUPPORTED: Unsupported Hive type: {kind}")
    if _has_unnamed_field(kind):
        message = "Anonymous row type is not supported in Hive. Please give each field a name"
        raise Failure(f"NOT_SUPPORTED: {message}: {kind}")
    return Type("timestamp", (3,)) if kind.name == "timestamp" else kind


def _has_unnamed_field(kind: Any) -> bool:
    if not isinstance(kind, Type):
        return False
    if kind.name != "row":
        return any(map(_has_unnamed_field, kind.args))
    return any(name is None or _has_unnamed_field(inner) for name, inner in kind.args)


def _check_options(options: dict[str, Any], known: set[str]) -> None:
    for name in options:
        if name not in known:
            raise not_supported(f"the property {name}")


def _known_form(given: Any, known: set[str]) -> str:
    form = str(given).upper()
    if form not in known:
        raise not_supported(f"writing {form}")
    return form


def _files(job: Job, location: str, options: dict[str, Any], columns: list[Column], *, form: str) -> _Files:
    compression = next((str(options[name]).upper() for name in options if "compression" in name), "")
    if compression not in _COMPRESSION.get(form, _TEXT_COMPRESSION):
        raise not_supported(f"{compression} in {form}")
    wanted = [name.lower() for name in options.get("partitioned_by", [])]
    split = len(columns) - len(wanted)
    if [one.name for one in columns[split:]] != wanted:
        raise Failure(
            "HIVE_COLUMN_ORDER_MISMATCH: Partition keys must be the last columns in the table and in the "
            f"same order as the table properties: {wanted}"
        )
    return _Files(
        location=location.rstrip("/"),
        name=job.query_id,
        form=form,
        delimiter=str(options.get("field_delimiter", "\x01")),
        compression=compression,
        columns=columns[:split],
        keys=columns[split:],
    )


def insert(job: Job) -> Result:
    table = _insertable(job)
    columns = [*table.columns, *table.keys]
    named = job.statement.arguments["columns"] or [one.name for one in columns]
    unknown = [name for name in named if name not in {one.name for one in columns}]
    if unknown:
        raise Failure(
            f"COLUMN_NOT_FOUND: line 1:1: Insert column name does not exist in target table: {unknown[0]}"
        )
    files = _Files(
        location=table.location.rstrip("/"),
        name=job.query_id,
        form=_form(table),
        delimiter=relations.delimiter(table),
        compression="",
        columns=table.columns,
        keys=table.keys,
    )
    with connected(job) as db:
        query = translation.translate(db, job.statement.query, job)
        translation.check_insert(
            query.columns, [one for name in named for one in columns if one.name == name]
        )
        source = {name: f"c{number}" for number, name in enumerate(named)}
        shown = ", ".join(
            f"CAST({source.get(one.name, 'NULL')} AS {one.type.duckdb}) AS {quoted(one.name)}"
            for one in columns
        )
        listed = ", ".join(source.values())
        written, partitions, count = _write(db, f"SELECT {shown} FROM ({query.sql}) AS rows({listed})", files)
    _register(table.database, table.name, table.location, partitions)
    return Result(columns=[_ROWS], scanned_bytes=query.scanned_bytes, updated=count, manifest=written)


def _insertable(job: Job) -> Table:
    database, name = job.target
    table = catalog.table(job.existing_database(database), name)
    if table is None:
        target = f"{catalog.DEFAULT}.{database}.{name}"
        raise Failure(f"TABLE_NOT_FOUND: line 1:1: Table '{target}' does not exist")
    if table.is_view:
        raise Failure("NOT_SUPPORTED: line 1:1: Inserting into views is not supported")
    return table


def _form(table: Table) -> str:
    """The format in which a table is written."""
    library = table.serde.get("SerializationLibrary")
    form = next((form for form, (_, _, serde) in _FORMATS.items() if serde == library), None)
    if form is None:
        raise not_supported(f"INSERT into a table of {library}")
    return form


def unload(job: Job) -> Result:
    given = job.statement.arguments
    location = given["location"].rstrip("/")
    if "format" not in given["options"]:
        raise Failure("SYNTAX_ERROR: line 1:1: UNLOAD needs the property format")
    _check_options(given["options"], _UNLOAD_OPTIONS)
    if storage.keys(location):
        raise Failure(f"HIVE_PATH_ALREADY_EXISTS: Target directory for table already exists: {location}")
    with connected(job) as db:
        query = translation.translate(db, job.statement.query, job)
        columns = [Column(one.name, _stored(one.type)) for one in query.columns]
        form = _known_form(given["options"]["format"], {*_FORMATS, "ORC"})
        files = _files(job, location, given["options"], columns, form=form)
        written, _, count = _write(db, query.sql, files)
    return Result(columns=[_ROWS], scanned_bytes=query.scanned_bytes, updated=count, manifest=written)


def _write(
    db: duckdb.DuckDBPyConnection, sql: str, files: _Files
) -> tuple[list[str], list[tuple[str, ...]], int]:
    """Write the rows of a query, one object for each partition. Return objects, partitions and row count."""
    columns = [*files.columns, *files.keys]
    listed = ", ".join(
        f"CAST(c{number} AS {one.type.duckdb}) AS {quoted(one.name)}" for number, one in enumerate(columns)
    )
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    run(db, f"CREATE TEMP TABLE __rows AS SELECT {listed} FROM ({sql}) AS rows({names})")
    keys = ", ".join(quoted(one.name) for one in files.keys)
    found = run(db, f"SELECT {keys or 1}, count(*) FROM __rows GROUP BY ALL ORDER BY ALL") if columns else []
    written, partitions, total = [], [], 0
    for *values, count in found:
        total += count
        if not count:
            continue
        folder = tuple(
            _DEFAULT_PARTITION if one is None else _partition_text(one) for one in values if files.keys
        )
        uri = "/".join(
            [
                files.location,
                *(f"{key.name}={value}" for key, value in zip(files.keys, folder, strict=True)),
                files.name + _suffix(files),
            ]
        )
        where = " AND ".join(f"{quoted(key.name)} IS NOT DISTINCT FROM ?" for key in files.keys)
        storage.put(
            uri,
            _object(db, f"FROM __rows{' WHERE ' + where if where else ''}", values if where else [], files),
        )
        written.append(uri)
        partitions.append(folder)
    return written, partitions if files.keys else [], total


def _partition_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _suffix(files: _Files) -> str:
    if files.form in {"PARQUET", "ORC"}:
        return f".{files.form.lower()}"
    return "" if files.compression == "NONE" else ".gz"


def _object(db: duckdb.DuckDBPyConnection, rows: str, values: list[Any], files: _Files) -> bytes:
    columns = ", ".join(quoted(one.name) for one in files.columns)
    if files.form == "ORC":
        return _orc(db.execute(f"SELECT {columns} {rows}", values).fetchall(), files)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows"
        if files.form == "PARQUET":
            codec = {"": "snappy", "NONE": "uncompressed"}.get(files.compression, files.compression)
            how = f"FORMAT parquet, COMPRESSION {codec}"
        elif files.form == "JSON":
            how = "FORMAT json"
        else:
            delimiter = files.delimiter.replace("'", "''")
            how = f"FORMAT csv, HEADER false, DELIMITER '{delimiter}', QUOTE '', ESCAPE '', NULLSTR '\\N'"
        db.execute(f"COPY (SELECT {columns} {rows}) TO '{file}' ({how})", values)
        body = file.read_bytes()
    return gzip.compress(body) if _suffix(files) == ".gz" else body


def _orc(rows: list[tuple[Any, ...]], files: _Files) -> bytes:
    schema = ",".join(f"{one.name}:{one.type.hive}" for one in files.columns)
    buffer = io.BytesIO()
    compression = _ORC_COMPRESSION[files.compression]
    names = [one.name for one in files.columns]
    with pyorc.Writer(
        buffer, f"struct<{schema}>", compression=compression, struct_repr=pyorc.StructRepr.DICT
    ) as writer:
        writer.writerows(dict(zip(names, row, strict=True)) for row in rows)
    return buffer.getvalue()


def _table_input(name: str, files: _Files) -> dict[str, Any]:
    into, out, serde = _FORMATS[files.form]
    given = (
        {"field.delim": files.delimiter, "serialization.format": files.delimiter}
        if files.form == "TEXTFILE"
        else {}
    )
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": {"TEXTFILE": "csv"}.get(files.form, files.form.lower()),
            "has_encrypted_data": "false",
        },
        "PartitionKeys": [{"Name": one.name, "Type": one.type.hive} for one in files.keys],
        "StorageDescriptor": {
            "Columns": [{"Name": one.name, "Type": one.type.hive} for one in files.columns],
            "Location": files.location,
            "InputFormat": into,
            "OutputFormat": out,
            "SerdeInfo": {
                "SerializationLibrary": serde,
                "Parameters": given or {"serialization.format": "1"},
            },
        },
    }


def _register(database: str, name: str, location: str, partitions: list[tuple[str, ...]]) -> None:
    """Add the partitions that received rows to Glue."""
    table = catalog.existing(database, name)
    for values in partitions:
        path = "/".join(f"{key.name}={value}" for key, value in zip(table.keys, values, strict=True))
        catalog.add_partition(table, values, f"{location.rstrip('/')}/{path}/")
