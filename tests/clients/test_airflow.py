"""examples/airflow, run by Airflow itself."""

import json
from typing import Any

import pytest

from tests.clients.conftest import FOLDER, Client
from tools.environments import ROOT

CLIENT = "airflow"


@pytest.fixture(scope="module")
def report(client: Client) -> dict[str, Any]:
    """The outcome of a good run and of one whose query fails."""
    ran = client.run(
        "python",
        FOLDER / "airflow_session.py",
        AIRFLOW_HOME=str(client.working_folder),
        AIRFLOW__CORE__DAGS_FOLDER=str(ROOT / "examples" / "airflow"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    outcomes: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return outcomes | {"log": ran.stdout + ran.stderr}


def test_a_run_uses_the_output(report: dict[str, Any]) -> None:
    run = report["good"]

    assert run["state"] == "success"
    assert {name: state for name, (state, _) in run["tasks"].items()} == {
        "run_query": "success",
        "get_output": "success",
        "report": "success",
    }
    assert run["tasks"]["report"][1] == [["UA", "58665"], ["B6", "54635"], ["EV", "54173"]]
    assert run["tasks"]["get_output"][1]["Labels"] == {"dag": "flights_by_carrier"}


def test_a_failing_query_fails_the_run_with_its_typed_error(report: dict[str, Any]) -> None:
    run = report["failing"]

    assert run["state"] == "failed"
    assert {name: state for name, (state, _) in run["tasks"].items()} == {
        "run_query": "failed",
        "get_output": "success",
        "report": "failed",
    }
    assert run["tasks"]["get_output"][1] == "AthenaQuery.Failed"
    assert "AirflowFailException: AthenaQuery.Failed" in report["log"]
    assert "TABLE_NOT_FOUND" in report["log"]


def test_the_start_operator_waits_in_the_triggerer(report: dict[str, Any]) -> None:
    deferred = [line for line in report["log"].splitlines() if "Pausing task as DEFERRED" in line]
    assert len(deferred) == 2
    assert all("task_id=run_query" in line for line in deferred)
