"""Writes the generated parts of the documents: `python -m tools.generate_docs`.

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a key of `_PARTS`.
"""

import ast
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.__main__ import NAMES
from benchmarks.result import Result
from functions import errors
from functions.outcome import console_url
from infra.settings import Settings, camel_case
from tools import records

ROOT = Path(__file__).parent.parent
CALLERS = ROOT / "docs" / "callers.md"
CONTRACT = ROOT / "docs" / "contract.md"
DECISIONS = ROOT / "docs" / "adr"
PERFORMANCE = ROOT / "docs" / "performance.md"
SIMULATION = ROOT / "docs" / "simulation.md"
SETTINGS = ROOT / "docs" / "settings.md"
PERMISSIONS = ROOT / "docs" / "permissions.md"
BATCHES = ROOT / "docs" / "batches.md"
EXAMPLES = ROOT / "examples"
DOCUMENTS = (
    ROOT / "README.md",
    CALLERS,
    CONTRACT,
    BATCHES,
    DECISIONS / "README.md",
    PERFORMANCE,
    SIMULATION,
    SETTINGS,
    PERMISSIONS,
)

# The headings of docs/settings.md, each before its first setting.
_GROUPS = {
    "stack_name": "Stack",
    "read_databases": "Data access",
    "default_database": "Queries",
    "batch_concurrency": "Batches",
    "work_group": "Workgroup, results and retention",
    "alarm_topic_arn": "Monitoring",
    "results_key_arn": "Encryption",
    "vpc_subnet_ids": "Network",
    "permissions_boundary_arn": "Roles",
    "removal_policy": "Deployment",
}
_COMMON = (
    *("stage", "read_databases", "read_prefixes", "write_databases", "write_prefixes", "default_database"),
    *("bytes_scanned_limit", "max_attempts", "results_bucket", "alarm_topic_arn"),
)

_ID = "0c9231a0-de75-4736-bdfa-dd3f3de85970"


def _example(kind: type[errors.AthenaQueryError], reason: str, **details: Any) -> errors.AthenaQueryError:
    """The error of a query that ran and ended FAILED, unless `details` override that."""
    known = {"state": "FAILED", "scanned_bytes": 0, "cost_usd": 0.0, "attempts": 1}
    return kind(reason, query_id=_ID, console_url=console_url("eu-west-1", _ID), **{**known, **details})


_EXAMPLES: tuple[errors.AthenaQueryError, ...] = (
    errors.InvalidInput("input.TimeoutSeconds must be integer; input must not contain {'Sql'} properties"),
    errors.InvalidRequest("line 1:1: mismatched input 'SELEKT'"),
    errors.Throttled("TooManyRequestsException: the limit of queries that run concurrently is exceeded"),
    _example(
        errors.Failed,
        "COLUMN_NOT_FOUND: line 1:8: Column 'nope' cannot be resolved",
        category=2,
        error_type=1006,
    ),
    _example(
        errors.TransientFailure,
        "Query exhausted resources at this scale factor",
        category=1,
        error_type=0,
        attempts=2,
    ),
    _example(
        errors.ScanLimitExceeded,
        "Bytes scanned limit was exceeded. It scanned 1,099,520,016,384 bytes, for about 5.49761 USD; "
        "the limit (bytesScannedLimit) is 1,099,511,627,776 bytes.",
        state="CANCELLED",
        scanned_bytes=1_099_520_016_384,
        cost_usd=5.49761,
    ),
    _example(errors.Cancelled, "Query cancelled by user", state="CANCELLED", cost_usd=0.00005),
    _example(
        errors.TimedOut,
        "The query was stopped at its deadline (TimeoutSeconds).",
        state="CANCELLED",
        scanned_bytes=25_000_001,
        cost_usd=0.00013,
    ),
)


def render(text: str) -> str:
    """`text` with its generated parts up to date. Raise KeyError for an unknown part."""

    def fill(match: re.Match[str]) -> str:
        return f"{match[1]}\n{_PARTS[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- generated: ([\w-]+) -->)\n.*?<!-- end -->", fill, text, flags=re.DOTALL)


def _settings() -> str:
    """A table of each group."""
    groups: list[tuple[str, list[str]]] = []
    for one in fields(Settings):
        if one.name in _GROUPS:
            groups.append((_GROUPS[one.name], []))
        groups[-1][1].append(_setting(one))
    return "\n\n".join(f"## {title}\n\n{_table(_SETTING, rows)}" for title, rows in groups)


def _common_settings() -> str:
    known = {one.name: one for one in fields(Settings)}
    return _table(_SETTING, [_setting(known[name]) for name in _COMMON])


