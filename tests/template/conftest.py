"""The stack, synthesized once for all tests. Nothing is bundled: a stub replaces the functions' code."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from infra.settings import Settings
from infra.stack import QueryStack
from tests.template.reading import Template
from tools.template_checks import OWN

ROOT = Path(__file__).parents[2]

Synthesize = Callable[[Mapping[str, Any]], tuple[App, Template]]


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("code")
    (directory / "stub.py").write_text("# replaces the bundle\n")
    return directory


@pytest.fixture(scope="session")
def synthesize(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Synthesize with the context of cdk.json and more; return the app and the template of its stack."""
    flags = json.loads((ROOT / "cdk.json").read_text())["context"]

    def run(context: Mapping[str, Any]) -> tuple[App, Template]:
        app = App(
            context={**flags, **context},
            outdir=str(tmp_path_factory.mktemp("cdk.out")),
            analytics_reporting=False,
        )
        stack = QueryStack(app, settings=Settings.from_context({**flags, **context}), code=code)
        assembly = app.synth()
        return app, Template(assembly.get_stack_by_name(stack.stack_name).template)

    return run


@pytest.fixture(scope="session")
def app_and_template(synthesize: Synthesize) -> tuple[App, Template]:
    return synthesize(OWN)


@pytest.fixture(scope="session")
def template(app_and_template: tuple[App, Template]) -> Template:
    return app_and_template[1]
