"""Planner and reporter against a model of their services: S3 and Step Functions in memory."""

import io
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import fastjsonschema
import pytest
from botocore.exceptions import ClientError

from functions import batch_files, planner, reporter
from functions.batch_runtime import BatchRuntime, BatchSettings
from functions.errors import REASON_CHARACTERS, ServiceFault
from functions.settings import BATCH_MEMORY_MB
from functions.time_budget import OutOfTime, time_budget
from tests.documents import code_blocks
from tests.simulation.batches import ARN, SETTINGS

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BATCH = f"{ARN}:execution:queries-batch:nightly"
CHILD = f"{ARN}:execution:queries-batch/Queries:1"
FOLDER = "batches/queries-batch/nightly/"


def schema(name: str) -> Any:
    path = Path(__file__).parents[2] / "statemachine" / f"{name}.schema.json"
    return fastjsonschema.compile(json.loads(path.read_text()))


check_output, check_row = schema("batch_output"), schema("batch_manifest")


def failure(operation: str, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, operation)


@dataclass
class Bucket:
    """S3's GetObject, HeadObject and PutObject; without ListBucket a missing key is denied."""

    objects: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - as in S3's API
        assert Bucket == "bucket"
        if Key not in self.objects:
            raise failure("GetObject", "AccessDenied")
        return {"Body": io.BytesIO(self.objects[Key])}

    def head_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        assert Bucket == "bucket"
        if Key not in self.objects:
            raise failure("HeadObject", "403")
        return {"Metadata": self.metadata[Key]}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, Metadata: Any, **_: Any) -> None:  # noqa: N803
        assert Bucket == "bucket"
        self.objects[Key], self.metadata[Key] = Body, Metadata

    def lines(self, key: str) -> list[Any]:
        return [json.loads(line) for line in self.objects[key].decode().splitlines()]


