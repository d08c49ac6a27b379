"""Real clients, each in an environment of its own (`make test-clients`), on one local stack."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.sample_data import BUCKET, SCRATCH
from local.stack import Stack

# The stack of the end-to-end tests, and their search for exposed secrets.
from tests.end_to_end.conftest import Deployment, command_environment, deployed, deployment, eventually, home
from tools.environments import CACHE

__all__ = ["deployed", "deployment", "eventually", "home"]

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Client:
    """The programs of one environment, with credentials for the local stack. `place` is a prefix on S3."""

    stack: Stack
    environment: Path
    working_folder: Path
    place: str

    def run(self, program: str, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program, such as `python`. The caller checks its exit code."""
        return subprocess.run(  # noqa: S603 - a program of the client under test
            [self.environment / "bin" / program, *arguments],
            cwd=self.working_folder,
            env=command_environment(self.stack)
            | {"STATE_MACHINE_ARN": self.stack.outputs["StateMachineArn"], "SCRATCH": self.place}
            | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def report(self, script: str) -> dict[str, Any]:
        """Run a Python script of this folder and return the JSON document that it prints last."""
        ran = self.run("python", FOLDER / script)
        assert ran.returncode == 0, ran.stderr
        report: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        return report


@pytest.fixture(scope="module")
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """The client that the module names in CLIENT."""
    name: str = request.module.CLIENT
    if not (CACHE / name / "installed").exists():
        pytest.skip(f"{name} is not installed: run make test-clients")
    return Client(
        stack=request.getfixturevalue("deployed"),
        environment=CACHE / name,
        working_folder=tmp_path_factory.mktemp(name),
        place=f"s3://{BUCKET}/{SCRATCH}/{name}/",
    )


def read(deployment: Deployment, sql: str) -> list[list[str]]:
    """The rows of a query, without the names."""
    run = deployment.run({"QueryString": sql, "Database": SCRATCH, "PreviewRows": 100})
    assert run.output, run.cause
    rows: list[list[str]] = run.output["Preview"]["Rows"]
    return rows
