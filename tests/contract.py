"""Checks what callers get against the contract's schemas."""

import json
from pathlib import Path
from typing import Any

import fastjsonschema

_SCHEMAS = Path(__file__).parent.parent / "statemachine"


def _validator(name: str) -> Any:
    return fastjsonschema.compile(json.loads((_SCHEMAS / name).read_text()))


check_output = _validator("output.schema.json")
check_cause = _validator("error.schema.json")


def check_callback(sent: dict[str, Any]) -> None:
    """Check the parameters of a SendTaskSuccess or SendTaskFailure: schema and Step Functions' limits."""
    if "output" in sent:
        assert len(sent["output"].encode()) <= 262_144
        check_output(json.loads(sent["output"]))
        return
    assert len(sent["cause"]) <= 32_768
    if sent["error"] != "AthenaQuery.RunAgain":
        check_cause(json.loads(sent["cause"]))
