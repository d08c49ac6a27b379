"""Distributed Map of the emulator against what AWS documents."""

import json
import uuid
from collections import Counter
from typing import Any

import pytest

from tests.emulator.conftest import Emulator, Machines, wait_until, waiting

CHILD = "arn:aws:states:::states:startExecution.sync:2"
DISTRIBUTED = {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
EVEN_FAIL = {
    "Check": {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input % 2 = 0 %}", "Next": "Fail"}],
        "Default": "Pass",
    },
    "Fail": {"Type": "Fail", "Error": "Even", "Cause": "{% 'item ' & $states.input %}"},
    "Pass": {"Type": "Pass", "End": True},
}


class Maps(Machines):
    """State machines with one Distributed Map state."""

    def __init__(self, emulator: Emulator) -> None:
        super().__init__(emulator)
        self.s3 = emulator.client("s3")
        self.bucket = f"bucket-{uuid.uuid4()}"
        self.s3.create_bucket(Bucket=self.bucket)

    def of(
        self, states: dict[str, Any], *, role: str | None = None, kind: str = "STANDARD", **fields: Any
    ) -> str:
        """A Map state whose child executions run these states from the first."""
        processor = {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": kind},
            "StartAt": next(iter(states)),
            "States": states,
        }
        state = {"Type": "Map", "ItemProcessor": processor, "End": True} | fields
        return self.create({"StartAt": "Each", "States": {"Each": state}}, role=role)

    def reader(self, text: str | bytes, **config: Any) -> dict[str, Any]:
        """An ItemReader of a new object with this text."""
        key = str(uuid.uuid4())
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=text)
        return {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": config,
            "Arguments": {"Bucket": self.bucket, "Key": f"{{% '{key}' %}}"},
        }

    def read(self, text: str | bytes, **config: Any) -> Any:
        """What children receive from an object: their inputs, or the error of the execution."""
        execution = self.run(self.of(PASS, ItemReader=self.reader(text, **config)))
        if execution["status"] == "FAILED":
            return execution["error"], execution["cause"]
        return json.loads(execution["output"])

    def settle(self, execution_arn: str) -> int:
        """Let each waiting child succeed with 1 until the execution has ended. Return the most that ran."""
        settled: set[str] = set()
        most = 0

        def ended() -> bool:
            nonlocal most
            most = max(most, len(self.children(execution_arn, statusFilter="RUNNING")))
            for arn in self.waiting_children(execution_arn):
                if arn not in settled:
                    settled.add(arn)
                    self.client.send_task_success(taskToken=self.token(arn), output="1")
            return bool(self.describe(execution_arn)["status"] != "RUNNING")

        wait_until(ended)
        return most

    def map_run(self, execution_arn: str) -> dict[str, Any]:
        """DescribeMapRun's answer for the execution's only Map Run."""
        (listed,) = self.client.list_map_runs(executionArn=execution_arn)["mapRuns"]
        answer: dict[str, Any] = self.client.describe_map_run(mapRunArn=listed["mapRunArn"])
        return answer

    def children(self, execution_arn: str, **filters: str) -> list[dict[str, Any]]:
        """The child executions so far: none before there is a Map Run."""
        runs = self.client.list_map_runs(executionArn=execution_arn)["mapRuns"]
        lists = [self.client.list_executions(mapRunArn=run["mapRunArn"], **filters) for run in runs]
        return [child for one in lists for child in one["executions"]]

    def waiting_children(self, execution_arn: str) -> list[str]:
        """The child executions that wait for their callback."""
        running = [child["executionArn"] for child in self.children(execution_arn, statusFilter="RUNNING")]
        return [arn for arn in running if self.history(arn)[-1] == "TaskSubmitted"]

    def object(self, key: str) -> Any:
        return json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


PASS = {"Pass": {"Type": "Pass", "End": True}}


@pytest.fixture
def maps(emulator: Emulator) -> Maps:
    return Maps(emulator)


