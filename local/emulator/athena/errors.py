"""Athena's errors for a statement: refused at submission, failed, or cancelled.

The numbers of ErrorType are in the Athena user guide, "Athena error catalog"; which statement has which was
measured on AWS (docs/fidelity.md).
"""

MALFORMED_QUERY = "MALFORMED_QUERY"
INVALID_INPUT = "INVALID_INPUT"

# ErrorType by the name that begins an engine's error; a user's error of another name has type 1000.
_USER_ERROR = 1000
_ERROR_TYPES = {
    "AMBIGUOUS_NAME": 1006,
    "CATALOG_NOT_FOUND": 1006,
    "COLUMN_NOT_FOUND": 1006,
    "COLUMN_TYPE_UNKNOWN": 1006,
    "DIVISION_BY_ZERO": 1001,
    "DUPLICATE_COLUMN_NAME": 1006,
    "EXPRESSION_NOT_AGGREGATE": 1006,
    "FUNCTION_NOT_FOUND": 1303,
    "HIVE_PATH_ALREADY_EXISTS": 1112,
    "INVALID_CAST_ARGUMENT": 1100,
    "INVALID_FUNCTION_ARGUMENT": 1106,
    "MISSING_COLUMN_NAME": 1100,
    "NOT_FOUND": 1300,
    "NOT_SUPPORTED": 1200,
    "PERMISSION_DENIED": 1500,
    "SCHEMA_NOT_FOUND": 1301,
    "SYNTAX_ERROR": 1006,
    "TABLE_ALREADY_EXISTS": 1110,
    "TABLE_NOT_FOUND": 1301,
    "TYPE_MISMATCH": 1002,
}
_SYSTEM, _USER = 1, 2
_HIVE_PARSE_ERROR = 1003
_GLUE_REFUSED = 1502
_RESOURCES_EXHAUSTED = 0
_INTERNAL = 100
_TIMED_OUT = 206


class Refused(Exception):
    """Athena refuses the request at submission; the text is its reason, `code` its AthenaErrorCode."""

    def __init__(self, reason: str, code: str = MALFORMED_QUERY) -> None:
        super().__init__(reason)
        self.code = code


class ScanLimitExceeded(Exception):
    """The query would scan more than its workgroup allows: Athena cancels it and bills what it scanned."""

    def __init__(self, scanned_bytes: int) -> None:
        super().__init__("Bytes scanned limit was exceeded")
        self.scanned_bytes = scanned_bytes


class Failure(Exception):
    """The query fails. Category 2 is a user error and 1 a system error, which includes DDL syntax errors.

    The reason of an engine's error begins with its name, which decides the type unless one is given.
    """

    def __init__(
        self, reason: str, error_type: int | None = None, category: int = _USER, *, retryable: bool = False
    ) -> None:
        super().__init__(reason)
        named = _ERROR_TYPES.get(reason.partition(":")[0], _USER_ERROR)
        self.error_type = named if error_type is None else error_type
        self.category = category
        self.retryable = retryable


def not_supported(what: str) -> Failure:
    """Athena runs this. The local Athena does not, or its result would differ."""
    return Failure(f"NOT_SUPPORTED: {what} is not supported locally")


def resources_exhausted() -> Failure:
    reason = "Query exhausted resources at this scale factor"
    return Failure(reason, _RESOURCES_EXHAUSTED, _SYSTEM, retryable=True)


def timed_out() -> Failure:
    return Failure("Query timeout", _TIMED_OUT, _SYSTEM)


def internal(error: Exception) -> Failure:
    return Failure(f"GENERIC_INTERNAL_ERROR: {error}", _INTERNAL, _SYSTEM, retryable=True)


def hive_parse_error(reason: str) -> Failure:
    return Failure(f"FAILED: ParseException {reason}", _HIVE_PARSE_ERROR, _SYSTEM)


def hive_failure(reason: str, error_type: int) -> Failure:
    """A statement that Athena passes to its Hive engine fails there."""
    return Failure(f"FAILED: {reason}", error_type)


def glue_refused(reason: str) -> Failure:
    """The Glue Data Catalog rejects a request from Athena as invalid."""
    return Failure(f"FAILED: {reason}", _GLUE_REFUSED, _SYSTEM)
