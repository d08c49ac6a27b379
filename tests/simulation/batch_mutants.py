"""Known defects of planner and reporter, each with the check that must find it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast
from unittest.mock import patch

from functions import batch_files, planner, reporter
from functions.batch_files import Planned
from functions.batch_runtime import BatchRuntime

_row, _find, _write = reporter._row, reporter._find, reporter._write  # noqa: SLF001
_summary, _clean_up = reporter._summary, reporter.clean_up  # noqa: SLF001


@dataclass(frozen=True)
class Mutant:
    """`target` has `name` replaced by `new`."""

    about: str
    caught_by: str
    target: Any
    name: str
    new: Any


def _stops_children_only(execution_id: str, redrive_count: int, runtime: BatchRuntime) -> None:
    class StepFunctions:
        def __getattr__(self, name: str) -> Any:
            return getattr(runtime.stepfunctions, name)

        def stop_execution(self, *, executionArn: str, **more: Any) -> None:  # noqa: N803 - as in the API
            if "-batch/" in executionArn:
                runtime.stepfunctions.stop_execution(executionArn=executionArn, **more)

    _clean_up(execution_id, redrive_count, replace(runtime, stepfunctions=cast("Any", StepFunctions())))


def _of_first_run(planned: Planned, _redrive_count: int, runtime: BatchRuntime) -> Any:
    return _find(planned, 0, runtime)


def _clean_up_nothing(*_arguments: Any) -> None:
    """Stop nothing and write nothing."""


def _one_pass(execution_id: str, _redrive_count: int, runtime: BatchRuntime) -> bool:
    files = batch_files.Files.of(execution_id, runtime.settings)
    try:
        return bool(batch_files.read_metadata(runtime.s3, runtime.settings.batches_bucket, files.manifest))
    except batch_files.Missing:
        return False


def _any_redrive(execution_id: str, _redrive_count: int, runtime: BatchRuntime) -> bool:
    files = batch_files.Files.of(execution_id, runtime.settings)
    try:
        metadata = batch_files.read_metadata(runtime.s3, runtime.settings.batches_bucket, files.manifest)
    except batch_files.Missing:
        return False
    return metadata.get(batch_files.FINAL) == "true"


def _by_name(document: Any) -> str:
    """The digest of any input."""
    return "0" * 64 if document else ""


def _not_started_is_left_out(
    files: Any, rows: Any, redrive_count: int, runtime: BatchRuntime, *, final: bool
) -> None:
    started = [row for row in rows if row["State"] != "NOT_STARTED"]
    _write(files, started, redrive_count, runtime, final=final)


def _carried_are_left_out(
    files: Any, rows: Any, redrive_count: int, runtime: BatchRuntime, *, final: bool
) -> None:
    _write(files, [row for row in rows if not row["CarriedOver"]], redrive_count, runtime, final=final)


def _sums_all_rows(rows: Any, manifest: str) -> dict[str, Any]:
    scanned = sum(row["DataScannedInBytes"] or 0 for row in rows)
    return {**_summary(rows, manifest), "DataScannedInBytes": scanned}


def _running_counts_as_ended(planned: Planned, found: Any) -> dict[str, Any]:
    row = _row(planned, found)
    return {**row, "State": "ABORTED"} if row["State"] == "RUNNING" else row


MUTANTS: dict[str, Mutant] = {
    "queries are not stopped": Mutant(
        "what Step Functions did not cancel runs on",
        "nothing_runs_on",
        reporter,
        "clean_up",
        _stops_children_only,
    ),
    "a batch is not cleaned up": Mutant(
        "an aborted batch leaves no manifest",
        "accounts_for_each_query_once",
        reporter,
        "clean_up",
        _clean_up_nothing,
    ),
    "there is no sweep": Mutant(
        "a lost event leaves no manifest", "accounts_for_each_query_once", reporter, "sweep", lambda _: None
    ),
    "a manifest is final at once": Mutant(
        "a query that starts late keeps running",
        "a_final_manifest_stays_true",
        reporter,
        "_SETTLING",
        timedelta(0),
    ),
    "one pass is enough": Mutant(
        "the sweep does not complete a manifest",
        "a_final_manifest_stays_true",
        reporter,
        "_is_final",
        _one_pass,
    ),
    "a redrive's manifest is the one before": Mutant(
        "the sweep takes a manifest of an earlier redrive for final",
        "a_final_manifest_stays_true",
        reporter,
        "_is_final",
        _any_redrive,
    ),
    "redrives are ignored": Mutant(
        "a row is that of an earlier redrive", "rows_are_true", reporter, "_find", _of_first_run
    ),
    "running counts as aborted": Mutant(
        "the report does not wait for ends that are not shown yet",
        "rows_are_true",
        reporter,
        "_row",
        _running_counts_as_ended,
    ),
    "queries that were not started have no row": Mutant(
        "rows are missing", "accounts_for_each_query_once", reporter, "_write", _not_started_is_left_out
    ),
    "queries that were carried over have no row": Mutant(
        "rows are missing after a re-run",
        "accounts_for_each_query_once",
        reporter,
        "_write",
        _carried_are_left_out,
    ),
    "a corrected query is carried over": Mutant(
        "its old result counts", "a_re_run_runs_what_did_not_succeed", batch_files, "input_sha256", _by_name
    ),
    "nothing is carried over": Mutant(
        "a re-run runs everything",
        "a_re_run_runs_what_did_not_succeed",
        planner,
        "_succeeded_before",
        lambda *_: {},
    ),
    "the summary counts an earlier run": Mutant(
        "bytes are counted twice", "the_summary_counts_the_rows", reporter, "_summary", _sums_all_rows
    ),
    "failures are not tolerated": Mutant(
        "one failure stops the batch", "tolerates_what_the_input_asks", planner, "_tolerated", lambda *_: 0
    ),
    "the queries of a canceller are not awaited": Mutant(
        "a manifest is final while Athena runs a query",
        "a_final_manifest_stays_true",
        reporter,
        "_add_usage",
        lambda *_: 0,
    ),
}


@contextmanager
def applied(name: str) -> Iterator[None]:
    mutant = MUTANTS[name]
    with patch.object(mutant.target, mutant.name, mutant.new):
        yield