_SETTING = ("name", "default", "meaning")


def _setting(one: Field[Any]) -> str:
    return _row(f"`{camel_case(one.name)}`", _default(one.default), one.metadata["description"])


def _default(value: Any) -> str:
    if value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _errors() -> str:
    rows = [f"| `{one.name}` | {'yes' if one.retryable else 'no'} | {one.advice} |" for one in _EXAMPLES]
    return _table(("error", "retryable", "what to do"), rows)


def _causes() -> str:
    return "\n\n".join(
        f"```json {one.name}\n{json.dumps(json.loads(one.cause()), indent=2)}\n```" for one in _EXAMPLES
    )


def _decisions() -> str:
    rows = []
    for record in sorted(DECISIONS.glob("[0-9]*.md")):
        number, title = record.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)
        rows.append(f"| {number} | [{title}]({record.name}) |")
    return _table(("", "decision"), rows)


def _schema(name: str) -> str:
    schema = json.loads((ROOT / "statemachine" / f"{name}.schema.json").read_text())
    return _table(("field", "type", "meaning"), _rows(schema))


def _table(header: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join(header)} |", "| --- " * len(header) + "|", *rows])


def _rows(schema: dict[str, Any], prefix: str = "") -> list[str]:
    rows = []
    for name, field in schema["properties"].items():
        required = name in schema.get("required", [])
        optional = "" if required or not schema.get("required") else ", may be absent"
        rows.append(f"| `{prefix}{name}` | {_type(field)}{optional} | {field.get('description', '')} |")
        if "properties" in field:
            rows += _rows(field, f"{prefix}{name}.")
    return rows


def _type(field: dict[str, Any]) -> str:
    """The type in words, with its bounds."""
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join("null" if one is None else f"`{one}`" for one in field["enum"])
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    words = " or ".join(kinds)
    values = field.get("additionalProperties")
    if isinstance(values, dict):
        words += f" of {values['type']}s" + (
            f", at most {field['maxProperties']} pairs" if "maxProperties" in field else ""
        )
    for low, high, what in (("minimum", "maximum", ""), ("minLength", "maxLength", " characters")):
        if low in field and high in field:
            words += f", {field[low]:,} to {field[high]:,}{what}"
        elif high in field:
            words += f", at most {field[high]:,}{what}"
    if "items" in field and field["items"].get("type") == "string":
        words += (
            f" of strings, each {field['items']['minLength']:,} to {field['items']['maxLength']:,} characters"
        )
    return words


def _benchmark(name: str) -> str:
    try:
        result = Result.read(name)
    except FileNotFoundError:
        return "No result is recorded yet. The command above writes one."
    tables = (f"{table.title}:\n\n{table.text()}" for table in result.tables)
    return "\n\n".join([*tables, f"`{result.verdict()}`"])


def _lag() -> str:
    """The row "all" of the benchmark of lag, as a sentence."""
    table = Result.read("lag").tables[0]
    row = next(row for row in table.rows if row[0] == "all")
    ours, *others = (f"{value:.2g} s" for value in row[1:])
    polling = (
        f"{value} with {name.replace(', ', ' every ')}"
        for name, value in zip(table.columns[2:], others, strict=True)
    )
    return (
        "Median lag between the completion of a query and the end of its execution, on the local stack: "
        f"{ours}; {'; '.join(polling)} (`python -m benchmarks lag`)."
    )


def _mutants() -> str:
    rows = [
        _row(row["mutant"], row["about"], f"`{row['caught_by']}`", row["scenario"], f"{row['schedules']:,}")
        for row in records.read("mutants")
    ]
    return _table(("mutant", "consequence", "caught by", "scenario", "schedules"), rows)


def _outages() -> str:
    rows = [
        _row(
            row["service"],
            _duration(row["seconds"]),
            f"{row['running']} of {row['size']['running']}",
            f"{row['new']} of {row['size']['new']}",
            f"{row['latest_end']:.0f} s",
            f"{row['longest_unattended']:.0f} s",
            "not measured" if row["stuck"] is None else f"{row['stuck']:.0f} s",
            row["dead_letters"],
        )
        for row in records.read("outages")
    ]
    header = ("service", "outage", "running", "new", "latest end", "unattended", "stuck", "dead letters")
    return _table(header, rows)


