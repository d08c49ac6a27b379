"""Outages of AWS APIs on demand: the chosen operations fail until the outage ends."""

import re
from dataclasses import dataclass

from local.emulator.faults import faults

_SERVICE = re.compile(r"Credential=[^/]+/\d+/[\w-]+/([\w-]+)/aws4_request")


@dataclass(frozen=True)
class Failure:
    """The response to a request during an outage."""

    status: int
    code: str


def failure(method: str, headers: dict[str, str]) -> Failure | None:
    """The failure of a request whose operation has an outage.

    An operation is SERVICE:NAME, with the service's name in signatures and IAM policies, such as
    states:SendTaskSuccess; where the request does not name an operation (S3), NAME is the HTTP method.
    """
    match = _SERVICE.search(headers.get("authorization", ""))
    if not faults.outages or not match:
        return None
    operation = headers.get("x-amz-target", "").rpartition(".")[2] or method
    code = faults.outage(f"{match[1]}:{operation}")
    if code is None:
        return None
    return Failure(500 if code.startswith(("Internal", "Service")) else 400, code)
