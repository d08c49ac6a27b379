"""The metrics that the functions emit: the one place that functions, dashboard, alarms and tests read.

Each has one dimension, `service`, which is the stack's name. What is per query is in the log line "settled".
"""

from enum import StrEnum


class Metric(StrEnum):
    """Counts, unless `UNITS` says otherwise."""

    # How did queries end? One of these for each execution that was told an outcome.
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TRANSIENT_FAILURE = "TransientFailure"
    CANCELLED = "Cancelled"
    TIMED_OUT = "TimedOut"
    INVALID_INPUT = "InvalidInput"
    INVALID_REQUEST = "InvalidRequest"
    # All of the above but Succeeded, for an alarm on one metric.
    FAILURES = "Failures"

    # Who heard of the end first, and how long after it was the task told?
    SETTLED_BY_EVENT = "SettledByEvent"
    SETTLED_BY_EXECUTOR = "SettledByExecutor"
    SETTLED_BY_POLL = "SettledByPoll"
    CALLBACK_LAG = "CallbackLag"
    # A callback for a task that no longer waited: a repeated event, or one that came after the poll.
    LATE_CALLBACKS = "LateCallbacks"

    # What had to be done again, or stopped?
    THROTTLED_STARTS = "ThrottledStarts"
    RERUNS = "Reruns"
    ORPHANS_STOPPED = "OrphansStopped"

    # What did queries take?
    DATA_SCANNED = "DataScanned"
    ESTIMATED_COST = "EstimatedCost"
    QUEUE_TIME = "QueueTime"
    PLANNING_TIME = "PlanningTime"
    ENGINE_TIME = "EngineTime"


# CloudWatch's names. EstimatedCost is in USD, for which there is none.
UNITS = dict.fromkeys(Metric, "Count") | {
    Metric.CALLBACK_LAG: "Milliseconds",
    Metric.QUEUE_TIME: "Milliseconds",
    Metric.PLANNING_TIME: "Milliseconds",
    Metric.ENGINE_TIME: "Milliseconds",
    Metric.DATA_SCANNED: "Bytes",
    Metric.ESTIMATED_COST: "None",
}
