"""The command `verify` without a stack: confirmation, results, interruption, endpoints that do not answer."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError
from botocore.stub import Stubber

from ops.__main__ import main
from ops.deployment import Deployment
from ops.verify import claims, command
from ops.verify.session import Failed, Session, Skipped

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:AthenaQueries"
EXECUTION = "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries:one"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Stubber]:
    """The stubbed clients of a deployed stack, by service; the claims are replaced by `define`."""
    made: dict[str, Stubber] = {}

    def client(service: str) -> Any:
        if service not in made:
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
            made[service] = Stubber(boto3.client(service, region_name="eu-west-1", **keys))  # type: ignore[call-overload]
            made[service].activate()
        return made[service].client

    deployment = Deployment(
        name="AthenaQueries",
        created=NOW,
        outputs={"StateMachineArn": MACHINE, "WorkGroupName": "queries"},
        client=client,
    )
    for service in ("stepfunctions", "athena"):
        client(service)
    monkeypatch.setattr("ops.__main__.connect", lambda *_, **__: deployment)
    return made


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replaces the claims."""

    def replace(**checks: claims.Check) -> None:
        made = {name: (f"{name} is expected", check) for name, check in checks.items()}
        monkeypatch.setattr(command, "CLAIMS", made)

    return replace


def holds(_session: Session) -> str:
    return "as expected"


def fails(_session: Session) -> str:
    raise Failed("[something] else")


def cannot(_session: Session) -> str:
    raise Skipped("no data here")


@pytest.mark.usefixtures("stubs")
def test_the_table_has_every_claim_and_the_counts(
    define: Callable[..., None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    define(one=holds, two=fails, three=cannot)

    assert main(["verify", "--yes"]) == 1

    printed = capsys.readouterr().out
    for text in ("one is expected", "as expected", "[something] else", "no data here"):
        assert text in printed
    assert printed.splitlines()[-1] == "1 held, 1 failed, 1 skipped"


@pytest.mark.usefixtures("stubs")
def test_one_json_document_has_the_evidence(
    define: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def check(session: Session) -> str:
        session.evidence["query"] = "q-1"
        return "as expected"

    define(one=check)

    assert main(["verify", "--yes", "--json"]) == 0

    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["held"], document["failed"], document["skipped"]) == (1, 0, 0)
    assert document["claims"][0]["evidence"] == {"query": "q-1"}
    assert printed.err == ""


def test_nothing_starts_without_confirmation(
    stubs: dict[str, Stubber], define: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    define(one=fails)

    assert main(["verify", "--scratch", "scratch"]) == 2

    text = " ".join(capsys.readouterr().err.split())
    assert "starts up to about 120 executions" in text
    assert "USD" in text
    assert "a table in the database scratch" in text
    assert text.endswith("not confirmed; add --yes to start without confirmation")
    assert set(stubs) == {"stepfunctions", "athena"}


def test_an_interruption_removes_what_was_started(
    stubs: dict[str, Stubber], define: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def check(session: Session) -> str:
        session.start({"QueryString": "SELECT 1"})
        session.start_query("SELECT 1", "t" * 32)
        raise KeyboardInterrupt

    define(one=check)
    stepfunctions, athena = stubs["stepfunctions"], stubs["athena"]
    stepfunctions.add_response("start_execution", {"executionArn": EXECUTION, "startDate": NOW})
    athena.add_response("start_query_execution", {"QueryExecutionId": "q-1"})
    stepfunctions.add_response(
        "describe_execution",
        {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": "RUNNING", "startDate": NOW},
        {"executionArn": EXECUTION},
    )
    stepfunctions.add_response(
        "stop_execution", {"stopDate": NOW}, {"executionArn": EXECUTION, "cause": "Stopped by the user"}
    )
    athena.add_client_error("stop_query_execution", "AccessDeniedException", "no")

    assert main(["verify", "--yes"]) == 130

    text = capsys.readouterr().err
    assert "verify: not removed: query q-1: " in text
    assert EXECUTION not in text
    stepfunctions.assert_no_pending_responses()
    athena.assert_no_pending_responses()


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "ValidateStateMachineDefinition")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (client_error("UnknownOperationException"), "skipped"),
        (client_error("AccessDeniedException"), "failed"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), "failed"),
        (ResponseParserError("not JSON"), "failed"),
        (KeyError("result"), "failed"),
    ],
)
def test_only_an_operation_that_the_endpoint_does_not_have_is_skipped(
    stubs: dict[str, Stubber], error: Exception, status: str
) -> None:
    def fail(**_: Any) -> None:
        raise error

    stepfunctions = stubs["stepfunctions"]
    stepfunctions.add_response(
        "describe_state_machine",
        {
            "stateMachineArn": MACHINE,
            "name": "AthenaQueries",
            "definition": "{}",
            "roleArn": "arn:aws:iam::123456789012:role/queries",
            "type": "STANDARD",
            "creationDate": NOW,
        },
    )
    stepfunctions.client.meta.events.register(
        "provide-client-params.sfn.ValidateStateMachineDefinition", fail
    )
    deployment = Deployment(
        name="AthenaQueries",
        created=NOW,
        outputs={"StateMachineArn": MACHINE},
        client=lambda service: stubs[service].client,
    )

    result = command.attempt("document", Session(deployment=deployment))

    assert result.status == status, result.happened
