"""Each threat in SECURITY.md names what the design does, and tests that exist."""

import re

import pytest

from tests.unit.tables import rows
from tools.generate_docs import ROOT

_SECTION = (ROOT / "SECURITY.md").read_text().partition("## Threat model")[2].partition("\n## ")[0]
ROWS = rows(_SECTION, "threat")


def test_the_threats_are_listed() -> None:
    assert len(ROWS) >= 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_threat_has_a_measure_and_tests_that_exist(row: list[str]) -> None:
    threat, measure, tests = row
    assert threat
    assert measure
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    for one in named:
        file, _, function = one.partition("::")
        text = (ROOT / file).read_text()
        assert re.search(rf"^def {function}\(", text, re.MULTILINE), f"{one} does not exist"
