"""Labels on the deployed stack: returned and logged, and nowhere else."""

import json
from typing import Any

import pytest

from tests.contract import check_cause, check_output
from tests.end_to_end.conftest import Deployment, Eventually

LABELS = {"team": "label-growth", "job": "label-nightly"}
LOGGED = ["team=label-growth", "job=label-nightly"]


def settled_line(deployment: Deployment, eventually: Eventually, query_id: str) -> dict[str, Any]:
    """The log line that reports the end of the query."""

    def found() -> dict[str, Any] | None:
        for text in deployment.log_lines():
            if '"settled"' in text and query_id in text:
                line: dict[str, Any] = json.loads(text)
                return line
        return None

    line: dict[str, Any] = eventually(found)
    return line


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("SELECT count(*) FROM airlines", None),
        ("SELECT CAST(carrier AS integer) FROM airlines", "AthenaQuery.Failed"),
    ],
)
def test_labels_are_returned_and_logged(
    deployment: Deployment, eventually: Eventually, sql: str, error: str | None
) -> None:
    run = deployment.run({"QueryString": sql, "Labels": LABELS})

    assert run.error == error
    document: dict[str, Any] = run.cause if error else run.output or {}
    (check_cause if error else check_output)(document)
    assert document["Labels"] == LABELS
    line = settled_line(deployment, eventually, document["QueryId"])
    assert line["message"] == "settled"
    assert line["labels"] == LOGGED


def test_athena_does_not_receive_labels_so_an_earlier_result_is_reused(deployment: Deployment) -> None:
    query = {"QueryString": "SELECT min(distance) FROM flights", "ResultReuseMaxAgeMinutes": 5}
    deployment.run({**query, "Labels": {"team": "label-first"}})

    run = deployment.run({**query, "Labels": LABELS})

    assert run.output is not None
    assert run.output["Statistics"]["ReusedPreviousResult"] is True
    received = deployment.query(run.output["QueryId"])
    assert received["Query"] == query["QueryString"]
    assert "label-" not in json.dumps(received, default=str)


def test_labels_are_no_dimension_of_a_metric(deployment: Deployment, eventually: Eventually) -> None:
    output = deployment.run({"QueryString": "SELECT 1", "Labels": LABELS}).output
    assert output is not None
    settled_line(deployment, eventually, output["QueryId"])

    pages = deployment.client("cloudwatch").get_paginator("list_metrics").paginate()
    metrics = [metric for page in pages for metric in page["Metrics"]]

    assert "CallbackLag" in {metric["MetricName"] for metric in metrics}
    assert "label-" not in json.dumps(metrics)


def test_labels_of_the_wrong_form_are_refused(deployment: Deployment) -> None:
    run = deployment.run({"QueryString": "SELECT 1", "Labels": {"team": "line\nbreak"}})

    assert run.error == "AthenaQuery.InvalidInput"
    assert run.cause["Labels"] == {}
