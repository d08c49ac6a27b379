"""Athena's SQL on DuckDB: sqlglot translates it."""

from sqlglot import exp
from sqlglot.errors import ErrorLevel


def tables(tree: exp.Expr) -> list[exp.Table]:
    """The catalog tables in the statement, without its common table expressions."""
    own = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    return [
        table
        for table in tree.find_all(exp.Table)
        if table.name and not (table.name.lower() in own and not table.db)
    ]


def to_duckdb(tree: exp.Expr) -> str:
    """The statement in DuckDB's dialect, without the catalog in table names: DuckDB knows only databases."""
    tree = tree.copy()
    for table in tree.find_all(exp.Table):
        table.set("catalog", None)
    for column in tree.find_all(exp.Column):
        column.set("catalog", None)
    return tree.sql(dialect="duckdb", unsupported_level=ErrorLevel.IGNORE)
