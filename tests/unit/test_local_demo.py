"""The demo: it compares each outcome with the expected one, and fails if one differs."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local import demo, stack
from local.__main__ import main
from ops.execution import Rows, Run

COMPLETED = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_summary_cuts_no_error_name_at_80_columns() -> None:
    printed = io.StringIO()
    rows = [
        (sample, Run(arn="a", status="FAILED", error="AthenaQuery.InvalidRequest")) for sample in demo.SAMPLES
    ]

    Console(file=printed, width=80).print(demo.summarize([(*row, "12.34 s later") for row in rows]))

    lines = printed.getvalue().splitlines()
    assert printed.getvalue().count("AthenaQuery.InvalidRequest") == len(demo.SAMPLES)
    assert max(map(len, lines)) <= 80
    assert "…" not in printed.getvalue()


def test_an_outcome_that_differs_from_the_samples_is_named() -> None:
    sample = demo.SAMPLES[-1]
    ended = Run(arn="a", status="SUCCEEDED", states=["Start query", "Done"], output={"SettledBy": "event"})

    assert demo.compare(sample, ended) == [
        "expected detection by poll",
        "expected the states Start query, Get query status, Check query status, Done",
    ]
    aborted = Run(arn="a", status="ABORTED", states=list(sample.states))
    assert demo.compare(sample, aborted) == ["expected success"]
    by_executor = {"SettledBy": "executor"}
    early = Run(arn="a", status="SUCCEEDED", states=list(sample.states), output=by_executor)
    assert demo.compare(sample, early) == ["expected detection by poll"]
    assert demo.compare(replace(sample, settled_by="event"), early) == []
    other_order = Run(arn="a", status="SUCCEEDED", states=list(sample.states)[::-1])
    assert len(demo.compare(sample, other_order)) == 1


def expected_run(sample: demo.Sample) -> Run:
    """The execution that the sample expects, two seconds after its query."""
    run = Run(
        arn=sample.title,
        status="FAILED" if sample.error else "SUCCEEDED",
        states=list(sample.states),
        error=sample.error,
        started=COMPLETED,
        stopped=COMPLETED + timedelta(seconds=2),
    )
    if sample.error is None:
        statistics = {"DataScannedInBytes": 1}
        run.output = {
            "QueryId": sample.title,
            "SettledBy": sample.settled_by,
            "EstimatedCostUsd": 0.0,
            "Statistics": statistics,
        }
    return run


class DemoStack:
    """The stack of the demo: each execution ends as its sample expects, but for those in `changed`."""

    outputs = {"StateMachineArn": "machine"}  # noqa: RUF012 - never changed

    def __init__(self, **changed: Run) -> None:
        self.changed = changed
        self.modes: list[str] = []
        self.delivered: dict[str, str] = {}

    def client(self, _: str) -> "DemoStack":
        return self

    def deliver_events(self, mode: str) -> None:
        self.modes.append(mode)

    def start(self, _client: Any, _arn: str, document: dict[str, Any]) -> str:
        (title,) = (one.title for one in demo.SAMPLES if one.document == document)
        self.delivered[title] = self.modes[-1]
        return title

    def follow(self, _client: Any, title: str, on_state: Callable[[str], None]) -> Run:
        (sample,) = (one for one in demo.SAMPLES if one.title == title)
        run = self.changed.get(title) or expected_run(sample)
        for state in run.states:
            on_state(state)
        return run

    def get_query_execution(self, **_: str) -> dict[str, Any]:
        return {"QueryExecution": {"Status": {"CompletionDateTime": COMPLETED}}}


def run_demo(deployed: DemoStack, monkeypatch: pytest.MonkeyPatch, home: Path) -> int:
    @contextmanager
    def temporary(*_: Any) -> Iterator[DemoStack]:
        yield deployed

    monkeypatch.setattr(stack, "temporary", temporary)
    monkeypatch.setattr(demo, "start", deployed.start)
    monkeypatch.setattr(demo, "follow", deployed.follow)
    monkeypatch.setattr(demo, "read_rows", lambda *_: Rows(columns=["n"], rows=[["1"]], more=False))
    return main(["--home", str(home), "demo"])


def test_the_demo_succeeds_if_each_sample_does_what_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed = DemoStack()

    assert run_demo(deployed, monkeypatch, tmp_path) == 0

    printed = capsys.readouterr().out
    assert deployed.delivered == {one.title: "normal" if one.events else "off" for one in demo.SAMPLES}
    assert deployed.modes[-1] == "normal"
    assert re.search(r"event, 2\.00 s later", printed)
    assert re.findall(r"\b(yes|no)\s*$", printed, re.MULTILINE) == ["yes"] * len(demo.SAMPLES)


@pytest.mark.parametrize("sample", demo.SAMPLES, ids=lambda sample: sample.title)
def test_the_demo_fails_if_one_sample_does_not(
    sample: demo.Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aborted = Run(arn="a", status="ABORTED", states=list(sample.states))

    assert run_demo(DemoStack(**{sample.title: aborted}), monkeypatch, tmp_path) == 1

    assert f"{sample.title}: expected {sample.error or 'success'}" in capsys.readouterr().out
