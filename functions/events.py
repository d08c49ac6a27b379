"""The events that the functions receive: their types, their patterns, and the states that end a query.

infra/workflow.py makes its rules of the patterns, the simulation delivers by them.
"""

from typing import Any

QUERY_STATE_CHANGE = "Athena Query State Change"
EXECUTION_STATUS_CHANGE = "Step Functions Execution Status Change"
SCHEDULED_EVENT = "Scheduled Event"

# Athena user guide, "Monitor Athena query events with EventBridge".
TERMINAL_STATES = ("SUCCEEDED", "FAILED", "CANCELLED")

# Ends of an execution after which a query of it may still run.
UNSUCCESSFUL_STATUSES = ("FAILED", "TIMED_OUT", "ABORTED")


def query_ended(work_group: str) -> dict[str, Any]:
    """The pattern of a query's terminal state change in the workgroup."""
    return {
        "source": ["aws.athena"],
        "detail-type": [QUERY_STATE_CHANGE],
        "detail": {"workgroupName": [work_group], "currentState": list(TERMINAL_STATES)},
    }


def execution_ended(state_machine_arn: str) -> dict[str, Any]:
    """The pattern of an execution of the state machine that ended without success."""
    return {
        "source": ["aws.states"],
        "detail-type": [EXECUTION_STATUS_CHANGE],
        "detail": {"stateMachineArn": [state_machine_arn], "status": list(UNSUCCESSFUL_STATUSES)},
    }
