"""Athena's SQL on DuckDB: parse it, tell what it is, translate it. sqlglot does the work."""

from dataclasses import dataclass, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError

# What sqlglot only passes through, by its first word, with Athena's StatementType.
_AS_TEXT = {
    **dict.fromkeys(("SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXECUTE"), "UTILITY"),
    **dict.fromkeys(("MSCK", "PREPARE", "DEALLOCATE"), "DDL"),
    "UNLOAD": "DML",
}


MALFORMED_QUERY = "MALFORMED_QUERY"
INVALID_INPUT = "INVALID_INPUT"


class Refused(Exception):
    """Athena would refuse the statement at submission; the text is its reason, `code` its AthenaErrorCode."""

    def __init__(self, reason: str, code: str = MALFORMED_QUERY) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Statement:
    """`kind` is Athena's SubstatementType, `type` its StatementType. `tree` is None if sqlglot has none."""

    text: str
    kind: str
    type: str
    tree: exp.Expr | None = None


def parse(sql: str) -> Statement:
    """Raise Refused for text that is not one statement of Athena's dialect."""
    text = sql.strip().rstrip(";").strip()
    words = text.split(None, 2)
    first = words[0].upper() if words else ""
    if first in _AS_TEXT:
        return Statement(text=text, kind=first, type=_AS_TEXT[first])
    try:
        trees = [tree for tree in sqlglot.parse(text, read="athena") if tree is not None]
    except SqlglotError as error:
        raise Refused(_reason(error)) from None
    except RecursionError:
        raise Refused("statement is too large (stack overflow while parsing)") from None
    if len(trees) != 1:
        raise Refused("Only one sql statement is allowed" if trees else "Query string cannot be empty")
    tree = trees[0]
    kind = _kind(tree)
    if kind is None:
        raise Refused(f"mismatched input '{first}'")
    is_ddl = isinstance(tree, exp.Create | exp.Drop | exp.Alter) and kind != "CREATE_TABLE_AS_SELECT"
    return Statement(text=text, kind=kind, type="DDL" if is_ddl else "DML", tree=tree)


def _kind(tree: exp.Expr) -> str | None:
    """CREATE TABLE AS is one of the DML statements (Athena API reference, QueryExecution)."""
    match tree:
        case exp.Create() if tree.kind == "TABLE" and isinstance(tree.args.get("expression"), exp.Query):
            return "CREATE_TABLE_AS_SELECT"
        case exp.Create() | exp.Drop() | exp.Alter():
            return f"{type(tree).__name__.upper()}_{str(tree.args.get('kind') or 'TABLE').upper()}"
        case exp.Query() | exp.Values():
            return "SELECT"
        case exp.Insert() | exp.Delete() | exp.Update() | exp.Merge():
            return type(tree).__name__.upper()
    return None


def bind(statement: Statement, parameters: list[str]) -> Statement:
    """Put each parameter, a literal as text, in the place of its `?`."""
    if statement.tree is None:
        if parameters:
            raise Refused("Execution parameters are not allowed in this statement")
        return statement
    places = list(statement.tree.find_all(exp.Placeholder))
    if len(places) != len(parameters):
        raise Refused(f"Incorrect number of parameters: expected {len(places)} but found {len(parameters)}")
    if not places:
        return statement
    tree = statement.tree.copy()
    # In the order of the text: the tree is walked breadth first.
    in_order = [node for node in tree.dfs() if isinstance(node, exp.Placeholder)]
    for place, parameter in zip(in_order, parameters, strict=True):
        try:
            value = sqlglot.parse_one(parameter, read="athena")
        except SqlglotError:
            raise Refused(
                f"Execution parameter is not a literal: position {in_order.index(place) + 1}"
            ) from None
        place.replace(value)
    return replace(statement, tree=tree)


def literals(listing: str) -> list[str]:
    """The values of EXECUTE … USING, each as text."""
    try:
        tree = sqlglot.parse_one(f"SELECT {listing}", read="athena")
    except SqlglotError as error:
        raise Refused(_reason(error)) from None
    return [one.sql(dialect="athena") for one in tree.expressions]


def tables(tree: exp.Expr) -> list[exp.Table]:
    """The tables of the catalog that the statement names: common table expressions are none."""
    own = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    return [
        table
        for table in tree.find_all(exp.Table)
        if table.name and not (table.name.lower() in own and not table.db)
    ]


def position(node: exp.Expr, text: str) -> str:
    """Where the node begins in the text, as Athena puts it before an error: `line 1:15: `."""
    starts = [name.meta["start"] for name in node.find_all(exp.Identifier) if "start" in name.meta]
    if not starts:
        return ""
    before = text[: min(starts)]
    return f"line {before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "


def to_duckdb(tree: exp.Expr) -> str:
    """The statement in DuckDB's dialect, without the catalog in table names: DuckDB knows only databases."""
    tree = tree.copy()
    for table in tree.find_all(exp.Table):
        table.set("catalog", None)
    for column in tree.find_all(exp.Column):
        column.set("catalog", None)
    return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.IGNORE)


def _reason(error: SqlglotError) -> str:
    for one in getattr(error, "errors", ()):
        return f"line {one['line']}:{one['col']}: {one['description'].rstrip('.')}"
    return str(error).splitlines()[0]
