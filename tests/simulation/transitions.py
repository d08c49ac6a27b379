"""States entered and history events of one execution, against the duration of its query."""

from dataclasses import dataclass

from tests.simulation.athena import Plan
from tests.simulation.choices import SeededChoices
from tests.simulation.deployment import Deployment
from tests.simulation.events import RULES
from tests.simulation.faults import FaultProfile
from tests.simulation.scenarios import HOUR, MINUTE, SCENARIOS
from tests.simulation.world import Variant, World

DURATIONS = (1.0, 10 * MINUTE, HOUR, 12 * HOUR)

# The most states that an execution may enter whose completion event is lost, by the query's duration.
MOST_STATES = {HOUR: 90, 12 * HOUR: 180}

_MOST_ACTIONS = 1_000_000
_WITHOUT_EVENTS = Variant(rules=tuple(rule for rule in RULES if rule.function != "checker"))


@dataclass(frozen=True, kw_only=True)
class Count:
    """`late` is how many seconds after its query the execution ended."""

    duration: float
    event_arrives: bool
    states: int
    history_events: int
    invocations: int
    late: float

    @property
    def kept(self) -> bool:
        return self.states <= MOST_STATES.get(self.duration, self.states)


def count(duration: float, *, event_arrives: bool) -> Count:
    world = World(
        SeededChoices(1),
        deployment=Deployment(),
        faults=FaultProfile(),
        scenario=SCENARIOS["healthy"],
        variant=Variant() if event_arrives else _WITHOUT_EVENTS,
        plan=Plan(runs_after=0.5, requeued=False, ends_after=duration, end="success"),
    )
    world.start(1, {"QueryString": "SELECT 1"}, 0.0)
    history = world.run(_MOST_ACTIONS)
    (execution,) = history.machine.executions
    (query,) = history.athena.queries.values()
    assert execution.run.end is not None
    assert execution.run.end.status == "SUCCEEDED"
    return Count(
        duration=duration,
        event_arrives=event_arrives,
        states=len(execution.run.visits),
        history_events=execution.history_events,
        invocations=sum(each.function != "canceller" for each in history.lambdas.invocations),
        late=execution.run.end.at - query.ended_at,
    )
