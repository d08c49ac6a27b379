"""The emulator alone: one process for the tier, without the project's stack."""

import io
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest

from local.stack import REGION, ROOT, _free_port

ROLE = "test"


@dataclass(frozen=True)
class Emulator:
    """A running emulator, and its clients by service."""

    endpoint: str
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            session = boto3.Session(
                aws_access_key_id="test", aws_secret_access_key="test", region_name=REGION
            )
            self._clients[service] = session.client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]
        return self._clients[service]

    def role(self) -> str:
        """The ARN of a role that may do everything."""
        iam = self.client("iam")
        try:
            return str(iam.get_role(RoleName=ROLE)["Role"]["Arn"])
        except iam.exceptions.NoSuchEntityException:
            services = ["lambda.amazonaws.com", "states.amazonaws.com", "events.amazonaws.com"]
            trust = {"Effect": "Allow", "Principal": {"Service": services}, "Action": "sts:AssumeRole"}
            allow = {"Effect": "Allow", "Action": "*", "Resource": "*"}
            role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
            iam.put_role_policy(
                RoleName=ROLE, PolicyName="all", PolicyDocument=json.dumps({"Statement": [allow]})
            )
            return str(role["Role"]["Arn"])

    def control(self, path: str, **parameters: Any) -> None:
        """Call the emulator's own API."""
        request = urllib.request.Request(  # noqa: S310 - this machine
            f"{self.endpoint}/_local/{path}", data=json.dumps(parameters).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - this machine


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    home = tmp_path_factory.mktemp("emulator")
    port = _free_port()
    with (home / "emulator.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-m", "local.emulator", "--port", str(port), "--home", str(home)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(endpoint))
        yield Emulator(endpoint)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(f"{endpoint}/_local/host", timeout=10).close()  # noqa: S310 - this machine
    except urllib.error.URLError:
        return False
    return True


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Call `condition` until it returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s")


def zipped(source: str) -> bytes:
    """A deployment package with one module, `function`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("function.py", source)
    return buffer.getvalue()


@pytest.fixture
def function(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Callable[..., str]]:
    """Creates Lambda functions from Python source and returns their ARNs; deletes them after the test."""
    names: list[str] = []

    def create(source: str, **settings: Any) -> str:
        name = f"{request.node.originalname[:50]}-{len(names)}"
        created = emulator.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=emulator.role(),
            Handler="function.handler",
            Code={"ZipFile": zipped(source)},
            **settings,
        )
        names.append(name)
        return str(created["FunctionArn"])

    yield create
    for name in names:
        emulator.client("lambda").delete_function(FunctionName=name)
