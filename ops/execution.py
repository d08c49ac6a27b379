"""Start an execution, follow it through its states, stop it; read and download a query's result."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ops.errors import CommandError, ExitCode

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

# Seconds between two polls of an execution: a tenth of its age, within these bounds.
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 5.0

# Quota of Step Functions for an execution's input (developer guide, "Quotas").
_INPUT_BYTES = 262_144

# GetQueryResults returns at most this many rows per page (Athena API reference).
_RESULT_PAGE = 1_000

_CHUNK_BYTES = 1 << 18


class ExecutionArn(NamedTuple):
    """The ARN of an execution, `text`, with the Region and the state machine in it."""

    text: str
    region: str
    state_machine: str

    @classmethod
    def parse(cls, text: str) -> "ExecutionArn":
        """Raise ValueError if the text is not the ARN of an execution."""
        match = re.fullmatch(r"arn:aws[\w-]*:states:([\w-]+):\d{12}:execution:([^:\s]+):[^:\s]+", text)
        if match is None:
            raise ValueError(f"{text!r} is not the ARN of a Step Functions execution")
        return cls(text, match[1], match[2])


@dataclass(kw_only=True)
class Run:
    """The progress of an execution. `output`, or `error` and `cause`, are set once it has ended."""

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
        result = self.output or self.cause
        return result.get("QueryId") if isinstance(result, dict) else None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The first rows of a result as text, NULL as None. `more`: there are others."""

    columns: list[str]
    rows: list[list[str | None]]
    more: bool


def start(stepfunctions: "SFNClient", state_machine_arn: str, document: Mapping[str, Any]) -> str:
    """Start an execution with `document` as its input and return its ARN."""
    text = json.dumps(document)
    if len(text) > _INPUT_BYTES:
        raise CommandError(
            f"the input has {len(text):,} bytes; Step Functions accepts {_INPUT_BYTES:,}", ExitCode.USAGE
        )
    return stepfunctions.start_execution(stateMachineArn=state_machine_arn, input=text)["executionArn"]


def follow(
    stepfunctions: "SFNClient",
    execution_arn: str,
    on_state: Callable[[str], None] = lambda _: None,
    on_poll: Callable[[], None] = lambda: None,
) -> Run:
    """Wait until the execution has ended.

    `on_state` is called with each state that it enters, `on_poll` after each poll.
    """
    run = Run(arn=execution_arn)
    last_event = 0
    began = time.monotonic()
    while run.status == "RUNNING":
        time.sleep(min(max((time.monotonic() - began) / 10, _SHORTEST_POLL), _LONGEST_POLL))
        answer = stepfunctions.describe_execution(executionArn=execution_arn)
        names, last_event = _states_entered_since(stepfunctions, execution_arn, last_event)
        for name in names:
            run.states.append(name)
            on_state(name)
        run.status = answer["status"]
        run.started, run.stopped = answer["startDate"], answer.get("stopDate")
        on_poll()
    if run.status == "SUCCEEDED":
        run.output = json.loads(answer["output"])
    else:
        run.error = answer.get("error")
        run.cause = _parsed(answer.get("cause", ""))
    return run


def stop(stepfunctions: "SFNClient", execution_arn: str) -> None:
    """Stop the execution; the canceller then stops its query. Raise CommandError if it does not exist."""
    try:
        stepfunctions.stop_execution(executionArn=execution_arn, cause="Stopped by the user")
    except stepfunctions.exceptions.ExecutionDoesNotExist:
        raise no_such_execution(execution_arn) from None


def no_such_execution(execution_arn: str) -> CommandError:
    return CommandError(
        f"there is no execution {execution_arn}; Step Functions keeps an execution for 90 days",
        ExitCode.FAILED,
    )


def read_rows(athena: "AthenaClient", query_id: str, limit: int) -> Rows:
    """The first `limit` rows of a query that succeeded."""
    pages = athena.get_paginator("get_query_results").paginate(
        QueryExecutionId=query_id, PaginationConfig={"PageSize": min(limit + 2, _RESULT_PAGE)}
    )
    columns: list[str] = []
    rows: list[list[str | None]] = []
    for number, page in enumerate(pages):
        results = page["ResultSet"]
        found = [[datum.get("VarCharValue") for datum in row["Data"]] for row in results["Rows"]]
        if number == 0:
            columns = [column["Name"] for column in results["ResultSetMetadata"]["ColumnInfo"]]
            # Some kinds of statement have a row of column names in front, others do not.
            found = found[1:] if found[:1] == [columns] else found
        rows += found
        if len(rows) > limit:
            break
    return Rows(columns=columns, rows=rows[:limit], more=len(rows) > limit)


def download(s3: "S3Client", location: str, file: Path, on_progress: Callable[[int, int], None]) -> None:
    """Write the object at an S3 URI to `file`. `on_progress` receives the bytes so far, and all of them."""
    place = urlsplit(location)
    answer = s3.get_object(Bucket=place.netloc, Key=place.path.lstrip("/"))
    part = file.with_name(f"{file.name}.part")
    received = 0
    try:
        with part.open("wb") as target:
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                target.write(chunk)
                received += len(chunk)
                on_progress(received, answer["ContentLength"])
        part.replace(file)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}", ExitCode.FAILED) from None
    finally:
        part.unlink(missing_ok=True)


def _states_entered_since(
    stepfunctions: "SFNClient", execution_arn: str, last_event: int
) -> tuple[list[str], int]:
    """The states entered after the event `last_event`, in order, and the number of the latest event."""
    pages = stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=execution_arn, reverseOrder=True, includeExecutionData=False
    )
    names: list[str] = []
    latest = last_event
    for page in pages:
        for event in page["events"]:
            if event["id"] <= last_event:
                return names[::-1], latest
            latest = max(latest, event["id"])
            if "stateEnteredEventDetails" in event:
                names.append(event["stateEnteredEventDetails"]["name"])
    return names[::-1], latest


def _parsed(cause: str) -> Any:
    try:
        return json.loads(cause)
    except ValueError:
        return cause
