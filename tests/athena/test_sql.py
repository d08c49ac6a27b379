"""The local Athena's answers beside those of Athena's guide, of Trino's documentation and of measurements."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.athena.conftest import Athena

STATEMENTS: list[dict[str, Any]] = [
    statement
    for file in ("athena_sql.yaml", "athena_guide.yaml")
    for statement in yaml.safe_load((Path(__file__).parent / file).read_text())
]


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement["sql"][:60])
def test_a_statement_has_athenas_answer_or_none(athena: Athena, statement: dict[str, Any]) -> None:
    assert statement["source"]
    if expected := statement.get("error") or statement.get("refused"):
        assert athena.reason(statement["sql"]).startswith(expected)
        return
    query = athena.run(statement["sql"])
    assert query["Status"]["State"] == "SUCCEEDED", query["Status"]["StateChangeReason"]
    results = athena.results(query["QueryExecutionId"])["ResultSet"]
    rows = [[cell.get("VarCharValue") for cell in row["Data"]] for row in results["Rows"][1:]]
    assert rows == statement["rows"]
    assert [one["Type"] for one in results["ResultSetMetadata"]["ColumnInfo"]] == statement["columns"]


def test_the_list_is_of_some_length() -> None:
    assert len(STATEMENTS) > 180
    assert len({statement["sql"] for statement in STATEMENTS}) == len(STATEMENTS)
