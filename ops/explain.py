"""Diagnoses a waiting execution: facts from Step Functions, Athena and the task table, and a conclusion."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from functions.events import TERMINAL_STATES
from functions.task_table import TaskTable
from ops.deployment import Deployment
from ops.errors import CommandError, ExitCode
from ops.execution import no_such_execution

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_stepfunctions import SFNClient

# Events of the history, latest first, that are searched for the state and its task.
_EVENTS = 100
_POLLING_STATES = ("Get query status", "Check query status")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an execution. Its query and what belongs to it are those of the latest attempt.

    `since` is when the execution entered its state, `polls_by` when the state's task times out at the latest.
    """

    status: str
    error: str | None = None
    state: str | None = None
    since: datetime | None = None
    polls_by: datetime | None = None
    query_id: str | None = None
    query_state: str | None = None
    query_ended: datetime | None = None
    token_stored: bool = False
    recorded_state: str | None = None
    running_queries: tuple[str, ...] = ()
    start_unconfirmed: bool = False


def gather(execution_arn: str, deployment: Deployment) -> Facts:
    """Raise CommandError if the execution does not exist, or the stack's task table does not."""
    stepfunctions: SFNClient = deployment.client("stepfunctions")
    try:
        execution = stepfunctions.describe_execution(executionArn=execution_arn)
    except stepfunctions.exceptions.ExecutionDoesNotExist:
        raise no_such_execution(execution_arn) from None
    history = stepfunctions.get_execution_history(
        executionArn=execution_arn, reverseOrder=True, maxResults=_EVENTS, includeExecutionData=False
    )
    facts: dict[str, Any] = {"status": execution["status"], "error": execution.get("error")}
    for event in history["events"]:
        if "polls_by" not in facts and (task := event.get("taskScheduledEventDetails")):
            seconds = task.get("timeoutInSeconds")
            facts["polls_by"] = event["timestamp"] + timedelta(seconds=seconds) if seconds else None
        if "stateEnteredEventDetails" in event:
            facts["state"], facts["since"] = event["stateEnteredEventDetails"]["name"], event["timestamp"]
            break
    return Facts(**facts, **_queries(execution_arn, deployment))


def _queries(execution_arn: str, deployment: Deployment) -> dict[str, Any]:
    """The facts on the execution's queries."""
    dynamodb, name = deployment.client("dynamodb"), deployment.output("TaskTableName")
    table = TaskTable(dynamodb, name, ttl_seconds=0)
    try:
        execution = table.find_execution(execution_arn)
        newest = execution.newest_query
        item = table.find_query(newest.query_id) if newest else None
    except dynamodb.exceptions.ResourceNotFoundException:
        raise CommandError(
            f"the task table {name} does not exist; deploy the stack again", ExitCode.UNREACHABLE
        ) from None
    facts: dict[str, Any] = {"start_unconfirmed": bool(execution.announced)}
    if item is None:
        return facts
    # One call takes 50 ids, and an item of the task table has no more.
    athena: AthenaClient = deployment.client("athena")
    answer = athena.batch_get_query_execution(
        QueryExecutionIds=list({started.query_id for started in execution.started})
    )
    statuses = {query["QueryExecutionId"]: query["Status"] for query in answer["QueryExecutions"]}
    status: Any = statuses.get(item.query_id, {})
    return {
        **facts,
        "query_id": item.query_id,
        "query_state": status.get("State", "unknown to Athena"),
        "query_ended": status.get("CompletionDateTime"),
        "token_stored": item.task_token is not None,
        "recorded_state": item.recorded_state,
        "running_queries": tuple(
            query_id for query_id, one in statuses.items() if one["State"] not in TERMINAL_STATES
        ),
    }


def conclude(facts: Facts, now: datetime) -> str:
    """What the execution waits for and what happens next."""
    if facts.status != "RUNNING":
        return _conclude_ended(facts)
    if facts.state == "Back off":
        return "The query failed transiently; it runs again after the back-off."
    if facts.state in _POLLING_STATES:
        return "The state machine is polling Athena now."
    if facts.query_id is None:
        return (
            "No query is registered yet: the executor is running or being retried, or Athena is throttling. "
            "Check the executor's log."
        )
    if facts.query_state not in TERMINAL_STATES:
        return f"Athena reports {facts.query_state}; the wait is expected."
    if facts.recorded_state:
        reason = f"The event of {facts.query_state} was received, but the callback was not sent."
    else:
        reason = f"Athena reports {facts.query_state}, but the completion event has not arrived."
    return f"{reason} {_next_poll(facts.polls_by, now)}"


def _conclude_ended(facts: Facts) -> str:
    ended = f"the execution ended with status {facts.status}" + (f" ({facts.error})" if facts.error else "")
    if facts.running_queries:
        return (
            f"{ended[0].upper()}{ended[1:]}, but a query of it still runs: "
            f"{', '.join(facts.running_queries)}. The canceller stops it in its next sweep at the latest; "
            "otherwise check its log, or run `aws athena stop-query-execution`."
        )
    if facts.start_unconfirmed and facts.status != "SUCCEEDED":
        return (
            f"{ended[0].upper()}{ended[1:]} while a query was being started. The canceller determines "
            "whether it was started, and stops it."
        )
    return f"Not waiting: {ended}."


def _next_poll(polls_by: datetime | None, now: datetime) -> str:
    if polls_by is None:
        return "The state machine will poll Athena."
    if polls_by < now:
        return f"The state machine was due to poll Athena by {_clock(polls_by)}; check the checker's log."
    return f"The state machine will poll Athena by {_clock(polls_by)}."


def _clock(time: datetime) -> str:
    return f"{time.astimezone(UTC):%H:%M:%S} UTC"


def lines(facts: Facts, now: datetime) -> list[tuple[str, str]]:
    """The facts as label and text, the conclusion last."""
    entered = f", entered {(now - facts.since).total_seconds():.0f} s ago" if facts.since else ""
    shown = [
        ("status", facts.status + (f" ({facts.error})" if facts.error else "")),
        ("state", f"{facts.state or 'none'}{entered if facts.status == 'RUNNING' else ''}"),
        ("query", f"{facts.query_id}: {facts.query_state}" if facts.query_id else "none registered"),
    ]
    if facts.query_id:
        ended = facts.query_ended.astimezone(UTC) if facts.query_ended else None
        shown += [
            ("query ended", f"{ended:%Y-%m-%d %H:%M:%S} UTC" if ended else "no"),
            ("task token", "stored" if facts.token_stored else "none stored"),
            ("event", f"received: {facts.recorded_state}" if facts.recorded_state else "none received"),
        ]
    return [*shown, ("conclusion", conclude(facts, now))]
