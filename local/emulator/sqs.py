"""SQS as a target of other services."""

from ministack.services import sqs as ministack

from local.emulator.faults import faults
from local.emulator.recording import recorder


def send(queue_arn: str, body: str) -> bool:
    """Send a message; return False if the queue does not exist or cannot be reached."""
    queue = ministack._queue_by_arn(queue_arn)
    if queue is None or faults.outage("sqs:SendMessage"):
        return False
    recorder.record("dead letter", body)
    ministack._act_send_message({"MessageBody": body}, queue["url"])
    return True
