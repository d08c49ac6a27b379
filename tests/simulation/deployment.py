"""One deployment of the stack: its settings, and the functions' settings and the document that follow from
them.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from functions.settings import Settings
from infra.document import render_document
from tests.simulation.events import STATE_MACHINE_ARN, WORK_GROUP
from tests.simulation.interpreter import read_document

EditDocument = Callable[[Any], None]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Settings of infra/settings.py under their names there; those that are absent change nothing here."""

    patience_seconds: int = 300
    poll_seconds: int = 30
    poll_growth: float = 0.1
    back_off_seconds: int = 10
    sweep_minutes: int = 5
    max_attempts: int = 2
    default_database: str = "sales"
    task_ttl_days: int = 30

    def settings(self) -> Settings:
        return _settings(self)

    def document(self, edit: EditDocument | None = None) -> Any:
        document = _document(self)
        if edit is not None:
            document = copy.deepcopy(document)
            edit(document)
        return document


@cache
def _settings(deployment: Deployment) -> Settings:
    return Settings(
        task_table="tasks",
        work_group=WORK_GROUP,
        state_machine_arn=STATE_MACHINE_ARN,
        region="eu-west-1",
        default_database=deployment.default_database,
        default_catalog="AwsDataCatalog",
        max_attempts=deployment.max_attempts,
        usd_per_terabyte=5.0,
        bytes_scanned_limit=1_000_000_000,
        poll_seconds=deployment.poll_seconds,
        poll_growth=deployment.poll_growth,
        task_ttl_days=deployment.task_ttl_days,
    )


@cache
def _rendered() -> str:
    return render_document()


@cache
def _document(deployment: Deployment) -> Any:
    return read_document(
        _rendered(),
        {
            "Partition": "aws",
            "ExecutorArn": "executor",
            "CheckerArn": "checker",
            "PatienceSeconds": deployment.patience_seconds,
            "PollSeconds": deployment.poll_seconds,
            "PollGrowth": deployment.poll_growth,
            "BackOffSeconds": deployment.back_off_seconds,
        },
    )
