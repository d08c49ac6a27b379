"""The examples of docs/contract.md follow the schemas."""

import json
import re

import pytest

from functions.contract import read_input
from functions.errors import AthenaQueryError
from tests.contract import check_cause, check_output
from tests.unit.conftest import SETTINGS
from tools.generate_docs import CONTRACT

TEXT = CONTRACT.read_text()
EXAMPLES = re.findall(r"```json ([\w.]+)\n(.*?)```", TEXT, re.DOTALL)


def test_each_kind_of_document_has_an_example() -> None:
    kinds = {f"AthenaQuery.{one.__name__}" for one in AthenaQueryError.__subclasses__()}
    assert {name for name, _ in EXAMPLES} == {"input", "output"} | kinds - {"AthenaQuery.RunAgain"}


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_its_examples_keep_the_contract(name: str, example: str) -> None:
    document = json.loads(example)
    if name == "input":
        read_input(document, SETTINGS)
    elif name == "output":
        check_output(document)
    else:
        check_cause(document)
