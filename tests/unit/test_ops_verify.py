"""The command `verify` without a stack: confirmation, results, interruption, endpoints that do not answer."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from ops.__main__ import main
from ops.verify import claims, command
from ops.verify.session import Failed, Session, Skipped
from tests.unit.stubbed_stack import EXECUTION, MACHINE, NOW, StubbedStack


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


@pytest.mark.usefixtures("stack")
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


@pytest.mark.usefixtures("stack")
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
    stack: StubbedStack, define: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    define(one=fails)

    assert main(["verify", "--scratch", "scratch"]) == 2

    text = " ".join(capsys.readouterr().err.split())
    assert "starts up to about 120 executions" in text
    assert "USD" in text
    assert "a table in the database scratch" in text
    assert text.endswith("not confirmed; add --yes to start without confirmation")
    assert not stack.stubs


class Terminal(io.StringIO):
    """What somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("Y\n", 0), ("\n", 2), ("n\n", 2), ("", 2)])
def test_a_confirmation_is_asked_beside_the_document(
    typed: str,
    code: int,
    define: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    define(one=holds)
    monkeypatch.setattr("sys.stdin", Terminal(typed))

    assert main(["verify", "--json"]) == code

    printed = capsys.readouterr()
    assert "Continue? [y/N] " in printed.err
    assert json.loads(printed.out)["held"] == 1 if code == 0 else printed.out == ""


def test_an_interruption_removes_what_was_started(
    stack: StubbedStack, define: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def check(session: Session) -> str:
        session.start({"QueryString": "SELECT 1"})
        session.start_query("SELECT 1", "t" * 32)
        raise KeyboardInterrupt

    define(one=check)
    stack.expect_start({"QueryString": "SELECT 1"})
    stepfunctions, athena = stack.stub("stepfunctions"), stack.stub("athena")
    athena.add_response("start_query_execution", {"QueryExecutionId": "q-1"})
    stepfunctions.add_response(
        "describe_execution",
        {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": "RUNNING", "startDate": NOW},
        {"executionArn": EXECUTION},
    )
    stack.expect_stop(EXECUTION)
    athena.add_client_error("stop_query_execution", "AccessDeniedException", "no")

    assert main(["verify", "--yes"]) == 130

    text = capsys.readouterr().err
    assert "verify: not removed: query q-1: " in text
    assert EXECUTION not in text


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
    stack: StubbedStack, error: Exception, status: str
) -> None:
    def fail(**_: Any) -> None:
        raise error

    stepfunctions = stack.stub("stepfunctions")
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

    result = command.attempt("document", Session(deployment=stack.deployment))

    assert result.status == status, result.happened