def test_each_item_is_a_child_execution(maps: Maps) -> None:
    machine = maps.of(
        {"Add": {"Type": "Pass", "Output": "{% $states.input.n + $states.input.i %}", "End": True}},
        Items="{% $states.input.numbers %}",
        ItemSelector={
            "n": "{% $states.context.Map.Item.Value %}",
            "i": "{% $states.context.Map.Item.Index %}",
        },
        Label="Adding",
    )

    execution = maps.run(machine, {"numbers": [10, 20, 30]})

    assert json.loads(execution["output"]) == [10, 21, 32]
    assert maps.history(execution["executionArn"]) == [
        "ExecutionStarted",
        "MapStateEntered",
        "MapStateStarted",
        "MapRunStarted",
        "MapRunSucceeded",
        "MapStateSucceeded",
        "MapStateExited",
        "ExecutionSucceeded",
    ]
    assert maps.details(execution["executionArn"], "MapStateStarted") == [{"length": 3}]
    run = maps.map_run(execution["executionArn"])
    assert maps.details(execution["executionArn"], "MapRunStarted") == [{"mapRunArn": run["mapRunArn"]}]
    assert run["mapRunArn"].startswith(machine.replace(":stateMachine:", ":mapRun:") + "/Adding:")
    assert (run["status"], run["executionArn"]) == ("SUCCEEDED", execution["executionArn"])
    for counts in (run["itemCounts"], run["executionCounts"]):
        assert (counts["succeeded"], counts["total"]) == (3, 3)
    children = maps.children(execution["executionArn"])
    assert len(children) == 3
    for child in children:
        described = maps.describe(child["executionArn"])
        assert child["executionArn"] == (
            f"{machine.replace(':stateMachine:', ':execution:')}/Adding:{child['name']}"
        )
        assert described["stateMachineArn"] == f"{machine}/Adding"
        assert described["mapRunArn"] == child["mapRunArn"] == run["mapRunArn"]
        assert child["itemCount"] == 1
        assert maps.history(child["executionArn"])[0] == "ExecutionStarted"
    assert {one["executionArn"] for one in maps.executions(machine)} == {execution["executionArn"]}


def test_a_child_has_its_own_context_and_no_variables_of_the_parent(maps: Maps) -> None:
    states = {
        "Show": {
            "Type": "Pass",
            "Output": {
                "id": "{% $states.context.Execution.Id %}",
                "input": "{% $states.context.Execution.Input %}",
                "machine": "{% $states.context.StateMachine.Id %}",
                "variable": "{% $exists($outer) %}",
            },
            "End": True,
        }
    }
    processor = {"ProcessorConfig": DISTRIBUTED, "StartAt": "Show", "States": states}
    machine = maps.create(
        {
            "StartAt": "Assign",
            "States": {
                "Assign": {"Type": "Pass", "Assign": {"outer": 1}, "Next": "Each"},
                "Each": {
                    "Type": "Map",
                    "Items": ["only"],
                    "ItemProcessor": processor,
                    "Label": "L",
                    "End": True,
                },
            },
        }
    )

    execution = maps.run(machine)

    (child,) = maps.children(execution["executionArn"])
    assert json.loads(execution["output"]) == [
        {"id": child["executionArn"], "input": "only", "machine": f"{machine}/L", "variable": False}
    ]


@pytest.mark.parametrize(
    ("text", "config", "items"),
    [
        ('[{"a": 1}, "b", 3]', {"InputType": "JSON"}, [{"a": 1}, "b", 3]),
        ("[1, 2, 3]", {}, [1, 2, 3]),
        ('{"a": 1}\n{"a": "\u2028"}\n', {"InputType": "JSONL"}, [{"a": 1}, {"a": "\u2028"}]),
        (
            'a,b\n1,"x\n""y"""\n2\n\n3,z,more\n',
            {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            [{"a": "1", "b": 'x\n"y"'}, {"a": "2", "b": ""}, {"a": "3", "b": "z"}],
        ),
        (
            "1|2\n3|4\n",
            {
                "InputType": "CSV",
                "CSVHeaderLocation": "GIVEN",
                "CSVHeaders": ["a", "b"],
                "CSVDelimiter": "PIPE",
            },
            [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}],
        ),
        ("[1, 2, 3]", {"InputType": "JSON", "MaxItems": "{% 1 + 1 %}"}, [1, 2]),
        ("[1, 2, 3]", {"InputType": "JSON", "MaxItems": 0}, [1, 2, 3]),
        ("[]", {"InputType": "JSON"}, []),
    ],
)
def test_an_item_reader_reads(maps: Maps, text: str, config: dict[str, Any], items: list[Any]) -> None:
    assert maps.read(text, **config) == items


