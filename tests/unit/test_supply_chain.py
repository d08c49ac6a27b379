"""docs/supply-chain.md lists what is deployed; the audit never passes for lack of an answer."""

import json
import re

import pytest

from tools import supply_chain
from tools.generate_docs import ROOT


def test_every_deployed_package_is_listed_with_its_licence() -> None:
    lock = (ROOT / "functions" / "requirements.lock").read_text()
    page = (ROOT / "docs" / "supply-chain.md").read_text()
    listed = re.findall(r"^\| ([\w-]+) \| \S.* \|$", page.partition("## What is deployed")[2], re.MULTILINE)

    assert listed[2:] == re.findall(r"^([\w-]+)==", lock, re.MULTILINE)


@pytest.mark.parametrize(
    ("packages", "code"),
    [
        ([{"name": "a", "skip_reason": "not found"}], 3),
        ([], 3),
        ([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}], 3),
        ([{"name": "a", "version": "1", "vulns": []}], 0),
        ([{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}], 1),
    ],
)
def test_the_audit_of_python_packages(packages: list[object], code: int) -> None:
    assert supply_chain.report_python("functions", json.dumps({"dependencies": packages})) == code


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("", 3),
        ('{"message": "405 Method Not Allowed"}', 3),
        ('{"vulnerabilities": {}, "metadata": {"dependencies": {"total": 2}}}', 0),
        (
            (
                '{"vulnerabilities": {"a": {"range": "<2", "severity": "high"}},'
                ' "metadata": {"dependencies": {"total": 2}}}'
            ),
            1,
        ),
    ],
)
def test_the_audit_of_node_packages(answer: str, code: int) -> None:
    assert supply_chain.report_node(answer) == code
