"""Parses a statement: Athena's types of it, the command and its arguments, and the query in it.

Athena has two parsers: Trino's for queries and statements that contain one, Hive's for the rest (hive.py).
Both run at submission, so a syntax error is refused there.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import sqlglot
from ministack.services import athena
from sqlglot import exp
from sqlglot.errors import SqlglotError

from local.emulator.athena import hive
from local.emulator.athena.errors import Refused
from local.emulator.athena.hive import Name
from local.emulator.athena.sql.dialect import AthenaSql, parse
from local.emulator.athena.sql.places import position

_STATEMENT_TYPES = {
    "SELECT": "DML",
    "EXPLAIN": "DML",
    "INSERT": "DML",
    "UPDATE": "DML",
    "DELETE": "DML",
    "MERGE": "DML",
    "UNLOAD": "DML",
    "CREATE_TABLE_AS_SELECT": "DDL",
    "CREATE_VIEW": "DDL",
    "PREPARE": "DDL",
    "EXECUTE": "DML",
    "DEALLOCATE": "DDL",
}
_FIRST_WORDS = (
    "'ALTER', 'ANALYZE', 'CALL', 'COMMENT', 'COMMIT', 'CREATE', 'DEALLOCATE', 'DELETE', 'DENY', 'DESC', "
    "'DESCRIBE', 'DROP', 'EXECUTE', 'EXPLAIN', 'GRANT', 'INSERT', 'MERGE', 'PREPARE', 'REFRESH', 'RESET', "
    "'REVOKE', 'ROLLBACK', 'SET', 'SHOW', 'START', 'TRUNCATE', 'UNLOAD', 'UPDATE', 'USE', <query>"
)
# Athena's grammar has these statements, but Athena runs none of them.
_NEVER_RUN = {"analyze", "call", "comment", "commit", "deny", "grant", "refresh", "reset", "revoke"} | {
    "rollback",
    "set",
    "start",
    "truncate",
    "use",
}


@dataclass(frozen=True, kw_only=True)
class Statement:
    """`kind` is Athena's SubstatementType, `type` its StatementType.

    `text` has neither blanks around it nor a semicolon. `query` is the query that it is or holds, whose nodes
    know their places in `text`; `name` is the table or view that it is about.
    """

    text: str
    kind: str
    type: str
    name: Name | None = None
    query: exp.Expr | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


def read(sql: str) -> Statement:
    """Raise Refused unless the text is one statement of Athena's dialect."""
    return _read(_only_statement(sql))


def _read(text: str) -> Statement:
    cursor = athena._Cursor(text)
    kind, word, start, _ = cursor.peek()
    if kind is None:
        raise Refused(f"{position(text, len(text))}mismatched input '<EOF>'. Expecting: {_FIRST_WORDS}")
    if word == "(" or (kind == "name" and word in {"select", "with", "values", "table"}):
        return _statement(text, "SELECT", query=_query(text, 0))
    if kind == "name" and word in _READERS:
        return _READERS[word](text, cursor)
    if kind == "name" and word in _NEVER_RUN:
        raise Refused("Queries of this type are not supported", "INVALID_INPUT")
    seen = text[start:].split(maxsplit=1)[0]
    raise Refused(f"{position(text, start)}mismatched input '{seen}'. Expecting: {_FIRST_WORDS}")


def _only_statement(sql: str) -> str:
    """The only statement between semicolons. Raise Refused unless there is exactly one."""
    ends = [start for kind, sign, start, _ in athena._sql_tokens(sql) if (kind, sign) == ("punct", ";")]
    parts = [sql[start + 1 : end] for start, end in zip([-1, *ends], [*ends, len(sql)], strict=True)]
    parts = [part.strip() for part in parts if part.strip()]
    if len(parts) > 1:
        raise Refused(f"Only one sql statement is allowed. Got: {sql.rstrip()}")
    if not parts:
        raise Refused(f"Empty sql statement: {sql.rstrip()}")
    return parts[0]


