"""The statements that Athena runs on its Hive engine: DDL, SHOW and DESCRIBE."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.services import athena

from local.emulator.athena.errors import INVALID_INPUT, Refused
from local.emulator.athena.sql.places import position


@dataclass(frozen=True)
class Name:
    """The name of a table or view, in lower case as in Glue, and its position in the statement."""

    table: str
    database: str | None = None
    catalog: str | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True, kw_only=True)
class Command:
    """`kind` is Athena's SubstatementType, `type` its StatementType."""

    kind: str
    type: str = "DDL"
    name: Name | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def read(text: str, cursor: Any) -> Command:
    """Raise Refused for any other statement."""
    for words, reader in _READERS:
        if cursor.keywords(*words):
            command = reader(text, cursor)
            expect_end(text, cursor)
            return command
    raise no_alternative(text, cursor)


def name(text: str, cursor: Any, *, sql: bool = False) -> Name:
    """A name of up to three parts. Hive's names may be in backticks, Trino's (`sql`) in double quotes."""
    start = cursor.peek()[2]
    parts = []
    while True:
        kind, part, at, _ = cursor.peek()
        if kind not in {"name", "qname"} or (kind == "qname" and not sql and text[at] == '"'):
            raise no_alternative(text, cursor)
        cursor.advance()
        parts.append(part.lower())
        if not cursor.punct("."):
            break
    if len(parts) > 3:  # noqa: PLR2004 - catalog, database, table
        raise Refused(f"Invalid table name {'.'.join(parts)}")
    table, database, catalog = [*reversed(parts), None, None][:3]
    end = cursor.tokens[cursor.i - 1][3]
    return Name(table=str(table), database=database, catalog=catalog, start=start, end=end)


def names(_text: str, cursor: Any) -> list[str]:
    """The names in `a, b)` after an open bracket; [] if something else follows."""
    found = []
    while (one := cursor.identifier()) is not None:
        found.append(one.lower())
        if cursor.punct(")"):
            return found
        if not cursor.punct(","):
            break
    return []


def mismatch(text: str, cursor: Any) -> Refused:
    _, _, start, end = cursor.peek()
    seen = "<EOF>" if start is None else text[start:end]
    return Refused(f"{position(text, len(text) if start is None else start)}mismatched input '{seen}'")


def no_alternative(text: str, cursor: Any) -> Refused:
    _, _, start, end = cursor.peek()
    first = cursor.tokens[0][2] if cursor.tokens else 0
    place = position(text, len(text) if start is None else start)
    return Refused(f"{place}no viable alternative at input '{text[first:end]}'")


def expect(text: str, cursor: Any, *words: str) -> None:
    if not cursor.keywords(*words):
        raise mismatch(text, cursor)


def expect_sign(text: str, cursor: Any, sign: str) -> None:
    if not cursor.punct(sign):
        raise mismatch(text, cursor)


def expect_end(text: str, cursor: Any) -> None:
    if not cursor.at_end():
        raise mismatch(text, cursor)


def _string(text: str, cursor: Any) -> str:
    value = cursor.string()
    if value is None:
        raise mismatch(text, cursor)
    return str(value)


def _show_tables(text: str, cursor: Any) -> Command:
    database = None
    if cursor.keywords("in") or cursor.keywords("from"):
        database = name(text, cursor).table
    cursor.keywords("like")
    return Command(
        kind="SHOW_TABLES", type="UTILITY", arguments={"database": database, "pattern": cursor.string()}
    )


def _show_views(text: str, cursor: Any) -> Command:
    shown = _show_tables(text, cursor)
    return Command(kind="SHOW_VIEWS", type="UTILITY", arguments=shown.arguments)


def _show_databases(_text: str, cursor: Any) -> Command:
    cursor.keywords("like")
    return Command(kind="SHOW_DATABASES", type="UTILITY", arguments={"pattern": cursor.string()})


def _show_columns(text: str, cursor: Any) -> Command:
    if not (cursor.keywords("in") or cursor.keywords("from")):
        raise mismatch(text, cursor)
    table = name(text, cursor)
    if cursor.keywords("in") or cursor.keywords("from"):
        table = Name(table=table.table, database=name(text, cursor).table, start=table.start)
    return Command(kind="SHOW_COLUMNS", type="UTILITY", name=table)