@pytest.mark.parametrize(
    ("text", "config", "cause"),
    [
        ('{"a": 1}', {"InputType": "JSON"}, "Attempting to map over non-iterable node."),
        ("[1,", {"InputType": "JSON"}, "not valid JSON"),
        ("1\n{", {"InputType": "JSONL"}, "not valid JSONL"),
        ("a,a\n1,2\n", {"InputType": "CSV"}, "CSV headers cannot contain duplicates."),
        ("", {"InputType": "CSV"}, "no header"),
        (b"\xff\xfe\xfa", {"InputType": "CSV"}, "UTF-8"),
        ("[1]", {"InputType": "JSON", "MaxItems": "{% -1 %}"}, "field MaxItems must be positive"),
    ],
)
def test_an_object_that_cannot_be_read(
    maps: Maps, text: str | bytes, config: dict[str, Any], cause: str
) -> None:
    error, reason = maps.read(text, **config)

    assert error == "States.ItemReaderFailed"
    assert cause in reason


def test_a_missing_object_fails_the_map_run(maps: Maps) -> None:
    reader = maps.reader("[]")
    reader["Arguments"]["Key"] = "missing"

    execution = maps.run(maps.of(PASS, ItemReader=reader))

    assert (execution["status"], execution["error"]) == ("FAILED", "States.ItemReaderFailed")
    assert maps.history(execution["executionArn"])[2:] == [
        "MapStateStarted",
        "MapRunStarted",
        "MapRunFailed",
        "MapStateFailed",
        "ExecutionFailed",
    ]
    assert maps.map_run(execution["executionArn"])["status"] == "FAILED"


def test_what_the_local_stack_does_not_read_is_refused(maps: Maps) -> None:
    assert maps.read("", InputType="PARQUET") == (
        "States.Runtime",
        "ItemReader: not supported by the local stack: InputType PARQUET",
    )


def test_a_failed_item_is_tolerated_and_described_in_the_output(maps: Maps) -> None:
    machine = maps.of(EVEN_FAIL, Items=[1, 2, 3], ToleratedFailureCount="{% 1 %}")

    execution = maps.run(machine)

    first, failed, last = json.loads(execution["output"])
    assert (first, last) == (1, 3)
    assert (failed["Status"], failed["Error"], failed["Cause"]) == ("FAILED", "Even", "item 2")
    (child,) = maps.children(execution["executionArn"], statusFilter="FAILED")
    assert (failed["ExecutionArn"], failed["Input"]) == (child["executionArn"], "2")


@pytest.mark.parametrize(
    ("tolerance", "status"),
    [
        ({}, "FAILED"),
        ({"ToleratedFailureCount": 1}, "FAILED"),
        ({"ToleratedFailureCount": 2}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 49.9}, "FAILED"),
        ({"ToleratedFailurePercentage": 50}, "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 100, "ToleratedFailureCount": 1}, "FAILED"),
        ({"ToleratedFailurePercentage": 101}, "FAILED"),
        ({"ToleratedFailureCount": -1}, "FAILED"),
    ],
)
def test_tolerated_failures(maps: Maps, tolerance: dict[str, Any], status: str) -> None:
    execution = maps.run(maps.of(EVEN_FAIL, Items=[1, 2, 3, 4], **tolerance))

    assert execution["status"] == status
    allowed = all(0 <= number <= 100 for number in tolerance.values())
    error = "States.ExceedToleratedFailureThreshold" if allowed else "States.Runtime"
    assert execution.get("error") == (error if status == "FAILED" else None)


def test_an_exceeded_tolerance_can_be_caught(maps: Maps) -> None:
    catch = [{"ErrorEquals": ["States.ExceedToleratedFailureThreshold"], "Next": "Caught"}]
    processor = {
        "ProcessorConfig": DISTRIBUTED,
        "StartAt": "Check",
        "States": EVEN_FAIL,
    }
    states = {
        "Each": {"Type": "Map", "Items": [2], "ItemProcessor": processor, "Catch": catch, "End": True},
        "Caught": {"Type": "Pass", "Output": "caught", "End": True},
    }

    assert maps.run(maps.create({"StartAt": "Each", "States": states}))["output"] == '"caught"'