def _statement(text: str, kind: str, **content: Any) -> Statement:
    return Statement(text=text, kind=kind, type=_STATEMENT_TYPES[kind], **content)


def _query(text: str, start: int, end: int | None = None) -> exp.Expr:
    """The query between two places of the text. Raise Refused if there is none."""
    # Spaces replace the text before it, so that every node keeps its position.
    return parse(re.sub(r"[^\n]", " ", text[:start]) + text[start:end])


def _create(text: str, cursor: Any) -> Statement:
    cursor.advance()
    replaces = cursor.keywords("or", "replace")
    if cursor.keywords("view"):
        name = hive.name(text, cursor, sql=True)
        hive.expect(text, cursor, "as")
        start = _place(text, cursor)
        arguments = {"replaces": replaces, "sql": text[start:]}
        return _statement(text, "CREATE_VIEW", name=name, query=_query(text, start), arguments=arguments)
    if cursor.keywords("table"):
        if replaces:
            expected = "'MATERIALIZED', 'MULTI', 'PROTECTED', 'VIEW'"
            place = position(text, cursor.tokens[cursor.i - 1][2])
            raise Refused(f"{place}mismatched input 'TABLE'. Expecting: {expected}")
        if found := _create_table_as(text, cursor):
            return found
    return _hive(text, cursor)


def _create_table_as(text: str, cursor: Any) -> Statement | None:
    """CREATE TABLE name WITH (…) AS query; None for a CREATE TABLE that has no query."""
    exists_is_fine = cursor.keywords("if", "not", "exists")
    name = hive.name(text, cursor, sql=True)
    options = _options(text, cursor) if cursor.keywords("with") else {}
    if not cursor.keywords("as"):
        return None
    start = _place(text, cursor)
    last = [token[1] for token in cursor.tokens[-3:] if token[0] == "name"]
    without_data = last == ["with", "no", "data"]
    words = 3 if without_data else 2 if last[-2:] == ["with", "data"] else 0
    end = cursor.tokens[-words][2] if words else None
    arguments = {"options": options, "exists_is_fine": exists_is_fine, "without_data": without_data}
    return _statement(
        text, "CREATE_TABLE_AS_SELECT", name=name, query=_query(text, start, end), arguments=arguments
    )


def _insert(text: str, cursor: Any) -> Statement:
    cursor.advance()
    hive.expect(text, cursor, "into")
    name = hive.name(text, cursor, sql=True)
    columns = []
    before = cursor.i
    if cursor.punct("("):
        columns = hive.names(text, cursor)
        if not columns:
            cursor.i = before
    return _statement(
        text, "INSERT", name=name, query=_query(text, _place(text, cursor)), arguments={"columns": columns}
    )


def _unload(text: str, cursor: Any) -> Statement:
    cursor.advance()
    start = _place(text, cursor)
    hive.expect_sign(text, cursor, "(")
    cursor.skip_group()
    query = _query(text, start, cursor.tokens[cursor.i - 1][3])
    hive.expect(text, cursor, "to")
    location = cursor.string()
    if location is None:
        raise hive.mismatch(text, cursor)
    options = _options(text, cursor) if cursor.keywords("with") else {}
    hive.expect_end(text, cursor)
    return _statement(text, "UNLOAD", query=query, arguments={"location": location, "options": options})


def _options(text: str, cursor: Any) -> dict[str, Any]:
    """`(format = 'PARQUET', partitioned_by = ARRAY['a'])`, names in lower case."""
    hive.expect_sign(text, cursor, "(")
    options = {}
    while True:
        name = (cursor.identifier() or "").lower()
        hive.expect_sign(text, cursor, "=")
        options[name] = _option(text, cursor)
        if cursor.punct(")"):
            return options
        hive.expect_sign(text, cursor, ",")


