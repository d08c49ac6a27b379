"""A query and its columns."""

from dataclasses import dataclass

from local.emulator.athena.errors import Failure
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value

Columns = list[tuple[str | None, Type]]


@dataclass(frozen=True)
class Query:
    """A query for DuckDB. A column without a name is None; Athena shows it as _col0 by its place."""

    sql: str
    columns: Columns


def converted(query: Query, kinds: list[Type], alias: str) -> str:
    """The query with its columns cast to these types."""
    if [kind for _, kind in query.columns] == kinds and not query.sql.startswith("WITH"):
        return f"({query.sql})"
    names = [f"c{number}" for number in range(len(kinds))]
    casts = [
        Value(name, given).cast(kind).sql
        for name, (_, given), kind in zip(names, query.columns, kinds, strict=True)
    ]
    return f"(SELECT {', '.join(casts)} FROM ({query.sql}) AS {alias}({', '.join(names)}))"


def renamed(columns: Columns, names: list[str], place: str) -> Columns:
    """Columns with the names of an alias."""
    if not names:
        return columns
    if len(names) != len(columns):
        message = f"Column alias list has {len(names)} entries but relation has {len(columns)} columns"
        raise Failure(f"MISMATCHED_COLUMN_ALIASES: {place}{message}")
    return [(name, kind) for name, (_, kind) in zip(names, columns, strict=True)]
