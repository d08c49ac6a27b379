"""Receives the events that the functions receive, by rules and a queue that exist while `verify` records."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from functions.events import EXECUTION_STATUS_CHANGE, QUERY_STATE_CHANGE
from ops.verify.session import Session

# How long to wait for one more event, in seconds.
_WAIT_SECONDS = 1
_TARGET = "verify"


def receive_events(session: Session) -> Callable[[], list[dict[str, Any]]]:
    """Create the queue and the rules; return a function that returns the events since its last call.

    `session.remove` deletes them.
    """
    sqs, events = session.client("sqs"), session.client("events")
    name = f"verify-{session.id}"
    url = sqs.create_queue(QueueName=name, Attributes={"MessageRetentionPeriod": "3600"})["QueueUrl"]
    session.removals.append((f"queue {name}", partial(sqs.delete_queue, QueueUrl=url)))
    queue_arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rules = []
    for number, pattern in enumerate(_patterns(session)):
        rule = f"{name}-{number}"
        rules.append(events.put_rule(Name=rule, EventPattern=json.dumps(pattern))["RuleArn"])
        session.removals.append((f"rule {rule}", partial(_delete_rule, events, rule)))
        events.put_targets(Rule=rule, Targets=[{"Id": _TARGET, "Arn": queue_arn}])
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": rules}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return partial(_receive, sqs, url)


def _patterns(session: Session) -> tuple[dict[str, Any], ...]:
    """All states, not only the terminal ones."""
    return (
        {
            "source": ["aws.athena"],
            "detail-type": [QUERY_STATE_CHANGE],
            "detail": {"workgroupName": [session.work_group]},
        },
        {
            "source": ["aws.states"],
            "detail-type": [EXECUTION_STATUS_CHANGE],
            "detail": {"stateMachineArn": [session.state_machine_arn]},
        },
    )


def _receive(sqs: Any, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=_WAIT_SECONDS
    ).get("Messages"):
        for message in messages:
            found.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def _delete_rule(events: Any, rule: str) -> None:
    events.remove_targets(Rule=rule, Ids=[_TARGET])
    events.delete_rule(Name=rule)
