"""The replay of the dead-letter queue: which function gets which event, and what stays in the queue."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.stub import Stubber
from rich.console import Console

from ops.dead_letters import NotReplayable, parse, replay
from ops.deployment import Deployment

QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/dead-letters"
FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:"
EVENT = {"detail-type": "Athena Query State Change", "detail": {"queryExecutionId": "q"}}
FUNCTIONS = {"stack-checker": "checker", "stack-canceller": "canceller"}
OUTPUTS = {
    "ExecutorFunctionName": "stack-executor",
    "CheckerFunctionName": "stack-checker",
    "CancellerFunctionName": "stack-canceller",
    "ReporterFunctionName": "stack-reporter",
    "DeadLetterQueueUrl": QUEUE,
}


def message(number: int, body: Any) -> dict[str, Any]:
    return {"MessageId": f"m{number}", "ReceiptHandle": f"r{number}", "Body": json.dumps(body)}


def record(number: int, function: str = "stack-checker", event: Any = EVENT) -> dict[str, Any]:
    context = {"functionArn": f"{FUNCTION}{function}:$LATEST", "condition": "RetriesExhausted"}
    return message(number, {"requestContext": context, "requestPayload": event, "responsePayload": {}})


def test_the_event_goes_to_the_function_that_it_failed_in() -> None:
    letter = parse(record(1, "stack-canceller"), FUNCTIONS)

    assert (letter.role, letter.event_type) == ("canceller", "Athena Query State Change")
    assert json.loads(letter.payload) == EVENT


@pytest.mark.parametrize(
    "received",
    [
        {"Body": "no JSON"},
        message(1, []),
        message(1, EVENT),
        message(1, {"requestPayload": EVENT, "requestContext": None}),
        message(1, {"requestContext": {"functionArn": f"{FUNCTION}stack-checker"}}),
        record(1, event="text"),
        record(1, "somebody-elses-function"),
    ],
)
def test_a_message_that_is_no_dead_letter_of_the_stack_is_not_replayed(received: dict[str, Any]) -> None:
    with pytest.raises(NotReplayable):
        parse(received, FUNCTIONS)


class Queue:
    """SQS and Lambda of the stack, stubbed."""

    def __init__(self) -> None:
        session = boto3.Session(
            aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1"
        )
        self.clients: dict[str, Any] = {"sqs": session.client("sqs"), "lambda": session.client("lambda")}
        self.sqs, self.lambda_ = Stubber(self.clients["sqs"]), Stubber(self.clients["lambda"])
        self.deployment = Deployment(
            name="stack",
            created=datetime(2026, 1, 1, tzinfo=UTC),
            outputs=OUTPUTS,
            client=self.clients.__getitem__,
        )

    def receives(self, *messages: dict[str, Any]) -> None:
        parameters = {
            "QueueUrl": QUEUE,
            "MaxNumberOfMessages": 10,
            "VisibilityTimeout": 300,
            "WaitTimeSeconds": 2,
        }
        self.sqs.add_response("receive_message", {"Messages": list(messages)}, parameters)

    def hides(self, messages: int) -> None:
        attribute = "ApproximateNumberOfMessagesNotVisible"
        self.sqs.add_response(
            "get_queue_attributes",
            {"Attributes": {attribute: str(messages)}},
            {"QueueUrl": QUEUE, "AttributeNames": [attribute]},
        )

    def deletes(self, handle: str) -> None:
        self.sqs.add_response("delete_message", {}, {"QueueUrl": QUEUE, "ReceiptHandle": handle})

    def releases(self, *handles: str) -> None:
        entries = [
            {"Id": str(number), "ReceiptHandle": handle, "VisibilityTimeout": 0}
            for number, handle in enumerate(handles)
        ]
        self.sqs.add_response(
            "change_message_visibility_batch",
            {"Successful": [], "Failed": []},
            {"QueueUrl": QUEUE, "Entries": entries},
        )

    def invokes(self, function: str, error: str | None = None) -> None:
        body = json.dumps({"errorType": error} if error else None).encode()
        answer: dict[str, Any] = {
            "StatusCode": 200,
            "Payload": StreamingBody(io.BytesIO(body), len(body)),
        }
        if error:
            answer["FunctionError"] = "Unhandled"
        parameters = {"FunctionName": function, "Payload": json.dumps(EVENT).encode()}
        self.lambda_.add_response("invoke", answer, parameters)

    def replay(self, *, dry_run: bool = False) -> tuple[int, str]:
        """The exit code and what was printed."""
        printed = io.StringIO()
        code = replay(self.deployment, Console(file=printed, width=120), dry_run=dry_run)
        return code, printed.getvalue()


@pytest.fixture
def queue() -> Iterator[Queue]:
    stubbed = Queue()
    with stubbed.sqs, stubbed.lambda_:
        yield stubbed
        stubbed.sqs.assert_no_pending_responses()
        stubbed.lambda_.assert_no_pending_responses()


@pytest.mark.parametrize("function", ["stack-executor", "stack-checker", "stack-canceller", "stack-reporter"])
def test_a_message_is_deleted_after_its_function_succeeded(queue: Queue, function: str) -> None:
    queue.receives(record(1, function))
    queue.invokes(function)
    queue.deletes("r1")
    queue.receives()

    code, printed = queue.replay()

    assert code == 0
    assert printed.splitlines()[3].split("│")[1].strip() == function.removeprefix("stack-")
    assert "replayed" in printed


def test_a_message_stays_if_its_function_fails_and_is_released(queue: Queue) -> None:
    queue.receives(record(1))
    queue.invokes("stack-checker", error="ServiceFault")
    queue.receives()
    queue.releases("r1")

    code, printed = queue.replay()

    assert code == 1
    assert "left in the queue: ServiceFault" in printed


def test_a_message_that_comes_again_is_not_replayed_again(queue: Queue) -> None:
    queue.receives(record(1))
    queue.invokes("stack-checker", error="ServiceFault")
    queue.receives({**record(1), "ReceiptHandle": "r1-again"})
    queue.releases("r1-again")

    assert queue.replay()[0] == 1


def test_a_foreign_message_is_left_and_the_others_are_replayed(queue: Queue) -> None:
    queue.receives(record(1, "somebody-elses-function"))
    queue.receives(record(2, "stack-canceller"))
    queue.invokes("stack-canceller")
    queue.deletes("r2")
    queue.receives()
    queue.releases("r1")

    code, printed = queue.replay()

    assert code == 1
    assert "names no function of this stack" in printed


def test_a_refused_invocation_leaves_the_message(queue: Queue) -> None:
    queue.receives(record(1))
    queue.lambda_.add_client_error("invoke", "AccessDeniedException", "not authorized")
    queue.receives()
    queue.releases("r1")

    code, printed = queue.replay()

    assert code == 1
    assert "Invoke: AccessDeniedException: not authorized" in printed


def test_a_dry_run_invokes_nothing_and_deletes_nothing(queue: Queue) -> None:
    queue.receives(record(1), record(2, "stack-canceller"))
    queue.receives()
    queue.releases("r1", "r2")

    code, printed = queue.replay(dry_run=True)

    assert code == 0
    assert printed.count("to replay") == 2


def test_an_interrupted_replay_releases_what_it_holds(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    queue.receives(record(1))
    queue.releases("r1")
    monkeypatch.setattr("ops.dead_letters._invoke", interrupt)

    with pytest.raises(KeyboardInterrupt):
        queue.replay()


def test_all_messages_are_released_in_batches(queue: Queue) -> None:
    messages = [record(number) for number in range(11)]
    queue.receives(*messages[:10])
    queue.receives(*messages[10:])
    queue.receives()
    queue.releases(*(f"r{number}" for number in range(10)))
    queue.releases("r10")

    assert queue.replay(dry_run=True)[0] == 0


def test_an_empty_queue_is_a_success(queue: Queue) -> None:
    queue.receives()
    queue.hides(0)

    assert queue.replay() == (0, "the dead-letter queue is empty\n")


def test_messages_that_another_replay_holds_are_not_taken_for_an_empty_queue(queue: Queue) -> None:
    queue.receives()
    queue.hides(3)

    code, printed = queue.replay()

    assert code == 1
    assert "another replay holds about 3" in printed


def test_a_queue_that_cannot_be_read_is_not_called_empty(queue: Queue) -> None:
    queue.sqs.add_client_error("receive_message", "AccessDenied", "not authorized")
    printed = io.StringIO()

    with pytest.raises(ClientError):
        replay(queue.deployment, Console(file=printed), dry_run=False)

    assert printed.getvalue() == ""
