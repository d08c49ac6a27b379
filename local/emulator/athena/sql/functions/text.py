"""Functions of text and of bytes."""

import re
from collections.abc import Callable

from local.emulator.athena.errors import not_supported
from local.emulator.athena.sql import patterns
from local.emulator.athena.sql.signatures import read, special
from local.emulator.athena.sql.values import Value, guarded, literal

_BLANKS = "(' ' || chr(9) || chr(10) || chr(11) || chr(12) || chr(13))"

_TABLE = """
chr(bigint) -> varchar = chr(CAST($0 AS INTEGER))
codepoint(varchar) -> integer = unicode($0)
concat(varchar, varchar...) -> varchar = ($chain)
concat(varbinary, varbinary...) -> varbinary = ($chain)
concat_ws(varchar, varchar...) -> varchar = concat_ws($all)
concat_ws(varchar, array(varchar)) -> varchar = array_to_string($1, $0)
from_base64(varchar) -> varbinary = from_base64($0)
from_hex(varchar) -> varbinary = unhex($0)
from_utf8(varbinary) -> varchar = decode($0)
length(varchar) -> bigint = length($0)
length(varbinary) -> bigint = octet_length($0)
lower(S) -> S = lower($0)
lpad(varchar, bigint, varchar) -> varchar = lpad($0, CAST($1 AS INTEGER), $2)
ltrim(S) -> S = ltrim($0, BLANKS)
ltrim(S, varchar) -> S = ltrim($0, $1)
md5(varbinary) -> varbinary = unhex(md5($0))
normalize(varchar) -> varchar = nfc_normalize($0)
replace(varchar, varchar) -> varchar = replace($0, $1, '')
reverse(S) -> S = reverse($0)
rpad(varchar, bigint, varchar) -> varchar = rpad($0, CAST($1 AS INTEGER), $2)
rtrim(S) -> S = rtrim($0, BLANKS)
rtrim(S, varchar) -> S = rtrim($0, $1)
sha1(varbinary) -> varbinary = unhex(sha1($0))
sha256(varbinary) -> varbinary = unhex(sha256($0))
starts_with(varchar, varchar) -> boolean = starts_with($0, $1)
strpos(varchar, varchar) -> bigint = strpos($0, $1)
to_base64(varbinary) -> varchar = to_base64($0)
to_hex(varbinary) -> varchar = hex($0)
to_utf8(varchar) -> varbinary = encode($0)
translate(varchar, varchar, varchar) -> varchar = translate($0, $1, $2)
trim(S) -> S = trim($0, BLANKS)
trim(S, varchar) -> S = trim($0, $1)
# DuckDB's capital of ß is ẞ.
upper(S) -> S = CASE WHEN contains($0, 'ß') THEN array_to_string(list_transform(string_split($0, 'ß'), lambda __p: upper(__p)), 'ß') ELSE upper($0) END
uuid() -> uuid = uuid()
"""


def _substring(text: Value, start: Value, length: Value | None = None) -> str:
    """Empty if the start is 0 or before the text."""
    rest = "" if length is None else f", CAST({length.sql} AS INTEGER)"
    nowhere = f"{start.sql} = 0 OR -({start.sql}) > length({text.sql})"
    if length is not None:
        nowhere += f" OR {length.sql} <= 0"
    return f"CASE WHEN {nowhere} THEN '' ELSE substring({text.sql}, CAST({start.sql} AS INTEGER){rest}) END"


def _split(text: Value, delimiter: Value) -> str:
    message = "'INVALID_FUNCTION_ARGUMENT: The delimiter may not be the empty string'"
    return guarded(f"length({delimiter.sql}) > 0", f"string_split({text.sql}, {delimiter.sql})", message)


def _split_part(text: Value, delimiter: Value, number: Value) -> str:
    """NULL beyond the last part."""
    message = "'INVALID_FUNCTION_ARGUMENT: Index must be greater than zero'"
    return guarded(
        f"{number.sql} > 0", f"list_extract(string_split({text.sql}, {delimiter.sql}), {number.sql})", message
    )


