"""Positions in the text of a statement."""

from sqlglot import exp


def start(node: exp.Expr) -> int:
    """The position of the node's first character, 0 if sqlglot has none."""
    return min((one.meta["start"] for one in node.walk() if "start" in one.meta), default=0)


def position(text: str, at: int) -> str:
    """A position as Athena puts it before an error: `line 1:15: `."""
    before = text[:at]
    return f"line {before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "
