"""Positions of the nodes of a query in the text of the statement."""

from sqlglot import exp


def start(node: exp.Expr) -> int:
    """The position of the node's first character; 0 if sqlglot did not record one."""
    own = node.meta.get("start")
    inner = (one.meta["start"] for one in node.walk() if "start" in one.meta)
    return min(inner, default=0) if own is None else int(own)
