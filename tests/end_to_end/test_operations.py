"""The command lines `ops` and `local` against the deployed stack."""

import csv
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local import stack as local_stack
from local.__main__ import main as local_main
from local.stack import ROOT
from ops.__main__ import main
from tests.end_to_end.conftest import Deployment, Eventually

COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}


pytestmark = pytest.mark.usefixtures("pointed_at_the_stack")


def test_query_prints_states_outcome_and_rows(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        [
            "query",
            "SELECT count(*) AS flights, NULL AS nothing FROM flights WHERE origin = ?",
            "--param",
            "'JFK'",
        ]
    )

    output = capsys.readouterr().out
    assert code == 0
    assert "→ Start query\n  → Done\nSUCCEEDED in" in output
    assert re.search(r"flights\W+nothing", output)
    assert re.search(r"111279\W+NULL", output)


def test_query_prints_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "SELECT name FROM airlines ORDER BY carrier", "--json", "--rows", "2"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["status"] == document["output"]["State"] == "SUCCEEDED"
    assert document["states"] == ["Start query", "Done"]
    assert document["columns"] == ["name"]
    assert document["rows"] == [["Endeavor Air Inc."], ["American Airlines Inc."]]
    assert document["moreRows"] is True


def test_query_shows_the_typed_error_of_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "SELEKT 1", "--json"]) == 1

    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["error"]) == ("FAILED", "AthenaQuery.InvalidRequest")
    assert document["cause"]["Advice"]


def test_query_downloads_the_complete_result(tmp_path: Path) -> None:
    statement, result = tmp_path / "planes.sql", tmp_path / "planes.csv"
    statement.write_text("SELECT tailnum, engines FROM planes")

    assert main(["query", "--file", str(statement), "--csv", str(result), "--rows", "0"]) == 0

    with result.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["tailnum", "engines"]
    assert len(rows) == 1 + 3_322
    assert not list(tmp_path.glob("*.part"))


