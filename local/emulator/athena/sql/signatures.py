"""Signatures of functions, as in Trino's documentation, with the SQL that computes them on DuckDB.

The form of a line is `name(type, type...) -> type = SQL`. In the SQL, $0 is the first argument, $all is the
list of all arguments, and $chain joins them with ||. Capital letters are type variables: T, U, K, V, E and R
are any type, N is a number, C an orderable type, S a varchar of any length, D a decimal, P a timestamp and Z
a timestamp with time zone, of any precision. `unit` and `dayunit` are a literal that names a part of a date.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from local.emulator.athena.sql import coercion, types
from local.emulator.athena.sql.coercion import UNKNOWN
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Lambda, Value

_LINE = re.compile(r"(?P<name>\w+)\((?P<arguments>.*?)\) -> (?P<result>.+?) = (?P<sql>.+)")
_KINDS = {
    "N": coercion.NUMBERS,
    "C": coercion.ORDERABLE,
    "S": ("varchar",),
    "D": ("decimal",),
    "P": ("timestamp",),
    "Z": ("timestamp with time zone",),
}
_VARIABLES = {*"TUKVER", *_KINDS}
_DAY_UNITS = ("day", "week", "month", "quarter", "year")
_UNITS = {"unit": ("millisecond", "second", "minute", "hour", *_DAY_UNITS), "dayunit": _DAY_UNITS}

Body = str | Callable[..., "str | Value"]


@dataclass(frozen=True)
class Signature:
    """`body` is the SQL, or a function of the arguments that gives it."""

    name: str
    arguments: tuple[Type, ...]
    result: Type
    body: Body
    variadic: bool = False


@dataclass(frozen=True)
class Call:
    """A signature that matches a call. `cost` is the number of arguments that need coercion."""

    signature: Signature
    arguments: tuple[Type, ...]
    bound: dict[str, Type]
    cost: int

    @property
    def result(self) -> Type:
        return substituted(self.signature.result, self.bound)


def read(table: str) -> list[Signature]:
    """Parse a table of signatures, one a line. Lines with # are comments."""
    lines = [
        line.strip() for line in table.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    return [_signature(line) for line in lines]


def special(line: str, body: Callable[..., "str | Value"]) -> Signature:
    """A signature with a function that generates the SQL."""
    return replace(_signature(f"{line} = _"), body=body)


def _signature(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"{line!r} is not a signature")
    listed = match["arguments"]
    arguments = [_pattern(one) for one in _split(listed.removesuffix("..."))]
    result = _pattern(match["result"])
    return Signature(match["name"], tuple(arguments), result, match["sql"], variadic=listed.endswith("..."))


def _split(listed: str) -> Iterable[str]:
    """Split at commas outside brackets."""
    depth, part = 0, ""
    for sign in listed:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and not depth:
            yield part.strip()
            part = ""
        else:
            part += sign
    if part.strip():
        yield part.strip()


def _pattern(text: str) -> Type:
    return types.parse(text, keep=_VARIABLES)


def fit(signature: Signature, given: list[Type | None]) -> Call | None:
    """Match arguments of these types. A lambda has the type None; its body is matched later."""
    wanted = signature.arguments
    if signature.variadic:
        wanted = (*wanted, *[wanted[-1]] * (len(given) - len(wanted)))
    if len(wanted) != len(given):
        return None
    bound: dict[str, Type] = {}
    for pattern, kind in zip(wanted, given, strict=True):
        if (kind is None) != (pattern.name == "function"):
            return None
        if kind is not None and not _bind(pattern, kind, bound):
            return None
    found = tuple(
        pattern if kind is None else _taken(pattern, kind, bound)
        for pattern, kind in zip(wanted, given, strict=True)
    )
    cost = sum(kind is not None and kind != one for kind, one in zip(given, found, strict=True))
    return Call(signature, found, bound, cost)


def _bind(pattern: Type, kind: Type, bound: dict[str, Type]) -> bool:
    """Match a type with a pattern and bind the type variables of the pattern."""
    if pattern.name in _VARIABLES:
        together = coercion.common(bound.get(pattern.name, UNKNOWN), kind)
        if together is None or (
            together != UNKNOWN and together.name not in _KINDS.get(pattern.name, (together.name,))
        ):
            return False
        bound[pattern.name] = together
        return True
    if kind == UNKNOWN or (pattern.name in _UNITS and kind.name == "varchar"):
        return True
    if pattern.name in {"array", "map", "row"}:
        return (
            kind.name == pattern.name
            and len(kind.args) == len(pattern.args)
            and _bind_all(pattern, kind, bound)
        )
    if pattern.name == kind.name:
        return True
    return coercion.coercible(kind, pattern)


def _bind_all(pattern: Type, kind: Type, bound: dict[str, Type]) -> bool:
    wanted, given = list(pattern.args), list(kind.args)
    if pattern.name == "row":
        wanted, given = [one for _, one in wanted], [one for _, one in given]
    return all(_bind(*pair, bound) for pair in zip(wanted, given, strict=True))


def _taken(pattern: Type, kind: Type, bound: dict[str, Type]) -> Type:
    """The type to which an argument is coerced."""
    if pattern.name in _UNITS or (pattern.name == kind.name and not _letters(pattern)):
        return kind
    found = substituted(pattern, bound)
    return replace(found, zone=kind.zone) if found.name == kind.name else found


def _letters(pattern: Type) -> bool:
    inner = [one[1] if isinstance(one, tuple) else one for one in pattern.args]
    return pattern.name in _VARIABLES or any(isinstance(one, Type) and _letters(one) for one in inner)


def substituted(pattern: Type, bound: dict[str, Type]) -> Type:
    """Replace the type variables of the pattern."""
    if pattern.name in _VARIABLES:
        return bound.get(pattern.name, UNKNOWN)
    args: list[Any] = []
    for one in pattern.args:
        if isinstance(one, Type):
            args.append(substituted(one, bound))
        elif isinstance(one, tuple):
            args.append((one[0], substituted(one[1], bound)))
        else:
            args.append(one)
    return Type(pattern.name, tuple(args))


def bind_lambda(call: Call, pattern: Type, body: Type) -> Call | None:
    """Bind the type of a lambda's body."""
    bound = dict(call.bound)
    return replace(call, bound=bound) if _bind(pattern.args[-1], body, bound) else None


def wrong_unit(call: Call, arguments: list[Value | Lambda]) -> str | None:
    """The error for an invalid unit, None if it is valid."""
    for pattern, argument in zip(call.signature.arguments, arguments, strict=False):
        if pattern.name in _UNITS and isinstance(argument, Value):
            unit = (argument.text or "").lower()
            if unit not in _UNITS[pattern.name]:
                return f"'{unit}' is not a valid {'DATE' if pattern.name == 'dayunit' else 'Timestamp'} field"
    return None