def _option(text: str, cursor: Any) -> Any:
    if cursor.keywords("array"):
        hive.expect_sign(text, cursor, "[")
        values = []
        while (value := cursor.string()) is not None:
            values.append(value)
            cursor.punct(",")
        hive.expect_sign(text, cursor, "]")
        return values
    for read_value in (cursor.string, cursor.number, cursor.name):
        if (value := read_value()) is not None:
            return value
    raise hive.mismatch(text, cursor)


def _explain(text: str, cursor: Any) -> Statement:
    cursor.advance()
    analyze = cursor.keywords("analyze")
    cursor.keywords("verbose")
    options: list[str] = []
    after = [token[1] for token in cursor.tokens[cursor.i : cursor.i + 2]]
    if after[:1] == ["("] and after[1:] in (["type"], ["format"]):
        first = cursor.i + 1
        cursor.advance()
        cursor.skip_group()
        options = [str(token[1]) for token in cursor.tokens[first : cursor.i - 1]]
    inner = _read(re.sub(r"[^\n]", " ", text[: _place(text, cursor)]) + text[_place(text, cursor) :])
    query = _query(text, _place(text, cursor)) if inner.kind == "SELECT" else None
    return _statement(
        text, "EXPLAIN", query=query, arguments={"analyze": analyze, "options": options, "inner": inner.kind}
    )


def _prepare(text: str, cursor: Any) -> Statement:
    cursor.advance()
    name = cursor.identifier()
    hive.expect(text, cursor, "from")
    prepared = text[_place(text, cursor) :]
    read(prepared)
    return _statement(text, "PREPARE", arguments={"prepared": name, "statement": prepared})


def _execute(text: str, cursor: Any) -> Statement:
    cursor.advance()
    name = cursor.identifier()
    values = []
    if cursor.keywords("using"):
        listing = _query("SELECT " + text[_place(text, cursor) :], 0)
        values = [one.sql(dialect=AthenaSql) for one in listing.expressions]
    return _statement(text, "EXECUTE", arguments={"prepared": name, "values": values})


def _deallocate(text: str, cursor: Any) -> Statement:
    cursor.advance()
    cursor.keywords("prepare")
    return _statement(text, "DEALLOCATE", arguments={"prepared": cursor.identifier()})


def _change_rows(text: str, cursor: Any) -> Statement:
    """UPDATE, DELETE and MERGE, which Athena runs on Iceberg tables."""
    _, word, _, _ = cursor.peek()
    return _statement(text, word.upper())


def _hive(text: str, cursor: Any) -> Statement:
    cursor.reset()
    command = hive.read(text, cursor)
    return Statement(
        text=text, kind=command.kind, type=command.type, name=command.name, arguments=command.arguments
    )


def _place(text: str, cursor: Any) -> int:
    """The position of the next token."""
    start = cursor.peek()[2]
    return len(text) if start is None else int(start)


_READERS: dict[str, Callable[[str, Any], Statement]] = {
    "create": _create,
    "insert": _insert,
    "unload": _unload,
    "explain": _explain,
    "prepare": _prepare,
    "execute": _execute,
    "deallocate": _deallocate,
    **dict.fromkeys(("update", "delete", "merge"), _change_rows),
    **dict.fromkeys(("show", "describe", "desc", "drop", "alter", "msck"), _hive),
}


def bind(statement: Statement, parameters: list[str]) -> Statement:
    """Replace each `?` with its parameter, a literal."""
    tree = None if statement.query is None else statement.query.copy()
    # In the order of the text: depth first.
    places = [] if tree is None else [node for node in tree.dfs() if isinstance(node, exp.Placeholder)]
    if len(places) != len(parameters):
        raise Refused(f"Incorrect number of parameters: expected {len(places)} but found {len(parameters)}")
    for number, (place, parameter) in enumerate(zip(places, parameters, strict=True), 1):
        try:
            place.replace(sqlglot.parse_one(parameter, read=AthenaSql))
        except SqlglotError:
            raise Refused(f"Execution parameter is not a literal: position {number}") from None
    return replace(statement, query=tree) if places else statement
