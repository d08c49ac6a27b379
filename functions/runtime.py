"""What a handler works with, built once per cold start."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from functions.settings import Settings
from functions.task_table import TaskTable

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_stepfunctions import SFNClient

# Three tries within a function's 30 seconds; what lasts longer is retried by ASL, where it can be seen.
_CONFIG = Config(connect_timeout=2, read_timeout=8, retries={"mode": "standard", "total_max_attempts": 3})


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`now` gives epoch seconds."""

    settings: Settings
    athena: "AthenaClient"
    stepfunctions: "SFNClient"
    table: TaskTable
    now: Callable[[], float] = time.time


@cache
def runtime() -> Runtime:
    """The deployed function's runtime. One session serves all clients: making one is slow."""
    settings = Settings.from_environment()
    session = boto3.Session(region_name=settings.region)
    return Runtime(
        settings=settings,
        athena=session.client("athena", config=_CONFIG),
        stepfunctions=session.client("stepfunctions", config=_CONFIG),
        table=TaskTable(
            session.client("dynamodb", config=_CONFIG), settings.task_table, settings.task_ttl_seconds
        ),
    )
