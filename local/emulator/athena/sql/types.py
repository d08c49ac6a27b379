"""Athena's data types, and their names in Hive's DDL and Glue, in Trino's SQL, and in DuckDB."""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"""\s*(?:("(?:[^"]|"")*"|`[^`]*`|[\w$]+)|([<>(),:]))""")
_TRINO_NAMES = {
    "int": "integer",
    "string": "varchar",
    "float": "real",
    "binary": "varbinary",
    "struct": "row",
    "dec": "decimal",
    "numeric": "decimal",
}
_HIVE_NAMES = {"integer": "int", "real": "float", "varbinary": "binary"}
_DUCKDB_NAMES = {
    "real": "FLOAT",
    "varbinary": "BLOB",
    "unknown": "INTEGER",
    "timestamp with time zone": "TIMESTAMPTZ",
    "interval day to second": "INTERVAL",
    "interval year to month": "INTERVAL",
}
_UNBOUNDED = 2_147_483_647
_PRECISION = {
    "tinyint": 3,
    "smallint": 5,
    "integer": 10,
    "bigint": 19,
    "real": 17,
    "double": 17,
    "timestamp": 3,
    "timestamp with time zone": 3,
    "time": 3,
    "varbinary": 1_073_741_824,
}


@dataclass(frozen=True)
class Type:
    """A type by Trino's name. `args` are numbers, types, or for a row pairs of a field's name and type.

    An instant has a zone, in which it is shown. Trino keeps one with each value; here it belongs to the type.
    """

    name: str
    args: tuple[Any, ...] = ()
    zone: str = field(default="UTC", compare=False)

    def __str__(self) -> str:
        if self.name == "row":
            return f"row({', '.join(f'{name} {kind}' if name else str(kind) for name, kind in self.args)})"
        if self.name.startswith("timestamp with"):
            return f"timestamp{self._numbers()} with time zone"
        return self.name + self._numbers()

    def _numbers(self) -> str:
        if not self.args:
            return ""
        between = "," if self.name == "decimal" else ", "
        return f"({between.join(map(str, self.args))})"

    @property
    def hive(self) -> str:
        """The type in Hive's DDL and in Glue."""
        match self.name:
            case "varchar" if not self.args:
                return "string"
            case "array":
                return f"array<{self.args[0].hive}>"
            case "map":
                return f"map<{self.args[0].hive},{self.args[1].hive}>"
            case "row":
                return f"struct<{','.join(f'{name}:{kind.hive}' for name, kind in self.args)}>"
            case "timestamp":
                return "timestamp"
        return _HIVE_NAMES.get(self.name, self.name) + self._numbers()

    @property
    def duckdb(self) -> str:
        match self.name:
            case "array":
                return f"{self.args[0].duckdb}[]"
            case "map":
                return f"MAP({self.args[0].duckdb}, {self.args[1].duckdb})"
            case "row":
                return f"STRUCT({', '.join(f'{quoted(name)} {kind.duckdb}' for name, kind in fields(self))})"
            case "decimal":
                return f"DECIMAL({self.args[0]}, {self.args[1]})"
        return _DUCKDB_NAMES.get(self.name, self.name.upper())

    @property
    def shown(self) -> str:
        """As GetQueryResults names it."""
        return {"real": "float"}.get(self.name, self.name)

    @property
    def precision(self) -> int:
        """As GetQueryResults gives it."""
        if self.name in {"varchar", "char", "decimal"}:
            return int(self.args[0]) if self.args else _UNBOUNDED
        return _PRECISION.get(self.name, 0)

    @property
    def scale(self) -> int:
        return int(self.args[1]) if self.name == "decimal" else 0


def fields(row: Type) -> list[tuple[str, Type]]:
    """The fields of a row. DuckDB requires a name for each, Trino does not."""
    return [(name or f"field{number}", kind) for number, (name, kind) in enumerate(row.args)]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def parse(text: str, *, keep: Collection[str] = ()) -> Type:
    """A type as Hive or Trino writes it. Raise ValueError for what is none.

    Words to `keep` stay as they are; all others become lower case.
    """
    words = [(word or sign).strip() for word, sign in _TOKEN.findall(text)]
    tokens = [word if word in keep else word.lower() for word in words]
    if "".join(words).replace(" ", "") != re.sub(r"\s", "", text):
        raise ValueError(f"{text!r} is not a type")
    stream = _Stream(tokens)
    found = _type(stream)
    if stream.peek():
        raise ValueError(f"{text!r} is not a type")
    return found


class _Stream:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def peek(self, ahead: int = 0) -> str:
        return self._tokens[ahead] if ahead < len(self._tokens) else ""

    def take(self) -> str:
        if not self._tokens:
            raise ValueError("the type ends too early")
        return self._tokens.pop(0)

    def list_of(self, element: Callable[["_Stream"], Any]) -> Iterator[Any]:
        """The text between a pair of brackets."""
        self.take()
        while True:
            yield element(self)
            if self.take() != ",":
                return


def _type(stream: _Stream) -> Type:
    word = stream.take()
    name = _TRINO_NAMES.get(word, word)
    if name == "double" and stream.peek() == "precision":
        stream.take()
    if name == "interval":
        name = " ".join([name, *(stream.take() for _ in range(3))])
    args: tuple[Any, ...] = ()
    if stream.peek() in {"(", "<"}:
        args = tuple(stream.list_of(_field if name == "row" else _argument))
    if name in {"timestamp", "time"} and stream.peek() == "with":
        for _ in range(3):
            stream.take()
        name += " with time zone"
    return _complete(name, args)


def _complete(name: str, args: tuple[Any, ...]) -> Type:
    if name == "decimal":
        precision, scale = (*args, 0, 0)[:2] if args else (38, 0)
        return Type(name, (precision, scale))
    if name.startswith(("timestamp", "time")):
        return Type(name, args or (3,))
    if name == "char":
        return Type(name, args or (1,))
    return Type(name, args)


def _argument(stream: _Stream) -> Any:
    return int(stream.take()) if stream.peek().isdecimal() else _type(stream)


def _field(stream: _Stream) -> tuple[str | None, Type]:
    """`a:int` of Hive's struct; `a integer` or only a type of Trino's row."""
    if stream.peek(1) == ":":
        name = stream.take()
        stream.take()
        return _unquoted(name), _type(stream)
    if stream.peek(1) in {",", ")", "(", "<"} or stream.peek(1) in {"with", "precision"}:
        return None, _type(stream)
    return _unquoted(stream.take()), _type(stream)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name[0] in '"`' else name
