"""Dashboard and alarms against metrics that the deployed functions have emitted."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.metric_names import METRICS_NAMESPACE, UNITS, Metric
from tests.end_to_end.conftest import Deployment, Eventually

# Emitted in test_outages.py, in the tests of the SQL engine, or by what takes over an hour.
OF_OUTAGES = (
    *(Metric.UNTYPED_FAILURES, Metric.STATUS_EVENTS_MISSED),
    *(Metric.SCAN_LIMIT_EXCEEDED, Metric.THROTTLED),
)
COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}
HOUR = 3600


@pytest.fixture(autouse=True)
def quiet(deployment: Deployment) -> None:
    """Each test starts without recent metrics."""
    deployment.stack.let_metrics_age(24 * HOUR)


def alarm_state(deployment: Deployment, alarm: str) -> str:
    found = deployment.client("cloudwatch").describe_alarms(AlarmNames=[f"{deployment.stack.name}-{alarm}"])
    state: str = found["MetricAlarms"][0]["StateValue"]
    return state


def becomes(deployment: Deployment, eventually: Eventually, alarm: str, state: str) -> None:
    eventually(lambda: alarm_state(deployment, alarm) == state)


def fires_and_clears(deployment: Deployment, eventually: Eventually, alarm: str) -> None:
    becomes(deployment, eventually, alarm, "ALARM")
    deployment.stack.let_metrics_age(HOUR)
    becomes(deployment, eventually, alarm, "OK")


def emitted(deployment: Deployment) -> set[str]:
    """The metrics that this stack's functions have emitted, under no other dimension than theirs."""
    metrics = deployment.client("cloudwatch").list_metrics(Namespace=METRICS_NAMESPACE)["Metrics"]
    assert all([one["Name"] for one in metric["Dimensions"]] == ["service"] for metric in metrics)
    return {
        metric["MetricName"]
        for metric in metrics
        if metric["Dimensions"][0]["Value"] == deployment.stack.name
    }


def test_a_mix_of_outcomes_emits_every_metric_that_the_dashboard_names(
    deployment: Deployment, eventually: Eventually
) -> None:
    for document in (
        {**COUNT, "PreviewRows": 1},
        {"QueryString": "SELECT nope FROM flights"},
        {"QueryString": "SELEKT"},
        {},
        {"QueryString": deployment.slow_query(), "TimeoutSeconds": 1},
    ):
        deployment.run(document)
    for _ in range(4):
        deployment.stack.inject_athena_error("TooManyRequestsException")
    deployment.run(COUNT)
    for _ in range(3):
        deployment.stack.inject_athena_error("TRANSIENT")
    deployment.run({**COUNT, "MaxAttempts": 3})
    deployment.stack.deliver_events("early")
    deployment.run(COUNT)
    deployment.stack.deliver_events("twice")
    deployment.run(COUNT)
    deployment.stack.deliver_events("off")
    deployment.run(COUNT)
    deployment.stack.deliver_events("normal")
    aborted = deployment.start({"QueryString": deployment.slow_query()})
    (stopped,) = eventually(lambda: deployment.running_queries(aborted))
    deployment.client("stepfunctions").stop_execution(executionArn=aborted)
    eventually(lambda: deployment.query(stopped)["Status"]["State"] == "CANCELLED")
    cancelled = deployment.start({"QueryString": deployment.slow_query()})
    (stopped,) = eventually(lambda: deployment.running_queries(cancelled))
    deployment.client("athena").stop_query_execution(QueryExecutionId=stopped)

    body = json.loads(
        deployment.client("cloudwatch").get_dashboard(DashboardName=deployment.stack.name)["DashboardBody"]
    )
    named = {
        metric[1]
        for widget in body["widgets"]
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
        if metric[0] == METRICS_NAMESPACE
    }
    assert named == set(Metric)
    deployment.stack.fire_schedule()
    eventually(lambda: emitted(deployment) >= named - set(OF_OUTAGES))
    for name in emitted(deployment):
        assert unit_of(deployment, name) == UNITS[Metric(name)]


