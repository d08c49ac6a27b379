"""A deployed stack for tests of `ops`: its calls must be the expected ones, in order."""

import json
from datetime import UTC, datetime
from typing import Any

import boto3
from botocore.stub import Stubber

from ops.deployment import Deployment

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:AthenaQueries"
BATCH_MACHINE = f"{MACHINE}-batch"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries:one"
BATCH_EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries-batch:one"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OUTPUTS = {
    "StateMachineArn": MACHINE,
    "BatchStateMachineArn": BATCH_MACHINE,
    "BatchesLocation": "s3://results/batches/",
    "TaskTableName": "tasks",
    "DashboardName": "AthenaQueries",
    "WorkGroupName": "queries",
}


class StubbedStack:
    """`stubs` are those of the services that were asked for a client."""

    def __init__(self) -> None:
        self.stubs: dict[str, Stubber] = {}
        self.deployment = Deployment(
            name="AthenaQueries",
            created=NOW,
            outputs=OUTPUTS,
            client=lambda service: self.stub(service).client,
        )

    def stub(self, service: str) -> Stubber:
        if service not in self.stubs:
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
            client = boto3.client(service, region_name="eu-west-1", **keys)  # type: ignore[call-overload]
            self.stubs[service] = Stubber(client)
            self.stubs[service].activate()
        return self.stubs[service]

    def expect_start(
        self, document: dict[str, Any], *, machine: str = MACHINE, execution: str = EXECUTION
    ) -> None:
        self.stub("stepfunctions").add_response(
            "start_execution",
            {"executionArn": execution, "startDate": NOW},
            {"stateMachineArn": machine, "input": json.dumps(document)},
        )

    def expect_stop(self, execution: str) -> None:
        self.stub("stepfunctions").add_response(
            "stop_execution",
            {"stopDate": NOW},
            {"executionArn": execution, "cause": "Stopped by the user"},
        )

    def assert_no_pending_responses(self) -> None:
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()
