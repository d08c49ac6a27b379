"""Executions of a state machine, as Step Functions lists and describes them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef


def list_since(
    stepfunctions: "SFNClient", state_machine_arn: str, since: datetime, **filters: Any
) -> "Iterator[ExecutionListItemTypeDef]":
    """Executions that started after `since`. Step Functions lists the newest first (API reference,
    ListExecutions).
    """
    pages = stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=state_machine_arn, **filters
    )
    for page in pages:
        for execution in page["executions"]:
            if execution["startDate"] < since:
                return
            yield execution


def result_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """The execution's output or its error's cause. A cause that is not a JSON object is a reason."""
    text = description.get("output") or description.get("cause") or "{}"
    try:
        result = json.loads(text)
    except ValueError:
        return {"Reason": text}
    return result if isinstance(result, dict) else {"Reason": text}
