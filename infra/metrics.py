"""The metrics that dashboard and alarms share: the functions' own, and those of the AWS services."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

from functions.metric_names import METRICS_NAMESPACE, Metric
from infra.batches import Batches
from infra.workflow import Workflow

PERIOD = Duration.minutes(5)


class Metrics:
    """Metrics over periods of 5 minutes, or as given.

    `errors` and `throttles` are by function. `undelivered` counts by rule the events that could not be
    delivered, `lost_failures` by function the failed events that could not be sent to the dead-letter queue.
    `dead_letters` is the number of messages in that queue.
    """

    def __init__(self, *, stack_name: str, workflow: Workflow, batches: Batches | None) -> None:
        self._stack_name = stack_name
        functions = {
            "executor": workflow.executor.function,
            "checker": workflow.checker.function,
            "canceller": workflow.canceller.function,
        }
        rules = [*workflow.rules]
        # The functions that receive events, and send those that fail to the dead-letter queue.
        receivers = ["checker", "canceller"]
        if batches is not None:
            functions |= {"planner": batches.planner.function, "reporter": batches.reporter.function}
            rules += batches.rules
            receivers.append("reporter")
        self.errors = {
            name: one.metric_errors(statistic="Sum", period=PERIOD) for name, one in functions.items()
        }
        self.throttles = {
            name: one.metric_throttles(statistic="Sum", period=PERIOD) for name, one in functions.items()
        }
        self.dead_letters = workflow.dead_letters.metric_approximate_number_of_messages_visible(
            statistic="Maximum", period=PERIOD
        )
        self.undelivered = {
            rule.node.id: _sum("AWS/Events", "FailedInvocations", {"RuleName": rule.rule_name})
            for rule in rules
        }
        self.lost_failures = {
            name: functions[name].metric("DestinationDeliveryFailures", statistic="Sum", period=PERIOD)
            for name in receivers
        }
        state_machine = {"StateMachineArn": workflow.state_machine.state_machine_arn}
        self.executions_throttled = _sum("AWS/States", "ExecutionThrottled", state_machine)
        self.executions_timed_out = _sum("AWS/States", "ExecutionsTimedOut", state_machine)
        self.table_writes_throttled = _sum(
            "AWS/DynamoDB", "WriteThrottleEvents", {"TableName": workflow.task_table.table_name}
        )

    def own(self, metric: Metric, statistic: str = "Sum", period: Duration = PERIOD) -> cloudwatch.Metric:
        """A metric that the functions emit."""
        return cloudwatch.Metric(
            namespace=METRICS_NAMESPACE,
            metric_name=metric.value,
            dimensions_map={"service": self._stack_name},
            statistic=statistic,
            period=period,
        )


def _sum(namespace: str, name: str, dimensions: Mapping[str, str]) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=namespace,
        metric_name=name,
        dimensions_map=dict(dimensions),
        statistic="Sum",
        period=PERIOD,
    )
