"""The events that the functions receive: their types, their patterns, and the states that end a query.

infra/rules.py creates the rules from the patterns, and the simulation delivers events by them.
"""

from typing import Any, Literal

QUERY_STATE_CHANGE = "Athena Query State Change"
EXECUTION_STATUS_CHANGE = "Step Functions Execution Status Change"
SCHEDULED_EVENT = "Scheduled Event"

# Athena user guide, "Monitor Athena query events with EventBridge".
TERMINAL_STATES = ("SUCCEEDED", "FAILED", "CANCELLED")

# Statuses of an ended execution whose query may still run.
UNSUCCESSFUL_STATUSES: tuple[Literal["FAILED", "TIMED_OUT", "ABORTED"], ...] = (
    "FAILED",
    "TIMED_OUT",
    "ABORTED",
)


def query_ended(work_group: str) -> dict[str, Any]:
    """The pattern for terminal state changes of queries in the workgroup."""
    return {
        "source": ["aws.athena"],
        "detail-type": [QUERY_STATE_CHANGE],
        "detail": {"workgroupName": [work_group], "currentState": list(TERMINAL_STATES)},
    }


def execution_ended(state_machine_arn: str) -> dict[str, Any]:
    """The pattern for executions of the state machine that ended without success."""
    return {
        "source": ["aws.states"],
        "detail-type": [EXECUTION_STATUS_CHANGE],
        "detail": {"stateMachineArn": [state_machine_arn], "status": list(UNSUCCESSFUL_STATUSES)},
    }
