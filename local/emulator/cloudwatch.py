"""Where CloudWatch differs from MiniStack's: embedded metrics, queue metrics, alarms.

The functions write metrics as JSON lines into their logs ("embedded metric format"); CloudWatch reads them.
"""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch as ministack
from ministack.services import lambda_svc, sqs

from local.emulator import roles

_ministack_emit_logs = lambda_svc._emit_lambda_logs
_EVERY_SECONDS = 0.5


def install() -> None:
    lambda_svc._emit_lambda_logs = _emit_logs
    # MiniStack's own evaluation ignores dimensions, and does not change an alarm without new data points.
    ministack._evaluate_alarm = _evaluate
    threading.Thread(target=_watch, daemon=True, name="alarms").start()


def age_metrics(seconds: float) -> None:
    """Age every data point by so many seconds, as if no new one had arrived since."""
    for points in list(ministack._metrics.values()):
        for point in points:
            point["Timestamp"] -= seconds


def _emit_logs(func: dict[str, Any], request_id: str, log_text: str, *arguments: Any, **options: Any) -> None:
    """Write a function's log with the permissions of its role, and record the metrics in it."""
    config = func.get("config") or func
    name = config["FunctionName"]
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{name}"
    stream = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:{request_id}"
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        if roles.denial(config["Role"], action, stream):
            return
    for namespace, metric, value, unit, dimensions in embedded(log_text):
        ministack.record_metric(namespace, metric, value, unit, dimensions)
    _ministack_emit_logs(func, request_id, log_text, *arguments, **options)


def embedded(log_text: str) -> Iterator[tuple[str, str, float, str, dict[str, str]]]:
    """Namespace, name, value, unit and dimensions of each metric in a log.

    The format is in the CloudWatch user guide, "Embedded metric format specification".
    """
    for line in log_text.splitlines():
        if '"_aws"' not in line:
            continue
        document = json.loads(line)
        for directive in document["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                dimensions = {name: str(document[name]) for name in names}
                for metric in directive["Metrics"]:
                    values = document[metric["Name"]]
                    for value in values if isinstance(values, list) else [values]:
                        yield directive["Namespace"], metric["Name"], value, metric["Unit"], dimensions


def _watch() -> None:
    while True:
        time.sleep(_EVERY_SECONDS)
        for queue in list(sqs._queues.values()):
            sqs._refresh_counts(queue)
            ministack.record_metric(
                "AWS/SQS",
                "ApproximateNumberOfMessagesVisible",
                float(queue["attributes"]["ApproximateNumberOfMessages"]),
                "Count",
                {"QueueName": queue["name"]},
            )
        ministack._evaluate_all_alarms()


def _evaluate(alarm: dict[str, Any]) -> None:
    """Set the state of an alarm on one metric from the data points of its last period."""
    if not alarm.get("MetricName"):
        return
    dimensions = {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])}
    key = (alarm["Namespace"], alarm["MetricName"], ministack._dims_key(dimensions))
    since = time.time() - alarm["Period"] * alarm["EvaluationPeriods"]
    points = [point for point in ministack._metrics.get(key, []) if point["Timestamp"] >= since]
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic", "Average")
    if points:
        value = ministack._stat_value(ministack._calc_stats(points), statistic, points)
        state = "ALARM" if value >= alarm["Threshold"] else "OK"
        reason = f"{statistic} is {value}, the threshold is {alarm['Threshold']}"
    elif alarm.get("TreatMissingData") == "notBreaching":
        state, reason = "OK", "no data, treated as not breaching"
    else:
        return
    previous = alarm["StateValue"]
    if state != previous:
        alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
        ministack._record_history(alarm["AlarmName"], previous, state, reason)
        ministack._dispatch_alarm_actions(alarm, previous, state, reason)
