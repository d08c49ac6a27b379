"""The examples' CDK apps, synthesized in this process, where CDK is loaded already."""

import json
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack

FOLDER = Path(__file__).parents[1] / "examples"


def names() -> list[str]:
    """The folders with a CDK app."""
    return sorted(place.parent.name for place in FOLDER.glob("*/cdk.json"))


def synthesize(name: str, context: Mapping[str, str], output: Path) -> dict[str, Any]:
    """The template of the example's only stack, with the context of its cdk.json and more."""
    settings = json.loads((FOLDER / name / "cdk.json").read_text())
    assert settings["app"] == "python3 app.py"
    module = runpy.run_path(str(FOLDER / name / "app.py"))
    (stack,) = (
        one
        for one in module.values()
        if isinstance(one, type) and issubclass(one, Stack) and one is not Stack
    )
    app = App(context={**settings["context"], **context}, outdir=str(output), analytics_reporting=False)
    stack(app)
    template: dict[str, Any] = app.synth().stacks[0].template
    return template
