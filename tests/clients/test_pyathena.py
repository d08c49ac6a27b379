"""PyAthena: cursors, paging, DDL, metadata, errors, data frames, and its dialect of SQLAlchemy."""

from typing import Any

import pytest

from tests.clients.conftest import Client

CLIENT = "pyathena"


@pytest.fixture(scope="module")
def report(client: Client) -> dict[str, Any]:
    return client.report("pyathena_session.py")


def test_a_cursor_reads_rows(report: dict[str, Any]) -> None:
    assert report["rows"] == [["9E", "Endeavor Air Inc."], ["AA", "American Airlines Inc."]]
    assert report["columns"] == [["carrier", "varchar"], ["name", "varchar"]]
    assert report["state"] == "SUCCEEDED"
    assert report["dictionaries"] == [{"one": 1}]


def test_a_cursor_reads_every_page(report: dict[str, Any]) -> None:
    assert report["all"] == 3500
    assert report["pages"] == [1000, [1001], 1499]


def test_unnamed_columns_are_numbered(report: dict[str, Any]) -> None:
    assert report["unnamed"] == [[16, 1]]
    assert report["unnamed columns"] == ["_col0", "_col1"]


@pytest.mark.parametrize("style", ["named parameters", "execution parameters"])
def test_parameters_are_bound(report: dict[str, Any], style: str) -> None:
    assert report[style] == [["American Airlines Inc."]]


def test_values_have_their_types(report: dict[str, Any]) -> None:
    assert report["values"] == [
        "1.50",
        "2026-11-25",
        "2026-11-25 01:02:03.456000",
        "True",
        r"b'\x00\xff'",
        "[1, 2]",
        "None",
    ]


def test_tables_and_views_are_created_changed_described_and_dropped(report: dict[str, Any]) -> None:
    assert report["inserted"] == 1
    assert report["altered"] == [[1, "x", None]]
    assert report["properties"] == [["other"]]
    assert report["described"] == [["n", "int"], ["text", "string"], ["more", "int"]]
    assert report["created"] == []
    assert report["view"] == [[16]]
    assert report["dropped"] == []


def test_metadata_is_read(report: dict[str, Any]) -> None:
    assert report["databases"] == ["flights", "scratch"]
    assert report["tables"] == ["airlines", "airports", "flights", "planes", "weather"]
    assert report["metadata"] == [["carrier", "string"], ["name", "string"]]


def test_errors_have_athenas_reasons(report: dict[str, Any]) -> None:
    kind, reason = report["failure"]
    assert (kind, reason.split(":")[0]) == ("OperationalError", "COLUMN_NOT_FOUND")
    kind, reason = report["refusal"]
    assert kind == "DatabaseError"
    assert "mismatched input 'SELEKT'" in reason


def test_a_running_query_is_cancelled(report: dict[str, Any]) -> None:
    assert report["cancelled"] == "CANCELLED"


def test_results_are_read_as_data_frames(report: dict[str, Any]) -> None:
    assert report["frame"] == [[1, 2, 3], "2026-11-25 01:02:03"]


def test_sqlalchemy_inspects_the_catalog(report: dict[str, Any]) -> None:
    assert report["inspected"] == {
        "schemas": ["flights", "scratch"],
        "tables": ["airlines", "airports", "flights", "planes", "weather"],
        "has": [True, False],
        "location": "s3://sample-data/flights/airlines/",
    }


def test_sqlalchemy_reflects_creates_and_fills_tables(report: dict[str, Any]) -> None:
    assert report["reflected"] == "American Airlines Inc."
    assert report["inserted rows"] == ["2026-11-01", "2026-11-02"]