def _transitions() -> str:
    rows = [
        _row(
            _duration(row["duration"]),
            "arrives" if row["event_arrives"] else "is lost",
            f"{row['states']:,}",
            f"{row['history_events']:,}",
            f"{row['invocations']:,}",
            f"{row['late']:.1f} s",
        )
        for row in records.read("transitions")
    ]
    header = ("query", "event", "states entered", "history events", "invocations", "execution ends after")
    return _table(header, rows)


def _permissions() -> str:
    """A table of each role."""
    header = ("statement", "actions", "tried with", "without it")
    tables: dict[str, list[str]] = {}
    for one in records.read("permissions"):
        tried = (one["operation"], one["without"]) if "operation" in one else ("", _not_enforced(one))
        tables.setdefault(one["role"], []).append(
            _row(f"`{one['statement']}`", _actions(one["actions"]), *tried)
        )
    found = records.read("permissions")
    enforced = sum("operation" in one for one in found)
    counts = f"{enforced} statements are tried, and {len(found) - enforced} are not enforced locally."
    return "\n\n".join([counts, *(f"## {role}\n\n{_table(header, rows)}" for role, rows in tables.items())])


_MOST_ACTIONS = 3


def _actions(actions: Sequence[str]) -> str:
    """The actions; where they are many, their number."""
    if len(actions) <= _MOST_ACTIONS:
        return ", ".join(f"`{action}`" for action in actions)
    (service,) = {action.partition(":")[0] for action in actions}
    return f"{len(actions)} of `{service}`"


def _not_enforced(one: records.Row) -> str:
    return f"not enforced locally: {one['reason']} ([AWS]({one['source']}))"


def _row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _states() -> str:
    """States entered by the duration of the query, from the benchmark of work."""
    table = Result.read("work").tables[0]
    duration, event, states = (table.columns.index(name) for name in ("duration", "event", "transitions"))
    arrives = [row for row in table.rows if row[event] == "arrives"]
    counts = " | ".join(str(row[states]) for row in arrives)
    header = ("query runs for", *(row[duration] for row in arrives))
    return f"{_table(header, [f'| states entered | {counts} |'])}\n\nPrinted by `python -m benchmarks work`."


def _code(path: str, method: str = "") -> str:
    """The text of a file of the examples as a code block; of its class, one method only if one is given."""
    file = EXAMPLES / path
    text = file.read_text()
    if method:
        lines = text.splitlines()
        (owner, node) = next(
            (owner, one)
            for owner in ast.parse(text).body
            if isinstance(owner, ast.ClassDef)
            for one in owner.body
            if isinstance(one, ast.FunctionDef) and one.name == method
        )
        text = "\n".join([lines[owner.lineno - 1], *lines[node.lineno - 1 : node.end_lineno]])
    language = {".py": "python", ".json": "json", ".sh": "bash", ".ts": "typescript"}[file.suffix]
    return f"```{language} {file.relative_to(ROOT)}\n{text.rstrip()}\n```"


_PARTS: Mapping[str, Callable[[], str]] = {
    "settings": _settings,
    "common-settings": _common_settings,
    "input": lambda: _schema("input"),
    "output": lambda: _schema("output"),
    "batch-input": lambda: _schema("batch_input"),
    "batch-output": lambda: _schema("batch_output"),
    "batch-manifest": lambda: _schema("batch_manifest"),
    "errors": _errors,
    "error": lambda: _schema("error"),
    "causes": _causes,
    "decisions": _decisions,
    "lag": _lag,
    "states": _states,
    "mutants": _mutants,
    "outages": _outages,
    "permissions": _permissions,
    "transitions": _transitions,
    "example-report": partial(_code, "state_machine/report.asl.json"),
    "example-nested": partial(_code, "state_machine/app.py", "_allow_nested_execution"),
    "example-schedule": partial(_code, "schedule/app.py", "_schedule"),
    "example-schedule-starter": partial(_code, "schedule/starter.asl.json"),
    "example-schedule-failures": partial(_code, "schedule/app.py", "_report_failures"),
    "example-event": partial(_code, "event/app.py", "_query_arrivals"),
    "example-message": partial(_code, "message/app.py", "_pipe"),
    "example-message-starter": partial(_code, "message/starter.asl.json"),
    "example-message-failures": partial(_code, "message/app.py", "_keep_failures"),
    "example-airflow": partial(_code, "airflow/flights_by_carrier.py"),
    "example-python": partial(_code, "programs/run_query.py"),
    "example-typescript": partial(_code, "programs/run_query.ts"),
    "example-shell": partial(_code, "programs/run_query.sh"),
    **{f"benchmark-{name}": partial(_benchmark, name) for name in NAMES},
}


def main() -> int:
    for document in DOCUMENTS:
        document.write_text(render(document.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
