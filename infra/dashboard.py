"""The CloudWatch dashboard: sections of graphs, with the thresholds of the alarms drawn in."""

from collections.abc import Mapping

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from functions.metric_names import METRICS_NAMESPACE, UNITS, Metric
from infra.metrics import Metrics

# CloudWatch's grid is 24 columns wide.
_COLUMNS = 24


def make_dashboard(
    scope: Construct, metrics: Metrics, alarms: Mapping[str, cloudwatch.Alarm], *, name: str
) -> cloudwatch.Dashboard:
    dashboard = cloudwatch.Dashboard(
        scope, "Dashboard", dashboard_name=name, default_interval=Duration.hours(12)
    )
    sections = _Sections(metrics, alarms)
    for title, graphs in (
        ("Outcomes", sections.outcomes()),
        ("Callbacks", sections.callbacks()),
        ("Query times", sections.query_times()),
        ("Cost", sections.cost()),
        ("Infrastructure", sections.infrastructure()),
    ):
        dashboard.add_widgets(cloudwatch.TextWidget(markdown=f"## {title}", width=_COLUMNS, height=1))
        dashboard.add_widgets(*graphs)
    return dashboard


class _Sections:
    """Each method returns one row of graphs."""

    def __init__(self, metrics: Metrics, alarms: Mapping[str, cloudwatch.Alarm]) -> None:
        self._metrics = metrics
        self._alarms = alarms

    def outcomes(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph("Query outcomes", self._sums(Metric.SUCCEEDED, Metric.FAILURES), "Failures"),
            self._graph(
                "Failures by error",
                self._sums(
                    *(Metric.FAILED, Metric.TRANSIENT_FAILURE, Metric.SCAN_LIMIT_EXCEEDED),
                    *(Metric.TIMED_OUT, Metric.CANCELLED, Metric.INVALID_REQUEST, Metric.INVALID_INPUT),
                    *(Metric.THROTTLED, Metric.UNTYPED_FAILURES),
                ),
                *("UntypedFailures", "ThrottledOut"),
            ),
            self._graph(
                "Retries, throttled starts and orphans stopped",
                self._sums(Metric.RERUNS, Metric.THROTTLED_STARTS, Metric.ORPHANS_STOPPED),
            ),
        ]

    def callbacks(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph(
                "Completion detected by",
                self._sums(Metric.SETTLED_BY_EVENT, Metric.SETTLED_BY_EXECUTOR, Metric.SETTLED_BY_POLL),
                "EventsLost",
                width=6,
            ),
            self._graph(
                "Callback lag",
                self._statistics(Metric.CALLBACK_LAG, "p50", "p99", "Maximum"),
                "CallbackLag",
                width=6,
            ),
            self._graph("Late or duplicate callbacks", self._sums(Metric.LATE_CALLBACKS), width=6),
            self._graph(
                "Oldest stuck execution",
                self._statistics(Metric.OLDEST_STUCK_EXECUTION, "Maximum"),
                "StuckExecutions",
                width=6,
            ),
        ]

    def query_times(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph("Queue time", self._statistics(Metric.QUEUE_TIME, "p50", "p99")),
            self._graph("Planning time", self._statistics(Metric.PLANNING_TIME, "p50", "p99")),
            self._graph("Engine time", self._statistics(Metric.ENGINE_TIME, "p50", "p99")),
        ]

    def cost(self) -> list[cloudwatch.IWidget]:
        return [
            self._graph("Estimated cost", self._sums(Metric.ESTIMATED_COST), width=12),
            self._graph("Data scanned", self._sums(Metric.DATA_SCANNED), width=12),
        ]

    def infrastructure(self) -> list[cloudwatch.IWidget]:
        metrics = self._metrics
        workflow = {
            "executions throttled": metrics.executions_throttled,
            "executions timed out": metrics.executions_timed_out,
            "table writes throttled": metrics.table_writes_throttled,
        }
        undelivered = {
            **{f"rule {name}": metric for name, metric in metrics.undelivered.items()},
            **{f"failures of the {name}": metric for name, metric in metrics.lost_failures.items()},
        }
        sweeps = {
            "sweeps": metrics.own(Metric.OLDEST_STUCK_EXECUTION, "SampleCount"),
            "missed status events": metrics.own(Metric.STATUS_EVENTS_MISSED),
        }
        return [
            self._graph("Function errors", metrics.errors, "ExecutorErrors"),
            self._graph("Function throttles", metrics.throttles, "ExecutorThrottles"),
            self._graph("Dead-letter queue", {"messages": metrics.dead_letters}, "DeadLetters"),
            self._graph("Undelivered events", undelivered, "QueryEndedUndelivered", "CheckerFailuresLost"),
            self._graph("Sweeps", sweeps, "SweepMissing", "StatusEventsMissed", unit="Count"),
            self._graph("Workflow throttles and time-outs", workflow, "ExecutionsTimedOut"),
        ]

    def _sums(self, *metrics: Metric) -> dict[str, cloudwatch.Metric]:
        return {metric.value: self._metrics.own(metric) for metric in metrics}

    def _statistics(self, metric: Metric, *statistics: str) -> dict[str, cloudwatch.Metric]:
        return {f"{metric.value} {one}": self._metrics.own(metric, one) for one in statistics}

    def _graph(
        self,
        title: str,
        metrics: Mapping[str, cloudwatch.Metric],
        *alarms: str,
        width: int = 8,
        unit: str | None = None,
    ) -> cloudwatch.GraphWidget:
        """The metrics under their labels, and the thresholds of the named alarms.

        `unit` defaults to that of the functions' metrics, and to Count.
        """
        units = {
            UNITS[Metric(one.metric_name)] for one in metrics.values() if one.namespace == METRICS_NAMESPACE
        }
        unit = unit or (units.pop() if units else "Count")
        return cloudwatch.GraphWidget(
            title=title,
            left=[metric.with_(label=label) for label, metric in metrics.items()],
            left_annotations=[self._alarms[alarm].to_annotation() for alarm in alarms],
            left_y_axis=cloudwatch.YAxisProps(
                min=0, label="USD" if unit == "None" else unit, show_units=False
            ),
            width=width,
            height=6,
        )
