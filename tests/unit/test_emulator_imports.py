"""The emulator stands in for AWS and must not depend on what runs on it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = {place.name for place in ROOT.iterdir() if place.is_dir() and any(place.glob("*.py"))}


def test_the_emulator_imports_nothing_else_of_the_project() -> None:
    assert {"functions", "infra", "local", "ops", "tests"} <= PROJECT
    for file in (ROOT / "local" / "emulator").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for module in modules:
                ours = module.partition(".")[0] in PROJECT
                assert not ours or f"{module}.".startswith("local.emulator."), f"{file}: {module}"