@dataclass
class Executions:
    """Step Functions' executions by ARN. An execution that is stopped is ABORTED."""

    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    map_run: dict[str, Any] = field(default_factory=lambda: {"stopDate": NOW})

    def add(self, arn: str, status: str, **more: Any) -> None:
        ended = {} if status == "RUNNING" else {"stopDate": NOW - timedelta(minutes=5)}
        self.known[arn] = {
            "executionArn": arn,
            "name": arn.rpartition(":")[2],
            "status": status,
            "startDate": NOW - timedelta(hours=1),
            "redriveCount": 0,
            "input": json.dumps({"AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": CHILD}),
            **ended,
            **more,
        }

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn not in self.known:
            raise failure("DescribeExecution", "ExecutionDoesNotExist")
        return self.known[executionArn]

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:  # noqa: N803
        self.stopped.append(executionArn)
        self.children = [one for one in self.children if one != executionArn]
        if executionArn in self.known:
            self.add(executionArn, "ABORTED", error=error, cause=cause)

    def get_paginator(self, operation: str) -> Any:
        return SimpleNamespace(paginate=lambda **filters: self._pages(operation, filters))

    def _pages(self, operation: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if operation == "list_map_runs":
            yield {"mapRuns": [{"mapRunArn": "map-run", **self.map_run}]}
        elif "mapRunArn" in filters:
            assert filters["statusFilter"] == "RUNNING"
            yield {"executions": [{"executionArn": arn} for arn in self.children]}
        else:
            assert filters["stateMachineArn"] == SETTINGS.batch_state_machine_arn
            yield {
                "executions": [
                    one
                    for arn, one in self.known.items()
                    if ":queries-batch:" in arn and one["status"] == filters["statusFilter"]
                ]
            }


@dataclass
class Batch:
    """A batch with the services that its functions use."""

    bucket: Bucket = field(default_factory=Bucket)
    executions: Executions = field(default_factory=Executions)
    athena: dict[str, dict[str, Any]] = field(default_factory=dict)
    # The query of an execution, as the task table has it.
    started: dict[str, str] = field(default_factory=dict)

    @property
    def runtime(self) -> BatchRuntime:
        def find(ids: list[str]) -> dict[str, Any]:
            assert set(ids) <= set(self.executions.known)
            newest = {one: self.started.get(one) for one in ids}
            return {
                one: SimpleNamespace(newest_query=query and SimpleNamespace(query_id=query))
                for one, query in newest.items()
            }

        return BatchRuntime(
            settings=SETTINGS,
            s3=cast("Any", self.bucket),
            stepfunctions=cast("Any", self.executions),
            athena=cast(
                "Any",
                SimpleNamespace(
                    get_query_execution=lambda QueryExecutionId: {  # noqa: N803
                        "QueryExecution": self.athena[QueryExecutionId]
                    }
                ),
            ),
            table=cast("Any", SimpleNamespace(find_executions=find)),
            now=NOW.timestamp,
        )

    def plan(self, document: Any, execution: str = BATCH) -> dict[str, Any]:
        return planner.run({"Execution": {"Id": execution, "Input": document}}, self.runtime)

    def refusal(self, document: Any) -> str:
        answer = self.plan(document)
        assert set(answer) == {"Refused"}
        assert not [key for key in self.bucket.objects if key.startswith(FOLDER)], "nothing was planned"
        return str(answer["Refused"])

    def items(self) -> list[Any]:
        return self.bucket.lines(f"{FOLDER}items.jsonl")

    def manifest(self) -> list[Any]:
        rows = self.bucket.lines(f"{FOLDER}manifest.jsonl")
        for row in rows:
            check_row(row)
        return rows

    def upload(self, text: str, key: str = "batches/in.jsonl") -> str:
        self.bucket.objects[key] = text.encode()
        return f"s3://bucket/{key}"


@pytest.fixture
def batch() -> Batch:
    return Batch()


def query_arn(position: int, suffix: str = "") -> str:
    return f"{ARN}:execution:queries:nightly-{position:05}{suffix}"


def succeeded(query_id: str = "q1", scanned: int = 10_000_000) -> dict[str, Any]:
    output = {
        "QueryId": query_id,
        "OutputLocation": f"s3://results/{query_id}.csv",
        "Statistics": {"DataScannedInBytes": scanned},
        "EstimatedCostUsd": 0.00005,
        "Attempts": 1,
    }
    return {"output": json.dumps(output)}


def failed(name: str, reason: str) -> dict[str, Any]:
    cause = {
        "QueryId": None,
        "Reason": reason,
        "DataScannedInBytes": None,
        "EstimatedCostUsd": None,
        "Attempts": 0,
    }
    return {"error": f"AthenaQuery.{name}", "cause": json.dumps(cause)}


QUERIES = [{"QueryString": "SELECT 1"}, {"Name": "two", "QueryString": "SELECT 2"}, {"Sql": "x"}]


def test_each_query_becomes_an_item_whose_execution_is_named_by_its_position(batch: Batch) -> None:
    answer = batch.plan({"Queries": QUERIES})
    assert answer == {
        "Bucket": "bucket",
        "ItemsKey": f"{FOLDER}items.jsonl",
        "ResultsPrefix": f"{FOLDER}map",
        "ToRun": 3,
        "ToleratedFailureCount": 3,
    }
    assert batch.items() == [
        {"Name": "nightly-00001", "Input": {"QueryString": "SELECT 1"}},
        {"Name": "nightly-00002", "Input": {"QueryString": "SELECT 2"}},
        # The contract of its own execution refuses it.
        {"Name": "nightly-00003", "Input": {"Sql": "x"}},
    ]
    assert b"SELECT" not in batch.bucket.objects[f"{FOLDER}plan.jsonl"]


def test_a_file_has_a_query_in_each_line(batch: Batch) -> None:
    location = batch.upload('{"QueryString": "SELECT 1"}\n\n{"Name": "é", "QueryString": "SELECT \'é\'"}\r\n')
    assert batch.refusal({"QueriesLocation": location}).startswith("line 3.Name is not")
    location = batch.upload('{"QueryString": "SELECT 1"}\n\n{"Name": "e", "QueryString": "SELECT \'é\'"}\r\n')
    assert batch.plan({"QueriesLocation": location})["ToRun"] == 2
    assert batch.items()[1]["Input"] == {"QueryString": "SELECT 'é'"}


def test_the_documented_input_is_accepted(batch: Batch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "batches.md").read_text()
    (example,) = code_blocks(page, "json")
    assert batch.plan(json.loads(example))["ToRun"] == 2


@pytest.mark.parametrize(
    ("count", "percentage", "tolerated"),
    [(None, None, 3), (0, None, 0), (1, None, 1), (9, None, 3), (None, 50, 1), (2, 34, 1), (0, 100, 0)],
)
def test_the_tolerances_become_one_count(
    batch: Batch, count: int | None, percentage: float | None, tolerated: int
) -> None:
    given = {"ToleratedFailureCount": count, "ToleratedFailurePercentage": percentage}
    document = {"Queries": QUERIES, **{name: one for name, one in given.items() if one is not None}}
    assert batch.plan(document)["ToleratedFailureCount"] == tolerated


def test_a_percentage_loses_nothing_to_floating_point(batch: Batch) -> None:
    answer = batch.plan({"Queries": [{}] * 1_000, "ToleratedFailurePercentage": 64.6})
    assert answer["ToleratedFailureCount"] == 646


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "input must have exactly one of Queries and QueriesLocation"),
        ({"Queries": []}, "input.Queries must contain at least 1 items"),
        ({"Queries": ["SELECT 1"]}, "input.Queries[0] must be object"),
        ({"Queries": QUERIES, "Sql": 1}, "input must not contain {'Sql'} properties"),
        ({"Queries": QUERIES, "ToleratedFailurePercentage": 101}, "must be smaller than or equal to 100"),
        ({"Queries": [{"Name": "a"}, {"Name": "a"}]}, "input.Queries[1] has the name of input.Queries[0]"),
        ({"Queries": [{"Name": "2"}, {}]}, "input.Queries[1] has the name of input.Queries[0]"),
        ({"Queries": [{"Name": 5}]}, "input.Queries[0].Name is not 1 to 100 letters"),
        ({"QueriesLocation": "s3://other/batches/x"}, "QueriesLocation is not below s3://bucket/batches/"),
        ({"QueriesLocation": "s3://bucket/results/x"}, "QueriesLocation is not below s3://bucket/batches/"),
        ({"QueriesLocation": "s3://bucket/batches/x"}, "QueriesLocation does not exist"),
        ({"Queries": QUERIES, "PreviousManifest": "s3://bucket/batches/x"}, "PreviousManifest does not"),
        ("text", "input must be object"),
    ],
)
def test_a_malformed_batch_is_refused_before_anything_starts(
    batch: Batch, document: Any, reason: str
) -> None:
    assert reason in batch.refusal(document)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"QueryString": "SELECT 1"}\n{"QueryString"', "line 2 is not JSON"),
        ("[]\n5\n", "line 1 is not an object; line 2 is not an object"),
        ('{"PreviewRows": NaN}\n', "line 1 is not JSON"),
        ("\n\n", "the file has no queries"),
        ("[" * 100_000, "line 1 is not JSON"),
        ("x\n" * 25, "line 20 is not JSON; and 5 more"),
        ("{}\n" * 10_001, "the file has more than 10,000 lines, which is the most of a batch"),
        ("{}\n" * 9_999 + "x\nx\n", "the file has more than 10,000 lines"),
    ],
)
def test_a_malformed_file_is_refused(batch: Batch, text: str, reason: str) -> None:
    assert reason in batch.refusal({"QueriesLocation": batch.upload(text)})


