"""Start an execution, watch it go through its states, and read its result: plain boto3, any endpoint."""

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

# Between two looks at the history of an execution that is being watched.
_LOOK_SECONDS = 0.1


@dataclass(kw_only=True)
class Run:
    """An execution as far as it has come. `output`, or `error` and `cause`, are there once it has ended."""

    arn: str
    status: str = "RUNNING"
    states: list[str] = field(default_factory=list)
    output: dict[str, Any] | None = None
    error: str | None = None
    cause: Any = None
    started: datetime | None = None
    stopped: datetime | None = None

    @property
    def seconds(self) -> float:
        return (self.stopped - self.started).total_seconds() if self.started and self.stopped else 0.0

    @property
    def query_id(self) -> str | None:
        told = self.output or self.cause
        return told.get("QueryId") if isinstance(told, dict) else None


def follow(
    stepfunctions: "SFNClient",
    state_machine_arn: str,
    document: Mapping[str, Any],
    on_state: Callable[[str], None] = lambda _: None,
) -> Run:
    """Run `document` as an execution's input to its end; `on_state` hears of each state entered."""
    run = Run(
        arn=stepfunctions.start_execution(stateMachineArn=state_machine_arn, input=json.dumps(document))[
            "executionArn"
        ]
    )
    while run.status == "RUNNING":
        time.sleep(_LOOK_SECONDS)
        answer = stepfunctions.describe_execution(executionArn=run.arn)
        for name in list(states_entered(stepfunctions, run.arn))[len(run.states) :]:
            run.states.append(name)
            on_state(name)
        run.status = answer["status"]
        run.started, run.stopped = answer["startDate"], answer.get("stopDate")
    if run.status == "SUCCEEDED":
        run.output = json.loads(answer["output"])
    else:
        run.error = answer.get("error")
        run.cause = _parsed(answer.get("cause", ""))
    return run


def states_entered(stepfunctions: "SFNClient", execution_arn: str) -> Iterator[str]:
    """The names of the states that the execution has entered, in order."""
    pages = stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    for page in pages:
        for event in page["events"]:
            if "stateEnteredEventDetails" in event:
                yield event["stateEnteredEventDetails"]["name"]


def result_rows(s3: "S3Client", output_location: str, limit: int) -> tuple[list[str], list[list[str]], bool]:
    """The column names and the first rows of a CSV result, and whether there are more."""
    place = urlsplit(output_location)
    body = s3.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))["Body"].read().decode()
    rows = csv.reader(io.StringIO(body))
    names = next(rows, [])
    shown = [row for row, _ in zip(rows, range(limit), strict=False)]
    return names, shown, next(rows, None) is not None


def _parsed(cause: str) -> Any:
    try:
        return json.loads(cause)
    except ValueError:
        return cause
