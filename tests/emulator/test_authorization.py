"""What the emulator's services do for a role needs the role's permission, as on AWS."""

import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from tests.emulator.conftest import RETURNS_ITS_INPUT, Emulator, Machines, wait_until

KEY = "arn:aws:kms:us-east-1:000000000000:key/0c9231a0-de75-4736-bdfa-dd3f3de85970"
FAILS = "def handler(event, context):\n    print('written')\n    raise ValueError\n"


def test_a_state_machine_invokes_only_what_its_role_may(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    machines = Machines(emulator)
    task = {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Arguments": {}}
    task["Arguments"] = {"FunctionName": function(RETURNS_ITS_INPUT), "Payload": {}}
    allowed = machines.run(machines.of_one(**task))
    machines.role = emulator.role_with()

    refused = machines.run(machines.of_one(**task))

    assert allowed["status"] == "SUCCEEDED"
    assert refused["error"] == "Lambda.AWSLambdaException"
    assert "is not authorized to perform: lambda:InvokeFunction on resource: " in refused["cause"]


def test_a_dead_letter_needs_the_permission_of_the_function_s_role(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    queue = emulator.queue()
    arn = function(FAILS, Role=emulator.role_with({"Action": "logs:*", "Resource": "*"}))
    emulator.client("lambda").put_function_event_invoke_config(
        FunctionName=arn, DestinationConfig={"OnFailure": {"Destination": queue.arn}}
    )

    emulator.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=json.dumps({}))

    name = arn.rpartition(":")[2]
    wait_until(
        lambda: emulator.metric_sum("AWS/Lambda", "DestinationDeliveryFailures", FunctionName=name) == 1
    )
    assert queue.receive() == []


def test_a_dead_letter_for_an_encrypted_queue_needs_the_key_too(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    queue = emulator.queue()
    queue.client.set_queue_attributes(QueueUrl=queue.url, Attributes={"KmsMasterKeyId": KEY})
    received = []
    for actions in (["sqs:SendMessage"], ["sqs:SendMessage", "kms:GenerateDataKey", "kms:Decrypt"]):
        arn = function(FAILS, Role=emulator.role_with({"Action": actions, "Resource": "*"}))
        emulator.client("lambda").put_function_event_invoke_config(
            FunctionName=arn, DestinationConfig={"OnFailure": {"Destination": queue.arn}}
        )
        emulator.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload="{}")
        wait_until(lambda: emulator.status()["pendingEvents"] == 0)
        received.append(len(queue.receive()))

    assert received == [0, 1]


def test_an_encrypted_table_needs_the_key_too(emulator: Emulator) -> None:
    emulator.client("dynamodb").create_table(
        TableName="encrypted",
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY},
    )
    item = {"TableName": "encrypted", "Key": {"Id": {"S": "x"}}}

    with pytest.raises(ClientError, match=r"KMS key access denied error: .* kms:Decrypt"):
        emulator.client_of("dynamodb:*")("dynamodb").get_item(**item)

    emulator.client_of("dynamodb:*", "kms:Decrypt")("dynamodb").get_item(**item)


def test_a_function_in_a_network_needs_network_interfaces(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    network = {"SubnetIds": ["subnet-00000001"], "SecurityGroupIds": ["sg-00000001"]}

    with pytest.raises(ClientError, match="does not have permissions to call CreateNetworkInterface on EC2"):
        function(FAILS, Role=emulator.role_with(), VpcConfig=network)
    arn = function(FAILS, Role=emulator.role_with())
    with pytest.raises(ClientError, match="does not have permissions to call CreateNetworkInterface on EC2"):
        emulator.client("lambda").update_function_configuration(FunctionName=arn, VpcConfig=network)

    role = emulator.role_with({"Action": "ec2:*", "Resource": "*"})
    emulator.client("lambda").update_function_configuration(FunctionName=arn, Role=role, VpcConfig=network)


def test_a_state_machine_with_a_log_needs_log_delivery(emulator: Emulator) -> None:
    machines, group = Machines(emulator), "arn:aws:logs:us-east-1:000000000000:log-group:machines:*"
    arn = machines.of_one(Type="Pass")
    logging = {"level": "ALL", "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": group}}]}
    update = emulator.client("stepfunctions").update_state_machine

    with pytest.raises(ClientError, match="not authorized to access the Log Destination"):
        update(stateMachineArn=arn, roleArn=emulator.role_with(), loggingConfiguration=logging)

    update(stateMachineArn=arn, loggingConfiguration=logging)


def test_a_log_needs_the_permission_of_the_function_s_role(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    logs = emulator.client("logs")
    written: dict[str, bool] = {}
    for action in ("logs:PutLogEvents", "logs:*"):
        arn = function(FAILS, Role=emulator.role_with({"Action": action, "Resource": "*"}))
        group = f"/aws/lambda/{arn.rpartition(':')[2]}"
        logs.create_log_group(logGroupName=group)
        emulator.client("lambda").invoke(FunctionName=arn, Payload=json.dumps({}))
        events = logs.filter_log_events(logGroupName=group)["events"]
        written[action] = "written" in [event["message"].strip() for event in events]

    assert written == {"logs:PutLogEvents": False, "logs:*": True}
