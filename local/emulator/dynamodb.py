"""Where DynamoDB differs from MiniStack's: a table's KMS key is used with the permissions of the caller."""

import json
from typing import Any

from ministack.core.responses import error_response_json
from ministack.core.router import extract_access_key_id
from ministack.services import dynamodb as ministack

from local.emulator import roles

_ministack_handle_request = ministack.handle_request
# The key that every account has.
_AWS_MANAGED = ":alias/aws/"

# https://github.com/aws/aws-cdk/issues/10010
_DENIED = "KMS key access denied error: "


def install() -> None:
    ministack.handle_request = _handle_request


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    role_arn = roles.of_caller(extract_access_key_id(headers, query_params))
    if role_arn:
        for key in _keys(json.loads(body or b"{}")):
            if denial := roles.denial(role_arn, "kms:Decrypt", key):
                return error_response_json("AccessDeniedException", _DENIED + denial, 400)
    return await _ministack_handle_request(method, path, headers, body, query_params)


def _keys(call: dict[str, Any]) -> list[str]:
    """The KMS keys of the tables that a call names."""
    tables = [ministack._tables.get(name) for name in (call.get("TableName"), *call.get("RequestItems", {}))]
    arns = [((one or {}).get("SSEDescription") or {}).get("KMSMasterKeyArn", "") for one in tables]
    return [arn for arn in arns if arn and _AWS_MANAGED not in arn]
