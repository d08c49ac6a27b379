"""Outages of one service, each of one length: what becomes of running, new and aborted executions."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

from functions.metric_names import Metric
from tests.simulation.athena import Plan
from tests.simulation.checks import Violation, violations
from tests.simulation.choices import SeededChoices
from tests.simulation.clock import BEGINNING
from tests.simulation.deployment import Deployment
from tests.simulation.faults import SERVICES, FaultProfile, Outage, Service
from tests.simulation.interpreter import Execution
from tests.simulation.scenarios import HOUR, MINUTE, SCENARIOS
from tests.simulation.world import History, World

LENGTHS = (MINUTE, 2 * MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR)

_BEGINS = 20 * MINUTE
_QUERY_SECONDS = 2 * HOUR
_MOST_ACTIONS = 3_000_000


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many executions run when it begins, start in its first minute, and are aborted during it."""

    running: int = 40
    new: int = 20
    aborted: int = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    """`running` and `new` are how many executions ended with the true outcome of their query.

    Times are in seconds, and 0 where all was over before the outage was: `latest_end` from the query's end,
    or the outage's if that came later, to the execution's end; `longest_unattended` from an abort, or the end
    of the outage, to the end of the query. `stuck` is the highest OldestStuckExecution that a sweep emitted
    during the outage; None if none did.
    """

    service: Service
    seconds: float
    size: Size
    running: int
    new: int
    latest_end: float
    longest_unattended: float
    stuck: float | None
    dead_letters: int
    violations: tuple[Violation, ...]

    @property
    def kept(self) -> bool:
        return not self.violations and (self.running, self.new) == (self.size.running, self.size.new)


def run_outage(service: Service, seconds: float, size: Size = Size()) -> Row:
    begins = BEGINNING + _BEGINS
    ends = begins + seconds
    world = World(
        SeededChoices(1),
        deployment=Deployment(),
        faults=FaultProfile(outages=(Outage(service=service, begins=begins, ends=ends),)),
        scenario=SCENARIOS["healthy"],
        plan=Plan(runs_after=1.0, requeued=False, ends_after=_QUERY_SECONDS, end="success"),
    )
    total = size.running + size.new + size.aborted
    for number in range(total):
        new = size.running <= number < size.running + size.new
        world.start(number, {"QueryString": f"SELECT {number}"}, _BEGINS + number if new else float(number))
    aborted = range(size.running + size.new, total)
    for number in aborted:
        world.abort_later(number, _BEGINS + seconds * (number - aborted.start) / max(size.aborted, 1))
    history = world.run(_MOST_ACTIONS)
    executions = {int(each.arn.rpartition("-")[2]): each for each in history.machine.executions}
    unaborted = [executions[number] for number in range(aborted.start)]
    return Row(
        service=service,
        seconds=seconds,
        size=size,
        running=sum(_succeeded(each) for each in unaborted[: size.running]),
        new=sum(_succeeded(each) for each in unaborted[size.running :]),
        latest_end=max(0.0, *(_end_of(each) - max(_query_end(history, each), ends) for each in unaborted)),
        longest_unattended=max(
            0.0,
            *(
                _query_end(history, each) - max(_end_of(each), ends)
                for each in executions.values()
                if each not in unaborted
            ),
        ),
        stuck=max(_measured(history, begins, ends), default=None),
        dead_letters=len(history.lambdas.dead_letters),
        violations=tuple(violations(history)),
    )


def run_table(size: Size, lengths: Sequence[float] = LENGTHS, jobs: int = 2) -> Iterator[Row]:
    """One row for each service and length."""
    cases = [(service, seconds) for service in SERVICES for seconds in lengths]
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(partial(_run_case, size), cases)


def _run_case(size: Size, case: tuple[Service, float]) -> Row:
    return run_outage(*case, size)


def _measured(history: History, begins: float, ends: float) -> Iterator[float]:
    """The values of OldestStuckExecution that sweeps emitted in this time."""
    for invocation, name, value in history.reports.metrics:
        if name == Metric.OLDEST_STUCK_EXECUTION and invocation and begins <= invocation.began < ends:
            yield value


def _succeeded(execution: Execution) -> bool:
    return execution.run.end is not None and execution.run.end.status == "SUCCEEDED"


def _end_of(execution: Execution) -> float:
    return execution.run.end.at if execution.run.end else float("inf")


def _query_end(history: History, execution: Execution) -> float:
    """When the execution's last query ended; the beginning if it had none."""
    ends = (
        query.ended_at
        for query in history.athena.queries.values()
        if query.subject is not None and query.subject.execution is execution and not query.is_claim
    )
    return max(ends, default=BEGINNING)