def _show_properties(text: str, cursor: Any) -> Command:
    table = name(text, cursor)
    key = None
    if cursor.punct("("):
        key = _string(text, cursor)
        expect_sign(text, cursor, ")")
    return Command(kind="SHOW_TABLE_PROPERTIES", type="UTILITY", name=table, arguments={"key": key})


def _show_functions(_text: str, cursor: Any) -> Command:
    cursor.keywords("like")
    return Command(kind="SHOW_FUNCTIONS", type="UTILITY", arguments={"pattern": cursor.string()})


def _utility(kind: str) -> Callable[[str, Any], Command]:
    """A statement that only names a table."""
    return lambda text, cursor: Command(
        kind=kind, type="UTILITY", name=name(text, cursor, sql=kind.endswith("VIEW"))
    )


def _describe(text: str, cursor: Any) -> Command:
    if not cursor.keywords("extended"):
        cursor.keywords("formatted")
    table = name(text, cursor)
    column = cursor.identifier()
    return Command(kind="DESCRIBE_TABLE", type="UTILITY", name=table, arguments={"column": column})


def _create_table(text: str, cursor: Any) -> Command:
    """MiniStack parses the columns and clauses."""
    cursor.keywords("if", "not", "exists")
    table = name(text, cursor)
    parsed = athena._parse_ddl(text)
    if parsed is None:
        # Athena lists what it expected. MiniStack's parser reports only that it failed.
        raise no_alternative(text, cursor)
    if not parsed.external and not parsed.iceberg:
        if parsed.location is None:
            raise Refused("No location was specified for table. An S3 location must be specified")
        raise Refused("External keyword required for table type HIVE")
    if parsed.location is None and not parsed.iceberg:
        raise Refused("No location was specified for table. An S3 location must be specified")
    cursor.i = len(cursor.tokens)
    return Command(kind="CREATE_TABLE", name=table, arguments={"table": parsed})


def _create_database(text: str, cursor: Any) -> Command:
    exists_is_fine = cursor.keywords("if", "not", "exists")
    database = name(text, cursor).table
    comment = _string(text, cursor) if cursor.keywords("comment") else None
    location = _string(text, cursor) if cursor.keywords("location") else None
    properties = _properties(text, cursor) if cursor.keywords("with", "dbproperties") else {}
    return Command(
        kind="CREATE_DATABASE",
        arguments={
            "database": database,
            "exists_is_fine": exists_is_fine,
            "comment": comment,
            "location": location,
            "properties": properties,
        },
    )


def _drop_database(text: str, cursor: Any) -> Command:
    missing_is_fine = cursor.keywords("if", "exists")
    database = name(text, cursor).table
    cascade = cursor.keywords("cascade") or (cursor.keywords("restrict") and False)
    arguments = {"database": database, "missing_is_fine": missing_is_fine, "cascade": cascade}
    return Command(kind="DROP_DATABASE", arguments=arguments)


def _drop(kind: str) -> Callable[[str, Any], Command]:
    def read_drop(text: str, cursor: Any) -> Command:
        missing_is_fine = cursor.keywords("if", "exists")
        table = name(text, cursor, sql=kind == "DROP_VIEW")
        return Command(kind=kind, name=table, arguments={"missing_is_fine": missing_is_fine})

    return read_drop


def _repair(text: str, cursor: Any) -> Command:
    return Command(kind="MSCK_REPAIR", name=name(text, cursor))


def _alter_table(text: str, cursor: Any) -> Command:
    if cursor.keywords("if"):
        raise no_alternative(text, cursor)
    table = name(text, cursor)
    for words, kind, reader in _CHANGES:
        if cursor.keywords(*words):
            return Command(kind=kind, name=table, arguments=reader(text, cursor))
    raise no_alternative(text, cursor)


def _columns(text: str, cursor: Any) -> dict[str, Any]:
    columns = athena._column_list(cursor)
    if not columns:
        raise mismatch(text, cursor)
    return {"columns": columns}


def _add_partitions(text: str, cursor: Any) -> dict[str, Any]:
    exists_is_fine = cursor.keywords("if", "not", "exists")
    partitions = []
    while cursor.keywords("partition"):
        values = _partition(text, cursor)
        location = _string(text, cursor) if cursor.keywords("location") else None
        partitions.append((values, location))
    if not partitions:
        raise no_alternative(text, cursor)
    return {"partitions": partitions, "exists_is_fine": exists_is_fine}


