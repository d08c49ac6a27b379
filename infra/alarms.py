"""The alarms. docs/runbook.md has a section for each, under its name, and names those of each outage."""

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from functions.metric_names import Metric
from infra.metrics import Metrics
from infra.nag import acknowledge, compliance
from infra.settings import Settings

# An event settles a query within about a second. A longer lag is a delivery problem.
_EVENT_LAG_MS = 30_000

# Fewer than these concern the caller and not the operator.
_FAILURES = 5
_LOST_EVENTS_PER_HOUR = 3

# One execution whose calls fail for a while causes many errors within a few minutes, and is retried. Three
# periods in a row mean that the fault lasts.
_LASTING_PERIODS = 3


@dataclass(frozen=True, kw_only=True)
class _Definition:
    """An alarm that fires when the metric reaches `threshold` in each of the last `periods` periods."""

    name: str
    metric: cloudwatch.Metric
    description: str
    threshold: float = 1
    periods: int = 1
    # Otherwise a period without data is within the threshold: most metrics have none while nothing happens.
    missing_data_breaches: bool = False
    comparison: cloudwatch.ComparisonOperator = (
        cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
    )


def make_alarms(scope: Construct, metrics: Metrics, settings: Settings) -> dict[str, cloudwatch.Alarm]:
    """Every alarm by name."""
    definitions = (
        *_outcomes(metrics),
        *_stuck(metrics, settings),
        *_completion(metrics),
        *_delivery(metrics),
        *_functions(metrics),
    )
    return {one.name: _alarm(scope, one, settings) for one in definitions}


def _outcomes(metrics: Metrics) -> Iterator[_Definition]:
    yield _Definition(
        name="Failures",
        metric=metrics.own(Metric.FAILURES),
        threshold=_FAILURES,
        description=f"{_FAILURES} or more executions failed within 5 minutes. Check the errors for a common "
        "cause.",
    )
    yield _Definition(
        name="UntypedFailures",
        metric=metrics.own(Metric.UNTYPED_FAILURES),
        description="An execution failed with an error other than AthenaQuery.*: the workflow is broken.",
    )
    yield _Definition(
        name="ThrottledOut",
        metric=metrics.own(Metric.THROTTLED),
        description="An execution failed because Athena throttled its start for over an hour. Request a "
        "higher Athena quota (active queries or API rate).",
    )
    yield _Definition(
        name="ExecutionsTimedOut",
        metric=metrics.executions_timed_out,
        description="An execution reached the state machine's time limit of two days.",
    )


def _stuck(metrics: Metrics, settings: Settings) -> Iterator[_Definition]:
    """Alarms that fire although nothing is settled, from the sweep's own metric."""
    # By then the fallback branch has settled a query that lost its event, unless it ran for over an hour.
    threshold = settings.patience_seconds + 2 * settings.poll_seconds
    # Two sweeps: one of them is in every period.
    minutes = 2 * settings.sweep_minutes
    yield _Definition(
        name="StuckExecutions",
        metric=metrics.own(Metric.OLDEST_STUCK_EXECUTION, "Maximum", Duration.minutes(minutes)),
        threshold=threshold,
        description=f"For {threshold} seconds or more an execution has had no query, or has waited for a "
        "query that has ended. Diagnose it with `python -m ops explain`.",
    )
    yield _Definition(
        name="SweepMissing",
        # CloudWatch evaluates a few more periods before it treats data as missing, so these are short
        # (CloudWatch user guide, "Configuring how CloudWatch alarms treat missing data").
        metric=metrics.own(Metric.OLDEST_STUCK_EXECUTION, "SampleCount", Duration.minutes(1)),
        periods=minutes,
        comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        missing_data_breaches=True,
        description=f"The sweep has not reported for {minutes} minutes: stuck executions go unnoticed, and "
        "queries of ended executions may keep running. Check the canceller and its schedule.",
    )


def _completion(metrics: Metrics) -> Iterator[_Definition]:
    yield _Definition(
        name="EventsLost",
        metric=metrics.own(Metric.SETTLED_BY_POLL, period=Duration.hours(1)),
        threshold=_LOST_EVENTS_PER_HOUR,
        description=f"The fallback branch settled {_LOST_EVENTS_PER_HOUR} or more queries within an hour: "
        "completion events do not arrive. Results are correct but delayed. Check the rule and the checker.",
    )
    yield _Definition(
        name="StatusEventsMissed",
        metric=metrics.own(Metric.STATUS_EVENTS_MISSED),
        description="The sweep found an ended execution whose status event had not arrived, and stopped its "
        "query late. Check the rule ExecutionEnded and the canceller.",
    )
    yield _Definition(
        name="CallbackLag",
        metric=metrics.own(Metric.CALLBACK_LAG, "p99"),
        threshold=_EVENT_LAG_MS,
        description="p99 callback lag exceeded 30 s. Events are lost or slow, or the checker is throttled.",
    )


def _delivery(metrics: Metrics) -> Iterator[_Definition]:
    yield _Definition(
        name="DeadLetters",
        metric=metrics.dead_letters,
        description="A function failed on an event after all retries. Read the message, fix the cause, then "
        "replay it with `python -m ops replay-dead-letters`.",
    )
    for rule, failed in metrics.undelivered.items():
        yield _Definition(
            name=f"{rule}Undelivered",
            metric=failed,
            description=f"The rule {rule} could not invoke its function, and the event is dropped. Check the "
            "function and its resource policy.",
        )
    for function, failed in metrics.lost_failures.items():
        yield _Definition(
            name=f"{function.capitalize()}FailuresLost",
            metric=failed,
            description=f"The {function} failed on an event that could not be sent to the dead-letter queue. "
            "Check the queue and the function's role.",
        )


def _functions(metrics: Metrics) -> Iterator[_Definition]:
    for function, errors in metrics.errors.items():
        yield _Definition(
            name=f"{function.capitalize()}Errors",
            metric=errors,
            periods=_LASTING_PERIODS,
            description=f"The {function} has failed for 15 minutes. Calls are retried. Check its log for the "
            "error.",
        )
    for function, throttles in metrics.throttles.items():
        yield _Definition(
            name=f"{function.capitalize()}Throttles",
            metric=throttles,
            periods=_LASTING_PERIODS,
            description=f"Lambda has throttled the {function} for 15 minutes. Calls are retried. Raise the "
            "account's concurrency limit.",
        )


def _alarm(scope: Construct, definition: _Definition, settings: Settings) -> cloudwatch.Alarm:
    name = definition.name
    missing = cloudwatch.TreatMissingData
    alarm = cloudwatch.Alarm(
        scope,
        name,
        alarm_name=f"{settings.stack_name}-{name}",
        alarm_description=f"{definition.description} Runbook: {settings.runbook_url}#{name.lower()}",
        metric=definition.metric,
        threshold=definition.threshold,
        evaluation_periods=definition.periods,
        comparison_operator=definition.comparison,
        treat_missing_data=missing.BREACHING if definition.missing_data_breaches else missing.NOT_BREACHING,
    )
    if settings.alarm_topic_arn:
        topic = sns.Topic.from_topic_arn(scope, f"{name}Topic", settings.alarm_topic_arn)
        alarm.add_alarm_action(actions.SnsAction(topic))
        alarm.add_ok_action(actions.SnsAction(topic))
    else:
        acknowledge(
            alarm,
            "The setting alarmTopicArn names the topic to notify; without it alarms show in the console.",
            *compliance("CloudWatchAlarmAction"),
        )
    return alarm