def test_a_statement_without_a_csv_result_has_nothing_to_download(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["query", "SHOW TABLES", "--csv", str(tmp_path / "tables.csv")]) == 1

    assert "the statement has no CSV result" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_explain_diagnoses_a_waiting_execution(
    deployment: Deployment, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.stack.deliver_events("held")

    def diagnosed() -> bool:
        arn = deployment.start(COUNT)
        eventually(lambda: deployment.ended_queries(arn))
        assert main(["explain", arn]) == 0
        output = capsys.readouterr().out
        # On a busy machine the state machine may poll first, which settles the execution.
        return bool(
            re.search(
                r"Athena reports SUCCEEDED, but the completion event has not arrived\. "
                r"The state machine will poll Athena by \d\d:\d\d:\d\d UTC\.",
                output,
            )
        )

    assert eventually(diagnosed)


def test_explain_names_a_query_that_outlives_its_execution(
    deployment: Deployment, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = deployment.start({"QueryString": deployment.slow_query()})
    (query_id,) = eventually(lambda: deployment.running_queries(arn))
    deployment.stack.outage("athena:StopQueryExecution", "InternalServerException")
    deployment.client("stepfunctions").stop_execution(executionArn=arn)

    assert main(["explain", arn]) == 0

    deployment.stack.end_outage()
    deployment.client("athena").stop_query_execution(QueryExecutionId=query_id)
    assert (
        f"The execution ended with status ABORTED, but a query of it still runs: {query_id}."
        in capsys.readouterr().out
    )


def test_an_unknown_execution_has_its_own_message(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = deployment.stack.outputs["StateMachineArn"]
    arn = machine.replace(":stateMachine:", ":execution:") + ":no-such-execution"

    assert main(["explain", arn]) == 1

    assert f"there is no execution {arn}" in capsys.readouterr().err


def test_stop_stops_the_execution_and_its_query(deployment: Deployment, eventually: Eventually) -> None:
    arn = deployment.start({"QueryString": deployment.slow_query()})
    (query_id,) = eventually(lambda: deployment.running_queries(arn))

    assert main(["stop", arn]) == 0

    assert deployment.ended(arn, eventually)["status"] == "ABORTED"
    eventually(lambda: deployment.query(query_id)["Status"]["State"] == "CANCELLED")


def test_the_local_shortcut_needs_no_environment(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    assert local_main(["--home", deployment.stack.home, "query", "SELECT 1 AS one", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["rows"] == [["1"]]


def test_the_dashboard_has_the_graphs_of_its_definition_that_have_data(
    deployment: Deployment, tmp_path: Path
) -> None:
    deployment.run(COUNT)
    picture = tmp_path / "dashboard.svg"
    before = datetime.now(UTC)

    assert main(["dashboard", "--out", str(picture), "--hours", "1"]) == 0

    after = datetime.now(UTC)

    drawing = picture.read_text()
    cloudwatch = deployment.client("cloudwatch")
    body = json.loads(cloudwatch.get_dashboard(DashboardName=deployment.stack.name)["DashboardBody"])

    def has_data(end: datetime, namespace: str, name: str, *rest: Any) -> bool:
        """Whether this stack's metric has points in the hour before the end."""
        words = [word for word in rest if isinstance(word, str)]
        dimensions = [
            {"Name": key, "Value": value} for key, value in zip(words[::2], words[1::2], strict=True)
        ]
        answer = cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=name,
            Dimensions=dimensions,
            StartTime=before - timedelta(hours=1),
            EndTime=end,
            Period=3_600,
            Statistics=["SampleCount"],
        )
        return bool(answer["Datapoints"])

    widgets = [one["properties"] for one in body["widgets"] if one["type"] == "metric"]

    def with_data(end: datetime) -> set[str]:
        return {one["title"] for one in widgets if any(has_data(end, *metric) for metric in one["metrics"])}

    # The functions may emit more while the picture is drawn.
    drawn = {one["title"] for one in widgets if one["title"] in drawing}
    assert with_data(before) <= drawn <= with_data(after)


def dead_letters(deployment: Deployment) -> int:
    answer = deployment.client("sqs").get_queue_attributes(
        QueueUrl=deployment.stack.outputs["DeadLetterQueueUrl"], AttributeNames=["All"]
    )
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def test_dead_letters_are_replayed_once_their_cause_is_fixed(
    deployment: Deployment, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    eventually(lambda: deployment.stack.pending_events() == 0)
    deployment.client("sqs").purge_queue(QueueUrl=deployment.stack.outputs["DeadLetterQueueUrl"])
    arn = deployment.start({"QueryString": deployment.slow_query()})
    (query_id,) = eventually(lambda: deployment.running_queries(arn))
    deployment.stack.outage("athena:*", "InternalServerException")
    deployment.client("stepfunctions").stop_execution(executionArn=arn)
    eventually(lambda: dead_letters(deployment) == 1)

    assert main(["replay-dead-letters", "--dry-run"]) == 0
    assert dead_letters(deployment) == 1
    assert main(["replay-dead-letters"]) == 1
    assert dead_letters(deployment) == 1
    deployment.stack.end_outage()
    assert main(["replay-dead-letters"]) == 0

    assert dead_letters(deployment) == 0
    assert deployment.query(query_id)["Status"]["State"] == "CANCELLED"
    dry, failed, replayed = (table for table in capsys.readouterr().out.split("┏")[1:])
    assert "to replay" in dry
    assert "left in the queue: ServiceFault" in failed
    assert re.search(r"canceller\W+Step Functions Execution Status Change\W+replayed\W+1", replayed)


def test_the_modules_run_as_commands() -> None:
    for module in ("ops", "local"):
        completed = subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
        )
        assert "replay-dead-letters" in completed.stdout
        assert "exit codes:\n  0    success" in completed.stdout


def test_a_hostile_environment_does_not_break_a_local_stack(tmp_path: Path) -> None:
    """A dead proxy, an unknown profile and no home folder; the printed commands are evaluated by a shell."""
    hostile = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": os.devnull,
        "HTTP_PROXY": "http://127.0.0.1:1",
        "HTTPS_PROXY": "http://127.0.0.1:1",
        "AWS_PROFILE": "no-such-profile",
    }
    home = local_stack.share(tmp_path)
    local = f"python -m local --home {home}"
    # A stack of this name is synthesized by no other test, and its template is not kept.
    (home / "synthesized").unlink()
    script = f"""
        set -e
        started=$({local} up --detach --set stackName=Hostile)
        eval "$started"
        python -m ops query "SELECT 1 AS one" --json --stack Hostile
        {local} down
        ! {local} down
    """

    completed = subprocess.run(  # noqa: S603 - the commands under test
        ["/bin/sh", "-c", script], env=hostile, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert completed.returncode == 0, completed.stderr
    assert json.loads(completed.stdout)["rows"] == [["1"]]
    steps = re.findall(r"^(.*): \d+\.\d s$", completed.stderr, re.MULTILINE)
    assert steps == [
        *("starting the emulator", "synthesizing the template", "deploying the stack"),
        "loading the sample data",
    ]
    assert completed.stderr.endswith("python -m local: error: no local stack is running\n")
