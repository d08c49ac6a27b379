"""Athena's errors for those that DuckDB reports while a statement runs."""

import re

import duckdb

from local.emulator.athena.errors import Failure
from local.emulator.athena.sql.values import FAILURE

_INTEGERS = {"8": "tinyint", "16": "smallint", "32": "integer"}
_PATTERNS = (
    # What sql.values.guarded raises.
    (rf"string '{FAILURE}(.*)' to INT32", r"\1"),
    (r"Division by zero", "DIVISION_BY_ZERO: Division by zero"),
    (
        r'column "?(\w+)"? must appear in the GROUP BY',
        r"EXPRESSION_NOT_AGGREGATE: '\1' must be an aggregate expression or appear in GROUP BY clause",
    ),
    (
        r"More than one row returned by a subquery",
        "SUBQUERY_MULTIPLE_ROWS: Scalar sub-query has returned multiple rows",
    ),
    (
        r"invalid perl operator|invalid escape sequence|bad repetition operator",
        "NOT_SUPPORTED: this regular expression is not supported locally",
    ),
    (r'Could not parse string "(.*?)" according', r'INVALID_FUNCTION_ARGUMENT: Invalid format: "\1"'),
)
# By class where the message has no pattern.
_NAMES: tuple[tuple[type[duckdb.Error], str], ...] = (
    (duckdb.CatalogException, "GENERIC_INTERNAL_ERROR"),
    (duckdb.BinderException, "SYNTAX_ERROR"),
    (duckdb.ParserException, "SYNTAX_ERROR"),
    (duckdb.ConversionException, "INVALID_CAST_ARGUMENT"),
    (duckdb.OutOfRangeException, "NUMERIC_VALUE_OUT_OF_RANGE"),
    (duckdb.InvalidInputException, "INVALID_FUNCTION_ARGUMENT"),
)


def failure(error: duckdb.Error) -> Failure:
    if isinstance(error, duckdb.InterruptException):
        return Failure("Query cancelled by user")
    message = str(error).strip().partition("\n")[0].partition(": ")[2]
    if match := re.search(r"Overflow in (\w+) of INT(\d+) \((.*)\)!", message):
        kind = _INTEGERS.get(match[2], "bigint")
        return Failure(f"NUMERIC_VALUE_OUT_OF_RANGE: {kind} {match[1]} overflow: {match[3]}")
    for pattern, reason in _PATTERNS:
        if match := re.search(pattern, message):
            return Failure(match.expand(reason))
    name = next((name for kind, name in _NAMES if isinstance(error, kind)), "GENERIC_USER_ERROR")
    return Failure(f"{name}: {message}")
