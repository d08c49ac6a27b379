"""Many executions at once under AWS's quotas, in the simulation's virtual time: this project and polling.

All start as fast as StartExecution accepts them. The quotas give the shortest possible time: the rate of
StartQueryExecution, or the number of active queries, whichever takes longer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from statistics import median
from typing import Any

from tests.simulation.choices import SeededChoices
from tests.simulation.clock import BEGINNING
from tests.simulation.deployment import Deployment
from tests.simulation.faults import FaultProfile
from tests.simulation.quotas import ACTIVE_QUERIES, RATES, Quotas
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.world import Variant, World

# The sweep of the canceller does not depend on the number of queries that end.
_NO_SWEEP = Variant(scheduled=False)
# Half of it on average, so that both quotas are used to capacity.
_LONGEST_QUERY_SECONDS = 18.0
_MOST_ACTIONS = 100_000_000

# Of botocore: as functions/runtime.py configures it, and by default.
_OUR_ATTEMPTS, _DEFAULT_ATTEMPTS = 2, 5

_INVOKE = "arn:aws:states:::lambda:invoke"
# The document of benchmarks/original/template.yaml, in the query language that the simulation runs.
_POLLING: Mapping[str, Any] = {
    "Start query": {
        "Type": "Task",
        "Resource": _INVOKE,
        "Arguments": {"FunctionName": "executor", "Payload": {}},
        "Output": "{% $states.result.Payload %}",
        "Next": "Get query status",
    },
    "Get query status": {
        "Type": "Task",
        "Resource": _INVOKE,
        "Arguments": {"FunctionName": "checker", "Payload": "{% $states.input %}"},
        "Output": "{% $states.result.Payload %}",
        "Next": "Check query status",
    },
    "Check query status": {
        "Type": "Choice",
        "Choices": [
            {"Condition": "{% $states.input.State = 'SUCCEEDED' %}", "Next": "Done"},
            {"Condition": "{% $states.input.State in ['FAILED', 'CANCELLED'] %}", "Next": "Failed"},
        ],
        "Default": "Wait",
    },
    "Wait": {"Type": "Wait", "Seconds": 30, "Next": "Get query status"},
    "Done": {"Type": "Succeed"},
    "Failed": {"Type": "Fail", "Error": "Failed"},
}


@dataclass(frozen=True, kw_only=True)
class Drain:
    """Times are in seconds. `bound` is the shortest time that the quotas allow for all the queries."""

    executions: int
    succeeded: int
    seconds: float
    bound: float
    throttles: int
    median_lag: float
    longest_lag: float

    @property
    def ratio(self) -> float:
        return self.seconds / self.bound


def drain(executions: int) -> Drain:
    """Run so many executions of this project's state machine."""
    world = _world(_NO_SWEEP)
    return _run(world, executions, _OUR_ATTEMPTS)


def drain_polling(executions: int, *, retries: bool) -> Drain:
    """Run the polling machine with a wait of 30 s, as it is, or with our retries of a throttled start."""

    def replace_document(document: dict[str, Any]) -> None:
        retry = document["States"]["Start query"]["Retry"][0]
        first = dict(_POLLING["Start query"])
        if retries:
            first["Retry"] = [{**retry, "ErrorEquals": ["ClientError"]}]
        document["States"] = {**_POLLING, "Start query": first}

    world = _world(replace(_NO_SWEEP, edit_document=replace_document))
    athena = world.athena
    tokens = count()

    def start(_event: Any, _context: Any) -> Any:
        token = f"{next(tokens):032}"
        return {
            "QueryId": athena.start_query_execution(
                ClientRequestToken=token, QueryString="SELECT 1", WorkGroup="the-work-group"
            )["QueryExecutionId"]
        }

    def poll(event: Any, _context: Any) -> Any:
        query = athena.get_query_execution(QueryExecutionId=event["QueryId"])["QueryExecution"]
        return {"QueryId": event["QueryId"], "State": query["Status"]["State"]}

    world.lambdas.handlers = {"executor": start, "checker": poll, "canceller": lambda _event, _context: None}
    return _run(world, executions, _DEFAULT_ATTEMPTS)


def _world(variant: Variant) -> World:
    return World(
        SeededChoices(1),
        deployment=Deployment(),
        faults=FaultProfile(),
        scenario=replace(
            SCENARIOS["healthy"], query_seconds=(_LONGEST_QUERY_SECONDS,), ends=("success",), endless=0.0
        ),
        variant=variant,
    )


def _run(world: World, executions: int, attempts: int) -> Drain:
    quotas = world.lambdas.quotas = Quotas(world.clock, lambda: len(world.athena.active), attempts)
    rate, burst = RATES["StartExecution"]
    for number in range(1, executions + 1):
        world.start(number, {"QueryString": f"SELECT {number}"}, max(0.0, (number - burst) / rate))
    history = world.run(_MOST_ACTIONS)
    ends = [run.end for each in history.machine.executions for run in each.runs if run.end is not None]
    queries = [query for query in history.athena.queries.values() if query.subject and not query.is_claim]
    lags = [query.subject.execution.run.end.at - query.ended_at for query in queries]
    rate, burst = RATES["StartQueryExecution"]
    query_seconds = sum(query.ended_at - query.submitted for query in queries)
    return Drain(
        executions=executions,
        succeeded=sum(end.status == "SUCCEEDED" for end in ends),
        seconds=max(end.at for end in ends) - BEGINNING,
        bound=max((len(queries) - burst) / rate, query_seconds / ACTIVE_QUERIES),
        throttles=sum(quotas.throttles.values()),
        median_lag=median(lags),
        longest_lag=max(lags),
    )
