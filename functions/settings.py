"""The functions' settings: the environment, read once when a function starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

SECONDS_PER_DAY = 86_400


class InvalidSetting(Exception):
    """An environment variable that the stack should have set is missing or unusable."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What infra/workflow.py puts into each function's environment, in upper case."""

    task_table: str
    work_group: str
    region: str
    default_database: str
    default_catalog: str
    max_attempts: int
    usd_per_terabyte: float
    poll_seconds: int
    task_ttl_days: int

    @property
    def task_ttl_seconds(self) -> int:
        return self.task_ttl_days * SECONDS_PER_DAY

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raise InvalidSetting with the variable's name if one is absent or is no number where it must be."""

        def text(name: str) -> str:
            value = environment.get(name, "")
            if not value:
                raise InvalidSetting(f"{name} is not set; deploy the stack again")
            return value

        def number(name: str) -> float:
            try:
                return float(text(name))
            except ValueError:
                raise InvalidSetting(f"{name} is {text(name)!r}; it must be a number") from None

        return cls(
            task_table=text("TASK_TABLE"),
            work_group=text("WORK_GROUP"),
            region=text("AWS_REGION"),
            default_database=text("DEFAULT_DATABASE"),
            default_catalog=text("DEFAULT_CATALOG"),
            max_attempts=int(number("MAX_ATTEMPTS")),
            usd_per_terabyte=number("USD_PER_TERABYTE"),
            poll_seconds=int(number("POLL_SECONDS")),
            task_ttl_days=int(number("TASK_TTL_DAYS")),
        )