def test_a_file_that_is_too_large_is_refused(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "_FILE_BYTES", 1024**2)
    location = batch.upload(" " * 1024**2 + "{}")
    assert batch.refusal({"QueriesLocation": location}) == "QueriesLocation is larger than 1 MiB"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (json.dumps("x" * 261_000), "input has 261,055 bytes"),
        (json.dumps("\ud800"), "lone surrogate"),
        ("1e999", "a number that is too large"),
    ],
)
def test_a_query_that_cannot_be_passed_fails_alone(batch: Batch, sql: str, reason: str) -> None:
    location = batch.upload("\n".join(f'{{"QueryString": {one}}}' for one in (sql, '"SELECT 2"')))
    batch.plan({"QueriesLocation": location})
    assert [item["Input"] for item in batch.items()] == [{}, {"QueryString": "SELECT 2"}]
    batch.executions.add(BATCH, "RUNNING")
    batch.executions.add(query_arn(1), "FAILED", **failed("InvalidInput", "exactly one of"))
    batch.executions.add(query_arn(2), "SUCCEEDED", **succeeded())
    reporter.run({"ExecutionId": BATCH}, batch.runtime)
    row, _ = batch.manifest()
    assert row["Error"] == "AthenaQuery.InvalidInput"
    assert reason in row["Reason"], "not that of the empty input"


