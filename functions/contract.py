"""The contract with callers. The schemas in statemachine/ are its only source."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastjsonschema.exceptions import JsonSchemaValuesException

from functions.errors import InvalidInput
from functions.settings import Settings

try:
    # In the bundle: infra/bundle.py writes it, since each cold start would compile the schema.
    from functions.input_validator import validate  # type: ignore[import-not-found]
except ModuleNotFoundError:
    import fastjsonschema

    _SCHEMA = Path(__file__).parent.parent / "statemachine" / "input.schema.json"
    validate = fastjsonschema.compile(json.loads(_SCHEMA.read_text()), use_default=False, fast_fail=False)

# Replaces messages of the library that do not help a caller.
_MESSAGES = {
    "oneOf": "input must have exactly one of {alternatives}",
    "pattern": "{name} is blank or has an invalid format",
    "propertyNames": "{name} has a key with an invalid format",
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A caller's request, with defaults. Either `query_string` or `named_query_id` is None."""

    query_string: str | None
    named_query_id: str | None
    database: str | None
    catalog: str
    execution_parameters: tuple[str, ...]
    result_reuse_minutes: int
    timeout_seconds: int | None
    max_attempts: int
    idempotent: bool
    preview_rows: int
    labels: Mapping[str, str]


def read_input(document: Any, settings: Settings) -> Request:
    """Check an execution's input against input.schema.json.

    Raise InvalidInput, which lists every violation by its path.
    """
    check(document, validate, alternatives="QueryString and NamedQueryId")
    return Request(
        query_string=document.get("QueryString"),
        named_query_id=document.get("NamedQueryId"),
        database=document.get("Database"),
        catalog=document.get("Catalog", settings.default_catalog),
        execution_parameters=tuple(document.get("ExecutionParameters", ())),
        # JSON Schema calls 2.0 an integer too; Athena's API does not.
        result_reuse_minutes=int(document.get("ResultReuseMaxAgeMinutes", 0)),
        timeout_seconds=int(document["TimeoutSeconds"]) if "TimeoutSeconds" in document else None,
        max_attempts=int(document.get("MaxAttempts", settings.max_attempts)),
        idempotent=document.get("Idempotent", False),
        preview_rows=int(document.get("PreviewRows", 0)),
        labels=document.get("Labels", {}),
    )


def check(document: Any, validator: Callable[..., Any], *, alternatives: str) -> None:
    """Raise InvalidInput unless the document is text throughout and follows the validator's schema.

    `alternatives` are the fields of which the schema requires exactly one.
    """
    try:
        # JSON may escape half of a surrogate pair, which is not a character and cannot be sent to Athena.
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            "input contains a lone surrogate (\\ud800 to \\udfff), which is not text"
        ) from None
    try:
        validator(document, name_prefix="input")
    except JsonSchemaValuesException as faults:
        messages = (
            _MESSAGES.get(str(fault.rule), "{message}").format(
                name=fault.name, message=fault.message, alternatives=alternatives
            )
            for fault in faults.errors
        )
        raise InvalidInput("; ".join(dict.fromkeys(messages))) from None
