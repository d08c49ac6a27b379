"""What the emulator's services do for a role needs the role's permission, as on AWS."""

import json
from collections.abc import Callable

from tests.emulator.conftest import RETURNS_ITS_INPUT, Emulator, Machines, wait_until

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
