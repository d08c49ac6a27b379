"""Parses Athena's SQL, which is Trino's."""

import re
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects.trino import Trino
from sqlglot.errors import SqlglotError
from sqlglot.parsers.trino import TrinoParser

from local.emulator.athena.errors import INVALID_INPUT, Refused
from local.emulator.athena.sql import places

# Functions with special syntax for their arguments.
_SPECIAL_SYNTAX = (
    "CAST",
    "TRY_CAST",
    "EXTRACT",
    "POSITION",
    "TRIM",
    "SUBSTRING",
    "LISTAGG",
    "NORMALIZE",
    "JSON_OBJECT",
    "JSON_QUERY",
    "JSON_VALUE",
)


class _Parser(TrinoParser):
    FUNCTIONS: ClassVar[dict[str, Any]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
        name: TrinoParser.FUNCTION_PARSERS[name] for name in _SPECIAL_SYNTAX
    }


class AthenaSql(Trino):
    """Trino's SQL. Function calls keep their names, so that sqlglot does not interpret them."""

    INDEX_OFFSET = 0

    Parser = _Parser


def parse(text: str) -> exp.Expr:
    """Parse a query. Raise Refused with Athena's message for anything else."""
    try:
        trees = sqlglot.parse(text, read=AthenaSql)
    except SqlglotError as error:
        raise Refused(_reason(error, text)) from None
    except RecursionError:
        raise Refused("statement is too large (stack overflow while parsing)") from None
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query | exp.Values):
        raise Refused("Queries of this type are not supported", INVALID_INPUT)
    _check_names(tree, text)
    return tree


def _check_names(tree: exp.Expr, text: str) -> None:
    """A table's name has three parts at most."""
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Dot):
            dots = [match.start() for match in re.finditer(r"\.", text[places.start(table) :])]
            at = places.start(table) + dots[2]
            raise Refused(f"{places.position(text, at)}mismatched input '.'")


def _reason(error: SqlglotError, text: str) -> str:
    """Athena's message for a syntax error."""
    for one in getattr(error, "errors", ()):
        seen = one["highlight"]
        # sqlglot names the last token that it took when the text ends too early.
        ends = not one["end_context"].strip() and text.rstrip().endswith(seen)
        if ends and seen not in ")]," and not one["description"].startswith("Invalid expression"):
            return f"{places.position(text, len(text.rstrip()))}mismatched input '<EOF>'"
        return f"line {one['line']}:{one['col'] - len(seen) + 1}: mismatched input '{seen}'"
    return str(error).splitlines()[0]
