"""A query has the permissions of the principal that starts it, on Glue as on S3."""

from contextvars import ContextVar
from typing import Any

from ministack import app
from ministack.core.iam_actions import identity_denial_message
from ministack.core.iam_evaluator import AuthError, enforce
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id

from local.emulator.athena.errors import Failure

_INSUFFICIENT_PERMISSIONS, _S3_REFUSED = 1500, 1403

# Of the starter. A query runs in a copy of the context of its request.
_access_key: ContextVar[str] = ContextVar("access_key", default="")


def remember_starter(headers: dict[str, str], query_params: dict[str, Any]) -> None:
    """Let the query that this request starts have the permissions of its caller."""
    _access_key.set(extract_access_key_id(headers, query_params))


def allows_glue(action: str, *resources: str) -> bool:
    return not any(_denial(f"glue:{action}", arn) for arn in _glue_arns(resources))


def check_glue(action: str, *resources: str) -> None:
    """Raise Failure unless the starter may do this on the catalog and on resources such as `table/db/name`.

    Glue checks an action on a table on its database and its catalog too (Glue developer guide, "Specifying
    AWS Glue resource ARNs").
    """
    for arn in _glue_arns(resources):
        if denial := _denial(f"glue:{action}", arn):
            cause = "(Service: AmazonDataCatalog; Status Code: 400; Error Code: AccessDeniedException)"
            raise _insufficient(f"{denial} {cause}")


def check_work_group(action: str, work_group: str) -> None:
    """Raise Failure unless the starter may do this in the workgroup."""
    if denial := _denial(f"athena:{action}", _arn("athena", f"workgroup/{work_group}")):
        raise _insufficient(denial)


def allows_locating(bucket: str) -> bool:
    return not _denial("s3:GetBucketLocation", f"arn:aws:s3:::{bucket}")


def check_list(bucket: str, prefix: str) -> None:
    """Raise Failure unless the starter may list the keys with this prefix."""
    if _denial("s3:ListBucket", f"arn:aws:s3:::{bucket}", {"s3:prefix": prefix}):
        raise _s3_refused(bucket, prefix)


def allows_object(action: str, bucket: str, key: str) -> bool:
    return not _denial(f"s3:{action}", f"arn:aws:s3:::{bucket}/{key}")


def allows_key(action: str, key_arn: str) -> bool:
    return not _denial(f"kms:{action}", key_arn)


def check_object(action: str, bucket: str, key: str) -> None:
    """Raise Failure unless the starter may do this with the object."""
    if not allows_object(action, bucket, key):
        raise _s3_refused(bucket, key)


def _glue_arns(resources: tuple[str, ...]) -> list[str]:
    return [_arn("glue", resource) for resource in ("catalog", *resources)]


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{get_region()}:{get_account_id()}:{resource}"


def _denial(action: str, arn: str, keys: dict[str, Any] | None = None) -> str | None:
    """Why IAM denies an action to the starter; None if it is allowed."""
    if not app.AUTH:
        return None
    service = action.partition(":")[0]
    context = {"aws:CalledVia": ["athena.amazonaws.com"], "aws:ViaAWSService": "true", **(keys or {})}
    denied = enforce(_access_key.get(), action, service, get_region(), arn, context)
    if denied is None or isinstance(denied, AuthError):
        return denied and denied.message
    explicitly = denied.decision == "Deny"
    return str(identity_denial_message(action, denied.principal_arn, arn, explicitly))


def _insufficient(denial: str) -> Failure:
    return Failure(f"Insufficient permissions to execute the query. {denial}", _INSUFFICIENT_PERMISSIONS)


def _s3_refused(bucket: str, key: str) -> Failure:
    return Failure(f"Permission denied on S3 path: s3://{bucket}/{key}", _S3_REFUSED)
