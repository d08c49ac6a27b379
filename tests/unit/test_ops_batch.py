"""`python -m ops batch`: its source, JSON Lines or a folder of statements, and how it ends."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.response import StreamingBody
from botocore.stub import ANY

from ops import batch, execution
from ops.__main__ import main
from ops.batch import Counts, read_queries
from ops.errors import CommandError
from ops.execution import Run
from tests.unit.stubbed_stack import BATCH_EXECUTION, BATCH_MACHINE, MACHINE, NOW, StubbedStack

MANIFEST = "s3://results/batches/AthenaQueries-batch/one/manifest.jsonl"


def test_a_file_is_passed_on_without_its_blank_lines(tmp_path: Path) -> None:
    source = tmp_path / "queries.jsonl"
    # A line separator of Unicode ends no line of JSON Lines.
    source.write_text('{"QueryString": "SELECT \'é\u2028\'"}\n\n{"NamedQueryId": "1"}\n', "utf-8")
    assert read_queries(source, None) == ['{"QueryString": "SELECT \'é\u2028\'"}', '{"NamedQueryId": "1"}']


def test_each_statement_of_a_folder_has_the_name_of_its_file(tmp_path: Path) -> None:
    for name in ("b.sql", "a.sql", "notes.txt"):
        (tmp_path / name).write_text(f"SELECT '{name}'")
    lines = [json.loads(line) for line in read_queries(tmp_path, "sales")]
    assert lines == [
        {"Name": "a", "QueryString": "SELECT 'a.sql'", "Database": "sales"},
        {"Name": "b", "QueryString": "SELECT 'b.sql'", "Database": "sales"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), (b"\n", "has no queries"), (b"\xff", "is not UTF-8 text")],
)
def test_a_source_without_queries_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    source = tmp_path / "queries.jsonl"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        read_queries(source, None)


def test_a_folder_without_statements_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"has no \.sql files"):
        read_queries(tmp_path, None)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "queries.jsonl"
    file.write_text('{"QueryString": "SELECT 1"}\n')
    return file


@pytest.fixture
def end(stack: StubbedStack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Defines how the batch ends: an execution or an error; further fields of its input; its manifest."""

    def define(how: Run | BaseException, rows: list[dict[str, Any]] | None = None, **fields: Any) -> None:
        document: dict[str, Any] = {"QueriesLocation": "s3://results/batches/input/1.jsonl", **fields}
        for _ in [name for name in document if name in {"QueriesLocation", "PreviousManifest"}]:
            stack.stub("s3").add_response(
                "put_object",
                {},
                {"Bucket": "results", "Key": ANY, "Body": ANY, "ContentType": "application/jsonl"},
            )
        stack.expect_start(document, machine=BATCH_MACHINE, execution=BATCH_EXECUTION)
        if rows is not None:
            body = "".join(json.dumps(row) + "\n" for row in rows).encode()
            stack.stub("s3").add_response(
                "get_object",
                {"Body": StreamingBody(io.BytesIO(body), len(body))},
                {"Bucket": "results", "Key": MANIFEST.removeprefix("s3://results/")},
            )

        def follow(*_: Any) -> Run:
            if isinstance(how, BaseException):
                raise how
            return how

        monkeypatch.setattr(batch, "follow", follow)

    monkeypatch.setattr("uuid.uuid4", lambda: 1)
    return define


def row(position: int, state: str, **fields: Any) -> dict[str, Any]:
    return {
        "Position": position,
        "Name": str(position),
        "State": state,
        "Error": None,
        "Reason": None,
        "CarriedOver": False,
        "DataScannedInBytes": 10,
        "EstimatedCostUsd": 0.5,
        **fields,
    }


SUCCEEDED = Run(arn=BATCH_EXECUTION, status="SUCCEEDED", output={})


