"""A state machine that logs needs a role that may deliver logs: AWS checks it when the logging is configured.

Step Functions developer guide, "Using CloudWatch Logs to log execution history".
"""

from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import stepfunctions as ministack

from local.emulator import roles

_ACTIONS = (
    *("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries"),
    *("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups"),
)
_ministack_create = ministack._create_state_machine
_ministack_update = ministack._update_state_machine


def install() -> None:
    ministack._create_state_machine = _create
    ministack._update_state_machine = _update


def _create(data: dict[str, Any]) -> Any:
    return _refusal(data, data.get("roleArn")) or _ministack_create(data)


def _update(data: dict[str, Any]) -> Any:
    known = ministack._state_machines.get(data.get("stateMachineArn", "")) or {}
    return _refusal(data, data.get("roleArn") or known.get("roleArn")) or _ministack_update(data)


def _refusal(data: dict[str, Any], role_arn: str | None) -> Any:
    logging = data.get("loggingConfiguration") or {}
    if logging.get("destinations") and any(
        roles.denial(role_arn, f"logs:{action}", "*") for action in _ACTIONS
    ):
        message = "The state machine IAM Role is not authorized to access the Log Destination"
        return error_response_json("AccessDeniedException", message, 400)
    return None
