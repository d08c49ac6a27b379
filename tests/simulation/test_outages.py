"""Small versions of `python -m tests.simulation outages`."""

import pytest

from tests.simulation.faults import SERVICES, Service
from tests.simulation.outages import Size, run_outage
from tests.simulation.scenarios import HOUR, MINUTE

SIZE = Size(running=3, new=2, aborted=2)

# Seconds after an outage, or an abort, within which no query runs on: a sweep, and what a function takes.
MOST_UNATTENDED = 5 * MINUTE + 60


@pytest.mark.parametrize("seconds", [2 * MINUTE, 3 * HOUR])
@pytest.mark.parametrize("service", SERVICES)
def test_an_outage_ends_no_execution_whose_query_is_healthy(service: Service, seconds: float) -> None:
    row = run_outage(service, seconds, SIZE)
    assert row.violations == ()
    assert (row.running, row.new) == (SIZE.running, SIZE.new)
    assert row.longest_unattended <= MOST_UNATTENDED


@pytest.mark.parametrize("service", ["GetQueryExecution", "executor", "checker"])
def test_sweeps_measure_executions_that_are_stuck(service: Service) -> None:
    stuck = run_outage(service, 3 * HOUR, SIZE).stuck
    assert stuck is not None
    assert stuck > HOUR / 2


@pytest.mark.parametrize("service", ["Athena", "DynamoDB", "canceller", "EventBridge"])
def test_sweeps_that_cannot_measure_emit_nothing(service: Service) -> None:
    """A zero would keep the alarm quiet; missing data lets it fire."""
    assert run_outage(service, 3 * HOUR, SIZE).stuck is None
