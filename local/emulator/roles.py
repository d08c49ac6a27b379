"""What a role allows an AWS service that acts for it: EventBridge, Scheduler, Pipes, Step Functions."""

from ministack import app
from ministack.core import iam_evaluator
from ministack.core.iam_actions import identity_denial_message
from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, sts


def of_caller(access_key: str) -> str | None:
    """The ARN of the role whose session the key belongs to; None for a user or the account itself."""
    session = sts._sessions.get(access_key)
    if not session:
        return None
    name = str(session["Arn"]).split("/")[1]
    return f"arn:aws:iam::{get_account_id()}:role/{name}"


def denial(role_arn: str | None, action: str, resource: str) -> str | None:
    """Why IAM denies the role an action on a resource; None if it is allowed."""
    if not app.AUTH:
        return None
    account = get_account_id()
    name = (role_arn or "").rpartition("/")[2]
    if iam._roles.get(name) is None:
        return f"There is no role {role_arn}"
    principal = f"arn:aws:sts::{account}:assumed-role/{name}/service"
    context = iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="AssumedRole",
        principal_account=account,
        action=action,
        resource_arn=resource,
        region=get_region(),
        # The services call each other with TLS.
        secure_transport=True,
    )
    limits = iam_evaluator._permissions_boundary(iam._roles, name, account)
    policies = iam_evaluator._gather_role_policies(name, account)
    result = iam_evaluator.evaluate(context, policies, *limits)
    if found := iam_evaluator._resource_policy(action.partition(":")[0], resource):
        result = iam_evaluator.combine_resource_policy(result, context, *found, limits=tuple(limits))
    if result.decision == "Allow":
        return None
    return str(identity_denial_message(action, principal, resource, result.decision == "Deny"))
