"""AWS's raw responses and events, recorded with everything that identifies an account replaced.

The comparison is by shape: the local stack must answer with the same fields of the same types.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

# Operations whose answers the functions read, and those whose shape the document relies on.
RECORDED = {
    "athena": {"StartQueryExecution", "GetQueryExecution", "GetQueryResults"},
    "stepfunctions": {"DescribeExecution", "GetExecutionHistory", "RedriveExecution"},
}

# In this order: what is longest first.
_REPLACED = (
    (re.compile(r"(?<=[\"'\s:/])[A-Za-z0-9+/=]{200,}"), "TASK-TOKEN"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\b(execution:|stateMachine:|function:|workgroup/|role/)[^\s\",]+"), r"\1NAME"),
    (re.compile(r"\b\d{12}\b"), "ACCOUNT"),
    (re.compile(r"s3://[^\s\"]+"), "s3://BUCKET/KEY"),
    (re.compile(r"\b(?:[a-z]{2}(?:-gov)?-[a-z]+-\d)\b"), "REGION"),
)
_TOKENS = {"TaskToken", "taskToken", "ClientRequestToken"}
_NAMES = {"workgroupName", "WorkGroup", "Database", "stateMachineName"}


class Recorder:
    """Collects the answers to a client's calls, one example of each shape."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self._shapes: set[tuple[str, frozenset[tuple[str, str]]]] = set()

    def attach(self, client: Any) -> Any:
        service = client.meta.service_model.service_name
        for operation in RECORDED.get(service, ()):
            client.meta.events.register(f"after-call.{service}.{operation}", self._keep(service, operation))
        return client

    def _keep(self, service: str, operation: str) -> Any:
        def keep(parsed: dict[str, Any], **_: Any) -> None:
            answer = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
            self.add(service, operation, answer)

        return keep

    def add(self, service: str, operation: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer, or an event under its detail type, unless there is one of the same shape."""
        sanitized: Any = sanitize(dict(answer))
        known = (operation, frozenset(shape(sanitized)))
        if known not in self._shapes:
            self._shapes.add(known)
            self.answers.append({"service": service, "operation": operation, "answer": sanitized})

    def write(self, directory: Path, claim: str) -> None:
        """Write what was recorded for a claim, and start again."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.answers, indent=1, ensure_ascii=False, sort_keys=True)
        (directory / f"{claim}.json").write_text(f"{text}\n")
        self.answers = []
        self._shapes = set()


def sanitize(value: Any) -> Any:
    """The value as JSON, with account ids, Regions, names, buckets, ids and tokens replaced."""
    match value:
        case dict():
            replaced = dict.fromkeys(_TOKENS, "TASK-TOKEN") | dict.fromkeys(_NAMES, "NAME")
            return {
                name: replaced[name] if name in replaced and inner is not None else sanitize(inner)
                for name, inner in value.items()
            }
        case list():
            return [sanitize(inner) for inner in value]
        case datetime():
            return "2026-01-01T00:00:00+00:00"
        case str():
            return _sanitize_text(value)
    return value


def _sanitize_text(text: str) -> str:
    if text[:1] in "{[":
        try:
            return json.dumps(sanitize(json.loads(text)))
        except ValueError:
            pass
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return text


def shape(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and type of each value: `("QueryExecution.Status.State", "str")`. Elements of a list share a
    path.
    """
    match value:
        case dict():
            for name, inner in value.items():
                yield from shape(inner, f"{path}.{name}".lstrip("."))
        case list():
            for inner in value:
                yield from shape(inner, f"{path}[]")
        case bool() | None:
            yield path, type(value).__name__
        case int() | float():
            yield path, "number"
        case _:
            yield path, type(value).__name__


def differences(
    recorded: Sequence[Mapping[str, Any]], local: Sequence[Mapping[str, Any]], fields: Mapping[str, set[str]]
) -> list[str]:
    """The `fields` that the functions read of each operation, if the two responses have different shapes."""
    found = []
    for operation, wanted in fields.items():
        shapes = [
            {
                pair
                for record in records
                if record["operation"] == operation
                for pair in shape(record["answer"])
                if pair[0] in wanted
            }
            for records in (recorded, local)
        ]
        found += [
            f"{operation}: {path} is {kind} in the recording only" for path, kind in shapes[0] - shapes[1]
        ]
        found += [f"{operation}: {path} is {kind} locally only" for path, kind in shapes[1] - shapes[0]]
    return sorted(found)