def test_past_the_tolerance_running_children_and_what_they_wait_for_are_aborted(
    maps: Maps, callback: dict[str, Any]
) -> None:
    nested = maps.of_one(**callback)
    states = {
        "Check": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input = 'fail' %}", "Next": "Fail"}],
            "Default": "Nested",
        },
        "Fail": callback | {"End": True},
        "Nested": {
            "Type": "Task",
            "Resource": CHILD,
            "Arguments": {"StateMachineArn": nested, "Input": {}},
            "End": True,
        },
    }
    execution = maps.start(maps.of(states, Items=["wait", "fail", "wait", "never"], MaxConcurrency=2))
    (waits,) = wait_until(lambda: maps.executions(nested))
    waiting(maps, waits["executionArn"])
    wait_until(lambda: len(maps.children(execution)) > 1)
    (failing,) = (
        child["executionArn"]
        for child in maps.children(execution)
        if maps.describe(child["executionArn"])["input"] == '"fail"'
    )

    maps.client.send_task_failure(taskToken=maps.token(waiting(maps, failing)), error="Bad")

    assert maps.ended(execution)["error"] == "States.ExceedToleratedFailureThreshold"
    counts = maps.map_run(execution)["executionCounts"]
    assert {name: counts[name] for name in ("failed", "aborted", "pending", "running", "total")} == {
        "failed": 1,
        "aborted": 2,
        "pending": 1,
        "running": 0,
        "total": 4,
    }
    assert {one["status"] for one in maps.executions(nested)} == {"ABORTED"}


def test_a_map_run_outlives_its_parent_and_is_then_aborted(maps: Maps, callback: dict[str, Any]) -> None:
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": maps.bucket}}
    states = {"Wait": callback | {"End": True}}
    execution = maps.start(maps.of(states, Items=[1, 2], MaxConcurrency=1, ResultWriter=writer))
    (child,) = wait_until(lambda: maps.children(execution))
    waiting(maps, child["executionArn"])

    maps.client.stop_execution(executionArn=execution)

    assert maps.describe(execution)["status"] == "ABORTED"
    wait_until(lambda: maps.map_run(execution)["status"] == "ABORTED")
    run, stopped = maps.map_run(execution), maps.describe(execution)
    assert (run["stopDate"] - stopped["stopDate"]).total_seconds() > 0.3
    assert maps.describe(child["executionArn"])["status"] == "ABORTED"
    assert run["executionCounts"]["pending"] == 1
    files = maps.object(f"{run['mapRunArn'].rpartition(':')[2]}/manifest.json")["ResultFiles"]
    assert {name: len(found) for name, found in files.items()} == {"SUCCEEDED": 0, "FAILED": 1, "PENDING": 1}
    with pytest.raises(maps.client.exceptions.TaskTimedOut):
        maps.client.send_task_success(taskToken=maps.token(child["executionArn"]), output="1")


def test_a_stopped_child_is_no_failure(maps: Maps, callback: dict[str, Any]) -> None:
    execution = maps.start(maps.of({"Wait": callback | {"End": True}}, Items=[1]))
    (child,) = wait_until(lambda: maps.children(execution))
    waiting(maps, child["executionArn"])

    maps.client.stop_execution(executionArn=child["executionArn"], error="Operator")

    (result,) = json.loads(maps.ended(execution)["output"])
    assert (result["Status"], result["Error"]) == ("ABORTED", "Operator")
    assert maps.map_run(execution)["executionCounts"]["aborted"] == 1


def test_at_most_max_concurrency_children_run(maps: Maps, callback: dict[str, Any]) -> None:
    machine = maps.of({"Wait": callback | {"End": True}}, Items=list(range(7)), MaxConcurrency="{% 1 + 1 %}")
    execution = maps.start(machine)
    wait_until(lambda: len(maps.children(execution)) > 1)

    most = maps.settle(execution)

    assert maps.describe(execution)["output"] == "[1, 1, 1, 1, 1, 1, 1]"
    assert most == 2


def test_the_concurrency_of_a_running_map_run_can_be_changed(maps: Maps, callback: dict[str, Any]) -> None:
    execution = maps.start(maps.of({"Wait": callback | {"End": True}}, Items=[1, 2, 3], MaxConcurrency=1))
    wait_until(lambda: maps.children(execution))
    arn = maps.map_run(execution)["mapRunArn"]

    maps.client.update_map_run(mapRunArn=arn, maxConcurrency=3, toleratedFailureCount=2)

    assert len(wait_until(lambda: len(maps.children(execution)) == 3 and maps.children(execution))) == 3
    run = maps.map_run(execution)
    assert (run["maxConcurrency"], run["toleratedFailureCount"]) == (3, 2)
    maps.client.stop_execution(executionArn=execution)


