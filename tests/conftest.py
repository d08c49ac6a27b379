"""For every tier: what functions/observability.py reads when it is imported, as infra/workflow.py sets it;
the groups of tests that share a stack; and no time limit that an earlier test left.
"""

import math
import os

import pytest

from functions.metric_names import METRICS_NAMESPACE
from functions.time_budget import time_budget
from tests.duration import Duration

os.environ |= {
    "POWERTOOLS_SERVICE_NAME": "queries",
    "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
    # Otherwise Powertools reads LOG_LEVEL, which the tests of the local Athena set for MiniStack.
    "POWERTOOLS_LOG_LEVEL": "INFO",
}


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Duration())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For `make test`: a process runs whole files, and one of them all end-to-end tests on one stack."""
    for item in items:
        folder = item.path.parent
        group = folder if folder.name == "end_to_end" else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))


@pytest.fixture(autouse=True)
def unlimited_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler leaves the time limit of its invocation in the process. It is not that of the next test."""
    monkeypatch.setattr(time_budget, "_remaining_ms", lambda: math.inf)
