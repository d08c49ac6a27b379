"""The metrics that the functions emit. Functions, dashboard, alarms and tests take their names from here.

Each has one dimension, `service`, which is the stack's name. Details of a query are in the log line
"settled".
"""

from enum import StrEnum

METRICS_NAMESPACE = "AthenaQueries"


class Metric(StrEnum):
    """Counts, unless `UNITS` has another unit."""

    # Outcomes, one for each execution that receives one.
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TRANSIENT_FAILURE = "TransientFailure"
    SCAN_LIMIT_EXCEEDED = "ScanLimitExceeded"
    CANCELLED = "Cancelled"
    TIMED_OUT = "TimedOut"
    INVALID_INPUT = "InvalidInput"
    INVALID_REQUEST = "InvalidRequest"
    # All of the above but Succeeded, for an alarm on one metric.
    FAILURES = "Failures"

    # Executions that failed without a typed error, and those for which Athena had no capacity for too long.
    UNTYPED_FAILURES = "UntypedFailures"
    THROTTLED = "Throttled"

    # What detected the completion first, and how long after it the callback was sent.
    SETTLED_BY_EVENT = "SettledByEvent"
    SETTLED_BY_EXECUTOR = "SettledByExecutor"
    SETTLED_BY_POLL = "SettledByPoll"
    CALLBACK_LAG = "CallbackLag"
    # Callbacks for a task that no longer waited: a repeated event, or one that came after the poll.
    LATE_CALLBACKS = "LateCallbacks"

    # Retries, throttles and orphans stopped.
    THROTTLED_STARTS = "ThrottledStarts"
    RERUNS = "Reruns"
    ORPHANS_STOPPED = "OrphansStopped"

    # Emitted by each sweep: the longest time that a running execution has waited for a query that has ended
    # already, or has had no query.
    OLDEST_STUCK_EXECUTION = "OldestStuckExecution"
    # Executions whose end the sweep found before any status event reported it.
    STATUS_EVENTS_MISSED = "StatusEventsMissed"

    # What queries used.
    DATA_SCANNED = "DataScanned"
    ESTIMATED_COST = "EstimatedCost"
    QUEUE_TIME = "QueueTime"
    PLANNING_TIME = "PlanningTime"
    ENGINE_TIME = "EngineTime"


# CloudWatch's units. EstimatedCost is in USD, for which CloudWatch has none.
UNITS = dict.fromkeys(Metric, "Count") | {
    Metric.CALLBACK_LAG: "Milliseconds",
    Metric.QUEUE_TIME: "Milliseconds",
    Metric.PLANNING_TIME: "Milliseconds",
    Metric.ENGINE_TIME: "Milliseconds",
    Metric.OLDEST_STUCK_EXECUTION: "Seconds",
    Metric.DATA_SCANNED: "Bytes",
    Metric.ESTIMATED_COST: "None",
}
