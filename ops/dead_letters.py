"""Replays the stack's dead-letter queue: each message's event goes to its function again.

Lambda writes to the queue when an asynchronous invocation has failed in all its attempts: a record with the
function's ARN and the event (Lambda developer guide, "Retaining records of asynchronous invocations"). The
functions may receive an event any number of times, so a replay may be interrupted and repeated.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ops.deployment import Deployment
from ops.errors import ExitCode, describe

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sqs import SQSClient

_ROLES = ("Executor", "Checker", "Canceller")

# ReceiveMessage and the batch operations take at most ten (SQS API reference).
_BATCH = 10
# Longer than a batch takes: a function runs for up to 30 seconds, and a call is retried three times.
_HIDDEN_SECONDS = 300
# Long polling asks every server of the queue, so an empty answer means an empty queue.
_WAIT_SECONDS = 2


class NotReplayable(Exception):
    """A message is not a dead letter of this stack. The text gives the reason and quotes nothing."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An event to be handled again. `event_type` is its detail-type."""

    role: str
    function: str
    event_type: str
    payload: str


def parse(message: Mapping[str, Any], functions: Mapping[str, str]) -> DeadLetter:
    """Read an SQS message. `functions` are the names of the stack's functions, with their roles.

    Raise NotReplayable if it names no function of the stack or holds no event.
    """
    try:
        record = json.loads(message["Body"])
        arn, event = str(record["requestContext"]["functionArn"]), record["requestPayload"]
    except (ValueError, KeyError, TypeError):
        raise NotReplayable("is no record of a failed invocation") from None
    # arn:aws:lambda:REGION:ACCOUNT:function:NAME, and a qualifier.
    function = next(iter(arn.split(":")[6:7]), "")
    if function not in functions:
        raise NotReplayable("names no function of this stack")
    if not isinstance(event, dict):
        raise NotReplayable("holds no event")
    return DeadLetter(
        role=functions[function],
        function=function,
        event_type=str(event.get("detail-type", "unknown event")),
        payload=json.dumps(event),
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a message: replayed and deleted, or left in the queue for `reason`."""

    role: str
    event_type: str
    reason: str | None = None


def replay(deployment: Deployment, console: Console, *, dry_run: bool) -> ExitCode:
    """Replay every message, print a summary, and return FAILED if one is left."""
    functions = {deployment.output(f"{role}FunctionName"): role.lower() for role in _ROLES}
    # A stack without a results bucket runs no batches.
    if reporter := deployment.outputs.get("ReporterFunctionName"):
        functions[reporter] = "reporter"
    queue = _Queue(deployment.client("sqs"), deployment.output("DeadLetterQueueUrl"))
    lambda_ = deployment.client("lambda")
    outcomes: Counter[Outcome] = Counter()

    def handle(message: Mapping[str, Any]) -> Outcome:
        return _handle(message, functions, lambda_, queue, dry_run=dry_run)

    try:
        with ThreadPoolExecutor(_BATCH) as pool, console.status("receiving messages") as status:
            for batch in queue.batches():
                outcomes.update(pool.map(handle, batch))
                status.update(f"{outcomes.total():,} messages")
    finally:
        queue.release()
        _print_summary(console, outcomes, dry_run=dry_run)
    if not outcomes:
        return _report_none(console, queue.count_hidden())
    return ExitCode.FAILED if any(outcome.reason for outcome in outcomes) else ExitCode.OK


def _report_none(console: Console, hidden: int) -> ExitCode:
    """What it means that no message was received. `hidden` are received by others and not deleted yet."""
    if not hidden:
        console.print("the dead-letter queue is empty")
        return ExitCode.OK
    console.print(
        f"no message was received; another replay holds about {hidden:,}: repeat the command once it has "
        f"ended, or {_HIDDEN_SECONDS // 60} minutes after it was killed",
        soft_wrap=True,
    )
    return ExitCode.FAILED


def _handle(
    message: Mapping[str, Any],
    functions: Mapping[str, str],
    lambda_: "LambdaClient",
    queue: "_Queue",
    *,
    dry_run: bool,
) -> Outcome:
    try:
        letter = parse(message, functions)
    except NotReplayable as error:
        return Outcome(role="unknown", event_type="unknown event", reason=str(error))
    reason = None
    if not dry_run:
        reason = _invoke(lambda_, letter)
        if reason is None:
            queue.delete(message)
    return Outcome(role=letter.role, event_type=letter.event_type, reason=reason)


def _invoke(lambda_: "LambdaClient", letter: DeadLetter) -> str | None:
    """Run the function to its end. Return why it failed, or None."""
    try:
        answer = lambda_.invoke(FunctionName=letter.function, Payload=letter.payload.encode())
    except (BotoCoreError, ClientError) as error:
        return describe(error)
    if "FunctionError" not in answer:
        return None
    # The class alone: a message could quote the event.
    return str(json.loads(answer["Payload"].read() or b"{}").get("errorType", answer["FunctionError"]))


class _Queue:
    """The queue's messages, each received once. What is not deleted is released in the end."""

    def __init__(self, sqs: "SQSClient", url: str) -> None:
        self._sqs = sqs
        self._url = url
        self._held: dict[str, str] = {}
        self._seen: set[str] = set()

    def batches(self) -> Iterator[list[Mapping[str, Any]]]:
        """Receive until no message comes that has not been seen."""
        while True:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=_BATCH,
                VisibilityTimeout=_HIDDEN_SECONDS,
                WaitTimeSeconds=_WAIT_SECONDS,
            )
            messages = answer.get("Messages", [])
            self._held |= {one["MessageId"]: one["ReceiptHandle"] for one in messages}
            batch = [one for one in messages if one["MessageId"] not in self._seen]
            if not batch:
                return
            self._seen |= {one["MessageId"] for one in batch}
            yield list(batch)

    def delete(self, message: Mapping[str, Any]) -> None:
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        del self._held[message["MessageId"]]

    def count_hidden(self) -> int:
        """About how many messages others have received and not deleted yet."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
        )
        return int(answer["Attributes"]["ApproximateNumberOfMessagesNotVisible"])

    def release(self) -> None:
        """Make the remaining messages visible again at once."""
        left = list(self._held.items())
        for first in range(0, len(left), _BATCH):
            self._sqs.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
                    for number, (_, handle) in enumerate(left[first : first + _BATCH])
                ],
            )


def _print_summary(console: Console, outcomes: Counter[Outcome], *, dry_run: bool) -> None:
    if not outcomes:
        return
    table = Table()
    for heading in ("function", "event", "result"):
        table.add_column(heading)
    table.add_column("messages", justify="right")
    for one, count in sorted(outcomes.items(), key=lambda item: (item[0].role, item[0].event_type, -item[1])):
        result = f"left in the queue: {one.reason}" if one.reason else "to replay" if dry_run else "replayed"
        table.add_row(one.role, escape(one.event_type), escape(result), f"{count:,}")
    console.print(table)
