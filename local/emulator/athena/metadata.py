"""SHOW and DESCRIBE, with the columns, spaces and tabs of Athena's output."""

import re

from local.emulator.athena import catalog
from local.emulator.athena.catalog import Column, Table
from local.emulator.athena.errors import Failure, glue_refused, hive_failure
from local.emulator.athena.job import Job, Result, ResultColumn, lines
from local.emulator.athena.sql.functions import AGGREGATES, SCALARS, WINDOW_FUNCTIONS
from local.emulator.athena.sql.types import Type

_STRING, _VARCHAR = Type("string"), Type("varchar")
_WIDTH = 20


def show_tables(job: Job) -> Result:
    return lines("tab_name", [one.name for one in _matching(job)])


def show_views(job: Job) -> Result:
    return lines("views", [one.name for one in _matching(job) if one.is_view], kind=_VARCHAR)


def _matching(job: Job) -> list[Table]:
    """The tables of a database whose name matches a regular expression in which * is any text."""
    database = job.statement.arguments["database"] or job.database
    if not catalog.has_database(database):
        raise glue_refused(f"SemanticException [Error 10072]: Database does not exist: {database}")
    pattern = job.statement.arguments["pattern"]
    found = catalog.tables(database)
    if pattern is None:
        return found
    expression = re.compile(re.sub(r"(?<!\.)\*", ".*", pattern.lower()))
    return [one for one in found if expression.fullmatch(one.name)]


def show_databases(job: Job) -> Result:
    """Unlike for tables, the pattern is a plain regular expression, and * alone matches all (measured)."""
    pattern = job.statement.arguments["pattern"]
    found = catalog.databases()
    if pattern not in {None, "*"}:
        try:
            found = [one for one in found if re.fullmatch(pattern, one)]
        except re.error as error:
            reason = f"Unable to get databases: java.util.regex.PatternSyntaxException: {error}"
            raise hive_failure(
                "Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask. "
                f"MetaException(message:{reason})",
                1006,
            ) from None
    return lines("database_name", found)


def show_columns(job: Job) -> Result:
    table = job.existing()
    return lines("field", [f"{one.name:<{_WIDTH}}" for one in [*table.columns, *table.keys]])


def show_partitions(job: Job) -> Result:
    table = job.existing()
    if not table.keys:
        raise hive_failure(f"SemanticException Table {table.name} is not a partitioned table", 1006)
    keys = [one.name for one in table.keys]
    found = [
        "/".join(f"{key}={value}" for key, value in zip(keys, one.values, strict=True))
        for one in table.partitions
    ]
    return lines("partition", sorted(found))


def show_table_properties(job: Job) -> Result:
    table = job.existing()
    key = job.statement.arguments["key"]
    if key is not None:
        value = table.parameters.get(key)
        missing = f"Table {table.database}.{table.name} does not have property: {key}"
        return lines("prpt_name", [missing if value is None else value])
    columns = [ResultColumn(name, _STRING) for name in ("prpt_name", "prpt_value")]
    return Result(columns=columns, rows=[[f"{name}\t{value}"] for name, value in table.parameters.items()])


def describe(job: Job) -> Result:
    table = job.existing()
    columns = [ResultColumn(name, _STRING) for name in ("col_name", "data_type", "comment")]
    shown = [_described(one) for one in [*table.columns, *table.keys]]
    if wanted := job.statement.arguments["column"]:
        shown = [_described(one) for one in [*table.columns, *table.keys] if one.name == wanted.lower()]
        if not shown:
            raise hive_failure(f"SemanticException [Error 10002]: Invalid column reference {wanted}", 1006)
    elif table.keys:
        blank = "\t \t "
        heading = "\t".join(f"{name:<{_WIDTH}}" for name in ("# col_name", "data_type", "comment"))
        shown += [blank, "# Partition Information\t \t ", heading, blank, *map(_described, table.keys)]
    return Result(columns=columns, rows=[[line] for line in shown])


def _described(column: Column) -> str:
    return "\t".join(f"{part:<{_WIDTH}}" for part in (column.name, column.type.hive, column.comment))


def describe_view(job: Job) -> Result:
    """DESCRIBE and SHOW COLUMNS of a view."""
    view = job.existing()
    columns = [ResultColumn(name, _VARCHAR) for name in ("column", "type")]
    return Result(columns=columns, rows=[[f"{one['name']}\t{one['type']}"] for one in view.view["columns"]])


def show_create_table(job: Job) -> Result:
    table = job.existing()
    if table.is_view:
        raise Failure(f"NOT_SUPPORTED: {table.name} is a view; use SHOW CREATE VIEW")
    return lines("createtab_stmt", _ddl(table).split("\n"))


def _ddl(table: Table) -> str:
    """The statement that creates a table, in Hive's layout."""
    storage = table.glue["StorageDescriptor"]
    parts = [f"CREATE EXTERNAL TABLE `{table.database}.{table.name}`(\n{_column_lines(table.columns)})"]
    if table.keys:
        parts.append(f"PARTITIONED BY ( \n{_column_lines(table.keys)})")
    parts.append(f"ROW FORMAT SERDE \n  '{table.serde.get('SerializationLibrary', '')}' ")
    if given := table.serde.get("Parameters"):
        parts.append(f"WITH SERDEPROPERTIES ( \n{_pair_lines(given)}) ")
    parts.append(f"STORED AS INPUTFORMAT \n  '{storage.get('InputFormat', '')}' ")
    parts.append(f"OUTPUTFORMAT \n  '{storage.get('OutputFormat', '')}'")
    parts.append(f"LOCATION\n  '{table.location}'")
    parts.append(f"TBLPROPERTIES (\n{_pair_lines(table.parameters)})")
    return "\n".join(parts)


def _column_lines(columns: list[Column]) -> str:
    shown = [
        f"  `{one.name}` {one.type.hive}" + (f" COMMENT '{one.comment}'" if one.comment else "")
        for one in columns
    ]
    return ", \n".join(shown)


def _pair_lines(pairs: dict[str, str]) -> str:
    return ", \n".join(f"  '{name}'='{value}'" for name, value in pairs.items())


def show_create_view(job: Job) -> Result:
    view = job.existing()
    if not view.is_view:
        raise Failure(f"NOT_SUPPORTED: Relation '{view.database}.{view.name}' is a table, not a view")
    text = f"CREATE VIEW {view.database}.{view.name} AS\n{view.view['originalSql']}"
    return lines("create view", text.split("\n"), kind=_VARCHAR)


def show_functions(job: Job) -> Result:
    """The functions that are supported locally. The result has a header row."""
    pattern = job.statement.arguments["pattern"]
    names = ("Function", "Return Type", "Argument Types", "Function Type", "Deterministic", "Description")
    rows: list[list[str | None]] = []
    kinds = (("aggregate", AGGREGATES), ("scalar", SCALARS), ("window", WINDOW_FUNCTIONS))
    for kind, functions in kinds:
        for name, signatures in functions.items():
            if pattern is None or re.fullmatch(re.escape(pattern).replace("%", ".*").replace("_", "."), name):
                for one in signatures:
                    listed = ", ".join(map(str, one.arguments))
                    rows.append([name, str(one.result), listed, kind, "true", ""])
    return Result(columns=[ResultColumn(name, _VARCHAR) for name in names], rows=sorted(rows, key=str))
