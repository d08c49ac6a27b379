"""The contract with callers of the batch state machine: statemachine/batch_input.schema.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.contract import check

try:
    # In the bundle: infra/bundle.py writes it.
    from functions.batch_input_validator import validate  # type: ignore[import-not-found]
except ModuleNotFoundError:
    import fastjsonschema

    _SCHEMA = Path(__file__).parent.parent / "statemachine" / "batch_input.schema.json"
    validate = fastjsonschema.compile(json.loads(_SCHEMA.read_text()), use_default=False, fast_fail=False)

# As in the schema.
MOST_QUERIES = 10_000


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """Either `queries` or `queries_location` is None. A tolerance of None has no limit."""

    batch: str | None
    queries: list[dict[str, Any]] | None
    queries_location: str | None
    previous_manifest: str | None
    tolerated_failure_count: int | None
    tolerated_failure_percentage: float | None


def read_batch_input(document: Any) -> BatchRequest:
    """Check a batch's input. Raise InvalidInput, which lists every violation by its path."""
    check(document, validate, alternatives="Queries and QueriesLocation")
    count = document.get("ToleratedFailureCount")
    return BatchRequest(
        batch=document.get("Batch"),
        queries=document.get("Queries"),
        queries_location=document.get("QueriesLocation"),
        previous_manifest=document.get("PreviousManifest"),
        # JSON Schema calls 2.0 an integer too.
        tolerated_failure_count=None if count is None else int(count),
        tolerated_failure_percentage=document.get("ToleratedFailurePercentage"),
    )
