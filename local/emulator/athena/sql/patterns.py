"""Regular expressions: where Trino's results, which are Java's, differ from DuckDB's, which are RE2's."""

import re
from dataclasses import dataclass, field

from local.emulator.athena.errors import not_supported
from local.emulator.athena.sql.values import Value

# An escape, a class of characters, or a bracket with what makes it no capturing group.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?P<plain>\?(?!P?<[A-Za-z])[^)]?)?|\)|\||.", re.DOTALL)
_INTEGER = re.compile(r"(?:CAST\()?(\d+)(?: AS \w+\))?")
_OPTIONAL = re.compile(r"[?*]|\{0")


@dataclass
class _Group:
    """`optional`: the group may not take part in a match."""

    number: int | None
    parent: "_Group | None" = None
    optional: bool = False
    alternatives: bool = False
    inner: list["_Group"] = field(default_factory=list)


def check(pattern: Value, group: Value | None = None) -> None:
    """Raise Failure unless DuckDB's matches, and the text of the group, are Trino's."""
    if pattern.text is None:
        return
    if _matches_nothing(pattern.text):
        raise not_supported("a regular expression that matches an empty text")
    if group is None:
        return
    literal = _INTEGER.fullmatch(group.sql)
    if literal is None:
        raise not_supported("a group of a regular expression that is not a literal")
    if int(literal[1]) in _optional_groups(pattern.text):
        raise not_supported("a group of a regular expression that may have no match")


def _matches_nothing(pattern: str) -> bool:
    try:
        return re.search(pattern, "") is not None
    except re.error:
        return False


def _optional_groups(pattern: str) -> set[int]:
    """The numbers of the groups that may have no match: optional ones, and those in alternatives."""
    root = current = _Group(None)
    count = 0
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        if text.startswith("("):
            captures = token["plain"] is None
            count += captures
            inner = _Group(count if captures else None, current)
            current.inner.append(inner)
            current = inner
        elif text == ")" and current.parent is not None:
            current.optional = bool(_OPTIONAL.match(pattern, token.end()))
            current = current.parent
        elif text == "|":
            current.alternatives = True
    return set(_optional(root, optional=False))


def _optional(group: _Group, *, optional: bool) -> list[int]:
    optional = optional or group.optional
    found = [group.number] if optional and group.number is not None else []
    for inner in group.inner:
        found += _optional(inner, optional=optional or group.alternatives)
    return found
