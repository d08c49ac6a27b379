"""Cleans up after many executions, which canceller and reporter do on a schedule."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from functions.errors import ServiceFault
from functions.observability import fault_name, logger
from functions.time_budget import OutOfTime

T = TypeVar("T")

# A sweep cleans up after executions that ended since then, so this is the longest outage that sweeps outlast.
WINDOW = timedelta(days=3)


def clean_up_each(executions: Iterable[T], clean_up: Callable[[T], None]) -> None:
    """Call `clean_up` for each execution, and raise ServiceFault in the end if that failed for one.

    One failure does not hold up the others; the next sweep retries it.
    """
    fault: str | None = None
    for execution in executions:
        try:
            clean_up(execution)
        except (ClientError, BotoCoreError, ServiceFault) as error:
            fault = str(error) if isinstance(error, ServiceFault) else fault_name(error)
            logger.error("clean-up failed", fault=fault)
            if isinstance(error, OutOfTime):
                break
    if fault:
        raise ServiceFault(fault)
