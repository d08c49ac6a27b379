"""Why is this execution still waiting? The facts, and one conclusion.

Plain boto3: works against an AWS account as it does here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from functions.events import TERMINAL_STATES


class Unexplained(Exception):
    """The facts cannot be had; the text says which and what to do."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an execution. `athena_state` and what follows are of its latest query, if any."""

    status: str
    error: str | None
    state: str | None
    since: datetime | None
    patience_seconds: int
    poll_seconds: int
    query_id: str | None = None
    athena_state: str | None = None
    athena_ended: datetime | None = None
    token_stored: bool = False
    recorded_state: str | None = None


def gather(execution_arn: str, client: Callable[[str], Any]) -> Facts:
    """`client` makes a boto3 client of a service. Raise Unexplained if execution or stack are not there."""
    stepfunctions = client("stepfunctions")
    try:
        execution = stepfunctions.describe_execution(executionArn=execution_arn)
        history = stepfunctions.get_execution_history(
            executionArn=execution_arn, reverseOrder=True, maxResults=100
        )
        # The stack and its state machine have the same name.
        stack = execution["stateMachineArn"].rpartition(":")[2]
        described = client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise Unexplained(
            f"{error.operation_name}: {error.response['Error'].get('Message', 'failed')}"
        ) from None
    outputs = {one["OutputKey"]: one["OutputValue"] for one in described["Outputs"]}
    entered = next((one for one in history["events"] if "stateEnteredEventDetails" in one), None)
    facts: dict[str, Any] = {
        "status": execution["status"],
        "error": execution.get("error"),
        "state": entered["stateEnteredEventDetails"]["name"] if entered else None,
        "since": entered["timestamp"] if entered else None,
        "patience_seconds": int(outputs["PatienceSeconds"]),
        "poll_seconds": int(outputs["PollSeconds"]),
    }
    dynamodb, table = client("dynamodb"), outputs["TaskTableName"]
    query_id = _latest_query(_item(dynamodb, table, execution_arn))
    if query_id is None:
        return Facts(**facts)
    item = _item(dynamodb, table, query_id)
    status = client("athena").get_query_execution(QueryExecutionId=query_id)["QueryExecution"]["Status"]
    return Facts(
        **facts,
        query_id=query_id,
        athena_state=status["State"],
        athena_ended=status.get("CompletionDateTime"),
        token_stored="TaskToken" in item,
        recorded_state=item.get("State", {}).get("S"),
    )


def _item(dynamodb: Any, table: str, key: str) -> Mapping[str, Any]:
    answer = dynamodb.get_item(TableName=table, Key={"Id": {"S": key}}, ConsistentRead=True)
    item: Mapping[str, Any] = answer.get("Item", {})
    return item


def _latest_query(item: Mapping[str, Any]) -> str | None:
    """The query of the execution's latest entry into "Start query" (functions/task_table.py)."""
    started = [value["M"] for name, value in item.items() if name.startswith("Started/")]
    if not started:
        return None
    query_id: str = max(started, key=lambda one: float(one["Entered"]["N"]))["QueryId"]["S"]
    return query_id


def conclude(facts: Facts, now: datetime) -> str:
    """One sentence on what the execution waits for and what happens next."""
    if facts.status != "RUNNING":
        told = f" with {facts.error}" if facts.error else ""
        return f"It does not wait: it has ended as {facts.status}{told}."
    if facts.state == "Back off":
        return "A transient failure: the query runs again after the wait."
    if facts.query_id is None:
        return (
            "No query is registered yet: the executor is being called or retried, or Athena has no room. "
            "See the executor's log."
        )
    if facts.athena_state not in TERMINAL_STATES:
        return f"Athena says {facts.athena_state}: it waits for the query, as it should."
    window = facts.patience_seconds if facts.state == "Start query" else facts.poll_seconds
    look = (facts.since or now) + timedelta(seconds=window)
    heard = (
        "the event was noted, but the task was not told" if facts.recorded_state else "its event has not come"
    )
    return (
        f"The query has ended as {facts.athena_state} and {heard}; "
        f"the state machine looks for itself by {look.astimezone(UTC):%H:%M:%S} UTC."
    )


def lines(facts: Facts, now: datetime) -> list[tuple[str, str]]:
    """The facts as label and text, the conclusion last."""
    ago = f", {(now - facts.since).total_seconds():.0f} s ago" if facts.since else ""
    told = [
        ("status", facts.status + (f" ({facts.error})" if facts.error else "")),
        ("state", f"{facts.state or 'none'}{ago}"),
        ("query", f"{facts.query_id}: {facts.athena_state}" if facts.query_id else "none registered"),
    ]
    if facts.query_id:
        ended = (
            f"{facts.athena_ended.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if facts.athena_ended else "not yet"
        )
        told += [
            ("query ended", ended),
            ("task token", "stored" if facts.token_stored else "not stored: none waits, or it is spent"),
            ("event", f"noted: {facts.recorded_state}" if facts.recorded_state else "none noted"),
        ]
    return [*told, ("so", conclude(facts, now))]
