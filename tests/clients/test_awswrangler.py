"""awswrangler reads results in each of its ways, and reads and writes the catalog."""

from typing import Any

import pytest

from tests.clients.conftest import Client

CLIENT = "awswrangler"
AIRLINES = [["9E", "Endeavor Air Inc."], ["AA", "American Airlines Inc."]]


@pytest.fixture(scope="module")
def report(client: Client) -> dict[str, Any]:
    return client.report("awswrangler_session.py")


@pytest.mark.parametrize("approach", ["csv", "ctas", "unload", "workgroup"])
def test_it_reads_a_result(report: dict[str, Any], approach: str) -> None:
    assert report[approach] == AIRLINES


def test_it_reads_unnamed_columns_parameters_and_chunks(report: dict[str, Any]) -> None:
    assert report["unnamed"] == [[16]]
    assert report["parameters"] == [["American Airlines Inc."]]
    assert report["chunks"] == [1000, 1000, 500]


def test_it_describes_a_table(report: dict[str, Any]) -> None:
    assert report["described"] == ["string", "string"]
    assert report["create"].startswith("CREATE EXTERNAL TABLE `flights.airlines`(")


def test_it_reads_the_catalog(report: dict[str, Any]) -> None:
    assert report["databases"] == ["flights", "scratch"]
    assert report["tables"] == ["airlines", "airports", "flights", "planes", "weather"]
    assert report["types"] == {"carrier": "string", "name": "string"}


def test_it_writes_a_partitioned_table(report: dict[str, Any]) -> None:
    assert report["partitions"] == [["u"], ["v"]]
    assert report["written"] == 4
    assert report["repaired"] == "SUCCEEDED"
    assert report["owner"] == "team"
    assert report["found"] == ["written"]
    assert report["deleted"] is True


def test_a_failing_query_raises_athenas_reason(report: dict[str, Any]) -> None:
    assert report["failure"].startswith("COLUMN_NOT_FOUND: ")
