"""The README's examples, run against the deployed stack."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from local.environment import aws_variables
from tests.documents import code_blocks, shell_commands
from tests.end_to_end.conftest import Deployment, Eventually
from tools.generate_docs import ROOT

README = (ROOT / "README.md").read_text()
# By test_operations.py, since here it would replay what other tests leave; by test_verify.py, since it asks
# for confirmation.
TESTED_ELSEWHERE = {"replay-dead-letters", "verify"}
# A trust policy that lets Step Functions use a role.
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "states.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}


@pytest.fixture
def environment(deployment: Deployment) -> dict[str, str]:
    """The environment after `eval "$(python -m local up --detach)"`, with this Python first on PATH."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}"
    # Not the project's folder as working directory: commands write files.
    return inherited | aws_variables(deployment.stack.endpoint) | {"PATH": path, "PYTHONPATH": str(ROOT)}


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


def test_its_state_of_another_state_machine_receives_the_output(
    deployment: Deployment, eventually: Eventually
) -> None:
    (state,) = code_blocks(README, "json")
    arn = deployment.stack.outputs["StateMachineArn"]
    states = json.loads(f"{{{state}}}".replace('"ARN"', json.dumps(arn))) | {"Report": {"Type": "Succeed"}}
    document = {"StartAt": "Count flights", "QueryLanguage": "JSONata", "States": states}
    iam, stepfunctions = deployment.client("iam"), deployment.client("stepfunctions")
    role = iam.create_role(RoleName="readme-caller", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    allowed = {
        "Effect": "Allow",
        "Action": ["states:StartExecution", "states:DescribeExecution"],
        "Resource": "*",
    }
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_role_policy(RoleName="readme-caller", PolicyName="call", PolicyDocument=json.dumps(policy))
    caller = stepfunctions.create_state_machine(
        name="readme-caller", definition=json.dumps(document), roleArn=role["Arn"]
    )["stateMachineArn"]

    execution = stepfunctions.start_execution(stateMachineArn=caller)["executionArn"]

    ended = deployment.ended(execution, eventually)
    assert ended["status"] == "SUCCEEDED", ended
    assert json.loads(ended["output"])["State"] == "SUCCEEDED"
