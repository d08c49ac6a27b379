"""What planner and reporter work with. The other functions start without it, so it is not in runtime.py."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

import boto3
from botocore.config import Config

from functions.runtime import CONFIG, LazyClient, with_time_limit
from functions.settings import Environment
from functions.task_table import TaskTable

if TYPE_CHECKING:
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

# A batch makes thousands of calls in a row, at the rate that the quotas leave it.
_BATCH_CONFIG = CONFIG.merge(Config(retries={"mode": "adaptive", "total_max_attempts": 8}))


@dataclass(frozen=True, kw_only=True)
class BatchSettings(Environment):
    """`state_machine_arn` is the one that runs queries."""

    task_table: str
    state_machine_arn: str
    batch_state_machine_arn: str
    batches_bucket: str
    batches_prefix: str
    usd_per_terabyte: float


@dataclass(frozen=True, kw_only=True)
class BatchRuntime:
    """`table` is read only. `now` returns epoch seconds."""

    settings: BatchSettings
    s3: "S3Client"
    stepfunctions: "SFNClient"
    athena: "AthenaClient"
    table: TaskTable
    now: Callable[[], float] = time.time


@cache
def get_batch_runtime() -> BatchRuntime:
    """With botocore's own data, since a batch can wait for a cold start."""
    settings = BatchSettings.from_environment()
    session = with_time_limit(boto3.Session(region_name=settings.region))
    dynamodb = cast("DynamoDBClient", LazyClient(session, "dynamodb", _BATCH_CONFIG))
    return BatchRuntime(
        settings=settings,
        s3=cast("S3Client", LazyClient(session, "s3", _BATCH_CONFIG)),
        stepfunctions=cast("SFNClient", LazyClient(session, "stepfunctions", _BATCH_CONFIG)),
        athena=cast("AthenaClient", LazyClient(session, "athena", _BATCH_CONFIG)),
        table=TaskTable(dynamodb, settings.task_table, ttl_seconds=0),
    )
