"""Runs Athena's statements on DuckDB, over the tables of MiniStack's Glue and the objects of its S3.

Everything here runs in a worker thread, in the context (account and region) of the request that started it.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import duckdb
from ministack.services import athena, glue, s3
from sqlglot import exp

from local.emulator.athena import dialect
from local.emulator.glue import parquet_table

DEFAULT_CATALOG = "awsdatacatalog"

# Athena's ErrorType (Athena user guide, "Athena error catalog") of what DuckDB may say.
_SYNTAX, _DATA, _DDL, _USER = 1006, 1001, 1003, 1000
_ERROR_TYPES: tuple[tuple[type[duckdb.Error], int], ...] = (
    (duckdb.CatalogException, _SYNTAX),
    (duckdb.BinderException, _SYNTAX),
    (duckdb.ParserException, _SYNTAX),
    (duckdb.ConversionException, _DATA),
    (duckdb.OutOfRangeException, _DATA),
    (duckdb.InvalidInputException, _DATA),
)

_TYPES = {
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "HUGEINT": "bigint",
    "UBIGINT": "bigint",
    "UINTEGER": "bigint",
    "FLOAT": "real",
    "DOUBLE": "double",
    "VARCHAR": "varchar",
    "BLOB": "varbinary",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}


class Failure(Exception):
    """The statement fails as it would on Athena. Category 2 is the user's, 1 the system's."""

    def __init__(
        self, reason: str, error_type: int = _USER, category: int = 2, *, retryable: bool = False
    ) -> None:
        super().__init__(reason)
        self.error_type = error_type
        self.category = category
        self.retryable = retryable


class ScanLimitExceeded(Exception):
    """The query would scan more than its workgroup allows: Athena cancels it and bills what it scanned."""

    def __init__(self, scanned_bytes: int) -> None:
        super().__init__("Bytes scanned limit was exceeded")
        self.scanned_bytes = scanned_bytes


@dataclass(kw_only=True)
class Result:
    """Rows as text, as Athena gives them; None is NULL. `manifest` lists the S3 URIs that were written."""

    columns: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    scanned_bytes: int = 0
    manifest: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A statement to run. `scratch` is the S3 prefix of the workgroup's results.

    `bytes_limit` is how much the workgroup lets a query scan. `connected` gets the DuckDB connection, so that
    it can be interrupted.
    """

    query_id: str
    statement: dialect.Statement
    database: str
    catalog: str
    work_group: str
    scratch: str
    bytes_limit: int | None
    connected: Callable[[duckdb.DuckDBPyConnection], None]


def run(job: Job) -> Result:
    """Raise Failure if the statement fails."""
    kinds: dict[str, Callable[[Job], Result]] = {
        "SELECT": _select,
        "CREATE_TABLE_AS_SELECT": _create_table_as,
        "INSERT": _insert,
        "UNLOAD": _unload,
        "EXPLAIN": _explain,
        "SHOW": _show,
        "DESCRIBE": _describe,
        "DESC": _describe,
        "MSCK": lambda _: Result(),  # DuckDB finds partitions by their paths
        "PREPARE": _prepare,
        "DEALLOCATE": _deallocate,
        "CREATE_TABLE": _table_ddl,
        "DROP_TABLE": _table_ddl,
        "CREATE_SCHEMA": _create_database,
        "CREATE_DATABASE": _create_database,
        "DROP_SCHEMA": _drop_database,
        "DROP_DATABASE": _drop_database,
    }
    perform = kinds.get(job.statement.kind)
    if perform is None:
        raise Failure(f"NOT_SUPPORTED: {job.statement.kind} does not run on one machine", _DDL)
    try:
        return perform(job)
    except duckdb.Error as error:
        kind = next((number for cls, number in _ERROR_TYPES if isinstance(error, cls)), None)
        reason = str(error).strip()
        raise Failure(reason, 100 if kind is None else kind, 1 if kind is None else 2) from None


def _tree(job: Job) -> exp.Expr:
    if job.statement.tree is None:
        raise Failure(f"{job.statement.kind} cannot be read")
    return job.statement.tree


def _select(job: Job) -> Result:
    tree = _tree(job)
    with duckdb.connect() as db:
        job.connected(db)
        scanned = _attach(db, tree, job)
        return _result(db.execute(dialect.to_duckdb(tree)), scanned)


def _result(cursor: duckdb.DuckDBPyConnection, scanned: int = 0) -> Result:
    described = cursor.description or []
    return Result(
        columns=[str(column[0]).lower() for column in described],
        types=[_athena_type(str(column[1])) for column in described],
        rows=[[None if cell is None else text(cell) for cell in row] for row in cursor.fetchall()],
        scanned_bytes=scanned,
    )


