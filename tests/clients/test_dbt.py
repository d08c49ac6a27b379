"""dbt builds models as tables, as views and incrementally, and loads seeds."""

import json
from typing import Any

import pytest

from tests.clients.conftest import FOLDER, Client, read
from tests.end_to_end.conftest import Deployment

CLIENT = "dbt"


def build(client: Client) -> dict[str, dict[str, Any]]:
    """Build the project and return the result of each model and test by its name."""
    project, target = FOLDER / "dbt_project", client.working_folder / "target"
    client.run(
        "dbt",
        "build",
        *("--project-dir", project, "--profiles-dir", project),
        *("--target-path", target, "--log-path", client.working_folder),
        DBT_SEND_ANONYMOUS_USAGE_STATS="false",
    )
    results = json.loads((target / "run_results.json").read_text())["results"]
    return {one["unique_id"].split(".")[2]: one for one in results}


@pytest.fixture(scope="module")
def builds(client: Client) -> list[dict[str, dict[str, Any]]]:
    """The results of a first build, and of a second one, which replaces and extends what is there."""
    return [build(client), build(client)]


def statuses(results: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: one["status"] for name, one in results.items()}


def test_every_model_is_built_twice(builds: list[dict[str, dict[str, Any]]]) -> None:
    expected = {
        "carriers": "success",
        "cities": "success",
        "months": "success",
        "large_carriers": "success",
        "unique_carriers_carrier": "pass",
        "not_null_carriers_carrier": "pass",
        "failing": "error",
    }
    assert [statuses(results) for results in builds] == [expected, expected]


def test_a_failing_model_shows_athenas_reason(builds: list[dict[str, dict[str, Any]]]) -> None:
    assert "COLUMN_NOT_FOUND" in builds[0]["failing"]["message"]


@pytest.mark.usefixtures("builds")
def test_tables_and_views_are_read_back(deployment: Deployment) -> None:
    expected = [["B6", "54635"], ["EV", "54173"], ["UA", "58665"]]

    assert read(deployment, "SELECT * FROM large_carriers ORDER BY 1") == expected
    assert read(deployment, "SELECT * FROM carriers WHERE flights > 50000 ORDER BY 1") == expected
    assert read(deployment, "SELECT city FROM cities ORDER BY origin") == [
        ["Newark"],
        ["New York"],
        ["New York"],
    ]


@pytest.mark.usefixtures("builds")
def test_an_incremental_model_appends_partitions(deployment: Deployment) -> None:
    assert read(deployment, "SELECT count(*), sum(flights) FROM months") == [["12", "336776"]]
