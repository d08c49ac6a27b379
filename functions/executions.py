"""Executions of a state machine, as Step Functions lists and describes them."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_stepfunctions import SFNClient
    from mypy_boto3_stepfunctions.type_defs import ExecutionListItemTypeDef


# ListExecutions returns 100 executions in a page by default and 1,000 at most (API reference). It allows few
# calls: 200 or 100 at once, by region, and then 5 or 2 a second (Step Functions developer guide, "Quotas").
_PAGE = 1_000


def list_since(
    stepfunctions: "SFNClient", state_machine_arn: str, since: datetime, **filters: Any
) -> "Iterator[ExecutionListItemTypeDef]":
    """Running executions that began after `since`, and others that ended after it.

    Step Functions sorts by these times, the latest first: a running execution by its start or its redrive,
    any other by its end (API reference, ListExecutions).
    """
    pages = stepfunctions.get_paginator("list_executions").paginate(
        stateMachineArn=state_machine_arn, PaginationConfig={"PageSize": _PAGE}, **filters
    )
    for page in pages:
        for execution in page["executions"]:
            if _listed_by(execution) < since:
                return
            yield execution


def _listed_by(execution: "ExecutionListItemTypeDef") -> datetime:
    return execution.get("stopDate") or execution.get("redriveDate") or execution["startDate"]


def result_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """The execution's output or its error's cause. A cause that is not a JSON object is a reason."""
    text = description.get("output") or description.get("cause") or "{}"
    try:
        result = json.loads(text)
    except ValueError:
        return {"Reason": text}
    return result if isinstance(result, dict) else {"Reason": text}
