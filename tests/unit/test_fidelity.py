"""docs/fidelity.md names claims and tests that exist, and every claim of `verify`."""

import re
from pathlib import Path

import pytest

from ops.verify.claims import CLAIMS
from ops.verify.recording import differences, sanitize
from tests.simulation.mutants import MUTANTS
from tests.unit.tables import rows

ROOT = Path(__file__).parents[2]
ROWS = rows((ROOT / "docs" / "fidelity.md").read_text(), "behaviour")


def test_there_are_about_fifty_behaviours() -> None:
    assert len(ROWS) >= 50


# `test_function` or `test_function[the name of a mutant]`.
_TEST = re.compile(r"(test_\w+)(?:\[(.+)\])?")


@pytest.fixture(scope="module")
def tests() -> set[str]:
    files = (ROOT / "tests").rglob("test_*.py")
    return {
        name for file in files for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_row_has_a_status_a_source_and_what_covers_it(row: list[str], tests: set[str]) -> None:
    behaviour, known, source, local, covered = row
    assert behaviour
    assert set(known.split(", ")) <= {"documented", "measured", "unverified"}
    assert source
    assert local
    names = [name.strip("`") for name in covered.split(", ")]
    assert covered == ", ".join(f"`{name}`" for name in names)
    for name in names:
        if match := _TEST.fullmatch(name):
            assert match[1] in tests
            assert match[2] is None or match[2] in MUTANTS
        else:
            assert name in CLAIMS


def test_every_claim_about_aws_has_its_row() -> None:
    named = {name.strip("`") for row in ROWS for name in row[-1].split(", ")}
    # An invalid input never reaches Athena.
    assert set(CLAIMS) - named == {"invalid-input"}


def test_what_identifies_an_account_is_replaced() -> None:
    token = "AQCEAAAAKgAAAAMAAAAA" + "x" * 700
    answer = {
        "executionArn": "arn:aws:states:eu-west-1:123456789012:execution:our-queries:1",
        "workgroupName": "our-queries",
        "detail": {"WorkGroup": None},
        "input": '{"TaskToken": "secret", "Location": "s3://my-bucket/results/a.csv"}',
        "cause": f"token {token} of 11111111-2222-3333-4444-555555555555",
    }

    assert sanitize(answer) == {
        "executionArn": "arn:aws:states:REGION:ACCOUNT:execution:NAME",
        "workgroupName": "NAME",
        "detail": {"WorkGroup": None},
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
