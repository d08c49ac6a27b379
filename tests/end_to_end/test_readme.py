"""The README's examples, run against the deployed stack."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.documents import code_blocks, shell_commands
from tests.end_to_end.conftest import Deployment, Eventually, command_environment
from tools.generate_docs import ROOT

README = (ROOT / "README.md").read_text()
# By test_operations.py, since here it would replay what other tests leave; by test_verify.py, since it asks
# for confirmation.
TESTED_ELSEWHERE = {"replay-dead-letters", "verify"}


@pytest.fixture
def environment(deployment: Deployment) -> dict[str, str]:
    """That of a command, with this Python first on PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Not the project's folder as working directory: commands write files.
    return command_environment(deployment.stack) | {"PATH": path, "PYTHONPATH": str(ROOT)}


def test_its_commands_run(
    deployment: Deployment, eventually: Eventually, environment: dict[str, str], tmp_path: Path
) -> None:
    execution_arn = deployment.start({"QueryString": "SELECT count(*) FROM flights"})
    deployment.ended(execution_arn, eventually)
    commands = [
        command.replace("EXECUTION_ARN", execution_arn)
        for block in code_blocks(README, "bash")
        for command in block.splitlines()
        if command.startswith("python -m ops")
    ]
    subcommands = {command.split()[3] for command in commands}
    assert subcommands >= {"query", "explain", "dashboard"}
    assert subcommands >= TESTED_ELSEWHERE

    for command in commands:
        if command.split()[3] in TESTED_ELSEWHERE:
            continue
        ran = subprocess.run(  # noqa: S602 - the README's own commands
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, f"{command}: {ran.stderr}"


def test_its_python_example_starts_an_execution(
    deployment: Deployment, eventually: Eventually, environment: dict[str, str]
) -> None:
    (example,) = code_blocks(README, "python")
    program = (
        f"ARN = {deployment.stack.outputs['StateMachineArn']!r}\n{example}\nprint(execution['executionArn'])"
    )

    ran = subprocess.run(  # noqa: S603 - the README's own program
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )

    assert deployment.ended(ran.stdout.strip(), eventually)["status"] == "SUCCEEDED"


def test_its_input_for_the_aws_cli_is_valid(deployment: Deployment) -> None:
    (command,) = [one for one in shell_commands(README) if "start-execution" in one]
    words = shlex.split(command)

    run = deployment.run(json.loads(words[words.index("--input") + 1]))

    assert run.output
    assert len(run.output["Preview"]["Rows"]) > 1


def test_its_state_of_another_state_machine_receives_the_output_or_the_typed_error(
    deployment: Deployment, eventually: Eventually
) -> None:
    (text,) = code_blocks(README, "json")
    arn = deployment.stack.outputs["StateMachineArn"]
    states = json.loads(f"{{{text}}}".replace('"ARN"', json.dumps(arn)))
    (name,) = states
    states |= {"Report": {"Type": "Succeed"}, "Report the failure": {"Type": "Succeed"}}
    arguments = states[name]["Arguments"]
    arguments["Input"] = {**arguments["Input"], "QueryString": "{% $states.input.Sql %}"}
    caller = deployment.caller(
        "readme-caller", {"StartAt": name, "QueryLanguage": "JSONata", "States": states}
    )

    def output(sql: str) -> dict[str, Any]:
        execution = deployment.client("stepfunctions").start_execution(
            stateMachineArn=caller, input=json.dumps({"Sql": sql})
        )["executionArn"]
        ended = deployment.ended(execution, eventually)
        assert ended["status"] == "SUCCEEDED", f"{ended.get('error')}: {ended.get('cause')}"
        document: dict[str, Any] = json.loads(ended["output"])
        return document

    assert output("SELECT count(*) FROM flights")["State"] == "SUCCEEDED"
    failed = output("SELECT CAST(tailnum AS integer) FROM flights")
    assert (failed["Status"], failed["Error"]) == ("FAILED", "AthenaQuery.Failed")
    assert json.loads(failed["Cause"])["State"] == "FAILED"
