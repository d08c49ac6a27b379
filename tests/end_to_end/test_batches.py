"""A batch on the deployed stack: its manifest, its concurrency, its abort and its re-run."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.settings import Settings
from local.stack import SETTINGS
from ops.__main__ import main
from ops.execution import Run, follow, start
from tests.end_to_end.conftest import Deployment, Eventually

QUERIES, BAD = 300, 30
CONCURRENCY = int(SETTINGS.get("batchConcurrency", Settings().batch_concurrency))


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A kind of bad query: its input, the error it ends with, and a part of the reason."""

    document: dict[str, Any]
    error: str
    reason: str


def bad_queries(deployment: Deployment) -> list[Bad]:
    return [
        Bad(document={"Sql": "SELECT 1"}, error="InvalidInput", reason="must not contain {'Sql'}"),
        Bad(
            document={"QueryString": "SELECT 1 -- " + "x" * 261_000},
            error="InvalidInput",
            reason="a batch passes at most",
        ),
        Bad(document={"QueryString": "SELEKT 1"}, error="InvalidRequest", reason="SELEKT"),
        Bad(document={"QueryString": "SELECT nope FROM airlines"}, error="Failed", reason="nope"),
        Bad(document={"QueryString": "SELECT CAST('a' AS integer)"}, error="Failed", reason="CAST"),
        Bad(
            document={"QueryString": deployment.slow_query(), "TimeoutSeconds": 1},
            error="TimedOut",
            reason="TimeoutSeconds",
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class Batches:
    deployment: Deployment

    def upload(self, name: str, queries: list[dict[str, Any]]) -> str:
        """Store the queries as callers do; return the URI."""
        location = f"{self.deployment.stack.outputs['BatchesLocation']}{name}.jsonl"
        place = urlsplit(location)
        body = "\n".join(json.dumps(query) for query in queries)
        self.deployment.client("s3").put_object(Bucket=place.netloc, Key=place.path[1:], Body=body.encode())
        return location

    def start(self, document: dict[str, Any]) -> str:
        arn = self.deployment.stack.outputs["BatchStateMachineArn"]
        return start(self.deployment.client("stepfunctions"), arn, document)

    def run(self, document: dict[str, Any]) -> Run:
        return follow(self.deployment.client("stepfunctions"), self.start(document))

    def manifest_of(self, execution_arn: str) -> str:
        machine, name = execution_arn.split(":")[-2:]
        return f"{self.deployment.stack.outputs['BatchesLocation']}{machine}/{name}/manifest.jsonl"

    def rows(self, location: str) -> list[dict[str, Any]] | None:
        """The manifest's rows; None if there is none yet."""
        s3, place = self.deployment.client("s3"), urlsplit(location)
        try:
            answer = s3.get_object(Bucket=place.netloc, Key=place.path[1:])
        except s3.exceptions.NoSuchKey:
            return None
        return [json.loads(line) for line in answer["Body"].read().splitlines()]

    def executions(self, execution_arn: str) -> Iterator[dict[str, Any]]:
        """The executions of the batch's queries."""
        name = execution_arn.rpartition(":")[2]
        pages = (
            self.deployment.client("stepfunctions")
            .get_paginator("list_executions")
            .paginate(stateMachineArn=self.deployment.stack.outputs["StateMachineArn"])
        )
        for page in pages:
            yield from (one for one in page["executions"] if one["name"].startswith(f"{name}-"))

    def running(self, execution_arn: str) -> list[str]:
        """The queries of the batch that Athena runs."""
        return [
            query_id
            for one in self.executions(execution_arn)
            for query_id in self.deployment.running_queries(one["executionArn"])
        ]


@pytest.fixture
def batches(deployment: Deployment) -> Batches:
    return Batches(deployment=deployment)


def most_at_once(queries: list[dict[str, Any]]) -> int:
    """How many of the queries were active at the same time, by Athena's records."""
    moments = [
        *((query["Status"]["SubmissionDateTime"], 1) for query in queries),
        *((query["Status"]["CompletionDateTime"], -1) for query in queries),
    ]
    active = most = 0
    # Of two events in the same millisecond, the end is counted first.
    for _, step in sorted(moments):
        active += step
        most = max(most, active)
    return most


def test_a_batch_with_bad_queries_runs_all_and_its_re_run_runs_only_the_bad_ones(
    batches: Batches, deployment: Deployment
) -> None:
    kinds = bad_queries(deployment)
    # Bad queries are spread over the batch.
    bad = {number * QUERIES // BAD: kinds[number % len(kinds)] for number in range(BAD)}
    queries = [
        {
            "Name": f"query {number}",
            **(bad[number].document if number in bad else {"QueryString": f"SELECT {number} AS n"}),
        }
        for number in range(QUERIES)
    ]
    document = {"Batch": "nightly", "QueriesLocation": batches.upload("nightly", queries)}

    ended = batches.run(document)

    assert ended.output is not None, ended.cause
    summary = {name: ended.output[name] for name in ("Queries", "Succeeded", "NotSucceeded", "CarriedOver")}
    assert summary == {
        "Queries": QUERIES,
        "Succeeded": QUERIES - BAD,
        "NotSucceeded": BAD,
        "CarriedOver": 0,
    }
    assert sum(ended.output["Errors"].values()) == BAD
    rows = batches.rows(ended.output["Manifest"])
    assert rows is not None
    assert [row["Position"] for row in rows] == list(range(1, QUERIES + 1))
    assert [row["Name"] for row in rows] == [query["Name"] for query in queries]
    for number, row in enumerate(rows):
        if number in bad:
            assert (row["State"], row["Error"]) == ("FAILED", f"AthenaQuery.{bad[number].error}"), row
            assert bad[number].reason in row["Reason"]
        else:
            assert (row["State"], row["Error"]) == ("SUCCEEDED", None), row
            query = deployment.query(row["QueryId"])
            assert query["Query"] == queries[number]["QueryString"]
            assert query["ResultConfiguration"]["OutputLocation"] == row["OutputLocation"]
    started = [deployment.query(row["QueryId"]) for row in rows if row["QueryId"]]
    assert 1 < most_at_once(started) <= CONCURRENCY

    again = batches.run({**document, "PreviousManifest": ended.output["Manifest"]})

    assert again.output is not None
    assert (again.output["CarriedOver"], again.output["NotSucceeded"]) == (QUERIES - BAD, BAD)
    ran = {int(one["name"].rpartition("-")[2]) - 1 for one in batches.executions(again.arn)}
    assert ran == set(bad)


def test_an_aborted_batch_leaves_nothing_running_and_a_manifest(
    batches: Batches, deployment: Deployment, eventually: Eventually
) -> None:
    query = {"QueryString": deployment.slow_query()}
    arn = batches.start({"Queries": [query] * (3 * CONCURRENCY)})

    queries = eventually(lambda: len(found := batches.running(arn)) == CONCURRENCY and found)

    deployment.client("stepfunctions").stop_execution(executionArn=arn)

    def stopped() -> bool:
        # The Map Run may go on for a moment, and start further queries.
        runs = deployment.client("stepfunctions").list_map_runs(executionArn=arn)["mapRuns"]
        ended = all("stopDate" in one for one in runs)
        return ended and not any(one["status"] == "RUNNING" for one in batches.executions(arn))

    eventually(stopped)
    eventually(lambda: not batches.running(arn))
    assert {deployment.query(one)["Status"]["State"] for one in queries} == {"CANCELLED"}
    assert eventually(lambda: batches.rows(batches.manifest_of(arn))), "the event leaves a manifest"

    # The sweep completes it with what started late.
    deployment.client("lambda").invoke(
        FunctionName=deployment.stack.outputs["ReporterFunctionName"],
        Payload=json.dumps({"detail-type": "Scheduled Event"}),
    )

    rows = batches.rows(batches.manifest_of(arn))
    assert rows is not None
    assert len(rows) == 3 * CONCURRENCY
    assert {row["State"] for row in rows} == {"ABORTED", "NOT_STARTED"}
    started = {one["executionArn"] for one in batches.executions(arn)}
    assert {row["ExecutionArn"] for row in rows if row["State"] == "ABORTED"} == started


def test_past_the_tolerated_failures_a_batch_stops_what_runs(
    batches: Batches, deployment: Deployment, eventually: Eventually
) -> None:
    bad, slow = {"QueryString": "SELECT nope FROM airlines"}, {"QueryString": deployment.slow_query()}
    ended = batches.run({"Queries": [slow, bad, bad, slow], "ToleratedFailureCount": 1})

    assert ended.error == "States.ExceedToleratedFailureThreshold"
    rows = eventually(lambda: batches.rows(batches.manifest_of(ended.arn)))
    assert [row["Error"] for row in rows[1:3]] == ["AthenaQuery.Failed"] * 2
    for row in (rows[0], rows[3]):
        assert row["State"] in ("ABORTED", "NOT_STARTED")
    eventually(lambda: not batches.running(ended.arn))


def test_a_redrive_runs_what_did_not_succeed(
    batches: Batches, deployment: Deployment, eventually: Eventually
) -> None:
    bad, good = {"QueryString": "SELECT nope FROM airlines"}, {"QueryString": "SELECT 1"}
    arn = batches.run({"Queries": [good, bad, good], "ToleratedFailureCount": 0}).arn
    before = {row["Position"]: row for row in eventually(lambda: batches.rows(batches.manifest_of(arn)))}

    stepfunctions = deployment.client("stepfunctions")
    stepfunctions.redrive_execution(executionArn=arn)
    ended = follow(stepfunctions, arn)

    assert ended.error == "States.ExceedToleratedFailureThreshold"

    def after() -> dict[int, Any] | None:
        rows = {row["Position"]: row for row in batches.rows(batches.manifest_of(arn)) or []}
        return rows if str(rows[2]["ExecutionArn"]).endswith("-00002-r1") else None

    rows = eventually(after)
    assert (rows[2]["State"], rows[2]["Error"]) == ("FAILED", "AthenaQuery.Failed")
    for position in (1, 3):
        if before[position]["State"] == "SUCCEEDED":
            assert rows[position]["ExecutionArn"] == before[position]["ExecutionArn"]


def test_a_malformed_batch_is_refused_and_starts_nothing(batches: Batches) -> None:
    ended = batches.run({"Queries": [{"Name": "a"}, {"Name": "a"}]})

    assert ended.error == "AthenaBatch.InvalidInput"
    assert ended.cause == "input.Queries[1] has the name of input.Queries[0]"
    assert not list(batches.executions(ended.arn))


@pytest.mark.usefixtures("pointed_at_the_stack")
def test_the_command_runs_a_folder_of_statements_and_then_only_what_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statements = {"a": "SELECT 1", "b": "SELECT nope FROM airlines", "c": "SELECT count(*) FROM airlines"}
    for name, sql in statements.items():
        (tmp_path / f"{name}.sql").write_text(sql)
    manifest = tmp_path / "manifest.jsonl"

    assert main(["batch", str(tmp_path), "--name", "folder", "--out", str(manifest)]) == 1

    output = capsys.readouterr().out
    assert "2 of 3 queries succeeded" in output
    assert re.search(r"2 \W+ b \W+ FAILED \W+ AthenaQuery.Failed \W+", output)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [(row["Name"], row["State"]) for row in rows] == [
        ("a", "SUCCEEDED"),
        ("b", "FAILED"),
        ("c", "SUCCEEDED"),
    ]

    (tmp_path / "b.sql").write_text("SELECT name FROM airlines")
    assert main(["batch", str(tmp_path), "--name", "folder", "--previous", str(manifest)]) == 0
    assert "3 of 3 queries succeeded, 2 of them in an earlier run" in capsys.readouterr().out


@pytest.mark.usefixtures("pointed_at_the_stack")
def test_the_command_reports_a_refused_batch_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "queries.jsonl"
    source.write_text('{"QueryString": "SELECT 1"}\n{"QueryString"\n')
    assert main(["batch", str(source)]) == 2
    assert capsys.readouterr().err.endswith("error: the batch was refused: line 2 is not JSON\n")