def test_a_result_writer_writes_the_results_and_their_manifest(maps: Maps) -> None:
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": {"Bucket": maps.bucket, "Prefix": "{% 'results' %}"},
    }
    machine = maps.of(
        EVEN_FAIL, Items=[1, 2, 3], ResultWriter=writer, ToleratedFailurePercentage=50, Label="Checking"
    )

    execution = maps.run(machine)

    output = json.loads(execution["output"])
    run = maps.map_run(execution["executionArn"])
    folder = f"results/{run['mapRunArn'].rpartition(':')[2]}"
    assert output == {
        "MapRunArn": run["mapRunArn"],
        "ResultWriterDetails": {"Bucket": maps.bucket, "Key": f"{folder}/manifest.json"},
    }
    manifest = maps.object(output["ResultWriterDetails"]["Key"])
    assert (manifest["DestinationBucket"], manifest["MapRunArn"]) == (maps.bucket, run["mapRunArn"])
    assert {name: [file["Key"] for file in files] for name, files in manifest["ResultFiles"].items()} == {
        "SUCCEEDED": [f"{folder}/SUCCEEDED_0.json"],
        "FAILED": [f"{folder}/FAILED_0.json"],
        "PENDING": [],
    }
    succeeded, (failed,) = (maps.object(f"{folder}/{name}_0.json") for name in ("SUCCEEDED", "FAILED"))
    assert [(one["Status"], one["Input"], one["Output"]) for one in succeeded] == [
        ("SUCCEEDED", "1", "1"),
        ("SUCCEEDED", "3", "3"),
    ]
    assert (failed["Status"], failed["Error"], failed["StateMachineArn"]) == (
        "FAILED",
        "Even",
        f"{machine}/Checking",
    )
    assert run["itemCounts"]["resultsWritten"] == 3


def test_a_failed_map_run_writes_its_results_too(maps: Maps, callback: dict[str, Any]) -> None:
    states = {
        "Check": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input = 'fail' %}", "Next": "Fail"}],
            "Default": "Wait",
        },
        "Fail": {"Type": "Fail", "Error": "Bad"},
        "Wait": callback | {"End": True},
    }
    writer = {
        "Resource": "arn:aws:states:::s3:putObject",
        "Arguments": {"Bucket": maps.bucket, "Prefix": "failed/"},
        "WriterConfig": {"OutputType": "JSONL", "Transformation": "COMPACT"},
    }
    machine = maps.of(states, Items=["fail", "wait", "never"], MaxConcurrency=1, ResultWriter=writer)

    execution = maps.run(machine)

    assert execution["error"] == "States.ExceedToleratedFailureThreshold"
    identifier = maps.map_run(execution["executionArn"])["mapRunArn"].rpartition(":")[2]
    files = maps.object(f"failed/{identifier}/manifest.json")["ResultFiles"]
    lines = {
        name: [maps.s3.get_object(Bucket=maps.bucket, Key=file["Key"])["Body"].read() for file in found]
        for name, found in files.items()
    }
    assert lines["SUCCEEDED"] == []
    (failed,), (pending,) = (lines[name] for name in ("FAILED", "PENDING"))
    assert [json.loads(line)["Status"] for line in failed.splitlines()] == ["FAILED", "ABORTED"]
    assert [json.loads(line)["Input"] for line in pending.splitlines()] == ['"never"']


def test_results_can_be_flattened(maps: Maps) -> None:
    writer = {"WriterConfig": {"Transformation": "FLATTEN", "OutputType": "JSON"}}

    execution = maps.run(maps.of(PASS, Items=[[1, 2], [3], 4], ResultWriter=writer))

    assert execution["output"] == "[1, 2, 3, 4]"


def test_items_can_be_batched(maps: Maps) -> None:
    machine = maps.of(
        PASS, Items=[1, 2, 3], ItemBatcher={"MaxItemsPerBatch": 2, "BatchInput": {"fixed": "{% 'x' %}"}}
    )

    execution = maps.run(machine)

    assert json.loads(execution["output"]) == [
        {"BatchInput": {"fixed": "x"}, "Items": [1, 2]},
        {"BatchInput": {"fixed": "x"}, "Items": [3]},
    ]
    run = maps.map_run(execution["executionArn"])
    assert (run["itemCounts"]["total"], run["executionCounts"]["total"]) == (3, 2)


