"""EventBridge rules: which events call which function, and which of their fields it receives."""

from typing import Any

from aws_cdk import Duration
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from constructs import Construct

from functions.events import execution_ended, query_ended
from infra.function import Function

# EventBridge's maximum.
_MAX_EVENT_AGE = Duration.hours(24)
_MAX_RETRIES = 185

# Other fields may hold SQL or its literals: an execution's input and cause, Athena's error message.
_QUERY_FIELDS = ("queryExecutionId", "currentState", "workgroupName")
_EXECUTION_FIELDS = ("executionArn", "status", "redriveCount")


def make_rules(
    scope: Construct,
    *,
    work_group_name: str,
    state_machine_arn: str,
    sweep_minutes: int,
    checker: Function,
    canceller: Function,
) -> list[events.Rule]:
    """Completed queries to the checker; unsuccessful executions, and a schedule, to the canceller.

    No rule has a dead-letter queue, since EventBridge stores the whole event there. The fallback branch makes
    up for a lost event of a query, the sweep for one of an execution: docs/adr/0016-events-without-sql.md.
    """
    return [
        _pattern_rule(scope, "QueryEnded", query_ended(work_group_name), checker, _QUERY_FIELDS),
        *make_end_rules(
            scope,
            names=("ExecutionEnded", "Sweep"),
            state_machine_arn=state_machine_arn,
            sweep_minutes=sweep_minutes,
            function=canceller,
        ),
    ]


def make_end_rules(
    scope: Construct,
    *,
    names: tuple[str, str],
    state_machine_arn: str,
    sweep_minutes: int,
    function: Function,
) -> list[events.Rule]:
    """Unsuccessful executions of the state machine, and a schedule, to the function."""
    on_end, on_schedule = names
    return [
        _pattern_rule(scope, on_end, execution_ended(state_machine_arn), function, _EXECUTION_FIELDS),
        _sweep_rule(scope, on_schedule, function, Duration.minutes(sweep_minutes)),
    ]


def _pattern_rule(
    scope: Construct, name: str, pattern: dict[str, Any], function: Function, fields: tuple[str, ...]
) -> events.Rule:
    detail = {field: events.EventField.from_path(f"$.detail.{field}") for field in fields}
    target = targets.LambdaFunction(
        function.function,
        event=events.RuleTargetInput.from_object(
            {"detail-type": events.EventField.detail_type, "detail": detail}
        ),
        max_event_age=_MAX_EVENT_AGE,
        retry_attempts=_MAX_RETRIES,
    )
    event_pattern = events.EventPattern(
        source=pattern["source"], detail_type=pattern["detail-type"], detail=pattern["detail"]
    )
    return events.Rule(scope, name, event_pattern=event_pattern, targets=[target])


def _sweep_rule(scope: Construct, name: str, function: Function, interval: Duration) -> events.Rule:
    target = targets.LambdaFunction(
        function.function,
        # The next sweep replaces one that could not be delivered in time.
        max_event_age=interval,
        retry_attempts=_MAX_RETRIES,
    )
    return events.Rule(scope, name, schedule=events.Schedule.rate(interval), targets=[target])
