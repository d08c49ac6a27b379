"""The errors of an execution, one class for each name that a caller can act on.

AthenaQueryError              goes to the task as SendTaskFailure
├── InvalidInput              the execution's input is invalid; nothing was started
├── InvalidRequest            Athena refused the statement at submission
├── Throttled                 Athena had no capacity for the query
├── Failed                    the query failed, and would fail again
├── TransientFailure          the query failed for a transient reason and is not run again
├── ScanLimitExceeded         the workgroup's limit stopped the query; it was billed
├── Cancelled                 someone stopped the query
├── TimedOut                  the query was stopped at its deadline
└── RunAgain                  internal to the state machine: enter "Start query" again
ServiceFault                  leaves a handler as an exception: a fault of AWS, which ASL retries
InternalFault                 leaves a handler as an exception: a defect of this code
"""

import json
from collections.abc import Mapping
from typing import ClassVar

# Step Functions takes 32,768 characters of cause (SendTaskFailure API reference); JSON may need six for one.
REASON_CHARACTERS = 5_000


class AthenaQueryError(Exception):
    """An outcome other than success. `cause()` follows statemachine/error.schema.json."""

    advice: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(  # noqa: PLR0913 - one argument for each field of the cause
        self,
        reason: str,
        *,
        query_id: str | None = None,
        state: str | None = None,
        category: int | None = None,
        error_type: int | None = None,
        scanned_bytes: int | None = None,
        cost_usd: float | None = None,
        attempts: int = 0,
        labels: Mapping[str, str] | None = None,
        console_url: str | None = None,
    ) -> None:
        # The reason may quote the SQL, so it stays out of the exception's text, which reaches logs.
        super().__init__(self.name)
        self.reason = reason
        self.query_id = query_id
        self.state = state
        self.category = category
        self.error_type = error_type
        self.scanned_bytes = scanned_bytes
        self.cost_usd = cost_usd
        self.attempts = attempts
        self.labels = labels or {}
        self.console_url = console_url

    @property
    def name(self) -> str:
        """The error's name in Step Functions, for example `AthenaQuery.Failed`."""
        return f"AthenaQuery.{type(self).__name__}"

    def cause(self) -> str:
        return json.dumps(
            {
                "QueryId": self.query_id,
                "State": self.state,
                "Reason": cut(self.reason, REASON_CHARACTERS),
                "ErrorCategory": self.category,
                "ErrorType": self.error_type,
                "Retryable": self.retryable,
                "DataScannedInBytes": self.scanned_bytes,
                "EstimatedCostUsd": self.cost_usd,
                "Attempts": self.attempts,
                "Labels": self.labels,
                "ConsoleUrl": self.console_url,
                "Advice": self.advice,
            },
            ensure_ascii=False,
        )


class InvalidInput(AthenaQueryError):
    advice = "Correct the input as described in the reason and start a new execution; nothing was started."


class InvalidRequest(AthenaQueryError):
    advice = (
        "Correct the statement or its context as described in the reason and start a new execution. "
        "If access was denied, name the data in the stack's settings (readDatabases, readPrefixes, "
        "writeDatabases, writePrefixes)."
    )


class Throttled(AthenaQueryError):
    advice = "Redrive the execution later, or request a higher Athena quota (active queries or API rate)."
    retryable = True


class Failed(AthenaQueryError):
    advice = (
        "Correct the statement, its data or its permissions as described in the reason, "
        "then redrive the execution."
    )


class TransientFailure(AthenaQueryError):
    advice = (
        "Redrive the execution. For an automatic retry raise MaxAttempts, "
        "and set Idempotent if the statement writes and may be repeated."
    )
    retryable = True


class ScanLimitExceeded(AthenaQueryError):
    advice = (
        "Make the statement scan less (partitions, fewer columns), or raise the stack's setting "
        "bytesScannedLimit."
    )


class Cancelled(AthenaQueryError):
    advice = "Find out who stopped the query (StopQueryExecution in CloudTrail), then redrive the execution."


class TimedOut(AthenaQueryError):
    advice = "Raise TimeoutSeconds or make the statement faster; a redrive runs it with the same deadline."


class RunAgain(AthenaQueryError):
    """Asks the state machine to enter "Start query" again, as attempt `next_attempt`."""

    advice = "Nothing to do: the state machine starts the query again."
    retryable = True

    def __init__(self, reason: str, *, next_attempt: int, redrive_count: int) -> None:
        super().__init__(reason)
        self.next_attempt = next_attempt
        self.redrive_count = redrive_count

    def cause(self) -> str:
        """For the state machine, which passes it to the next entry: `{Attempt, RedriveCount}`."""
        return json.dumps({"Attempt": self.next_attempt, "RedriveCount": self.redrive_count})


class ServiceFault(Exception):
    """An AWS call failed, and not because of the caller. The text never contains parameters of the call."""


class InternalFault(Exception):
    """A defect of this code, or of its settings.

    Its text has the exception's class and place, or the setting's variable, and nothing of the event.
    """


def cut(text: str, limit: int) -> str:
    """`text`, at most `limit` characters long, with a mark where it was cut."""
    mark = " … (cut)"
    return text if len(text) <= limit else text[: limit - len(mark)] + mark
