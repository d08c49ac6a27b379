"""USD per million queries against the duration of a query, for this project and the alternatives.

Athena's own price, logs and data transfer are the same for all and left out. Ours is counted by
benchmarks/work.py; the alternatives follow from their definitions. The prices are in prices.json, with their
date and pages.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.plot import draw
from benchmarks.result import RESULTS, Result, Table
from benchmarks.work import HOUR, MINUTE, SECOND, count, shown

if TYPE_CHECKING:
    from collections.abc import Callable

DURATIONS = (SECOND, 10 * SECOND, MINUTE, 5 * MINUTE, 10 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR)
GOAL_RATIO = 1.0

_DOCUMENT = json.loads((Path(__file__).parent / "prices.json").read_text())
PRICES: dict[str, float] = {price["name"]: price["per_million"] for price in _DOCUMENT["prices"]}

_FUNCTION_GB = 0.5
# A function that waits needs only the minimum memory; it ends after 15 minutes (Lambda quotas).
_WAITING_GB = 0.125
_LONGEST_FUNCTION_SECONDS = 15 * MINUTE
# An invocation with one call, as in the simulation: 30 ms on average.
_ONE_CALL_SECONDS = 0.03


def measure(*, small: bool) -> Result:
    durations = DURATIONS[:2] if small else DURATIONS
    designs: dict[str, Callable[[float], float]] = {
        "ours": lambda duration: ours(duration, event_arrives=True),
        "ours, event lost": lambda duration: ours(duration, event_arrives=False),
        "polling, 30 s": lambda duration: polling(duration, 30),
        "polling, 5 s": lambda duration: polling(duration, 5),
        "startQueryExecution.sync": lambda _duration: _usd({"state transition": 2}),
        "Lambda that waits": waiting,
        "Lambda durable function": lambda _duration: durable(),
    }
    costs = {name: [cost(duration) for duration in durations] for name, cost in designs.items()}
    rows = [
        [shown(duration), *(_cell(costs[name][number]) for name in designs)]
        for number, duration in enumerate(durations)
    ]
    worst = max(mine / theirs for mine, theirs in zip(costs["ours"], costs["polling, 30 s"], strict=True))
    if not small:
        draw(
            RESULTS / "cost.png",
            title=f"Cost of a million queries, {_DOCUMENT['region']}, {_DOCUMENT['date']}",
            x=("Query duration (s)", durations),
            y=("USD per million queries", costs),
        )
    return Result(
        name="cost",
        tables=[Table(title="USD per million queries", columns=["duration", *designs], rows=rows)],
        figure=f"at most {worst:.2f} of polling every 30 s",
        goal=f"below {GOAL_RATIO:g}",
        held=worst < GOAL_RATIO,
    )


def ours(duration: float, *, event_arrives: bool) -> float:
    work = count(duration, event_arrives=event_arrives)
    return _usd(
        {
            "state transition": work.transitions,
            "request": work.invocations,
            "GB-second": work.seconds * _FUNCTION_GB,
            "write unit": work.writes,
            "read unit": work.reads,
        }
    )


def polling(duration: float, wait: float) -> float:
    """Start query, Get and Check, then Wait, Get and Check until it has ended, and Done."""
    rounds = math.ceil(duration / wait)
    invocations = 2 + rounds
    return _usd(
        {
            "state transition": 4 + 3 * rounds,
            "request": invocations,
            "GB-second": invocations * _ONE_CALL_SECONDS * _FUNCTION_GB,
        }
    )


def waiting(duration: float) -> float:
    """NaN where a function cannot run so long."""
    if duration > _LONGEST_FUNCTION_SECONDS:
        return math.nan
    return _usd({"request": 1, "GB-second": duration * _WAITING_GB})


def durable() -> float:
    """The execution, a step that starts the query, and the callback; a second function sends the callback."""
    return _usd({"durable operation": 3, "request": 3, "GB-second": 4 * _ONE_CALL_SECONDS * _FUNCTION_GB})


def _usd(units: dict[str, float]) -> float:
    """Of a million queries that take so many units each."""
    return sum(number * PRICES[name] for name, number in units.items())


def _cell(cost: float) -> float | str:
    return "none" if math.isnan(cost) else round(cost, 1)