def test_express_children_return_their_results(maps: Maps) -> None:
    assert maps.run(maps.of(PASS, kind="EXPRESS", Items=[1, 2]))["output"] == "[1, 2]"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "OTHER"}, "ExecutionType must be STANDARD or EXPRESS"),
        ({"Label": "a b"}, "Label contains a character that is not allowed"),
        ({"Label": "x" * 41}, "Label is longer than 40 characters"),
        (
            {"kind": "EXPRESS", "states": {"Child": {"Type": "Task", "Resource": CHILD, "End": True}}},
            "patterns",
        ),
    ],
)
def test_a_definition_that_step_functions_refuses(maps: Maps, fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(maps.client.exceptions.InvalidDefinition, match=reason):
        maps.of(**{"states": PASS, "Items": [1]} | fields)


def test_children_send_events_and_metrics_of_their_own_state_machine(emulator: Emulator, maps: Maps) -> None:
    machine = maps.of(EVEN_FAIL, Items=[1, 2], ToleratedFailureCount=1, Label="Counted")
    queue, name = emulator.queue(), f"rule-{uuid.uuid4()}"
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [f"{machine}/Counted"]}}
    emulator.client("events").put_rule(Name=name, EventPattern=json.dumps(pattern))
    emulator.client("events").put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": queue.arn}])

    execution = maps.run(machine)["executionArn"]

    events: list[dict[str, Any]] = []

    def complete() -> bool:
        events.extend(json.loads(body) for body in queue.receive())
        return len(events) >= 4

    wait_until(complete)
    assert Counter(event["detail"]["status"] for event in events) == {
        "RUNNING": 2,
        "SUCCEEDED": 1,
        "FAILED": 1,
    }
    assert {event["detail"]["executionArn"] for event in events} == {
        child["executionArn"] for child in maps.children(execution)
    }
    assert emulator.metric_sum("AWS/States", "ExecutionsFailed", StateMachineArn=f"{machine}/Counted") == 1


def test_the_role_needs_to_start_executions_and_to_read_and_write_the_objects(
    emulator: Emulator, maps: Maps
) -> None:
    writer = {"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": maps.bucket}}
    fields: dict[str, Any] = {"ItemReader": maps.reader("[1]"), "ResultWriter": writer}
    start, get, put = "states:StartExecution", "s3:GetObject", "s3:PutObject"

    def outcome(*actions: str) -> tuple[str, str]:
        execution = maps.run(
            maps.of(PASS, role=emulator.role_with({"Action": actions, "Resource": "*"}), **fields)
        )
        return execution.get("error", ""), execution.get("cause", "")

    for error, missing in (
        ("States.Runtime", start),
        ("States.ItemReaderFailed", get),
        ("States.ResultWriterFailed", put),
    ):
        found, cause = outcome(*({start, get, put} - {missing}))
        assert found == error
        assert f"is not authorized to perform: {missing}" in cause
    assert outcome(start, get, put) == ("", "")


def test_a_redriven_parent_redrives_the_unsuccessful_children(maps: Maps, callback: dict[str, Any]) -> None:
    states = {
        "Check": {
            "Type": "Choice",
            "Choices": [{"Condition": "{% $states.input = 'pass' %}", "Next": "Pass"}],
            "Default": "Wait",
        },
        "Pass": {"Type": "Pass", "End": True},
        "Wait": callback | {"End": True},
    }
    execution = maps.start(maps.of(states, Items=["pass", "wait", "wait", "last"], MaxConcurrency=2))
    failing, aborted = wait_until(lambda: len(found := maps.waiting_children(execution)) == 2 and found)
    maps.client.send_task_failure(taskToken=maps.token(failing), error="Bad")
    assert maps.ended(execution)["error"] == "States.ExceedToleratedFailureThreshold"
    assert maps.describe(failing)["redriveStatus"] == "REDRIVABLE_BY_MAP_RUN"
    with pytest.raises(maps.client.exceptions.ExecutionNotRedrivable):
        maps.client.redrive_execution(executionArn=failing)
    before = maps.map_run(execution)

    maps.client.redrive_execution(executionArn=execution)
    maps.settle(execution)

    after = maps.map_run(execution)
    assert maps.describe(execution)["output"] == '["pass", 1, 1, 1]'
    assert (after["mapRunArn"], after["redriveCount"]) == (before["mapRunArn"], 1)
    assert after["executionCounts"]["succeeded"] == 4
    assert maps.details(execution, "MapRunRedriven") == [{"mapRunArn": after["mapRunArn"], "redriveCount": 1}]
    for child in (failing, aborted):
        assert (maps.describe(child)["status"], maps.describe(child)["redriveCount"]) == ("SUCCEEDED", 1)


