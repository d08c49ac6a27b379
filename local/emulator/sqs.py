"""SQS as a target of other services."""

from collections.abc import Iterator
from typing import Any

from ministack.services import sqs as ministack

from local.emulator import roles
from local.emulator.faults import faults
from local.emulator.recording import recorder


def send(queue_arn: str, body: str, role_arn: str | None = None) -> bool:
    """Send a message, with the permissions of a role if one is given.

    Return False if the role may not, or if the queue does not exist or cannot be reached.
    """
    queue = ministack._queue_by_arn(queue_arn)
    if queue is None or faults.outage("sqs:SendMessage"):
        return False
    if role_arn and any(roles.denial(role_arn, *needed) for needed in _needed(queue_arn, queue)):
        return False
    recorder.record("dead letter", body)
    ministack._act_send_message({"MessageBody": body}, queue["url"])
    return True


def _needed(queue_arn: str, queue: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The actions that sending takes, each with its resource."""
    yield "sqs:SendMessage", queue_arn
    if key := queue["attributes"].get("KmsMasterKeyId"):
        # SQS developer guide, "Key management".
        yield from (("kms:GenerateDataKey", key), ("kms:Decrypt", key))
