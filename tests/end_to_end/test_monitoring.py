"""Dashboard and alarms against metrics that the deployed functions really emitted."""

import html
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.metric_names import UNITS, Metric
from local.__main__ import main
from ops.dashboard import BROWSERS
from tests.end_to_end.conftest import Aws, Eventually

OURS = "AthenaQueries"
COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}
HOUR = 3600


@pytest.fixture(autouse=True)
def quiet(aws: Aws) -> None:
    """Each test begins after a night without queries."""
    aws.stack.let_metrics_age(24 * HOUR)


def state(aws: Aws, alarm: str) -> str:
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=[f"{aws.stack.name}-{alarm}"])
    told: str = found["MetricAlarms"][0]["StateValue"]
    return told


def becomes(aws: Aws, eventually: Eventually, alarm: str, wanted: str) -> None:
    eventually(lambda: state(aws, alarm) == wanted)


def goes_off_and_on(aws: Aws, eventually: Eventually, alarm: str) -> None:
    becomes(aws, eventually, alarm, "ALARM")
    aws.stack.let_metrics_age(HOUR)
    becomes(aws, eventually, alarm, "OK")


def emitted(aws: Aws) -> set[str]:
    """The metrics that this stack's functions have emitted, under no other dimension than theirs."""
    metrics = aws.client("cloudwatch").list_metrics(Namespace=OURS)["Metrics"]
    assert all([one["Name"] for one in metric["Dimensions"]] == ["service"] for metric in metrics)
    return {metric["MetricName"] for metric in metrics if metric["Dimensions"][0]["Value"] == aws.stack.name}


def test_a_mix_of_outcomes_emits_every_metric_that_the_dashboard_names(
    aws: Aws, eventually: Eventually
) -> None:
    for document in (
        {**COUNT, "PreviewRows": 1},
        {"QueryString": "SELECT nope FROM flights"},
        {"QueryString": "SELEKT"},
        {},
        {"QueryString": aws.slow_query(), "TimeoutSeconds": 1},
    ):
        aws.run(document)
    for _ in range(4):
        aws.stack.inject_athena_error("TooManyRequestsException")
    aws.run(COUNT)
    for _ in range(3):
        aws.stack.inject_athena_error("TRANSIENT")
    aws.run({**COUNT, "MaxAttempts": 3})
    aws.stack.deliver_events("early")
    aws.run(COUNT)
    aws.stack.deliver_events("twice")
    aws.run(COUNT)
    aws.stack.deliver_events("off")
    aws.run(COUNT)
    aws.stack.deliver_events("normal")
    aborted = aws.start({"QueryString": aws.slow_query()})
    (stopped,) = eventually(lambda: aws.running_queries(aborted))
    aws.client("stepfunctions").stop_execution(executionArn=aborted)
    eventually(lambda: aws.query(stopped)["Status"]["State"] == "CANCELLED")
    cancelled = aws.start({"QueryString": aws.slow_query()})
    (stopped,) = eventually(lambda: aws.running_queries(cancelled))
    aws.client("athena").stop_query_execution(QueryExecutionId=stopped)

    body = json.loads(aws.client("cloudwatch").get_dashboard(DashboardName=aws.stack.name)["DashboardBody"])
    named = {
        metric[1]
        for widget in body["widgets"]
        if widget["type"] == "metric"
        for metric in widget["properties"]["metrics"]
        if metric[0] == OURS
    }
    assert named == set(Metric)
    eventually(lambda: emitted(aws) == named)
    for name in emitted(aws):
        assert unit_of(aws, name) == UNITS[Metric(name)]


def unit_of(aws: Aws, name: str) -> str:
    now = datetime.now(UTC)
    answer: dict[str, Any] = aws.client("cloudwatch").get_metric_statistics(
        Namespace=OURS,
        MetricName=name,
        Dimensions=[{"Name": "service", "Value": aws.stack.name}],
        StartTime=now - timedelta(days=3),
        EndTime=now,
        Period=86_400,
        Statistics=["Sum"],
    )
    (unit,) = {point["Unit"] for point in answer["Datapoints"]}
    return str(unit)


