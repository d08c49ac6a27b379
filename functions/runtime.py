"""What a handler works with, built once per cold start."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.session
from botocore.config import Config

from functions.settings import Settings
from functions.task_table import TaskTable
from functions.time_budget import time_budget

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_stepfunctions import SFNClient

# One retry covers a lost connection. ASL retries what lasts longer, visibly in the history.
CONFIG = Config(connect_timeout=1, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})

# What botocore reads for the calls that the functions make, written by infra/bundle.py: its own data have all
# calls of all services, and take an eighth of a cold start to read. botocore resolves FIPS and dual-stack
# endpoints differently with data that is not its own (docs/adr/0018-sdk-data-of-the-calls.md).
_SDK_DATA = Path(__file__).parent / "sdk_data"
_OTHER_ENDPOINTS = ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")

# The longest time of a call: two attempts, and botocore's delay of up to a second between them.
CALL_SECONDS = 2 * (1 + 5) + 1


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """`now` returns epoch seconds; `sleep` takes seconds."""

    settings: Settings
    athena: "AthenaClient"
    stepfunctions: "SFNClient"
    table: TaskTable
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


@cache
def get_runtime() -> Runtime:
    """The deployed function's runtime. All clients share one session, which is slow to create."""
    settings = Settings.from_environment()
    session = with_time_limit(_make_session(settings.region))
    dynamodb = cast("DynamoDBClient", LazyClient(session, "dynamodb", CONFIG))
    return Runtime(
        settings=settings,
        athena=cast("AthenaClient", LazyClient(session, "athena", CONFIG)),
        stepfunctions=cast("SFNClient", LazyClient(session, "stepfunctions", CONFIG)),
        table=TaskTable(dynamodb, settings.task_table, settings.task_ttl_seconds),
    )


def _make_session(region: str) -> boto3.Session:
    core = botocore.session.get_session()
    if not any(name in os.environ for name in _OTHER_ENDPOINTS):
        core.set_config_variable("data_path", str(_SDK_DATA))
    return boto3.Session(region_name=region, botocore_session=core)


def with_time_limit(session: boto3.Session) -> boto3.Session:
    session.events.register("before-call", _require_time)
    return session


class LazyClient:
    """A client that is made at its first call: few invocations need all of them."""

    def __init__(self, session: boto3.Session, service: str, config: Config) -> None:
        self._session = session
        self._service = service
        self._config = config

    def __getattr__(self, operation: str) -> Any:
        return getattr(self._client, operation)

    @cached_property
    def _client(self) -> Any:
        # The stubs of boto3 know each service by its literal name only.
        return self._session.client(self._service, config=self._config)  # type: ignore[call-overload]


def _require_time(**_: Any) -> None:
    """A handler of botocore's event before each call."""
    time_budget.require(CALL_SECONDS)
