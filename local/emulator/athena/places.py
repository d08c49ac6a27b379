"""Where the nodes of a query are in the text of their statement."""

from sqlglot import exp


def start(node: exp.Expr) -> int:
    """The place of the node's first character that sqlglot knows; 0 if it knows none."""
    own = node.meta.get("start")
    inner = (one.meta["start"] for one in node.walk() if "start" in one.meta)
    return min(inner, default=0) if own is None else int(own)