def _attach(db: duckdb.DuckDBPyConnection, tree: exp.Expr, job: Job) -> int:
    """Make the Glue tables that the statement names known to DuckDB; return the bytes of their files."""
    database = job.database
    _check_catalogs(tree, job)
    db.execute("SET TimeZone = 'UTC'")
    db.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(database)}; USE {_quoted(database)}")
    scanned = 0
    for schema, name in {
        (table.db.lower() or database, table.name.lower()) for table in dialect.tables(tree)
    }:
        described = glue._tables.get(f"{schema}/{name}")
        if described is None:
            continue
        files = _files(described["StorageDescriptor"]["Location"])
        scanned += sum(file.stat().st_size for file in files)
        paths = [str(file) for file in files]
        relation = athena._table_relation(described, paths) if paths else athena._empty_relation(described)
        db.execute(f"CREATE SCHEMA IF NOT EXISTS {_quoted(schema)}")
        db.execute(f"CREATE VIEW {_quoted(schema)}.{_quoted(name)} AS SELECT * FROM {relation}")
    if job.bytes_limit is not None and scanned > job.bytes_limit:
        raise ScanLimitExceeded(scanned)
    return scanned


def _check_catalogs(tree: exp.Expr, job: Job) -> None:
    """Athena accepts any catalog, and fails a query as soon as it reads a table there."""
    for table in dialect.tables(tree):
        catalog = table.catalog.lower() or job.catalog
        if catalog != DEFAULT_CATALOG:
            position = dialect.position(table, job.statement.text)
            raise Failure(f"CATALOG_NOT_FOUND: {position}Catalog '{catalog}' does not exist", _SYNTAX)


def _files(location: str) -> list[Path]:
    """Local copies of the objects at an S3 location, each made once; its path ends as its key does."""
    place = urlsplit(location)
    bucket = s3._buckets.get(place.netloc)
    prefix = place.path.strip("/") + "/"
    cache = Path(os.environ["S3_DATA_DIR"]) / "tables"
    files = []
    for key, described in sorted((bucket or {"objects": {}})["objects"].items()):
        if not key.startswith(prefix) or key.endswith("/") or athena._hidden(key[len(prefix) :]):
            continue
        etag = re.sub(r"\W", "", str(described.get("etag", "")))
        file = cache / place.netloc / etag / key
        if not etag or not file.exists():
            data = s3._get_object_data(place.netloc, key) or b""
            file = cache / place.netloc / hashlib.sha256(data).hexdigest() / key if not etag else file
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_name(f".{file.name}.{os.urandom(4).hex()}")
            part.write_bytes(data)
            part.rename(file)
        files.append(file)
    return files


def _create_table_as(job: Job) -> Result:
    tree = _tree(job)
    target = tree.find(exp.Table)
    select = tree.args["expression"]
    if target is None:
        raise Failure("the table has no name", _SYNTAX)
    database, name = target.db.lower() or job.database, target.name.lower()
    options = {
        one.this.name.lower() if isinstance(one, exp.Property) and isinstance(one.this, exp.Expr) else "": one
        for one in tree.find_all(exp.Property)
    }
    given = options.get("external_location")
    location = given.args["value"].name if given else f"{job.scratch}tables/{job.query_id}/"
    if f"{database}/{name}" in glue._tables:
        raise Failure(f"TABLE_ALREADY_EXISTS: Table '{database}.{name}' already exists", _USER)
    with duckdb.connect() as db:
        job.connected(db)
        scanned = _attach(db, select, job)
        written, columns = _write_parquet(db, dialect.to_duckdb(select), location, job.query_id)
    _create_glue_table(database, name, location, columns)
    return Result(scanned_bytes=scanned, manifest=[written])


def _insert(job: Job) -> Result:
    tree = _tree(job)
    target = tree.find(exp.Table)
    if target is None:
        raise Failure("the table has no name", _SYNTAX)
    database, name = target.db.lower() or job.database, target.name.lower()
    described = glue._tables.get(f"{database}/{name}")
    if described is None:
        raise Failure(f"TABLE_NOT_FOUND: Table '{database}.{name}' does not exist", _SYNTAX)
    if athena._data_format(described) != "parquet":
        raise Failure("NOT_SUPPORTED: on one machine INSERT writes Parquet tables only", _USER)
    location = described["StorageDescriptor"]["Location"]
    select = tree.args["expression"]
    with duckdb.connect() as db:
        job.connected(db)
        scanned = _attach(db, select, job)
        columns = ", ".join(
            f"{_quoted(column['Name'])} {_duckdb_type(column['Type'])}"
            for column in described["StorageDescriptor"]["Columns"]
        )
        db.execute(f"CREATE TEMP TABLE __new_rows ({columns})")
        named = tree.find(exp.Schema)
        into = f" ({', '.join(_quoted(one.name) for one in named.expressions)})" if named else ""
        db.execute(f"INSERT INTO __new_rows{into} {dialect.to_duckdb(select)}")
        written, _ = _write_parquet(db, "SELECT * FROM __new_rows", location, job.query_id)
    return Result(scanned_bytes=scanned, manifest=[written])