def unit_of(deployment: Deployment, name: str) -> str:
    now = datetime.now(UTC)
    answer: dict[str, Any] = deployment.client("cloudwatch").get_metric_statistics(
        Namespace=METRICS_NAMESPACE,
        MetricName=name,
        Dimensions=[{"Name": "service", "Value": deployment.stack.name}],
        # Other tests let metrics age.
        StartTime=now - timedelta(days=365),
        EndTime=now,
        Period=86_400,
        Statistics=["Sum"],
    )
    (unit,) = {point["Unit"] for point in answer["Datapoints"]}
    return str(unit)


def test_lost_events_fire_the_alarm_and_later_events_clear_it(
    deployment: Deployment, eventually: Eventually
) -> None:
    deployment.stack.deliver_events("off")
    for arn in [deployment.start(COUNT) for _ in range(3)]:
        deployment.ended(arn, eventually)
    becomes(deployment, eventually, "EventsLost", "ALARM")

    deployment.stack.deliver_events("normal")
    deployment.stack.let_metrics_age(HOUR)
    deployment.run(COUNT)

    becomes(deployment, eventually, "EventsLost", "OK")


def test_failures_fire_an_alarm(deployment: Deployment, eventually: Eventually) -> None:
    for _ in range(5):
        deployment.run({})

    fires_and_clears(deployment, eventually, "Failures")


def test_an_event_that_always_fails_becomes_a_dead_letter_and_fires_the_alarm(
    deployment: Deployment, eventually: Eventually
) -> None:
    deployment.client("sqs").purge_queue(QueueUrl=deployment.stack.outputs["DeadLetterQueueUrl"])
    deployment.stack.let_metrics_age(HOUR)
    becomes(deployment, eventually, "DeadLetters", "OK")

    deployment.client("lambda").invoke(
        FunctionName=deployment.stack.outputs["CheckerFunctionName"],
        InvocationType="Event",
        Payload=json.dumps({"detail-type": "Athena Query State Change", "detail": {"poison": True}}),
    )

    becomes(deployment, eventually, "DeadLetters", "ALARM")
    deployment.client("sqs").purge_queue(QueueUrl=deployment.stack.outputs["DeadLetterQueueUrl"])
    deployment.stack.let_metrics_age(HOUR)
    becomes(deployment, eventually, "DeadLetters", "OK")


def test_a_long_callback_lag_fires_an_alarm(deployment: Deployment, eventually: Eventually) -> None:
    deployment.put_metric(Metric.CALLBACK_LAG, 3_600_000)

    fires_and_clears(deployment, eventually, "CallbackLag")


@pytest.mark.parametrize("function", ["Executor", "Checker", "Canceller"])
def test_a_function_that_fails_fires_its_alarm(
    deployment: Deployment, eventually: Eventually, function: str
) -> None:
    for _ in range(5):
        answer = deployment.client("lambda").invoke(
            FunctionName=deployment.stack.outputs[f"{function}FunctionName"], Payload=b'{"detail-type": "x"}'
        )
        assert "FunctionError" in answer

    fires_and_clears(deployment, eventually, f"{function}Errors")


@pytest.mark.parametrize("function", ["Executor", "Checker", "Canceller"])
def test_a_function_without_concurrency_fires_its_alarm(
    deployment: Deployment, eventually: Eventually, function: str
) -> None:
    name = deployment.stack.outputs[f"{function}FunctionName"]
    lambda_ = deployment.client("lambda")
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        # botocore makes five attempts in all at a throttled call.
        with pytest.raises(lambda_.exceptions.TooManyRequestsException):
            lambda_.invoke(FunctionName=name, Payload=b"{}")
    finally:
        lambda_.delete_function_concurrency(FunctionName=name)

    fires_and_clears(deployment, eventually, f"{function}Throttles")