def test_lost_events_raise_the_alarm_and_events_that_come_clear_it(aws: Aws, eventually: Eventually) -> None:
    aws.stack.deliver_events("off")
    for arn in [aws.start(COUNT) for _ in range(3)]:
        aws.ended(arn, eventually)
    becomes(aws, eventually, "EventsLost", "ALARM")

    aws.stack.deliver_events("normal")
    aws.stack.let_metrics_age(HOUR)
    aws.run(COUNT)

    becomes(aws, eventually, "EventsLost", "OK")


def test_failures_raise_an_alarm(aws: Aws, eventually: Eventually) -> None:
    for _ in range(5):
        aws.run({})

    goes_off_and_on(aws, eventually, "Failures")


def test_a_poisoned_event_ends_in_the_dead_letter_queue_and_raises_the_alarm(
    aws: Aws, eventually: Eventually
) -> None:
    becomes(aws, eventually, "DeadLetters", "OK")

    aws.client("lambda").invoke(
        FunctionName=aws.stack.outputs["CheckerFunctionName"],
        InvocationType="Event",
        Payload=json.dumps({"detail-type": "Athena Query State Change", "detail": {"poison": True}}),
    )

    becomes(aws, eventually, "DeadLetters", "ALARM")
    aws.client("sqs").purge_queue(QueueUrl=aws.stack.outputs["DeadLetterQueueUrl"])
    aws.stack.let_metrics_age(HOUR)
    becomes(aws, eventually, "DeadLetters", "OK")


@pytest.mark.parametrize("alarm", ["CallbackLag", "CompletionDelayed"])
def test_a_query_unheard_of_for_long_raises_an_alarm(aws: Aws, eventually: Eventually, alarm: str) -> None:
    aws.put_metric(Metric.CALLBACK_LAG, 3_600_000)

    goes_off_and_on(aws, eventually, alarm)


@pytest.mark.parametrize("function", ["Executor", "Checker", "Canceller"])
def test_a_function_that_fails_raises_its_alarm(aws: Aws, eventually: Eventually, function: str) -> None:
    for _ in range(5):
        answer = aws.client("lambda").invoke(
            FunctionName=aws.stack.outputs[f"{function}FunctionName"], Payload=b'{"detail-type": "x"}'
        )
        assert "FunctionError" in answer

    goes_off_and_on(aws, eventually, f"{function}Errors")


def test_explain_says_why_an_execution_still_waits(
    aws: Aws, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.stack.deliver_events("held")
    arn = aws.start(COUNT)
    eventually(lambda: aws.ended_queries(arn))

    assert main(["--home", aws.stack.home, "explain", arn]) == 0

    told = capsys.readouterr().out
    assert "SUCCEEDED" in told
    assert "its event has not come" in told


def test_the_dashboard_is_drawn_from_its_own_definition(aws: Aws, tmp_path: Path) -> None:
    aws.run(COUNT)
    file = tmp_path / "dashboard.html"

    assert main(["--home", aws.stack.home, "dashboard", "--out", str(file)]) == 0

    page = file.read_text()
    body = json.loads(aws.client("cloudwatch").get_dashboard(DashboardName=aws.stack.name)["DashboardBody"])
    titles = [one["properties"]["title"] for one in body["widgets"] if one["type"] == "metric"]
    assert titles
    assert all(html.escape(title) in page for title in titles)
    assert "<circle" in page
    assert "http" not in page, "the page needs nothing from elsewhere"


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium on this machine")
def test_a_browser_shows_it(aws: Aws, tmp_path: Path) -> None:
    picture = tmp_path / "dashboard.png"

    assert (
        main(
            ["--home", aws.stack.home, "dashboard", "--out", str(tmp_path / "a.html"), "--png", str(picture)]
        )
        == 0
    )

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 50_000, "an empty page is smaller"


@pytest.mark.parametrize("function", ["Executor", "Checker", "Canceller"])
def test_a_function_without_concurrency_raises_its_alarm(
    aws: Aws, eventually: Eventually, function: str
) -> None:
    name = aws.stack.outputs[f"{function}FunctionName"]
    lambda_ = aws.client("lambda")
    lambda_.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    try:
        # botocore tries a throttled call five times in all.
        with pytest.raises(lambda_.exceptions.TooManyRequestsException):
            lambda_.invoke(FunctionName=name, Payload=b"{}")
    finally:
        lambda_.delete_function_concurrency(FunctionName=name)

    goes_off_and_on(aws, eventually, f"{function}Throttles")