def test_the_arguments_become_the_input(
    source: Path, end: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    previous = source.with_name("previous.jsonl")
    previous.write_text("{}\n")
    location = "s3://results/batches/input/1.jsonl"
    end(
        SUCCEEDED,
        [row(1, "SUCCEEDED"), row(2, "SUCCEEDED", CarriedOver=True)],
        Batch="nightly",
        PreviousManifest=location,
        ToleratedFailureCount=0,
    )

    words = ["--name", "nightly", "--previous", str(previous), "--tolerate", "0"]
    assert main(["batch", str(source), *words]) == 0

    printed = capsys.readouterr().out
    assert "2 of 2 queries succeeded, 1 of them in an earlier run; 10 bytes scanned" in printed
    assert printed.endswith(f"manifest: {MANIFEST}\n")


@pytest.mark.parametrize("state", ["FAILED", "TIMED_OUT", "ABORTED", "RUNNING", "NOT_STARTED"])
def test_one_query_that_did_not_succeed_is_exit_code_1(
    state: str, source: Path, end: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    end(SUCCEEDED, [row(1, "SUCCEEDED"), row(2, state, Reason="[no]\nway")])

    assert main(["batch", str(source)]) == 1

    printed = capsys.readouterr().out
    assert "1 of 2 queries succeeded" in printed
    assert "[no] way" in printed


def test_the_outcome_is_printed_even_if_the_manifest_cannot_be_written(
    source: Path, end: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    end(SUCCEEDED, [row(1, "SUCCEEDED")])

    assert main(["batch", str(source), "--out", "/dev/full"]) == 1

    printed = capsys.readouterr()
    assert f"manifest: {MANIFEST}" in printed.out
    assert "error: cannot write /dev/full: No space left on device" in printed.err


def test_a_previous_manifest_that_cannot_be_read_is_one_line(
    stack: StubbedStack, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.jsonl"

    assert main(["batch", str(source), "--previous", str(missing)]) == 2

    expected = f"python -m ops: error: cannot read {missing}: No such file or directory\n"
    assert capsys.readouterr().err == expected
    # Nothing was uploaded and nothing started: the stubs expect no call.
    assert "stepfunctions" not in stack.stubs


def test_an_interruption_says_that_the_batch_goes_on(
    source: Path, end: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    end(KeyboardInterrupt())

    assert main(["batch", str(source)]) == 130

    stop = f"aws stepfunctions stop-execution --execution-arn {BATCH_EXECUTION}"
    assert f"the batch goes on; stop it with `{stop}`" in capsys.readouterr().err


def test_an_interruption_stops_the_batch_on_request(
    stack: StubbedStack, source: Path, end: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    end(KeyboardInterrupt())
    stack.expect_stop(BATCH_EXECUTION)

    assert main(["batch", str(source), "--stop-on-interrupt"]) == 130

    assert f"interrupted: stopped the batch {BATCH_EXECUTION}" in capsys.readouterr().err


def test_a_lost_connection_names_the_batch_that_may_still_run(
    source: Path, end: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    end(EndpointConnectionError(endpoint_url="http://127.0.0.1:1"))

    assert main(["batch", str(source)]) == 3

    assert f"the batch may still be running: {BATCH_EXECUTION}" in capsys.readouterr().err


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses made while a manifest was waited for."""
    pauses: list[float] = []
    # The module's own name: other threads of this process sleep too.
    virtual = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(batch, "time", virtual)
    return pauses


def test_the_manifest_of_an_aborted_batch_is_waited_for(
    stack: StubbedStack, source: Path, end: Callable[..., None], clock: list[float]
) -> None:
    end(Run(arn=BATCH_EXECUTION, status="ABORTED"))
    # Without the permission to list, S3 answers AccessDenied for a key that does not exist.
    for code in ("NoSuchKey", "AccessDenied"):
        stack.stub("s3").add_client_error("get_object", code)
    body = json.dumps(row(1, "ABORTED")).encode()
    answer = {"Body": StreamingBody(io.BytesIO(body), len(body))}
    stack.stub("s3").add_response("get_object", answer)

    assert main(["batch", str(source)]) == 1

    assert clock == [1, 1]


def test_a_manifest_is_not_waited_for_without_end(
    stack: StubbedStack,
    source: Path,
    end: Callable[..., None],
    clock: list[float],
    capsys: pytest.CaptureFixture[str],
) -> None:
    end(Run(arn=BATCH_EXECUTION, status="FAILED", error="States.Runtime"))
    for _ in range(122):
        stack.stub("s3").add_client_error("get_object", "NoSuchKey")

    assert main(["batch", str(source)]) == 1

    assert sum(clock) == 121
    text = f"the batch ended with status FAILED (States.Runtime), and its manifest cannot be read: {MANIFEST}"
    assert text in capsys.readouterr().err


def test_a_batch_that_succeeded_has_its_manifest_at_once(
    stack: StubbedStack, source: Path, end: Callable[..., None], clock: list[float]
) -> None:
    end(SUCCEEDED)
    stack.stub("s3").add_client_error("get_object", "NoSuchKey")

    assert main(["batch", str(source)]) == 1

    assert clock == []


def test_a_fault_of_s3_is_not_taken_for_a_missing_manifest(
    stack: StubbedStack, source: Path, end: Callable[..., None], clock: list[float]
) -> None:
    end(Run(arn=BATCH_EXECUTION, status="ABORTED"))
    stack.stub("s3").add_client_error("get_object", "ExpiredToken")

    assert main(["batch", str(source)]) == 3

    assert clock == []


def test_each_query_is_counted_once_when_it_has_ended(
    stack: StubbedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_SHORTEST_POLL", 0)
    stub = stack.stub("stepfunctions")

    def describes(arn: str, status: str, **fields: str) -> None:
        answer = {"executionArn": arn, "stateMachineArn": MACHINE, "startDate": NOW, "status": status}
        stub.add_response("describe_execution", {**answer, **fields}, {"executionArn": arn})

    def polls(status: str, *queries: tuple[str, str]) -> None:
        describes(BATCH_EXECUTION, status, **({"output": "{}"} if status == "SUCCEEDED" else {}))
        stub.add_response("get_execution_history", {"events": []})
        executions = [
            {
                "executionArn": f"{MACHINE}:{name}",
                "stateMachineArn": MACHINE,
                "name": name,
                "status": of_query,
                "startDate": NOW,
            }
            for name, of_query in queries
        ]
        stub.add_response("list_executions", {"executions": executions})

    def ends(name: str, status: str, **result: Any) -> None:
        field = "output" if status == "SUCCEEDED" else "cause"
        describes(f"{MACHINE}:{name}", status, **{field: json.dumps(result)})

    describes(BATCH_EXECUTION, "RUNNING")
    foreign = ("another-00001", "FAILED")
    polls("RUNNING", ("one-00002", "RUNNING"), ("one-00001", "SUCCEEDED"), foreign)
    ends("one-00001", "SUCCEEDED", Statistics={"DataScannedInBytes": 10}, EstimatedCostUsd=0.5)
    polls("SUCCEEDED", ("one-00002", "TIMED_OUT"), ("one-00001", "SUCCEEDED"), foreign)
    ends("one-00002", "TIMED_OUT", DataScannedInBytes=5, EstimatedCostUsd=0.25)
    seen: list[Counts] = []

    batch.follow(
        stack.deployment.client("stepfunctions"),
        BATCH_EXECUTION,
        MACHINE,
        lambda counts: seen.append(replace(counts)),
    )

    assert seen == [
        Counts(done=1, running=1, failed=0, scanned_bytes=10, cost_usd=0.5),
        Counts(done=2, running=0, failed=1, scanned_bytes=15, cost_usd=0.75),
    ]
