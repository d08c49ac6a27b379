"""What an operator looks at: a dashboard, alarms, and saved queries over the log line "settled"."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from functions.metric_names import METRICS_NAMESPACE, UNITS, Metric
from infra.settings import Settings
from infra.workflow import Workflow

_PERIOD = Duration.minutes(5)
_RUNBOOK = "docs/runbook.md"

# A lag beyond this is no longer that of an event, which takes about a second.
_EVENT_LAG_MS = 30_000

# Fewer in a period than these are for the caller to see, not for an operator.
_FAILURES = 5
_LOST_EVENTS = 3
_FUNCTION_FAULTS = 5

# The line "settled" of functions/settle.py, which holds everything about one query.
_SETTLED = 'filter message = "settled"'
_SAVED_QUERIES = {
    "slowest": f"{_SETTLED} | sort total_ms desc | limit 50 "
    "| display @timestamp, total_ms, queue_ms, planning_ms, engine_ms, query_id, execution_id",
    "dearest": f"{_SETTLED} | sort cost_usd desc | limit 50 "
    "| display @timestamp, cost_usd, scanned_bytes, statement_type, query_id, execution_id",
    "failures by reason": f'{_SETTLED} and state != "SUCCEEDED" '
    "| stats count(*) as queries, latest(query_id) as latest_query by outcome, error_category, error_type "
    "| sort queries desc",
    "settled by the fallback": f'{_SETTLED} and settled_by = "poll" '
    "| display @timestamp, lag_ms, state, query_id, execution_id | sort @timestamp desc",
}


class Monitoring(Construct):
    """`dashboard` and `alarms`. The alarms notify the topic of the settings, if there is one."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, workflow: Workflow) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self._workflow = workflow
        functions = {
            "executor": workflow.executor.function,
            "checker": workflow.checker.function,
            "canceller": workflow.canceller.function,
        }
        self._errors = {
            name: one.metric_errors(statistic="Sum", period=_PERIOD) for name, one in functions.items()
        }
        self._throttles = {
            name: one.metric_throttles(statistic="Sum", period=_PERIOD) for name, one in functions.items()
        }
        self._dead_letters = workflow.dead_letters.metric_approximate_number_of_messages_visible(
            statistic="Maximum", period=_PERIOD
        )
        self._state_machine_dimension = {"StateMachineArn": workflow.state_machine.state_machine_arn}
        self.alarms: dict[str, cloudwatch.Alarm] = {}
        self._make_alarms()
        self.dashboard = self._make_dashboard()
        self._save_queries()

    def _metric(self, metric: Metric, statistic: str = "Sum") -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=METRICS_NAMESPACE,
            metric_name=metric.value,
            dimensions_map={"service": self._settings.stack_name},
            statistic=statistic,
            period=_PERIOD,
        )

    def _aws(self, namespace: str, name: str, dimension: Mapping[str, str]) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=namespace,
            metric_name=name,
            dimensions_map=dict(dimension),
            statistic="Sum",
            period=_PERIOD,
        )

    def _make_alarms(self) -> None:
        patience, poll = self._settings.patience_seconds, self._settings.poll_seconds
        self._alarm(
            "Failures",
            self._metric(Metric.FAILURES),
            _FAILURES,
            f"{_FAILURES} or more executions were told an error within 5 minutes. "
            "See which errors, and whether one cause is behind them.",
        )
        self._alarm(
            "EventsLost",
            self._metric(Metric.SETTLED_BY_POLL),
            _LOST_EVENTS,
            f"{_LOST_EVENTS} or more queries within 5 minutes were settled by the fallback branch: Athena's "
            "events do not arrive. Queries end right, but late. Look at the rule and the checker.",
        )
        self._alarm(
            "CallbackLag",
            self._metric(Metric.CALLBACK_LAG, "p99"),
            _EVENT_LAG_MS,
            "One query in a hundred was told its end more than 30 seconds late. "
            "Events are lost or slow, or the checker is throttled.",
        )
        self._alarm(
            "QueriesUnheard",
            self._metric(Metric.CALLBACK_LAG, "Maximum"),
            1000 * (patience + 2 * poll),
            "An execution waited for a query that had ended longer than the patience window and two poll "
            "intervals: its event was lost, and the fallback did not make up for it. See the checker's log.",
        )
        self._alarm(
            "DeadLetters",
            self._dead_letters,
            1,
            "An event could not be handled after all retries. Read the message, mend the cause, resend it.",
        )
        for name, errors in self._errors.items():
            self._alarm(
                f"{name.capitalize()}Errors",
                errors,
                _FUNCTION_FAULTS,
                f"The {name} failed {_FUNCTION_FAULTS} or more times within 5 minutes. Each call is retried; "
                "its log says what failed.",
            )
        for name, throttles in self._throttles.items():
            self._alarm(
                f"{name.capitalize()}Throttles",
                throttles,
                _FUNCTION_FAULTS,
                f"Lambda refused to run the {name} {_FUNCTION_FAULTS} or more times within 5 minutes. Calls "
                "are retried; raise the account's concurrency if it goes on.",
            )

    def _alarm(self, name: str, metric: cloudwatch.Metric, threshold: float, meaning: str) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self._settings.stack_name}-{name}",
            alarm_description=f"{meaning} {_RUNBOOK}#{name.lower()}",
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            # A night without queries has no data, and that is well.
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if self._settings.alarm_topic_arn:
            topic = sns.Topic.from_topic_arn(self, f"{name}Topic", self._settings.alarm_topic_arn)
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))
        self.alarms[name] = alarm

    def _make_dashboard(self) -> cloudwatch.Dashboard:
        dashboard = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=self._settings.stack_name,
            default_interval=Duration.hours(12),
        )
        for title, row in (
            ("Outcomes", self._outcomes()),
            ("Callbacks", self._callbacks()),
            ("Queries", self._queries()),
            ("Cost", self._cost()),
            ("Plumbing", self._plumbing()),
        ):
            dashboard.add_widgets(cloudwatch.TextWidget(markdown=f"## {title}", width=24, height=1))
            dashboard.add_widgets(*row)
        return dashboard

    def _outcomes(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph("Do queries end?", self._sums(Metric.SUCCEEDED, Metric.FAILURES), "Failures"),
            self._graph(
                "Why do they fail?",
                self._sums(
                    *(Metric.FAILED, Metric.TRANSIENT_FAILURE, Metric.SCAN_LIMIT_EXCEEDED),
                    *(Metric.TIMED_OUT, Metric.CANCELLED, Metric.INVALID_REQUEST, Metric.INVALID_INPUT),
                    *(Metric.THROTTLED, Metric.UNTYPED_FAILURES),
                ),
            ),
            self._graph(
                "What had to be done again, or stopped?",
                self._sums(Metric.RERUNS, Metric.THROTTLED_STARTS, Metric.ORPHANS_STOPPED),
            ),
        ]

    def _callbacks(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph(
                "Who hears of a query's end?",
                self._sums(Metric.SETTLED_BY_EVENT, Metric.SETTLED_BY_EXECUTOR, Metric.SETTLED_BY_POLL),
                "EventsLost",
            ),
            self._graph(
                "How long after its end?",
                self._spread(Metric.CALLBACK_LAG, "p50", "p99", "Maximum"),
                *("CallbackLag", "QueriesUnheard"),
            ),
            self._graph("How many callbacks came late or twice?", self._sums(Metric.LATE_CALLBACKS)),
            self._graph(
                "How long is the oldest stuck execution stuck?",
                self._spread(Metric.OLDEST_STUCK_EXECUTION, "Maximum"),
            ),
        ]

    def _queries(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph("How long do queries queue?", self._spread(Metric.QUEUE_TIME, "p50", "p99")),
            self._graph("How long do queries plan?", self._spread(Metric.PLANNING_TIME, "p50", "p99")),
            self._graph("How long do queries run?", self._spread(Metric.ENGINE_TIME, "p50", "p99")),
        ]

    def _cost(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph("What do queries cost, in USD?", self._sums(Metric.ESTIMATED_COST), width=12),
            self._graph("How much do they scan?", self._sums(Metric.DATA_SCANNED), width=12),
        ]

    def _plumbing(self) -> list[cloudwatch.IWidget]:
        throttled = {
            "executions throttled": self._aws(
                "AWS/States", "ExecutionThrottled", self._state_machine_dimension
            ),
            "executions timed out": self._aws(
                "AWS/States", "ExecutionsTimedOut", self._state_machine_dimension
            ),
            "table writes throttled": self._aws(
                "AWS/DynamoDB", "WriteThrottleEvents", {"TableName": self._workflow.task_table.table_name}
            ),
        }
        return [
            self._graph("Do the functions fail?", self._errors, "ExecutorErrors", width=6),
            self._graph("Are the functions throttled?", self._throttles, "ExecutorThrottles", width=6),
            self._graph(
                "Is anything in the dead-letter queue?",
                {"messages": self._dead_letters},
                "DeadLetters",
                width=6,
            ),
            self._graph("Does AWS throttle the workflow?", throttled, width=6),
        ]

    def _sums(self, *metrics: Metric) -> dict[str, cloudwatch.Metric]:
        return {metric.value: self._metric(metric) for metric in metrics}

    def _spread(self, metric: Metric, *statistics: str) -> dict[str, cloudwatch.Metric]:
        return {f"{metric.value} {one}": self._metric(metric, one) for one in statistics}

    def _graph(
        self, question: str, metrics: Mapping[str, cloudwatch.Metric], *alarms: str, width: int = 8
    ) -> cloudwatch.GraphWidget:
        """A graph of the metrics under their labels, with the thresholds of its alarms drawn in."""
        units = {
            UNITS[Metric(one.metric_name)] for one in metrics.values() if one.namespace == METRICS_NAMESPACE
        }
        unit = units.pop() if units else "Count"
        return cloudwatch.GraphWidget(
            title=question,
            left=[metric.with_(label=label) for label, metric in metrics.items()],
            left_annotations=[self.alarms[alarm].to_annotation() for alarm in alarms],
            left_y_axis=cloudwatch.YAxisProps(
                min=0, label="USD" if unit == "None" else unit, show_units=False
            ),
            width=width,
            height=6,
        )

    def _save_queries(self) -> None:
        groups = [self._workflow.executor.log_group, self._workflow.checker.log_group]
        for name, text in _SAVED_QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                f"Query {name}",
                name=f"{self._settings.stack_name}/{name}",
                query_string=text,
                log_group_names=[group.log_group_name for group in groups],
            )