def _drop_partitions(text: str, cursor: Any) -> dict[str, Any]:
    missing_is_fine = cursor.keywords("if", "exists")
    partitions = []
    while cursor.keywords("partition"):
        partitions.append(_partition(text, cursor))
        cursor.punct(",")
    if not partitions:
        raise mismatch(text, cursor)
    return {"partitions": partitions, "missing_is_fine": missing_is_fine}


def _partition(text: str, cursor: Any) -> dict[str, str]:
    """`(year = 2024, month = '01')`, values as text."""
    expect_sign(text, cursor, "(")
    values: dict[str, str] = {}
    while True:
        key = (cursor.identifier() or "").lower()
        expect_sign(text, cursor, "=")
        value = cursor.string()
        if value is None:
            number = cursor.number()
            value = None if number is None else str(number)
        if not key or value is None:
            raise mismatch(text, cursor)
        values[key] = value
        if cursor.punct(")"):
            return values
        expect_sign(text, cursor, ",")


def _set_location(text: str, cursor: Any) -> dict[str, Any]:
    return {"location": _string(text, cursor)}


def _properties(text: str, cursor: Any) -> dict[str, Any]:
    properties: dict[str, Any] | None = athena._property_list(cursor)
    if properties is None:
        raise mismatch(text, cursor)
    return properties


def _new_name(text: str, cursor: Any) -> dict[str, Any]:
    return {"new_name": name(text, cursor)}


_READERS: list[tuple[tuple[str, ...], Callable[[str, Any], Command]]] = [
    (("show", "tables"), _show_tables),
    (("show", "views"), _show_views),
    (("show", "databases"), _show_databases),
    (("show", "schemas"), _show_databases),
    (("show", "columns"), _show_columns),
    (("show", "partitions"), _utility("SHOW_PARTITIONS")),
    (("show", "tblproperties"), _show_properties),
    (("show", "create", "table"), _utility("SHOW_CREATE_TABLE")),
    (("show", "create", "view"), _utility("SHOW_CREATE_VIEW")),
    (("show", "functions"), _show_functions),
    (("describe",), _describe),
    (("desc",), _describe),
    (("create", "external", "table"), _create_table),
    (("create", "table"), _create_table),
    (("create", "database"), _create_database),
    (("create", "schema"), _create_database),
    (("drop", "table"), _drop("DROP_TABLE")),
    (("drop", "view"), _drop("DROP_VIEW")),
    (("drop", "database"), _drop_database),
    (("drop", "schema"), _drop_database),
    (("msck", "repair", "table"), _repair),
    (("alter", "table"), _alter_table),
]
_CHANGES: list[tuple[tuple[str, ...], str, Callable[[str, Any], dict[str, Any]]]] = [
    (("add", "columns"), "ALTER_TABLE_ADD_COLUMN", _columns),
    (("replace", "columns"), "ALTER_TABLE_REPLACE_COLUMN", _columns),
    (("add",), "ALTER_TABLE_ADD_PARTITION", _add_partitions),
    (("drop",), "ALTER_TABLE_DROP_PARTITION", _drop_partitions),
    (("set", "location"), "ALTER_TABLE_SET_LOCATION", _set_location),
    (("set", "tblproperties"), "ALTER_TABLE_PROPERTIES", _properties),
    (("rename", "to"), "ALTER_TABLE_RENAME", _new_name),
]
# Hive's parser does not support block comments, and fails only when the statement runs.
_IN_HIVE_PARSER = {"SHOW_CREATE_TABLE", "DESCRIBE_TABLE", "MSCK_REPAIR", "ALTER_TABLE_ADD_COLUMN"}


def block_comment(text: str, kind: str) -> str | None:
    """Hive's error for a block comment in the statement, or None."""
    if kind not in _IN_HIVE_PARSER:
        return None
    before = 0
    for _, _, start, end in [*athena._sql_tokens(text), (None, None, len(text), len(text))]:
        between = text[before:start]
        if match := re.search(r"/\*\s*([^\s*]*)", between):
            at = before + match.start()
            line = text[:at].count("\n") + 1
            column = at - text[:at].rfind("\n") - 1
            return f"line {line}:{column} cannot recognize input near '/' '*' '{match[1] or '*'}'"
        before = end
    return None


def entity_not_found() -> Refused:
    """Glue has no such table, which Athena checks at the submission of DESCRIBE and SHOW COLUMNS."""
    return Refused(
        "Entity Not Found (Service: AmazonDataCatalog; Status Code: 400; "
        "Error Code: EntityNotFoundException; Proxy: null)",
        INVALID_INPUT,
    )
