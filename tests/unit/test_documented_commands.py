"""The commands in the documents exist: make targets, command lines of the project, calls of the AWS CLI."""

import importlib.util
import re
import shlex

import botocore.session
import pytest
from botocore import xform_name

from ops import cli
from tests.documents import PAGES, code_blocks, shell_commands
from tools.generate_docs import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
# Options of the AWS CLI itself, beside those of an operation.
AWS_OPTIONS = {"query", "output", "max-items"}
# Commands that are no operation of a service, with their options (AWS CLI command reference).
AWS_CUSTOM_COMMANDS = {
    ("cloudformation", "deploy"): {
        *("--stack-name", "--template-file", "--s3-bucket", "--capabilities", "--parameter-overrides"),
    },
    ("s3", "cp"): set(),
    ("s3", "rb"): {"--force"},
}
EXECUTION_ARN = "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries:nightly"


def _commands(program: str) -> list[list[str]]:
    """Every documented command of `program`, as words."""
    commands = []
    for page in PAGES:
        for line in shell_commands(page.read_text()):
            command = re.sub(r'^eval "\$\((.*)\)"', r"\1", line)
            if program in command.split(" #")[0]:
                before, _, rest = command.partition(program)
                # xargs passes an argument for each line of its input.
                given = " EXECUTION_ARN" if "xargs" in before else ""
                commands.append(shlex.split(program + rest.split(" | ")[0] + given, comments=True))
    return sorted(commands)


@pytest.mark.parametrize("words", _commands("make "), ids=" ".join)
def test_make_targets_exist(words: list[str]) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    assert words[1] in phony[1].split()
    # Each NAME=value is a variable that the Makefile uses.
    assert all(f"$({word.split('=')[0]})" in MAKEFILE for word in words[2:])


@pytest.mark.parametrize("words", _commands("python -m "), ids=" ".join)
def test_command_lines_parse(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    module, arguments = words[2], [word.replace("EXECUTION_ARN", EXECUTION_ARN) for word in words[3:]]
    if module in {"ops", "local"} and arguments:
        monkeypatch.setattr(cli, "run", lambda parser, words: parser.parse_args(words))
        importlib.import_module(f"{module}.__main__").main(arguments)
    else:
        assert importlib.util.find_spec(module)


@pytest.mark.parametrize("words", _commands("aws "), ids=" ".join)
def test_calls_of_the_aws_cli_match_the_service_model(words: list[str]) -> None:
    _, service, command, *rest = words
    if (service, command) in AWS_CUSTOM_COMMANDS:
        assert {word for word in rest if word.startswith("--")} <= AWS_CUSTOM_COMMANDS[service, command]
        return
    model = botocore.session.get_session().get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    request = model.operation_model(operations[command]).input_shape
    assert request
    options = {xform_name(name, "-") for name in request.members} | AWS_OPTIONS
    assert {word.removeprefix("--") for word in rest if word.startswith("--")} <= options


def test_the_gate_runs_what_the_readme_starts_with() -> None:
    first_block = code_blocks((ROOT / "README.md").read_text(), "bash")[0]
    commands = re.findall(r"^make [\w-]+", first_block, re.MULTILINE)
    assert commands == ["make demo", "make test"]
    assert set(commands) <= set((ROOT / ".ci" / "run").read_text().splitlines())
