"""`python -m ops verify` against the local stack, and against one that gives false answers."""

import contextlib
import copy
import io
import json
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from functions.events import EXECUTION_STATUS_CHANGE, QUERY_STATE_CHANGE
from local import environment, sample_data
from local.stack import Stack
from ops.__main__ import main
from ops.deployment import describe_deployment
from ops.verify import command
from ops.verify.claims import CLAIMS
from ops.verify.recording import differences
from ops.verify.session import Session
from tests.end_to_end.conftest import Deployment
from tests.fidelity.comparison import FIELDS, recordings

# What the emulator cannot show.
SKIPPED = {"scan-limit", "lag"}


@dataclass(frozen=True, kw_only=True)
class Report:
    code: int
    claims: dict[str, Any]
    recorded: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def report(deployed: Stack, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One run of all claims, by the command line, with nothing but the stack's exports in the environment."""
    folder = tmp_path_factory.mktemp("recordings")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.aws_variables(deployed.endpoint).items():
            patch.setenv(name, value)
        output, code = captured(
            [
                "verify",
                "--stack",
                deployed.name,
                "--yes",
                "--json",
                "--scratch",
                sample_data.VERIFY,
                "--record",
                str(folder),
            ]
        )
    return Report(
        code=code,
        claims={one["claim"]: one for one in json.loads(output)["claims"]},
        recorded={file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")},
    )


def captured(words: list[str]) -> tuple[str, int]:
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        code = main(words)
    return stream.getvalue(), code


def test_every_claim_that_the_emulator_can_show_holds(report: Report) -> None:
    assert {name: one["happened"] for name, one in report.claims.items() if one["status"] == "failed"} == {}
    assert {name for name, one in report.claims.items() if one["status"] == "skipped"} == SKIPPED
    assert set(report.claims) == set(CLAIMS)
    assert report.code == 0


def test_nothing_is_left_behind(report: Report, deployment: Deployment) -> None:
    assert report.code == 0
    running = deployment.client("stepfunctions").list_executions(
        stateMachineArn=deployment.stack.outputs["StateMachineArn"], statusFilter="RUNNING"
    )
    databases = deployment.client("glue").get_databases()["DatabaseList"]
    objects = deployment.client("s3").list_objects_v2(
        Bucket=deployment.stack.outputs["ResultsBucketName"], Prefix="results/verify-"
    )
    assert running["executions"] == []
    assert sample_data.VERIFY not in [database["Name"] for database in databases]
    assert objects["KeyCount"] == 0
    rules = deployment.client("events").list_rules(NamePrefix="verify-")["Rules"]
    queues = deployment.client("sqs").list_queues(QueueNamePrefix="verify-").get("QueueUrls", [])
    assert (rules, queues) == ([], [])
    assert report.claims["statements"]["evidence"]["statement_types"]["UNLOAD (SELECT"] == "DML"


def test_recordings_hold_no_token_and_no_account(report: Report, deployment: Deployment) -> None:
    text = json.dumps(report.recorded)
    assert '"TaskToken"' in text.replace("\\", "")
    assert [token for token in deployment.tokens() if token in text] == []
    assert "000000000000" not in text


def test_the_events_of_each_claim_are_recorded(report: Report) -> None:
    recorded = {record["operation"] for record in report.recorded["event-path"]}
    assert recorded >= {QUERY_STATE_CHANGE, EXECUTION_STATUS_CHANGE}
    failed = [one["answer"]["detail"] for one in report.recorded["failed"] if one["service"] == "events"]
    assert any("athenaError" in detail for detail in failed)


def test_the_local_stack_answers_in_the_shape_of_the_recordings(report: Report) -> None:
    origin, recorded = recordings()
    if origin == "local":
        warnings.warn("no recording of AWS exists: compared with recordings of the local stack", stacklevel=1)
    assert recorded
    for claim, answers in recorded.items():
        assert differences(answers, report.recorded[claim], FIELDS) == [], claim


def test_a_falsified_recording_is_noticed(report: Report) -> None:
    _, recorded = recordings()
    falsified = copy.deepcopy(recorded["failed"])
    for record in falsified:
        if record["operation"] == "GetQueryExecution":
            status = record["answer"]["QueryExecution"]["Status"]
            if "AthenaError" in status:
                status["AthenaError"]["ErrorType"] = "1006"

    found = differences(falsified, report.recorded["failed"], FIELDS)

    kind = "QueryExecution.Status.AthenaError.ErrorType"
    assert f"GetQueryExecution: {kind} is str in the recording only" in found
    assert f"GetQueryExecution: {kind} is number locally only" in found


Falsify = Callable[[dict[str, Any]], None]


def with_output(**changes: Any) -> Falsify:
    """DescribeExecution's answer with other members in the output."""

    def change(answer: dict[str, Any]) -> None:
        if answer.get("output"):
            answer["output"] = json.dumps({**json.loads(answer["output"]), **changes})

    return change


def failed(answer: dict[str, Any]) -> None:
    if answer["status"] == "SUCCEEDED":
        answer["status"] = "FAILED"


def tried_twice(answer: dict[str, Any]) -> None:
    answer["events"] += [event for event in answer["events"] if event["type"] == "TaskScheduled"]


def not_reused(answer: dict[str, Any]) -> None:
    if answer.get("output"):
        output = json.loads(answer["output"])
        output["Statistics"]["ReusedPreviousResult"] = False
        answer["output"] = json.dumps(output)


def a_finding(answer: dict[str, Any]) -> None:
    answer["diagnostics"] = [{"severity": "WARNING", "code": "A_CODE", "message": "", "location": "/States"}]


def another_state(answer: dict[str, Any]) -> None:
    if answer.get("nextState") == "Done":
        answer["nextState"] = "Failed"


def another_error(answer: dict[str, Any]) -> None:
    if answer.get("error"):
        answer["error"] = "States.TaskFailed"


def another_id(answer: dict[str, Any]) -> None:
    if "QueryExecutionId" in answer:
        answer["QueryExecutionId"] = str(uuid.uuid4())


def still_succeeded(answer: dict[str, Any]) -> None:
    if answer["QueryExecution"]["Status"]["State"] == "CANCELLED":
        answer["QueryExecution"]["Status"]["State"] = "SUCCEEDED"


def all_allowed(answer: dict[str, Any]) -> None:
    answer["EvaluationResults"][0]["EvalDecision"] = "allowed"


def no_alarms(answer: dict[str, Any]) -> None:
    answer["MetricAlarms"] = []


@pytest.mark.parametrize(
    ("claim", "operation", "falsify", "happened"),
    [
        (
            "least-privilege",
            "iam.SimulatePrincipalPolicy",
            all_allowed,
            "Executor may athena:UpdateWorkGroup",
        ),
        ("event-path", "stepfunctions.DescribeExecution", with_output(SettledBy="poll"), "detected by poll"),
        ("transitions", "stepfunctions.GetExecutionHistory", tried_twice, "2 states, 2 task tries"),
        ("parent-field", "stepfunctions.DescribeExecution", failed, "FAILED without an error name"),
        ("invalid-input", "stepfunctions.DescribeExecution", another_error, "States.TaskFailed"),
        ("invalid-request", "stepfunctions.DescribeExecution", another_error, "States.TaskFailed"),
        ("failed", "stepfunctions.DescribeExecution", another_error, "States.TaskFailed"),
        ("cancelled", "stepfunctions.DescribeExecution", another_error, "States.TaskFailed"),
        (
            "preview",
            "stepfunctions.DescribeExecution",
            with_output(Preview={"Columns": [], "Rows": [["n", "s"]]}),
            "the rows are [['n', 's']]",
        ),
        ("result-reuse", "stepfunctions.DescribeExecution", not_reused, "the query ran again"),
        (
            "explain",
            "stepfunctions.DescribeExecution",
            with_output(EstimatedCostUsd=1),
            "the estimate is 1 USD",
        ),
        ("batch", "stepfunctions.DescribeExecution", with_output(Succeeded=3), "'Succeeded': 3"),
        (
            "document",
            "stepfunctions.ValidateStateMachineDefinition",
            a_finding,
            "A_CODE at /States; A_CODE at /States",
        ),
        ("states", "stepfunctions.TestState", another_state, "the next state is Failed, not Done"),
        ("abort", "athena.GetQueryExecution", still_succeeded, "the query is SUCCEEDED"),
        ("metrics", "cloudwatch.DescribeAlarms", no_alarms, "there are no alarms"),
        ("idempotency-token", "athena.StartQueryExecution", another_id, "a second query was started"),
    ],
)
def test_a_false_answer_is_reported(
    deployed: Stack, claim: str, operation: str, falsify: Falsify, happened: str
) -> None:
    def change(parsed: dict[str, Any], **_: Any) -> None:
        falsify(parsed)

    def client(service: str) -> Any:
        made = deployed.client(service)
        if operation.startswith(f"{service}."):
            made.meta.events.register(f"after-call.{operation}", change)
        return made

    session = Session(deployment=describe_deployment(deployed.name, client), limit_seconds=60)

    result = command.attempt(claim, session)

    session.queries.clear()
    assert session.remove() == []
    assert result.status == "failed"
    assert happened in result.happened
