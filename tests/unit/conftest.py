"""Unit tests open no socket, and check every AWS request whole against botocore's model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import pytest_socket
from botocore.stub import Stubber

from functions.runtime import Runtime
from functions.settings import Settings
from functions.task_table import TaskTable
from tests.contract import check_callback

# 2026-01-02 03:04:05 UTC
NOW = 1_767_323_045.0
TABLE = "tasks"
WORK_GROUP = "queries"
SETTINGS = Settings(
    task_table=TABLE,
    work_group=WORK_GROUP,
    region="eu-west-1",
    state_machine_arn="arn:aws:states:eu-west-1:123456789012:stateMachine:queries",
    default_database="sales",
    default_catalog="AwsDataCatalog",
    max_attempts=2,
    usd_per_terabyte=5.0,
    bytes_scanned_limit=1_000_000_000,
    poll_seconds=30,
    poll_growth=0.1,
    task_ttl_days=30,
)


@pytest.fixture(autouse=True)
def no_sockets(request: pytest.FixtureRequest) -> None:
    """One that tests a socket asks for the fixture `socket_enabled`."""
    if "socket_enabled" not in request.fixturenames:
        pytest_socket.disable_socket()


@dataclass(frozen=True, kw_only=True)
class Aws:
    """A runtime whose calls have to be the expected ones, in order, with exactly these parameters."""

    runtime: Runtime
    stubs: dict[str, Stubber]

    def expect(
        self, operation: str, parameters: dict[str, Any], answer: dict[str, Any] | None = None
    ) -> None:
        self._stub(operation).add_response(_method(operation), answer or {}, parameters)

    def expect_error(self, operation: str, parameters: dict[str, Any], code: str, message: str = "") -> None:
        self._stub(operation).add_client_error(
            _method(operation), service_error_code=code, service_message=message, expected_params=parameters
        )

    def expect_callback(self, operation: str, token: str, **expected: Any) -> list[dict[str, Any]]:
        """A SendTaskSuccess or SendTaskFailure, checked against its schema; what was sent is kept."""
        sent: list[dict[str, Any]] = []
        stub = self._stub(operation)
        stub.add_response(_method(operation), {}, None)

        def keep(params: dict[str, Any], **_: Any) -> None:
            sent.append(params)
            assert params["taskToken"] == token
            check_callback(params)
            for name, value in expected.items():
                assert params[name] == value

        stub.client.meta.events.register(f"provide-client-params.stepfunctions.{operation}", keep)
        return sent

    def _stub(self, operation: str) -> Stubber:
        return next(stub for stub in self.stubs.values() if hasattr(stub.client, _method(operation)))


def _method(operation: str) -> str:
    return "".join("_" + one.lower() if one.isupper() else one for one in operation).lstrip("_")


@pytest.fixture
def aws() -> Iterator[Aws]:
    session = boto3.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name=SETTINGS.region
    )
    athena, stepfunctions = session.client("athena"), session.client("stepfunctions")
    dynamodb = session.client("dynamodb")
    stubs = {
        "athena": Stubber(athena),
        "stepfunctions": Stubber(stepfunctions),
        "dynamodb": Stubber(dynamodb),
    }
    runtime = Runtime(
        settings=SETTINGS,
        athena=athena,
        stepfunctions=stepfunctions,
        table=TaskTable(dynamodb, TABLE, SETTINGS.task_ttl_seconds),
        now=lambda: NOW,
    )
    for stub in stubs.values():
        stub.activate()
    yield Aws(runtime=runtime, stubs=stubs)
    for stub in stubs.values():
        stub.assert_no_pending_responses()
