"""Unit tests open no sockets, and check each complete AWS request against botocore's model.

The task table is moto's DynamoDB, so tests assert its contents, and not how they were written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
import pytest_socket
from botocore.stub import Stubber
from moto import mock_aws

from functions.observability import metrics
from functions.runtime import Runtime
from functions.settings import Settings
from functions.task_table import EXPIRES_AT, KEY, TaskTable
from tests.contract import check_callback
from tests.unit.stubbed_stack import StubbedStack

# 2026-01-02 03:04:05 UTC
NOW = 1_767_323_045.0
TABLE = "tasks"
WORK_GROUP = "queries"
STATE_MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:queries"
SETTINGS = Settings(
    task_table=TABLE,
    work_group=WORK_GROUP,
    state_machine_arn=STATE_MACHINE,
    region="eu-west-1",
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
    """A test that needs one uses the fixture `socket_enabled`."""
    if "socket_enabled" not in request.fixturenames:
        pytest_socket.disable_socket()


class Clock:
    """Virtual time: `now` advances by what a function sleeps."""

    def __init__(self) -> None:
        self.now = NOW

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass(frozen=True, kw_only=True)
class Stubbed:
    """A runtime whose calls to Athena and Step Functions must be the expected ones, in order and with their
    parameters.
    """

    runtime: Runtime
    stubs: dict[str, Stubber]
    clock: Clock
    sent: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def expect(
        self, operation: str, parameters: dict[str, Any], answer: dict[str, Any] | None = None
    ) -> None:
        self._stub(operation).add_response(_method(operation), answer or {}, parameters)

    def expect_error(
        self, operation: str, parameters: dict[str, Any], code: str, message: str = "", **fields: str
    ) -> None:
        self._stub(operation).add_client_error(
            _method(operation),
            service_error_code=code,
            service_message=message,
            expected_params=parameters,
            modeled_fields=fields or None,
        )

    def expect_callback(self, operation: str, token: str, **expected: Any) -> list[dict[str, Any]]:
        """A SendTaskSuccess or SendTaskFailure, validated against its schema and recorded."""
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

    def item(self, key: str) -> dict[str, Any]:
        """The item's attributes, without its key and its expiry."""
        found = self.runtime.table.client.get_item(TableName=TABLE, Key={KEY: {"S": key}}).get("Item", {})
        return {name: value for name, value in found.items() if name not in {KEY, EXPIRES_AT}}

    def expiry(self, key: str) -> float:
        """When DynamoDB may remove the item, in epoch seconds."""
        item = self.runtime.table.client.get_item(TableName=TABLE, Key={KEY: {"S": key}})["Item"]
        return float(item[EXPIRES_AT]["N"])

    def put_item(self, key: str, attributes: dict[str, Any]) -> None:
        self.runtime.table.client.put_item(TableName=TABLE, Item={KEY: {"S": key}, **attributes})

    def _stub(self, operation: str) -> Stubber:
        return next(stub for stub in self.stubs.values() if hasattr(stub.client, _method(operation)))


def _method(operation: str) -> str:
    return "".join("_" + one.lower() if one.isupper() else one for one in operation).lstrip("_")


@pytest.fixture(scope="session")
def session() -> boto3.Session:
    """Shared, because it keeps the service models, which take long to read."""
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=SETTINGS.region)


@pytest.fixture
def stubbed(session: boto3.Session) -> Iterator[Stubbed]:
    with mock_aws():
        dynamodb = session.client("dynamodb")
        dynamodb.create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        athena, stepfunctions = session.client("athena"), session.client("stepfunctions")
        stubs = {"athena": Stubber(athena), "stepfunctions": Stubber(stepfunctions)}
        clock = Clock()
        runtime = Runtime(
            settings=SETTINGS,
            athena=athena,
            stepfunctions=stepfunctions,
            table=TaskTable(dynamodb, TABLE, SETTINGS.task_ttl_seconds),
            now=lambda: clock.now,
            sleep=clock.sleep,
        )
        for stub in stubs.values():
            stub.activate()
        yield Stubbed(runtime=runtime, stubs=stubs, clock=clock)
        for stub in stubs.values():
            stub.assert_no_pending_responses()


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Name and value of each metric that is emitted, none of them twice."""
    values: dict[str, float] = {}

    def add(name: str, _unit: str, value: float) -> None:
        assert name not in values
        values[name] = value

    monkeypatch.setattr(metrics, "add_metric", add)
    return values


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubbedStack]:
    """The stack that `python -m ops` finds. All expected calls must have been made in the end."""
    stubbed_stack = StubbedStack()
    monkeypatch.setattr("ops.__main__.connect", lambda *_, **__: stubbed_stack.deployment)
    yield stubbed_stack
    stubbed_stack.assert_no_pending_responses()
