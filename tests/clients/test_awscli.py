"""The AWS CLI: an operator's commands."""

import json
from typing import Any

import pytest

from tests.clients.conftest import Client

CLIENT = "awscli"


def aws(client: Client, *words: str) -> Any:
    """What a command prints, parsed."""
    ran = client.run("aws", *words, "--output", "json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout) if ran.stdout.strip() else None


def ended(client: Client, execution_arn: str) -> dict[str, Any]:
    """The response of DescribeExecution after the end of the execution."""
    while True:
        answer: dict[str, Any] = aws(
            client, "stepfunctions", "describe-execution", "--execution-arn", execution_arn
        )
        if answer["status"] != "RUNNING":
            return answer


def start(client: Client, name: str, sql: str) -> str:
    machine = client.stack.outputs["StateMachineArn"]
    document = json.dumps({"QueryString": sql, "Database": "scratch"})
    words = ("--state-machine-arn", machine, "--name", name, "--input", document)
    arn: str = aws(client, "stepfunctions", "start-execution", *words)["executionArn"]
    return arn


def athena(client: Client, sql: str) -> str:
    """Run a statement with Athena and return its query's ID."""
    words = ("--query-string", sql, "--work-group", "AthenaQueries")
    query_id: str = aws(client, "athena", "start-query-execution", *words)["QueryExecutionId"]
    while True:
        answer = aws(client, "athena", "get-query-execution", "--query-execution-id", query_id)
        state = answer["QueryExecution"]["Status"]["State"]
        if state not in {"QUEUED", "RUNNING"}:
            assert state == "SUCCEEDED"
            return query_id


def test_a_failed_execution_is_redriven(client: Client) -> None:
    execution_arn = start(client, "redriven", "SELECT n FROM later")
    failed = ended(client, execution_arn)
    athena(client, "CREATE TABLE scratch.later AS SELECT 7 AS n")

    redriven = aws(client, "stepfunctions", "redrive-execution", "--execution-arn", execution_arn)
    succeeded = ended(client, execution_arn)

    assert (failed["status"], failed["error"]) == ("FAILED", "AthenaQuery.Failed")
    assert (failed["redriveCount"], failed["redriveStatus"]) == (0, "REDRIVABLE")
    assert "output" not in failed
    assert succeeded["status"] == "SUCCEEDED"
    assert succeeded["redriveCount"] == 1
    assert succeeded["redriveDate"] == redriven["redriveDate"]
    results = aws(
        client,
        *("athena", "get-query-results", "--query-execution-id", json.loads(succeeded["output"])["QueryId"]),
        *("--query", "ResultSet.Rows[].Data[].VarCharValue"),
    )
    assert results == ["n", "7"]


def test_a_running_execution_is_stopped(client: Client) -> None:
    slow = (
        "SELECT count(*) FROM flights.flights a, flights.flights b, flights.flights c "
        "WHERE a.dep_time + b.dep_time > c.dep_time"
    )
    execution_arn = start(client, "stopped", slow)
    aws(client, "stepfunctions", "stop-execution", "--execution-arn", execution_arn, "--error", "Operator")

    stopped = ended(client, execution_arn)

    assert (stopped["status"], stopped["error"]) == ("ABORTED", "Operator")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (
            "athena list-databases --catalog-name awsdatacatalog --query DatabaseList[].Name",
            ["flights", "scratch"],
        ),
        ("athena list-work-groups --query WorkGroups[].Name", ["AthenaQueries", "primary"]),
        (
            "ssm get-parameters-by-path --path /athena-queries/AthenaQueries/ --query Parameters[].Name",
            ["/athena-queries/AthenaQueries/state-machine-arn"],
        ),
        (
            "logs describe-query-definitions --query queryDefinitions[].name",
            ["AthenaQueries/settled by the fallback"],
        ),
    ],
)
def test_what_the_stack_has_is_listed(client: Client, command: str, names: list[str]) -> None:
    assert set(aws(client, *command.split())) >= set(names)


def test_a_state_is_tested(client: Client) -> None:
    state = json.dumps({"Type": "Pass", "Result": {"n": 1}, "End": True})

    tested = aws(
        client,
        *("stepfunctions", "test-state", "--definition", state, "--input", "{}"),
        *("--role-arn", "arn:aws:iam::000000000000:role/tester"),
    )

    assert tested["status"] == "SUCCEEDED"
    assert json.loads(tested["output"]) == {"n": 1}
