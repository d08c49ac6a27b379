"""The alarms. docs/runbook.md has a section for each, under its name."""

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from functions.metric_names import Metric
from infra.metrics import Metrics
from infra.settings import Settings

# An event settles a query within about a second. A longer lag is a delivery problem.
_EVENT_LAG_MS = 30_000

# Fewer than these in a period concern the caller and not the operator.
_FAILURES = 5
_LOST_EVENTS = 3
_FUNCTION_FAULTS = 5


@dataclass(frozen=True, kw_only=True)
class _Definition:
    """An alarm on `metric` at or above `threshold`."""

    name: str
    metric: cloudwatch.Metric
    threshold: float
    description: str


def make_alarms(scope: Construct, metrics: Metrics, settings: Settings) -> dict[str, cloudwatch.Alarm]:
    """Every alarm by name."""
    return {one.name: _alarm(scope, one, settings) for one in _definitions(metrics, settings)}


def _definitions(metrics: Metrics, settings: Settings) -> Iterator[_Definition]:
    yield _Definition(
        name="Failures",
        metric=metrics.own(Metric.FAILURES),
        threshold=_FAILURES,
        description=f"{_FAILURES} or more executions failed within 5 minutes. Check the errors for a common "
        "cause.",
    )
    yield _Definition(
        name="EventsLost",
        metric=metrics.own(Metric.SETTLED_BY_POLL),
        threshold=_LOST_EVENTS,
        description=f"The fallback branch settled {_LOST_EVENTS} or more queries within 5 minutes: "
        "completion events do not arrive. Results are correct but delayed. Check the rule and the checker.",
    )
    yield _Definition(
        name="CallbackLag",
        metric=metrics.own(Metric.CALLBACK_LAG, "p99"),
        threshold=_EVENT_LAG_MS,
        description="p99 callback lag exceeded 30 s. Events are lost or slow, or the checker is throttled.",
    )
    yield _Definition(
        name="CompletionDelayed",
        metric=metrics.own(Metric.CALLBACK_LAG, "Maximum"),
        threshold=1000 * (settings.patience_seconds + 2 * settings.poll_seconds),
        description="A callback was later than the patience window plus two poll intervals: the completion "
        "event was lost, and the fallback branch did not make up for it. Check the checker's log.",
    )
    yield _Definition(
        name="DeadLetters",
        metric=metrics.dead_letters,
        threshold=1,
        description="An event failed after all retries. Read the message, fix the cause, then redrive the "
        "message.",
    )
    for function, errors in metrics.errors.items():
        yield _Definition(
            name=f"{function.capitalize()}Errors",
            metric=errors,
            threshold=_FUNCTION_FAULTS,
            description=f"The {function} failed {_FUNCTION_FAULTS} or more times within 5 minutes. Calls are "
            "retried. Check its log for the error.",
        )
    for function, throttles in metrics.throttles.items():
        yield _Definition(
            name=f"{function.capitalize()}Throttles",
            metric=throttles,
            threshold=_FUNCTION_FAULTS,
            description=f"Lambda throttled the {function} {_FUNCTION_FAULTS} or more times within 5 minutes. "
            "Calls are retried. If it persists, raise the account's concurrency limit.",
        )


def _alarm(scope: Construct, definition: _Definition, settings: Settings) -> cloudwatch.Alarm:
    name = definition.name
    alarm = cloudwatch.Alarm(
        scope,
        name,
        alarm_name=f"{settings.stack_name}-{name}",
        alarm_description=f"{definition.description} Runbook: {settings.runbook_url}#{name.lower()}",
        metric=definition.metric,
        threshold=definition.threshold,
        evaluation_periods=1,
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        # A period without queries has no data.
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    if settings.alarm_topic_arn:
        topic = sns.Topic.from_topic_arn(scope, f"{name}Topic", settings.alarm_topic_arn)
        alarm.add_alarm_action(actions.SnsAction(topic))
        alarm.add_ok_action(actions.SnsAction(topic))
    return alarm
