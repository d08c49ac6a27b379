"""Outages, each with the alarm that reports it: the table of docs/runbook.md on the local stack.

Time is driven: schedules are fired, data points are aged. With the local settings an execution is stuck
after nine seconds (`patienceSeconds` plus two `pollSeconds`).
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.metric_names import Metric
from tests.end_to_end.conftest import Deployment, Eventually
from tests.end_to_end.test_monitoring import COUNT, HOUR, alarm_state, becomes


@pytest.fixture(autouse=True)
def recovered(deployment: Deployment) -> Iterator[None]:
    """No recent metric before, no outage after."""
    deployment.stack.let_metrics_age(24 * HOUR)
    yield
    deployment.stack.end_outage()


def fires(deployment: Deployment, eventually: Eventually, alarm: str) -> None:
    """The alarm fires while the schedule calls the canceller again and again."""

    def fired() -> bool:
        deployment.stack.fire_schedule()
        return alarm_state(deployment, alarm) == "ALARM"

    eventually(fired, seconds=120)


def function(deployment: Deployment, name: str) -> str:
    """The outage of a function: its invocations fail."""
    return f"lambda:Invoke:{deployment.stack.outputs[f'{name}FunctionName']}"


def checker(deployment: Deployment) -> str:
    return function(deployment, "Checker")


def executor(deployment: Deployment) -> str:
    return function(deployment, "Executor")


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (checker, "Lambda.TooManyRequestsException"),
        (executor, "Lambda.TooManyRequestsException"),
        (lambda _: "athena:*", "InternalServerException"),
    ],
    ids=["checker throttled", "executor throttled", "Athena not available"],
)
def test_an_execution_that_an_outage_holds_up_is_reported_and_ends_well(
    deployment: Deployment, eventually: Eventually, operation: Callable[[Deployment], str], error: str
) -> None:
    deployment.stack.outage(operation(deployment), error)
    arn = deployment.start(COUNT)

    fires(deployment, eventually, "StuckExecutions")

    deployment.stack.end_outage()
    assert deployment.ended(arn, eventually)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("operation", ["dynamodb:*", "the canceller"])
def test_a_sweep_that_cannot_run_is_missed(
    deployment: Deployment, eventually: Eventually, operation: str
) -> None:
    """The table is gone or not available, or the canceller is."""
    named = function(deployment, "Canceller") if operation == "the canceller" else operation
    deployment.stack.outage(named, "InternalServerError")

    fires(deployment, eventually, "SweepMissing")


def test_an_executor_that_is_gone_is_reported_by_the_executions_that_it_fails(
    deployment: Deployment, eventually: Eventually
) -> None:
    deployment.stack.outage(executor(deployment), "Lambda.ResourceNotFoundException")
    arn = deployment.start(COUNT)

    becomes(deployment, eventually, "UntypedFailures", "ALARM")
    assert deployment.ended(arn, eventually)["error"].endswith("Lambda.ResourceNotFoundException")


@pytest.fixture
def without_rule(deployment: Deployment) -> Iterator[Callable[[str], None]]:
    """Disables the rule whose name holds the given text, until the test ends."""
    events = deployment.client("events")
    disabled: list[str] = []

    def disable(text: str) -> None:
        rules: list[dict[str, Any]] = events.list_rules()["Rules"]
        # Other tests have stacks of their own beside this one.
        own = [rule["Name"] for rule in rules if rule["Name"].startswith(f"{deployment.stack.name}-Workflow")]
        [name] = [rule for rule in own if text in rule]
        events.disable_rule(Name=name)
        disabled.append(name)

    yield disable
    for name in disabled:
        events.enable_rule(Name=name)


def test_a_disabled_rule_of_athenas_events_is_reported(
    deployment: Deployment, eventually: Eventually, without_rule: Callable[[str], None]
) -> None:
    without_rule("QueryEnded")
    for arn in [deployment.start(COUNT) for _ in range(3)]:
        assert deployment.ended(arn, eventually)["status"] == "SUCCEEDED"

    becomes(deployment, eventually, "EventsLost", "ALARM")


def test_without_status_events_the_sweep_stops_what_an_aborted_execution_left(
    deployment: Deployment, eventually: Eventually, without_rule: Callable[[str], None]
) -> None:
    without_rule("ExecutionEnded")
    arn = deployment.start({"QueryString": deployment.slow_query()})
    (running,) = eventually(lambda: deployment.running_queries(arn))
    deployment.client("stepfunctions").stop_execution(executionArn=arn)
    assert deployment.query(running)["Status"]["State"] == "RUNNING"

    def stopped() -> bool:
        deployment.stack.fire_schedule()
        return bool(deployment.query(running)["Status"]["State"] == "CANCELLED")

    eventually(stopped)


def test_a_dead_letter_queue_that_cannot_be_written_is_reported(
    deployment: Deployment, eventually: Eventually
) -> None:
    deployment.stack.outage("sqs:SendMessage", "ServiceUnavailable")
    deployment.client("lambda").invoke(
        FunctionName=deployment.stack.outputs["CheckerFunctionName"],
        InvocationType="Event",
        Payload=b'{"detail-type": "Athena Query State Change", "detail": {"poison": true}}',
    )

    becomes(deployment, eventually, "CheckerFailuresLost", "ALARM")


@pytest.mark.parametrize(
    ("metric", "alarm"),
    [(Metric.THROTTLED, "ThrottledOut"), (Metric.STATUS_EVENTS_MISSED, "StatusEventsMissed")],
)
def test_what_takes_long_to_happen_is_reported_by_its_metric(
    deployment: Deployment, eventually: Eventually, metric: Metric, alarm: str
) -> None:
    """Over an hour of throttling, an end that is a minute old: unit tests and the simulation emit them."""
    deployment.put_metric(metric, 1)

    becomes(deployment, eventually, alarm, "ALARM")


def test_an_execution_at_its_time_limit_is_reported(deployment: Deployment, eventually: Eventually) -> None:
    point = {
        "MetricName": "ExecutionsTimedOut",
        "Value": 1,
        "Unit": "Count",
        "Dimensions": [
            {"Name": "StateMachineArn", "Value": deployment.stack.outputs["StateMachineArn"]},
        ],
    }
    deployment.client("cloudwatch").put_metric_data(Namespace="AWS/States", MetricData=[point])

    becomes(deployment, eventually, "ExecutionsTimedOut", "ALARM")
