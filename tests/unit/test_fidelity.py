"""docs/fidelity.md names claims and tests that exist, and every claim of `verify`."""

import re
from pathlib import Path

import pytest

from ops.verify.claims import CLAIMS
from ops.verify.recording import differences, sanitize
from tests.unit.tables import rows

ROOT = Path(__file__).parents[2]
ROWS = rows((ROOT / "docs" / "fidelity.md").read_text(), "behaviour")


def test_there_are_about_fifty_behaviours() -> None:
    assert len(ROWS) >= 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_has_a_status_a_source_and_what_covers_it(row: list[str]) -> None:
    behaviour, known, source, local, covered = row
    assert behaviour
    assert set(known.split(", ")) <= {"documented", "measured", "unverified"}
    assert source
    assert local
    for name in re.findall(r"`([^`]+)`", covered):
        known_test = name in CLAIMS or (ROOT / name).exists() or list((ROOT / "tests").rglob(name))
        assert known_test, f"{name} is neither a claim of verify nor a test"


def test_every_claim_about_aws_has_its_row() -> None:
    named = {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[-1])}
    of_this_stack = {"event-path", "transitions", "lag", "invalid-input", "invalid-request", "cancelled"}
    assert set(CLAIMS) - named - of_this_stack <= {"parent-field", "result-reuse", "states"}


def test_what_identifies_an_account_is_replaced() -> None:
    token = "AQCEAAAAKgAAAAMAAAAA" + "x" * 700
    answer = {
        "executionArn": "arn:aws:states:eu-west-1:123456789012:execution:q:1",
        "input": '{"TaskToken": "secret", "Location": "s3://my-bucket/results/a.csv"}',
        "cause": f"token {token} of 11111111-2222-3333-4444-555555555555",
    }

    assert sanitize(answer) == {
        "executionArn": "arn:aws:states:REGION:ACCOUNT:execution:q:1",
        "input": '{"TaskToken": "TASK-TOKEN", "Location": "s3://BUCKET/KEY"}',
        "cause": "token TASK-TOKEN of UUID",
    }


@pytest.mark.parametrize(
    ("local", "found"),
    [
        ({"Status": {"State": "FAILED"}, "Other": 1}, []),
        ({"Status": {}}, ["Get: Status.State is str in the recording only"]),
        (
            {"Status": {"State": 7}},
            ["Get: Status.State is number locally only", "Get: Status.State is str in the recording only"],
        ),
    ],
)
def test_only_fields_that_the_functions_read_are_compared(local: object, found: list[str]) -> None:
    recorded = [{"operation": "Get", "answer": {"Status": {"State": "SUCCEEDED"}, "New": 1}}]

    differing = differences(recorded, [{"operation": "Get", "answer": local}], {"Get": {"Status.State"}})

    assert differing == found
