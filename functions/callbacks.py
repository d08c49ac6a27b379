"""Step Functions callbacks: send a waiting task the outcome of its query."""

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from functions.errors import AthenaQueryError

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

# Step Functions returns TaskTimedOut for a token that has been used, and TaskDoesNotExist once its execution
# has been deleted. Both mean only that another callback was first.
_LATE = frozenset({"TaskTimedOut", "TaskDoesNotExist"})


def succeed(stepfunctions: "SFNClient", task_token: str, output: str) -> bool:
    """Send the task's output, a JSON document. Return False if the task no longer waits."""
    return _delivered(stepfunctions.send_task_success, taskToken=task_token, output=output)


def fail(stepfunctions: "SFNClient", task_token: str, error: AthenaQueryError) -> bool:
    """Send the task's typed failure. Return False if the task no longer waits."""
    return _delivered(
        stepfunctions.send_task_failure, taskToken=task_token, error=error.name, cause=error.cause()
    )


def _delivered(send: Any, **arguments: str) -> bool:
    try:
        send(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] in _LATE:
            return False
        raise
    return True