def _unload(job: Job) -> Result:
    match = re.fullmatch(
        r"UNLOAD\s*\((?P<select>.*)\)\s*TO\s*'(?P<location>s3://[^']+)'\s*(WITH\s*\((?P<options>.*)\))?",
        job.statement.text,
        re.IGNORECASE | re.DOTALL,
    )
    if match is None:
        raise Failure("UNLOAD takes (query) TO 's3://…' WITH (…)", _SYNTAX)
    if "PARQUET" not in (match["options"] or "").upper():
        raise Failure("NOT_SUPPORTED: on one machine UNLOAD writes Parquet only", _USER)
    tree = _parsed(match["select"])
    location = match["location"].rstrip("/") + "/"
    with duckdb.connect() as db:
        job.connected(db)
        scanned = _attach(db, tree, job)
        written, _ = _write_parquet(db, dialect.to_duckdb(tree), location, job.query_id)
    return Result(scanned_bytes=scanned, manifest=[written])


def _write_parquet(
    db: duckdb.DuckDBPyConnection, select: str, location: str, name: str
) -> tuple[str, list[Any]]:
    """Write the rows as one object below `location`; return its S3 URI and its columns as Glue has them."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "rows.parquet"
        db.execute(f"COPY ({select}) TO '{file}' (FORMAT parquet)")
        described = db.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()
        uri = f"{location.rstrip('/')}/{name}.parquet"
        put_object(uri, file.read_bytes())
    return uri, [{"Name": one[0].lower(), "Type": _hive_type(one[1])} for one in described]


def put_object(uri: str, body: bytes) -> None:
    """Raise Failure as Athena does when it cannot write."""
    place = urlsplit(uri)
    answer = s3._put_object(place.netloc, place.path.lstrip("/"), body, {"content-length": str(len(body))})
    if answer[0] >= 300:  # noqa: PLR2004 - HTTP
        raise Failure(f"Insufficient permissions or no such place to write to: {uri}", 401)


def _create_glue_table(database: str, name: str, location: str, columns: list[Any]) -> None:
    if database not in glue._databases:
        raise Failure(f"SCHEMA_NOT_FOUND: Schema '{database}' does not exist", _SYNTAX)
    glue._create_table({"DatabaseName": database, "TableInput": parquet_table(name, location, columns)})


def _explain(job: Job) -> Result:
    tree = _parsed(re.sub(r"^EXPLAIN(\s+ANALYZE)?\s+", "", job.statement.text, flags=re.IGNORECASE))
    analyze = "ANALYZE " if re.match(r"EXPLAIN\s+ANALYZE\b", job.statement.text, re.IGNORECASE) else ""
    with duckdb.connect() as db:
        job.connected(db)
        scanned = _attach(db, tree, job)
        plan = db.execute(f"EXPLAIN {analyze}{dialect.to_duckdb(tree)}").fetchall()
    lines = [line for _, one in plan for line in str(one).splitlines()]
    return _listing("Query Plan", lines, scanned if analyze else 0)


def _parsed(sql: str) -> exp.Expr:
    try:
        tree = dialect.parse(sql).tree
    except dialect.Refused as reason:
        raise Failure(str(reason), _SYNTAX) from None
    if not isinstance(tree, exp.Query | exp.Values):
        raise Failure("a query is expected here", _SYNTAX)
    return tree


def _show(job: Job) -> Result:
    words = job.statement.text.lower().replace("`", "").replace('"', "").split()
    last = words[-1].split(".") if len(words) > 2 else []  # noqa: PLR2004 - SHOW TABLES alone
    match words[1:2]:
        case ["tables"]:
            database = last[-1] if last else job.database
            return _listing(
                "tab_name", [key.split("/")[1] for key in _keys() if key.startswith(f"{database}/")]
            )
        case ["databases" | "schemas"]:
            return _listing("database_name", sorted(glue._databases.keys()))
        case ["columns"]:
            described = _described(job, words[-1])
            return _listing("field", [one["Name"] for one in described["StorageDescriptor"]["Columns"]])
        case ["partitions"]:
            described = _described(job, words[-1])
            keys = [one["Name"] for one in described.get("PartitionKeys") or []]
            folders = {
                "/".join(part for part in file.parts if part.split("=")[0] in keys and "=" in part)
                for file in _files(described["StorageDescriptor"]["Location"])
            }
            return _listing("partition", sorted(folders - {""}))
    raise Failure(f"NOT_SUPPORTED: {' '.join(words[:2])} does not run on one machine", _DDL)


def _describe(job: Job) -> Result:
    described = _described(job, job.statement.text.split()[-1])
    columns = [*described["StorageDescriptor"]["Columns"], *(described.get("PartitionKeys") or [])]
    return _listing("col_name", [f"{one['Name']:<20}\t{one['Type']:<20}\t" for one in columns])


def _prepare(job: Job) -> Result:
    match = re.fullmatch(r"PREPARE\s+(\w+)\s+FROM\s+(.*)", job.statement.text, re.IGNORECASE | re.DOTALL)
    if match is None:
        raise Failure("PREPARE takes name FROM statement", _SYNTAX)
    athena._prepared_statements[f"{job.work_group}/{match[1].lower()}"] = {
        "StatementName": match[1].lower(),
        "WorkGroupName": job.work_group,
        "QueryStatement": match[2],
    }
    return Result()


def _deallocate(job: Job) -> Result:
    athena._prepared_statements.pop(f"{job.work_group}/{job.statement.text.split()[-1].lower()}", None)
    return Result()


def _table_ddl(job: Job) -> Result:
    parsed = athena._parse_ddl(job.statement.text)
    if parsed is None:
        raise Failure("NOT_SUPPORTED: this statement does not run on one machine", _DDL)
    try:
        athena._run_ddl(parsed, job.database)
    except ValueError as error:
        raise Failure(f"FAILED: {error}", _DDL) from None
    return Result()


def _create_database(job: Job) -> Result:
    name = _last_name(job)
    if name in glue._databases:
        if "IF NOT EXISTS" in job.statement.text.upper():
            return Result()
        raise Failure(f"FAILED: Database {name} already exists", _DDL)
    glue._create_database({"DatabaseInput": {"Name": name}})
    return Result()


def _drop_database(job: Job) -> Result:
    name = _last_name(job)
    if name not in glue._databases:
        if "IF EXISTS" in job.statement.text.upper():
            return Result()
        raise Failure(f"FAILED: Database does not exist: {name}", _DDL)
    if any(key.startswith(f"{name}/") for key in _keys()) and "CASCADE" not in job.statement.text.upper():
        raise Failure(f"FAILED: Database {name} is not empty", _DDL)
    glue._delete_database({"Name": name})
    return Result()


def _last_name(job: Job) -> str:
    table = _tree(job).find(exp.Table)
    return (table.name or table.db).lower() if table else ""


def _keys() -> list[str]:
    return sorted(glue._tables.keys())


def _described(job: Job, name: str) -> Any:
    database, _, table = name.strip('`"').lower().rpartition(".")
    key = f"{database or job.database}/{table}"
    if key not in glue._tables:
        raise Failure(f"FAILED: Table not found {key.replace('/', '.')}", _DDL)
    return glue._tables[key]


def _listing(column: str, lines: list[str], scanned: int = 0) -> Result:
    return Result(columns=[column], types=["string"], rows=[[line] for line in lines], scanned_bytes=scanned)


def text(value: Any) -> str:  # noqa: PLR0911 - one line for each type
    """A value as Athena's results show it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case datetime():
            zone = " UTC" if value.tzinfo else ""
            return value.strftime("%Y-%m-%d %H:%M:%S.") + f"{value.microsecond // 1000:03d}{zone}"
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case bytes():
            return value.hex(" ")
        case list() | tuple():
            return "[" + ", ".join(text(one) for one in value) + "]"
        case dict():
            return "{" + ", ".join(f"{text(key)}={text(one)}" for key, one in value.items()) + "}"
    return str(value)


def _athena_type(duck: str) -> str:
    if duck.endswith("]"):
        return "array"
    name, *_ = duck.partition("(")
    return {"DECIMAL": "decimal", "STRUCT": "row", "MAP": "map"}.get(name) or _TYPES.get(name, "varchar")


def _hive_type(duck: str) -> str:
    if duck.startswith("DECIMAL"):
        return duck.lower()
    return {"integer": "int", "varchar": "string", "real": "float", "varbinary": "binary"}.get(
        _athena_type(duck), _athena_type(duck)
    )


def _duckdb_type(hive: str) -> str:
    return hive.upper() if hive.startswith("decimal") else athena._duckdb_type({"Type": hive})


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
