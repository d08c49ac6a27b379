"""The functions' settings: written into their environment at deployment, read once when a function starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, cast

SECONDS_PER_DAY = 86_400

# The functions' time limit, which functions/runtime.py divides among AWS calls.
FUNCTION_TIMEOUT_SECONDS = 30

# Lambda's maximum, for the two functions of a batch. DescribeExecution allows 15 calls a second, 10 in most
# regions (Step Functions developer guide, "Quotas"), so a manifest of 10,000 queries takes 11 or 17 minutes.
BATCH_TIMEOUT_SECONDS = 900

FUNCTION_MEMORY_MB = 512

# The two functions of a batch hold a file of up to 64 MiB as text and as documents. Text may be four times as
# large in memory as in the file.
BATCH_MEMORY_MB = 2_048

# Lambda sets it, and a deployment cannot.
_REGION = "AWS_REGION"


class InvalidSetting(Exception):
    """An environment variable that the stack sets is missing or has the wrong type."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Each field is an environment variable, in upper case; `region` is Lambda's own AWS_REGION."""

    region: str

    def to_environment(self) -> dict[str, str]:
        """The environment variables that `from_environment` reads, without AWS_REGION."""
        names = (one.name for one in fields(self))
        return {_variable(name): str(getattr(self, name)) for name in names if _variable(name) != _REGION}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raise InvalidSetting with the name of a variable that is missing or is not a number but must be."""
        values: dict[str, Any] = {}
        for one in fields(cls):
            variable = _variable(one.name)
            text = environment.get(variable, "")
            if not text:
                raise InvalidSetting(f"{variable} is not set; deploy the stack again")
            try:
                # The type of each is str, int or float.
                values[one.name] = cast("type", one.type)(text)
            except ValueError:
                raise InvalidSetting(f"{variable} is {text!r}; it must be a number") from None
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Settings(Environment):
    """Of executor, checker and canceller.

    `bytes_scanned_limit` is 0 where the limit of the workgroup is not known.
    """

    task_table: str
    work_group: str
    state_machine_arn: str
    default_database: str
    default_catalog: str
    max_attempts: int
    usd_per_terabyte: float
    bytes_scanned_limit: int
    poll_seconds: int
    poll_growth: float
    task_ttl_days: int

    @property
    def task_ttl_seconds(self) -> int:
        return self.task_ttl_days * SECONDS_PER_DAY


def _variable(name: str) -> str:
    return _REGION if name == "region" else name.upper()
