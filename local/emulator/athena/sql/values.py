"""Compiled expressions: DuckDB's SQL with Athena's type."""

from dataclasses import dataclass

from local.emulator.athena.sql.types import Type


@dataclass(frozen=True)
class Value:
    """`text` is the value of a string literal, for arguments that have to be constant."""

    sql: str
    type: Type
    text: str | None = None

    def __str__(self) -> str:
        return self.sql

    @property
    def zone(self) -> str:
        return self.type.zone

    @property
    def local(self) -> str:
        """An instant as local time in its zone."""
        return f"timezone({literal(self.zone)}, {self.sql})"

    def cast(self, kind: Type) -> "Value":
        """Coerce the value to a type that needs no explicit cast."""
        if self.type.name == "date" and kind.name == "timestamp with time zone":
            return Value(f"timezone('UTC', CAST({self.sql} AS TIMESTAMP))", kind)
        if self.type.name == "timestamp" and kind.name == "timestamp with time zone":
            return Value(f"timezone('UTC', {self.sql})", kind)
        if self.type.duckdb == kind.duckdb and self.type.name != "unknown":
            return Value(self.sql, kind, self.text)
        return Value(f"CAST({self.sql} AS {kind.duckdb})", kind, self.text)


@dataclass(frozen=True)
class Lambda:
    """A lambda's parameters, with unique names, and its body."""

    parameters: tuple[str, ...]
    body: Value

    def __str__(self) -> str:
        return f"lambda {', '.join(self.parameters)}: {self.body.sql}"

    def of(self, *arguments: str) -> str:
        """The body for these arguments."""
        sql = self.body.sql
        for name, argument in zip(self.parameters, arguments, strict=True):
            sql = sql.replace(name, argument)
        return sql


def literal(text: str) -> str:
    """Quote text as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"


FAILURE = "!"


def guarded(condition: str, value: str, message: str) -> str:
    """The value if the condition is true or NULL; otherwise the query fails with the message, which is SQL.

    DuckDB's error() is volatile, which TRY does not accept. A failing cast is not.
    """
    return (
        f"CASE WHEN coalesce({condition}, true) THEN {value} "
        f"WHEN CAST({literal(FAILURE)} || {message} AS INTEGER) IS NULL THEN NULL END"
    )
