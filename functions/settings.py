"""The functions' settings: written into their environment at deployment, read once when a function starts."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

SECONDS_PER_DAY = 86_400

# The functions' time limit, which functions/runtime.py divides among AWS calls.
FUNCTION_TIMEOUT_SECONDS = 30

# Lambda sets it, and a deployment cannot.
_REGION = "AWS_REGION"


class InvalidSetting(Exception):
    """An environment variable that the stack sets is missing or has the wrong type."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Each field is an environment variable, in upper case; `region` is Lambda's own AWS_REGION.

    `bytes_scanned_limit` is 0 where the limit of the workgroup is not known.
    """

    task_table: str
    work_group: str
    state_machine_arn: str
    region: str
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

    def to_environment(self) -> dict[str, str]:
        """The environment variables that `from_environment` reads, without AWS_REGION."""
        return {_variable(name): str(getattr(self, name)) for name in _TYPES if _variable(name) != _REGION}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raise InvalidSetting with the name of a variable that is missing or is not a number but must be."""
        values = {}
        for name, type_ in _TYPES.items():
            variable = _variable(name)
            text = environment.get(variable, "")
            if not text:
                raise InvalidSetting(f"{variable} is not set; deploy the stack again")
            try:
                values[name] = type_(text)
            except ValueError:
                raise InvalidSetting(f"{variable} is {text!r}; it must be a number") from None
        return cls(**values)


# Each is str, int or float.
_TYPES: dict[str, Callable[[str], Any]] = {one.name: cast("type", one.type) for one in fields(Settings)}


def _variable(name: str) -> str:
    return _REGION if name == "region" else name.upper()