def test_the_largest_file_fits_into_the_planner_s_memory(batch: Batch) -> None:
    """Measured with a file of a sixteenth of the size, whose text is four times as large in memory."""
    largest = planner._FILE_BYTES // 16  # noqa: SLF001 - the limit
    query = json.dumps({"QueryString": "x" * 6_500 + "\U0001f600"}, ensure_ascii=False)
    location = batch.upload(f"{query}\n" * (largest // (len(query.encode()) + 1)))
    tracemalloc.start()
    try:
        assert batch.plan({"QueriesLocation": location})["ToRun"] > 500
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # The file itself is in memory too, and 200 MiB are left for the runtime and the code.
    assert (peak + largest) * 16 < (BATCH_MEMORY_MB - 200) * 1024**2


def test_names_of_executions_are_unique_and_short_enough() -> None:
    long = f"{ARN}:execution:queries-batch:{'x' * 79}"
    names = [batch_files.execution_name(f"{long}{end}", number) for end in "ab" for number in (1, 10_000)]
    assert len(set(names)) == 4
    assert all(len(f"{name}-r999") <= 80 for name in names)


def report(batch: Batch) -> dict[str, Any]:
    summary = reporter.run({"ExecutionId": BATCH}, batch.runtime)
    assert summary is not None
    check_output(summary)
    return summary


def test_a_plan_that_cannot_be_read_is_named(batch: Batch) -> None:
    batch.executions.add(BATCH, "RUNNING")

    with pytest.raises(ServiceFault, match="the batch's plan does not exist, or may not be read"):
        report(batch)


def run_three(batch: Batch) -> None:
    batch.plan({"Batch": "night", "Queries": QUERIES})
    batch.executions.add(BATCH, "RUNNING")
    batch.executions.add(query_arn(1), "SUCCEEDED", **succeeded())
    batch.executions.add(query_arn(2), "FAILED", **failed("Failed", "no table"))
    batch.executions.add(query_arn(3), "FAILED", **failed("InvalidInput", "no statement"))


def test_the_manifest_has_a_row_for_each_query_in_order(batch: Batch) -> None:
    run_three(batch)
    assert report(batch) == {
        "Batch": "night",
        "Queries": 3,
        "Succeeded": 1,
        "CarriedOver": 0,
        "NotSucceeded": 2,
        "States": {"SUCCEEDED": 1, "FAILED": 2},
        "Errors": {"AthenaQuery.Failed": 1, "AthenaQuery.InvalidInput": 1},
        "DataScannedInBytes": 10_000_000,
        "EstimatedCostUsd": 0.00005,
        "Manifest": f"s3://bucket/{FOLDER}manifest.jsonl",
    }
    rows = batch.manifest()
    assert [row["Position"] for row in rows] == [1, 2, 3]
    assert [row["Name"] for row in rows] == ["1", "two", "3"]
    assert rows[0] == {
        "Position": 1,
        "Name": "1",
        "Batch": "night",
        "ExecutionArn": query_arn(1),
        "QueryId": "q1",
        "State": "SUCCEEDED",
        "Error": None,
        "Reason": None,
        "OutputLocation": "s3://results/q1.csv",
        "DataScannedInBytes": 10_000_000,
        "EstimatedCostUsd": 0.00005,
        "Attempts": 1,
        "StartDate": "2026-01-02T02:04:05.000+00:00",
        "StopDate": "2026-01-02T02:59:05.000+00:00",
        "CarriedOver": False,
        "InputSha256": batch_files.input_sha256(QUERIES[0]),
    }
    assert (rows[1]["Error"], rows[1]["Reason"]) == ("AthenaQuery.Failed", "no table")


def test_a_re_run_with_the_manifest_runs_only_what_did_not_succeed(batch: Batch) -> None:
    run_three(batch)
    again = {"Batch": "night", "Queries": QUERIES, "PreviousManifest": report(batch)["Manifest"]}
    second = f"{ARN}:execution:queries-batch:again"
    answer = batch.plan(again, second)
    assert answer["ToRun"] == 2
    names = [item["Name"] for item in batch.bucket.lines(answer["ItemsKey"])]
    assert names == ["again-00002", "again-00003"]
    batch.executions.add(second, "RUNNING")
    for name in names:
        batch.executions.add(f"{ARN}:execution:queries:{name}", "SUCCEEDED", **succeeded("q2"))
    summary = reporter.report(second, batch.runtime)
    assert (summary["Succeeded"], summary["CarriedOver"], summary["NotSucceeded"]) == (3, 1, 0)
    assert summary["DataScannedInBytes"] == 20_000_000, "what this run read"
    row = batch.bucket.lines("batches/queries-batch/again/manifest.jsonl")[0]
    assert (row["ExecutionArn"], row["CarriedOver"]) == (query_arn(1), True)


def test_a_query_that_was_changed_runs_again(batch: Batch) -> None:
    run_three(batch)
    changed = [{"QueryString": "SELECT 1 + 1"}, *QUERIES[1:]]
    again = {"Batch": "night", "Queries": changed, "PreviousManifest": report(batch)["Manifest"]}
    assert batch.plan(again, f"{BATCH}-2")["ToRun"] == 3


def test_the_manifest_of_another_batch_or_another_file_is_refused(batch: Batch) -> None:
    run_three(batch)
    manifest = report(batch)["Manifest"]
    other = batch.plan({"Batch": "day", "Queries": QUERIES, "PreviousManifest": manifest}, f"{BATCH}-2")
    assert other == {"Refused": "PreviousManifest is of the batch night, not day"}
    wrong = batch.upload('{"a": 1}')
    answer = batch.plan({"Queries": QUERIES, "PreviousManifest": wrong}, f"{BATCH}-2")
    assert answer == {"Refused": "PreviousManifest is not the manifest of a batch"}


@pytest.mark.parametrize(
    ("field", "instead"),
    [("Reason", '"Reason": "\\ud800"'), ("Attempts", '"Attempts": 1e999'), ("Error", '"Other": 1')],
)
def test_a_manifest_that_the_reporter_could_not_copy_is_refused(
    batch: Batch, field: str, instead: str
) -> None:
    run_three(batch)
    report(batch)
    first, *others = batch.manifest()
    del first[field]
    lines = [f"{json.dumps(first)[:-1]}, {instead}}}", *map(json.dumps, others)]
    manifest = batch.upload("\n".join(lines))
    again = {"Batch": "night", "Queries": QUERIES, "PreviousManifest": manifest}

    assert batch.plan(again, f"{BATCH}-2") == {"Refused": "PreviousManifest is not the manifest of a batch"}


def test_a_location_whose_key_is_too_long_for_s3_is_refused(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_long(**_: Any) -> Any:
        raise failure("GetObject", "KeyTooLongError")

    monkeypatch.setattr(batch.bucket, "get_object", too_long)

    assert "does not exist" in batch.refusal({"QueriesLocation": f"s3://bucket/batches/{'x' * 1_100}"})


def test_a_refusal_is_short_whatever_it_quotes(batch: Batch) -> None:
    other = batch.upload(json.dumps({"Batch": "x" * 300_000}))
    reason = batch.refusal({"Queries": QUERIES, "PreviousManifest": other})
    assert len(reason) == REASON_CHARACTERS


def test_a_row_that_is_carried_over_has_its_new_position(batch: Batch) -> None:
    named = [{"Name": name, "QueryString": f"SELECT '{name}'"} for name in ("a", "b")]
    batch.plan({"Queries": named})
    batch.executions.add(BATCH, "RUNNING")
    batch.executions.add(query_arn(1), "SUCCEEDED", **succeeded())
    batch.executions.add(query_arn(2), "FAILED", **failed("Failed", "no table"))
    again = {"Queries": named[::-1], "PreviousManifest": report(batch)["Manifest"]}
    second = f"{ARN}:execution:queries-batch:again"
    assert batch.plan(again, second)["ToRun"] == 1
    batch.executions.add(second, "RUNNING")
    batch.executions.add(f"{ARN}:execution:queries:again-00001", "SUCCEEDED", **succeeded("q2"))
    reporter.report(second, batch.runtime)
    rows = batch.bucket.lines("batches/queries-batch/again/manifest.jsonl")
    assert [(row["Position"], row["Name"], row["CarriedOver"]) for row in rows] == [
        (1, "b", False),
        (2, "a", True),
    ]


@pytest.mark.parametrize("cause", ["not JSON", "[1]", '"text"', "5"])
def test_a_cause_that_is_no_object_is_the_reason(batch: Batch, cause: str) -> None:
    run_three(batch)
    batch.executions.add(query_arn(2), "FAILED", error="States.Runtime", cause=cause)
    report(batch)
    row = batch.manifest()[1]
    assert (row["Error"], row["Reason"]) == ("States.Runtime", cause)


def test_the_report_is_repeated_while_a_query_runs(batch: Batch) -> None:
    run_three(batch)
    batch.executions.add(query_arn(2), "RUNNING")
    with pytest.raises(ServiceFault, match="1 queries still run"):
        reporter.run({"ExecutionId": BATCH}, batch.runtime)
    assert f"{FOLDER}manifest.jsonl" not in batch.bucket.objects


def ended(batch: Batch, status: str, **detail: Any) -> None:
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"executionArn": BATCH, "status": status, "redriveCount": 0, **detail},
    }
    assert reporter.run(event, batch.runtime) is None


def abort(batch: Batch) -> None:
    """The batch was aborted while its second query ran; the third was never started."""
    run_three(batch)
    batch.executions.add(BATCH, "ABORTED")
    batch.executions.add(query_arn(2), "RUNNING")
    del batch.executions.known[query_arn(3)]
    batch.executions.children.append(CHILD)
    batch.started[query_arn(2)] = "q2"
    batch.athena["q2"] = {
        "Status": {"State": "CANCELLED"},
        "StatementType": "DML",
        "Statistics": {"DataScannedInBytes": 1},
    }


def test_an_aborted_batch_stops_its_children_and_queries_and_leaves_a_manifest(batch: Batch) -> None:
    abort(batch)
    ended(batch, "ABORTED")
    assert batch.executions.stopped == [CHILD, query_arn(2)]
    rows = batch.manifest()
    assert [row["State"] for row in rows] == ["SUCCEEDED", "ABORTED", "NOT_STARTED"]
    assert (rows[1]["Error"], rows[1]["Reason"]) == (
        "AthenaBatch.Stopped",
        "The batch ended before the query did.",
    )
    # Athena bills a cancelled query for what it read.
    assert (rows[1]["QueryId"], rows[1]["DataScannedInBytes"]) == ("q2", 1)
    assert rows[1]["EstimatedCostUsd"] == 0.00005
    assert rows[2]["ExecutionArn"] is None
    # Until a pass finds no child running.
    assert batch.bucket.metadata[f"{FOLDER}manifest.jsonl"] == {"final": "false", "redrive-count": "0"}
    sweep(batch)
    assert batch.bucket.metadata[f"{FOLDER}manifest.jsonl"] == {"final": "true", "redrive-count": "0"}


def test_the_manifest_is_not_final_while_the_map_goes_on(batch: Batch) -> None:
    abort(batch)
    batch.executions.children.clear()
    batch.executions.map_run = {}
    sweep(batch)
    assert final(batch) == "false"
    batch.executions.map_run = {"stopDate": NOW}
    sweep(batch)
    assert final(batch) == "true"


def final(batch: Batch) -> str:
    return batch.bucket.metadata[f"{FOLDER}manifest.jsonl"]["final"]


def test_the_manifest_is_not_final_while_athena_runs_a_query(batch: Batch) -> None:
    abort(batch)
    batch.athena["q2"]["Status"]["State"] = "RUNNING"
    ended(batch, "ABORTED")
    assert final(batch) == "false"
    batch.athena["q2"]["Status"]["State"] = "CANCELLED"
    sweep(batch)
    assert final(batch) == "true"


def test_the_manifest_is_not_final_while_a_child_may_start_its_query(batch: Batch) -> None:
    abort(batch)
    batch.executions.known[BATCH]["stopDate"] = NOW - timedelta(seconds=59)
    ended(batch, "ABORTED")
    assert final(batch) == "false"
    # It did.
    batch.executions.add(query_arn(3), "RUNNING")
    batch.executions.known[BATCH]["stopDate"] = NOW - timedelta(seconds=61)
    sweep(batch)
    assert batch.manifest()[2]["State"] == "ABORTED"
    assert final(batch) == "true"


def sweep(batch: Batch) -> None:
    assert reporter.run({"detail-type": "Scheduled Event"}, batch.runtime) is None


def test_the_sweep_reports_a_batch_whose_event_was_lost_and_only_once(batch: Batch) -> None:
    abort(batch)
    batch.executions.children.clear()
    sweep(batch)
    assert final(batch) == "true"
    batch.executions.stopped.clear()
    sweep(batch)
    assert not batch.executions.stopped


def test_the_sweep_reports_a_batch_again_after_a_redrive(batch: Batch) -> None:
    abort(batch)
    sweep(batch)
    sweep(batch)
    assert final(batch) == "true"
    batch.executions.known[BATCH]["redriveCount"] = 1
    batch.executions.add(query_arn(2, "-r1"), "SUCCEEDED", **succeeded("q3"))
    sweep(batch)
    assert batch.manifest()[1]["QueryId"] == "q3", "the latest run of the query"
    assert batch.bucket.metadata[f"{FOLDER}manifest.jsonl"]["redrive-count"] == "1"


@pytest.mark.parametrize(("hours", "reported"), [(71, True), (73, False)])
def test_the_sweep_reports_batches_that_ended_within_three_days(
    batch: Batch, hours: int, *, reported: bool
) -> None:
    abort(batch)
    batch.executions.known[BATCH]["stopDate"] = NOW - timedelta(hours=hours)
    sweep(batch)
    assert (f"{FOLDER}manifest.jsonl" in batch.bucket.objects) is reported


def test_queries_of_a_run_before_the_redrive_are_stopped(batch: Batch) -> None:
    abort(batch)
    batch.executions.known[BATCH]["redriveCount"] = 1
    batch.executions.add(query_arn(2, "-r1"), "SUCCEEDED", **succeeded("q3"))
    sweep(batch)
    assert batch.executions.stopped == [CHILD, query_arn(2)]
    assert batch.manifest()[1]["QueryId"] == "q3"


def test_a_query_that_cannot_be_described_is_not_taken_for_one_that_was_not_started(batch: Batch) -> None:
    run_three(batch)

    def describe(*, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn == query_arn(2):
            raise failure("DescribeExecution", "AccessDeniedException")
        return Executions.describe_execution(batch.executions, executionArn=executionArn)

    batch.executions.describe_execution = describe  # type: ignore[method-assign]
    with pytest.raises(ClientError, match="AccessDeniedException"):
        report(batch)
    assert f"{FOLDER}manifest.jsonl" not in batch.bucket.objects


def test_a_fault_of_one_batch_does_not_keep_the_sweep_from_another(batch: Batch) -> None:
    abort(batch)
    batch.executions.children.clear()
    known = batch.executions.known
    broken = f"{ARN}:execution:queries-batch:broken"
    batch.executions.known = {broken: {**known[BATCH], "executionArn": broken}, **known}

    def describe(*, executionArn: str) -> dict[str, Any]:  # noqa: N803
        if executionArn == broken:
            raise failure("DescribeExecution", "InternalServerError")
        return Executions.describe_execution(batch.executions, executionArn=executionArn)

    batch.executions.describe_execution = describe  # type: ignore[method-assign]
    with pytest.raises(ServiceFault, match="DescribeExecution: InternalServerError"):
        sweep(batch)
    assert final(batch) == "true"


def test_a_batch_that_was_redriven_is_left_alone(batch: Batch) -> None:
    abort(batch)
    batch.executions.add(BATCH, "RUNNING", redriveCount=1)
    ended(batch, "ABORTED")
    assert not batch.executions.stopped


@pytest.mark.parametrize("at", [query_arn(1), query_arn(3)], ids=["before a stop", "before the manifest"])
def test_a_batch_that_is_redriven_during_the_clean_up_is_left_alone(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    abort(batch)
    batch.executions.children.clear()
    describe = batch.executions.describe_execution

    def redriven(*, executionArn: str) -> Any:  # noqa: N803 - as in Step Functions' API
        if executionArn == at:
            batch.executions.add(BATCH, "RUNNING", redriveCount=1)
        return describe(executionArn=executionArn)

    monkeypatch.setattr(batch.executions, "describe_execution", redriven)

    ended(batch, "ABORTED")

    assert batch.executions.stopped == ([] if at == query_arn(1) else [query_arn(2)])
    assert f"{FOLDER}manifest.jsonl" not in batch.bucket.objects


def limit_calls(batch: Batch, monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let a reporter describe so many executions before its time is up."""
    describe = batch.executions.describe_execution
    left = calls

    def counted(*, executionArn: str) -> Any:  # noqa: N803 - as in Step Functions' API
        nonlocal left
        left -= 1
        return describe(executionArn=executionArn)

    def require(_seconds: float) -> None:
        if left <= 0:
            raise OutOfTime

    monkeypatch.setattr(batch.executions, "describe_execution", counted)
    monkeypatch.setattr(time_budget, "require", require)


def test_a_report_that_has_too_little_time_is_continued(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the three invocations has time for the batch itself and one of its queries."""
    run_three(batch)
    for count in (1, 2):
        with monkeypatch.context() as patch:
            limit_calls(batch, patch, 2)
            with pytest.raises(ServiceFault, match=f"{count} of 3 queries so far"):
                report(batch)
    limit_calls(batch, monkeypatch, 2)

    assert report(batch)["States"] == {"SUCCEEDED": 1, "FAILED": 2}
    assert [row["Position"] for row in batch.manifest()] == [1, 2, 3]


def test_a_clean_up_that_has_too_little_time_is_continued_by_the_sweep(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its rows, only those that cannot change are kept."""
    abort(batch)
    batch.executions.add(query_arn(1), "RUNNING")
    del batch.executions.known[query_arn(2)]
    with monkeypatch.context() as patch:
        # The batch, and the first query before and after its stop.
        limit_calls(batch, patch, 5)
        ended(batch, "ABORTED")
    assert f"{FOLDER}manifest.jsonl" not in batch.bucket.objects
    saved = batch.bucket.lines(f"{FOLDER}rows-0.jsonl")
    assert [(row["Position"], row["State"]) for row in saved] == [(1, "ABORTED")], "the second may yet start"
    batch.executions.add(query_arn(2), "SUCCEEDED", **succeeded())

    sweep(batch)

    assert [row["State"] for row in batch.manifest()] == ["ABORTED", "SUCCEEDED", "NOT_STARTED"]


def test_an_end_that_is_not_visible_yet_is_a_fault(batch: Batch) -> None:
    abort(batch)
    batch.executions.add(BATCH, "RUNNING")
    with pytest.raises(ServiceFault, match="not visible yet"):
        ended(batch, "ABORTED")


def test_a_batch_that_succeeded_is_left_alone(batch: Batch) -> None:
    abort(batch)
    batch.executions.add(BATCH, "SUCCEEDED")
    ended(batch, "ABORTED")
    assert not batch.executions.stopped
    assert f"{FOLDER}manifest.jsonl" not in batch.bucket.objects


def test_a_refused_batch_leaves_nothing(batch: Batch) -> None:
    batch.executions.add(BATCH, "FAILED")
    ended(batch, "FAILED")
    assert not batch.bucket.objects


@pytest.mark.parametrize("document", ['{"QueryString": "SELECT 5"}', "[]", '"text"'])
def test_an_execution_of_the_same_name_that_another_caller_started_is_not_the_query_s(
    batch: Batch, document: str
) -> None:
    abort(batch)
    batch.executions.known[query_arn(2)]["input"] = document
    ended(batch, "ABORTED")
    assert batch.executions.stopped == [CHILD]
    assert batch.manifest()[1]["State"] == "NOT_STARTED"


def test_settings_are_read_as_they_were_written() -> None:
    environment = {**SETTINGS.to_environment(), "AWS_REGION": SETTINGS.region}
    assert BatchSettings.from_environment(environment) == replace(SETTINGS)
