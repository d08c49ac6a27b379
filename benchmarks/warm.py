"""Warm path of the functions and of bare boto3 handlers with the same calls, in instructions per event.

Counted like benchmarks/cold.py: a run with more events, less a run with the first event only. The calls
before the one that matters to a caller are listed with it.
"""

import json

from benchmarks.cold import WORK, check_calls, find_python, instructions, microseconds, need_valgrind, prepare
from benchmarks.events import ANSWERS, EVENTS, FUNCTIONS
from benchmarks.result import Result, Table
from benchmarks.stub import serve

GOAL = 1.15
_EVENTS = 20

# What the caller waits for.
_DECISIVE = {
    "executor": "StartQueryExecution",
    "checker": "SendTaskSuccess",
    "canceller": "StopQueryExecution",
}


def measure(*, small: bool) -> Result:
    """The small version measures CPU time, which is fast and inexact, and only one function."""
    python = find_python()
    need_valgrind()
    count = microseconds if small else instructions
    sides = prepare(python)
    rows: list[tuple[str, float, float, float, str]] = []
    with serve(WORK / "tls") as (stub, certificates):
        environment = {"AWS_ENDPOINT_URL": stub.endpoint, "AWS_CA_BUNDLE": str(certificates)}
        for function in ("checker",) if small else FUNCTIONS:
            per_event = []
            for side, (module, path) in sides.items():
                totals = []
                for events in (0, _EVENTS):
                    stub.expect(ANSWERS[function])
                    words = [f"{module}.{function}", json.dumps(EVENTS[function]), str(events)]
                    totals.append(count(python, {**environment, "PYTHONPATH": path}, words))
                    check_calls(stub, function, side)
                per_event.append((totals[1] - totals[0]) / _EVENTS / 1e6)
            ours, bare = per_event
            operations = [operation for operation, _ in ANSWERS[function]]
            before = operations[: operations.index(_DECISIVE[function])]
            calls = f"{_DECISIVE[function]} after {', '.join(before)}"
            rows.append((function, round(ours, 2), round(bare, 2), round(ours / bare, 3), calls))
    worst = max(ratio for _, _, _, ratio, _ in rows)
    return Result(
        name="warm",
        tables=[
            Table(
                title="A warm event, millions of instructions",
                columns=["function", "ours", "bare boto3 handler", "ratio", "round trips before the answer"],
                rows=rows,
            )
        ],
        figure=f"{worst:.2f} times a bare handler",
        goal=f"at most {GOAL}",
        held=worst <= GOAL,
    )
