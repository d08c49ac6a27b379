"""EventBridge Pipes from SQS to Step Functions. MiniStack accepts such a pipe and starts nothing.

Step Functions receives a batch as a JSON array, also a batch of one message (user guide, "Pipes batching").
"""

import asyncio
import json
import re
from typing import Any

from ministack.core import iam_evaluator
from ministack.services import eventbridge, lambda_svc, sqs, stepfunctions
from ministack.services import pipes as ministack
from ministack.services.cloudformation import provisioners

from local.emulator import roles
from local.emulator.eventbridge import MISSING, resolve

_ministack_create_pipe = ministack._create_pipe
_ministack_poll_pipe = ministack._poll_pipe
_handlers = provisioners._RESOURCE_HANDLERS["AWS::Pipes::Pipe"]
_ministack_create_resource = _handlers["create"]
_ministack_update_resource = _handlers["update"]

_PLACEHOLDER = re.compile(r"<([^<>]*)>")
_DEFAULT_BATCH = 10


def install() -> None:
    ministack._create_pipe = _create_pipe
    ministack._poll_pipe = _poll_pipe
    _handlers["create"] = _create_resource
    _handlers["update"] = _update_resource


def _create_pipe(name: str, body: dict[str, Any]) -> Any:
    try:
        _check(body)
    except ValueError as error:
        return ministack._error(400, "ValidationException", str(error))
    answer = _ministack_create_pipe(name, body)
    if name in ministack._pipes:
        ministack._pipes[name].setdefault("Properties", body)
    return answer


def _create_resource(logical_id: str, properties: dict[str, Any], stack_name: str) -> Any:
    _check(properties)
    name, attributes = _ministack_create_resource(logical_id, properties, stack_name)
    ministack._pipes[name]["Properties"] = properties
    return name, attributes


def _update_resource(
    physical_id: str, before: dict[str, Any], after: dict[str, Any], *rest: Any, **named: Any
) -> Any:
    _check(after)
    name, attributes = _ministack_update_resource(physical_id, before, after, *rest, **named)
    ministack._pipes[name]["Properties"] = after
    return name, attributes


def _check(properties: dict[str, Any]) -> None:
    """Raise ValueError for a pipe that would be accepted and do nothing, or something else than on AWS."""
    source, target = (ministack._arn_service(properties.get(name, "")) for name in ("Source", "Target"))
    if (source, target) not in {("sqs", "states"), ("dynamodb", "states"), ("dynamodb", "sns")}:
        raise ValueError(f"the local stack has no pipes from {source or 'nothing'} to {target or 'nothing'}")
    if properties.get("Enrichment"):
        raise ValueError("the local stack has no pipes with an enrichment")
    target_parameters = properties.get("TargetParameters") or {}
    invocation = target_parameters.get("StepFunctionStateMachineParameters", {}).get("InvocationType")
    if target == "states" and invocation not in {None, "FIRE_AND_FORGET"}:
        raise ValueError(f"the local stack has no pipes with InvocationType {invocation}")


def _poll_pipe(dynamodb: Any, pipe: dict[str, Any], account_id: str) -> None:
    if ministack._arn_service(pipe["Source"]) != "sqs":
        _ministack_poll_pipe(dynamodb, pipe, account_id)
    elif pipe["CurrentState"] == "RUNNING":
        # The poller's thread has no request. Pipes calls SQS with TLS, which a queue's policy may demand.
        iam_evaluator.pin_request_origin("127.0.0.1", secure_transport=True)
        while _deliver_batch(pipe):
            pass


def _deliver_batch(pipe: dict[str, Any]) -> bool:
    """Start an execution with a batch of messages. Return whether there may be more messages.

    A batch that cannot be delivered becomes visible again in the queue, whose redrive policy then applies.
    """
    queue = None if _denial(pipe) else sqs._queue_by_arn(pipe["Source"])
    properties = pipe["Properties"]
    parameters = properties.get("SourceParameters") or {}
    size = parameters.get("SqsQueueParameters", {}).get("BatchSize", _DEFAULT_BATCH)
    if queue is None:
        return False
    request = {
        "MaxNumberOfMessages": min(size, 10),
        "AttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    messages = asyncio.run(sqs._act_receive_message(request | {"WaitTimeSeconds": 0}, queue["url"]))
    records = [_record(message, pipe["Source"]) for message in messages.get("Messages", [])]
    matching = lambda_svc._apply_filter_criteria(records, parameters)
    if matching:
        if roles.denial(pipe["RoleArn"], "states:StartExecution", pipe["Target"]):
            return False
        document = json.dumps([_transform(record, pipe) for record in matching])
        status, _, _ = stepfunctions._start_execution({"stateMachineArn": pipe["Target"], "input": document})
        if status >= 400:  # noqa: PLR2004 - HTTP's client and server errors
            return False
    for record in records:
        sqs._act_delete_message({"ReceiptHandle": record["receiptHandle"]}, queue["url"])
    return bool(records)


def _denial(pipe: dict[str, Any]) -> str | None:
    """Why the pipe's role may not read the queue (user guide, "Pipes permissions")."""
    denials = (
        roles.denial(pipe["RoleArn"], f"sqs:{action}", pipe["Source"])
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
    )
    return next(filter(None, denials), None)


def _record(message: dict[str, Any], queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": message.get("MessageAttributes", {}),
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def _transform(record: dict[str, Any], pipe: dict[str, Any]) -> Any:
    """Apply the input template. Its paths see a body that is JSON as a document."""
    template = (pipe["Properties"].get("TargetParameters") or {}).get("InputTemplate")
    if not template:
        return record
    values = {
        "aws.pipes.pipe-arn": pipe["Arn"],
        "aws.pipes.pipe-name": pipe["Name"],
        "aws.pipes.source-arn": pipe["Source"],
        "aws.pipes.target-arn": pipe["Target"],
        "aws.pipes.event.json": record,
    }
    document = record | {"body": _parsed(record["body"])}
    for name in _PLACEHOLDER.findall(template):
        if name.startswith("$"):
            value = resolve(name, document)
            values[name] = "" if value is MISSING else value
    return _parsed(eventbridge._render_input_template(template, values))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
