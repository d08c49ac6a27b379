"""States entered against duration, and Step Functions' limit of history events."""

import itertools

import pytest

from infra.settings import SettingError, Settings
from tests.simulation.athena import Plan
from tests.simulation.choices import SeededChoices
from tests.simulation.clock import BEGINNING
from tests.simulation.deployment import Deployment
from tests.simulation.events import RULES
from tests.simulation.faults import FaultProfile, Outage, Service
from tests.simulation.interpreter import HISTORY_EVENTS
from tests.simulation.scenarios import DAY, HOUR, NEVER, SCENARIOS
from tests.simulation.transitions import DURATIONS, MOST_STATES, count
from tests.simulation.world import Variant, World


@pytest.mark.parametrize("duration", DURATIONS)
def test_states_are_logarithmic_in_the_duration(duration: float) -> None:
    lost = count(duration, event_arrives=False)
    assert lost.states <= MOST_STATES.get(duration, lost.states)
    assert count(duration, event_arrives=True).states <= lost.states


def test_the_event_path_enters_two_states() -> None:
    assert count(1.0, event_arrives=True).states == 2


# The lowest and the highest value that a deployment may have, and a step beyond.
EXTREMES = {
    "patienceSeconds": (1, 86_400, 1),
    "pollSeconds": (1, 3_600, 1),
    "pollGrowth": (0.05, 1, 0.01),
}
COMBINATIONS = list(itertools.product(*((low, high) for low, high, _ in EXTREMES.values())))


@pytest.mark.parametrize(
    ("name", "low", "high", "step"), [(name, *values) for name, values in EXTREMES.items()]
)
def test_these_are_the_extremes_that_synth_accepts(name: str, low: float, high: float, step: float) -> None:
    for value in (low, high):
        Settings.from_context({name: str(value)})
    for value in (low - step, high + step):
        with pytest.raises(SettingError):
            Settings.from_context({name: str(round(value, 2))})


@pytest.mark.parametrize(("patience", "poll", "growth"), COMBINATIONS)
@pytest.mark.parametrize(
    "outage", [None, "checker", "executor", "Step Functions callbacks", "GetQueryExecution"]
)
def test_no_setting_reaches_the_limit_of_history_events(
    patience: int, poll: int, growth: float, outage: Service | None
) -> None:
    """An execution of two days without its event, and while a service fails for all that time."""
    begins, ends = BEGINNING + 5.0, BEGINNING + 3 * DAY
    outages = [Outage(service=outage, begins=begins, ends=ends)] if outage is not None else []
    world = World(
        SeededChoices(1),
        deployment=Deployment(patience_seconds=patience, poll_seconds=poll, poll_growth=growth),
        faults=FaultProfile(outages=tuple(outages)),
        scenario=SCENARIOS["healthy"],
        variant=Variant(rules=tuple(rule for rule in RULES if rule.function != "checker"), scheduled=False),
        plan=Plan(
            runs_after=1.0, requeued=False, ends_after=NEVER if outage is None else HOUR, end="failure"
        ),
    )
    world.start(1, {"QueryString": "SELECT 1", "TimeoutSeconds": 86_400}, 0.0)
    history = world.run(1_000_000)
    [execution] = history.machine.executions
    assert execution.run.end is not None
    assert execution.run.end.error != "States.Runtime"
    assert execution.history_events < HISTORY_EVENTS / 2