def _split_to_map(text: Value, between: Value, within: Value) -> str:
    entries = f"string_split({text.sql}, {between.sql})"
    pair = f"string_split(__e, {within.sql})"
    message = "'INVALID_FUNCTION_ARGUMENT: Key-value delimiter must appear exactly once in each entry'"
    return guarded(
        f"len(list_filter({entries}, lambda __e: len({pair}) <> 2)) = 0",
        f"map_from_entries(list_transform({entries}, lambda __e: {{'key': {pair}[1], 'value': {pair}[2]}}))",
        message,
    )


def _replace(text: Value, search: Value, replacement: Value) -> str:
    message = "'NOT_SUPPORTED: replace of the empty string is not supported locally'"
    sql = f"replace({text.sql}, {search.sql}, {replacement.sql})"
    return guarded(f"length({search.sql}) > 0", sql, message)


def _matching(template: str) -> Callable[..., str]:
    """The SQL for a text, a pattern and, if it has one, a group."""

    def body(text: Value, pattern: Value, group: Value | None = None) -> str:
        patterns.check(pattern, group)
        return template.format(text, pattern, group or "0")

    return body


_EXTRACTED = _matching("CASE WHEN regexp_matches({0}, {1}) THEN regexp_extract({0}, {1}, {2}) END")
_ALL_EXTRACTED = _matching("regexp_extract_all({0}, {1}, {2})")


def _regexp_replace(text: Value, pattern: Value, replacement: Value) -> str:
    r"""Convert Java's $1 to DuckDB's \1. A backslash escapes the next character."""
    patterns.check(pattern)
    if replacement.text is None:
        raise not_supported("regexp_replace with a replacement that is not a literal")
    if re.search(r"\$\D|\\[^$\\]", replacement.text):
        raise not_supported(f"the replacement {replacement.text!r} of regexp_replace")

    def converted(match: re.Match[str]) -> str:
        group, escaped = match.groups()
        return f"\\{group}" if group else escaped.replace("\\", "\\\\")

    given = re.sub(r"\$(\d)|\\(.)", converted, replacement.text)
    return f"regexp_replace({text.sql}, {pattern.sql}, {literal(given)}, 'g')"


SIGNATURES = [
    *read(_TABLE.replace("BLANKS", _BLANKS)),
    special("substr(varchar, bigint) -> varchar", _substring),
    special("substr(varchar, bigint, bigint) -> varchar", _substring),
    special("split(varchar, varchar) -> array(varchar)", _split),
    special("split_part(varchar, varchar, bigint) -> varchar", _split_part),
    special("replace(varchar, varchar, varchar) -> varchar", _replace),
    special("split_to_map(varchar, varchar, varchar) -> map(varchar, varchar)", _split_to_map),
    special(
        "regexp_count(varchar, varchar) -> bigint",
        _matching("CAST(len(regexp_extract_all({0}, {1})) AS BIGINT)"),
    ),
    special("regexp_extract(varchar, varchar) -> varchar", _EXTRACTED),
    special("regexp_extract(varchar, varchar, integer) -> varchar", _EXTRACTED),
    special("regexp_extract_all(varchar, varchar) -> array(varchar)", _ALL_EXTRACTED),
    special("regexp_extract_all(varchar, varchar, integer) -> array(varchar)", _ALL_EXTRACTED),
    # Whether a text matches is the same, also for a pattern that matches an empty text.
    *read("regexp_like(varchar, varchar) -> boolean = regexp_matches($0, $1)"),
    special("regexp_replace(varchar, varchar) -> varchar", _matching("regexp_replace({0}, {1}, '', 'g')")),
    special("regexp_replace(varchar, varchar, varchar) -> varchar", _regexp_replace),
    special("regexp_split(varchar, varchar) -> array(varchar)", _matching("string_split_regex({0}, {1})")),
]
ALIASES = {"substring": "substr"}