def test_a_redrive_waits_for_the_end_of_the_map_run(maps: Maps, callback: dict[str, Any]) -> None:
    execution = maps.start(maps.of({"Wait": callback | {"End": True}}, Items=[1]))
    (child,) = wait_until(lambda: maps.children(execution))
    arn = waiting(maps, child["executionArn"])
    first = maps.token(arn)
    maps.client.stop_execution(executionArn=execution)

    maps.client.redrive_execution(executionArn=execution)

    wait_until(lambda: maps.map_run(execution).get("redriveDate"))
    wait_until(lambda: maps.token(arn) != first and maps.history(arn)[-1] == "TaskSubmitted")
    assert "ExecutionAborted" in maps.history(arn)
    maps.client.send_task_success(taskToken=maps.token(arn), output="1")
    assert maps.ended(execution)["output"] == "[1]"


def test_the_role_needs_to_redrive_child_executions(emulator: Emulator, maps: Maps) -> None:
    role = emulator.role_with({"Action": "states:StartExecution", "Resource": "*"})
    execution = maps.run(maps.of(EVEN_FAIL, Items=[2], role=role))["executionArn"]

    maps.client.redrive_execution(executionArn=execution)

    refused = maps.ended(execution)
    assert refused["error"] == "States.Runtime"
    assert "is not authorized to perform: states:RedriveExecution" in refused["cause"]


def test_an_input_over_256_kib_fails_the_map_run(maps: Maps) -> None:
    execution = maps.run(maps.of(PASS, ItemReader=maps.reader(json.dumps(["x" * 262_143]))))

    assert execution["error"] == "States.DataLimitExceeded"
    assert maps.map_run(execution["executionArn"])["status"] == "FAILED"


def test_a_map_run_that_read_no_items_starts_anew(maps: Maps) -> None:
    reader = maps.reader("[1]")
    reader["Arguments"]["Key"] = "later"
    execution = maps.run(maps.of(PASS, ItemReader=reader))["executionArn"]
    maps.s3.put_object(Bucket=maps.bucket, Key="later", Body=b"[2]")

    maps.client.redrive_execution(executionArn=execution)

    assert maps.ended(execution)["output"] == "[2]"
    assert len(maps.client.list_map_runs(executionArn=execution)["mapRuns"]) == 2


def test_express_children_are_run_again_by_a_redrive(maps: Maps) -> None:
    states = {
        "Check": {
            "Type": "Choice",
            "Choices": [
                {"Condition": "{% $states.context.Execution.Input = 2 %}", "Next": "Fail"},
            ],
            "Default": "Pass",
        },
        "Fail": {"Type": "Fail", "Error": "Bad"},
        "Pass": {"Type": "Pass", "End": True},
    }
    execution = maps.run(maps.of(states, kind="EXPRESS", Items=[1, 2]))["executionArn"]
    before = {child["executionArn"] for child in maps.children(execution)}

    maps.client.redrive_execution(executionArn=execution)

    maps.ended(execution)
    after = {child["executionArn"] for child in maps.children(execution)}
    assert len(after - before) == 1
    assert before < after


def test_three_hundred_children_with_nested_executions(maps: Maps) -> None:
    nested = maps.of_one(Type="Pass", Output="{% $states.input.n * 2 %}")
    states = {
        "Nested": {
            "Type": "Task",
            "Resource": CHILD,
            "Arguments": {"StateMachineArn": nested, "Input": {"n": "{% $states.input.n %}"}},
            "Output": "{% $states.result.Output %}",
            "End": True,
        }
    }
    lines = "\n".join(json.dumps({"n": number}) for number in range(300))
    machine = maps.of(states, ItemReader=maps.reader(lines, InputType="JSONL"), MaxConcurrency=15)

    # Six hundred executions take long on a busy machine.
    execution = maps.ended(maps.start(machine), seconds=900)

    assert json.loads(execution["output"]) == [2 * number for number in range(300)]
