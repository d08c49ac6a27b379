"""The canceller: what it stops, and when it asks to be called again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from functions import canceller
from tests.unit.calls import (
    ENTRY,
    EXECUTION,
    QUERY,
    SQL,
    STARTED,
    announcement,
    get_item,
    query_execution,
    update,
)
from tests.unit.conftest import NOW, WORK_GROUP, Aws

GONE = {"detail": {"executionArn": EXECUTION, "status": "ABORTED", "redriveCount": 0}}
MARK = update(EXECUTION, {"Gone/0": {"BOOL": True}})


def test_what_still_runs_is_stopped(aws: Aws) -> None:
    aws.expect("UpdateItem", MARK, {"Attributes": {f"Started/{ENTRY}": STARTED}})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("RUNNING"))
    aws.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    canceller.run(GONE, aws.runtime)


def test_what_has_ended_is_left_alone(aws: Aws) -> None:
    aws.expect("UpdateItem", MARK, {"Attributes": {f"Started/{ENTRY}": STARTED}})
    aws.expect("GetQueryExecution", {"QueryExecutionId": QUERY}, query_execution("FAILED"))

    canceller.run(GONE, aws.runtime)


def test_queries_of_a_later_redrive_are_not_this_ends(aws: Aws) -> None:
    redriven = {"M": {**STARTED["M"], "RedriveCount": {"N": "1"}}}
    aws.expect("UpdateItem", MARK, {"Attributes": {"Started/x": redriven}})

    canceller.run(GONE, aws.runtime)


def test_a_start_that_is_not_confirmed_yet_is_asked_about_again(aws: Aws) -> None:
    aws.expect("UpdateItem", MARK, {"Attributes": {f"Announced/{ENTRY}": announcement()}})

    with pytest.raises(canceller.StartUnconfirmed):
        canceller.run(GONE, aws.runtime)


def test_the_query_of_an_executor_that_died_is_found_and_stopped(aws: Aws) -> None:
    announced: dict[str, Any] = announcement(entered=NOW - 61)
    announced["M"]["At"] = {"N": str(NOW - 60)}
    found = query_execution("RUNNING")["QueryExecution"]
    found["Status"]["SubmissionDateTime"] = datetime.fromtimestamp(NOW - 59, UTC)
    others = {**found, "QueryExecutionId": "of-somebody-else", "Query": SQL + " LIMIT 1"}
    aws.expect("UpdateItem", MARK, {"Attributes": {f"Announced/{ENTRY}": announced}})
    ids = [QUERY, "of-somebody-else"]
    aws.expect("ListQueryExecutions", {"WorkGroup": WORK_GROUP, "MaxResults": 50}, {"QueryExecutionIds": ids})
    aws.expect("BatchGetQueryExecution", {"QueryExecutionIds": ids}, {"QueryExecutions": [found, others]})
    aws.expect("GetItem", get_item(QUERY), {})
    aws.expect("StopQueryExecution", {"QueryExecutionId": QUERY})

    canceller.run(GONE, aws.runtime)
