"""One statement to run, and its result."""

from collections.abc import Callable
from dataclasses import dataclass, field

import duckdb

from local.emulator.athena import catalog as glue
from local.emulator.athena.errors import Failure
from local.emulator.athena.hive import Name
from local.emulator.athena.sql.types import Type
from local.emulator.athena.statements import Statement

_STRING = Type("string")


@dataclass(frozen=True)
class ResultColumn:
    name: str
    type: Type


@dataclass(kw_only=True)
class Result:
    """Rows as text, as Athena returns them; None is NULL.

    `columns` may be more than a row has cells: DESCRIBE has three and joins them with tabs. `updated` is the
    number of rows that were written, None for a statement that writes none. `manifest` lists the S3 URIs of
    new objects.
    """

    columns: list[ResultColumn] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    scanned_bytes: int = 0
    updated: int | None = None
    manifest: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Job:
    """`scratch` is the S3 prefix of results; `bytes_limit` is how much the workgroup lets a query scan."""

    query_id: str
    statement: Statement
    database: str
    catalog: str
    work_group: str
    scratch: str
    bytes_limit: int | None
    # Called with the DuckDB connection that runs the statement, so that it can be interrupted.
    connected: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None

    @property
    def name(self) -> Name:
        """The table or view of the statement."""
        name = self.statement.name
        if name is None:
            raise TypeError(f"{self.statement.kind} names no table")
        return name

    @property
    def target(self) -> tuple[str, str]:
        """Database and table of that name."""
        return self.name.database or self.database, self.name.table

    def existing(self) -> glue.Table:
        """The table of that name. Raise Failure, as Hive does, if there is none."""
        return glue.existing(*self.target)

    def existing_database(self, name: str) -> str:
        if not glue.has_database(name):
            raise Failure(f"SCHEMA_NOT_FOUND: Schema '{name}' does not exist")
        return name


def lines(column: str, found: list[str], *, kind: Type = _STRING) -> Result:
    """A result of one column."""
    return Result(columns=[ResultColumn(column, kind)], rows=[[line] for line in found])
