"""Lambda of the emulator against what AWS documents."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from local.emulator.lambda_.pool import Function, Pool
from tests.emulator.conftest import Emulator, wait_until, zipped


@pytest.fixture
def invoke(emulator: Emulator) -> Callable[..., Any]:
    """Invokes a function; returns its result, or the error that it has raised."""

    def call(arn: str, payload: Any = None) -> Any:
        answer = emulator.client("lambda").invoke(FunctionName=arn, Payload=json.dumps(payload))
        return json.loads(answer["Payload"].read())

    return call


def test_a_function_returns_its_result(function: Callable[..., str], invoke: Callable[..., Any]) -> None:
    arn = function("def handler(event, context):\n    print('log')\n    return {'got': event}\n")

    assert invoke(arn, {"a": [1, "ä"]}) == {"got": {"a": [1, "ä"]}}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("class Refused(Exception): ...\ndef handler(event, context):\n    raise Refused('no')\n", "Refused"),
        ("import os\ndef handler(event, context):\n    os._exit(3)\n", "Runtime.ExitError"),
        ("import no_such_module\n", "Runtime.ImportModuleError"),
        ("value = 1 / 0\n", "ZeroDivisionError"),
        ("def other(): ...\n", "Runtime.HandlerNotFound"),
        ("def handler(event, context):\n    return object()\n", "Runtime.MarshalError"),
        ("import time\ndef handler(event, context):\n    time.sleep(60)\n", "Sandbox.Timedout"),
    ],
)
def test_a_failure_has_the_name_that_aws_gives_it(
    function: Callable[..., str], invoke: Callable[..., Any], source: str, error: str
) -> None:
    arn = function(source, Timeout=1 if error == "Sandbox.Timedout" else 60)

    assert invoke(arn)["errorType"] == error
    assert invoke(arn)["errorType"] == error, "the next invocation is no different"


def test_a_payload_that_cannot_be_parsed_is_an_unmarshal_error(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    arn = function("def handler(event, context):\n    return 1\n")
    nested = "[" * 5000 + "]" * 5000

    answer = emulator.client("lambda").invoke(FunctionName=arn, Payload=nested)

    assert json.loads(answer["Payload"].read())["errorType"] == "Runtime.UnmarshalError"


def test_an_environment_is_used_again_after_an_error(
    function: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    arn = function("import os\ndef handler(event, context):\n    raise ValueError(os.getpid())\n")

    assert invoke(arn)["errorMessage"] == invoke(arn)["errorMessage"]


def test_the_context_tells_the_remaining_time(
    function: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    arn = function(
        "def handler(event, context):\n"
        "    return [context.get_remaining_time_in_millis(), context.function_name]\n",
        Timeout=70,
    )

    for _ in range(2):
        remaining, name = invoke(arn)
        assert 0 < remaining <= 70_000
        assert arn.endswith(name)


def test_environments_are_bounded_and_shared(
    emulator: Emulator, function: Callable[..., str], invoke: Callable[..., Any]
) -> None:
    """A function that has every environment gives some to another that needs them."""
    source = "import os, time\ndef handler(event, context):\n    time.sleep(0.05)\n    return os.getpid()\n"
    first, second = function(source), function(source)

    with ThreadPoolExecutor(60) as threads:
        calls = list(threads.map(lambda arn: (arn, invoke(arn)), [first] * 30 + [second] * 30))

    assert len({process for _, process in calls}) <= 2 * emulator.environments
    assert emulator.status()["environments"] <= emulator.environments
    assert {arn for arn, _ in calls} == {first, second}


def pooled(key: str) -> Function:
    """A function that returns the process that runs it."""
    return Function(
        key=key,
        handler="function.handler",
        code=zipped("import os\ndef handler(event, context):\n    return os.getpid()\n"),
        hash="1",
        variables={"PATH": os.environ["PATH"]},
    )


def invoke_pooled(pool: Pool, function: Function) -> int:
    context = dict.fromkeys(
        (
            *("function_name", "function_version", "invoked_function_arn", "memory_limit_in_mb"),
            *("aws_request_id", "log_group_name", "log_stream_name"),
        ),
        "",
    )
    return int(pool.invoke(function, context, "{}", 60, None).result["returned"])


def test_functions_that_take_turns_keep_their_environments(tmp_path: Path) -> None:
    pool = Pool(2, tmp_path)
    first, second = pooled("first"), pooled("second")

    with ThreadPoolExecutor(8) as threads:
        calls = list(threads.map(lambda one: (one.key, invoke_pooled(pool, one)), [first, second] * 20))

    assert len(set(calls)) == 2, "one process for each function"


def test_idle_environments_end(tmp_path: Path) -> None:
    """A burst leaves nothing behind."""
    pool = Pool(2, tmp_path, idle_seconds=0.05)

    process = invoke_pooled(pool, pooled("only"))

    wait_until(lambda: pool.size() == 0)
    wait_until(lambda: not alive(process))


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_an_asynchronous_invocation_is_tried_three_times_and_then_sent_to_the_destination(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    arn = function("def handler(event, context):\n    raise ValueError('always')\n")
    queue = emulator.queue()
    emulator.client("lambda").put_function_event_invoke_config(
        FunctionName=arn, DestinationConfig={"OnFailure": {"Destination": queue.arn}}
    )

    emulator.client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload='{"a": 1}')

    (body,) = wait_until(queue.receive)
    record = json.loads(body)
    assert record["requestPayload"] == {"a": 1}
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_a_throttled_event_waits_for_its_turn(emulator: Emulator, function: Callable[..., str]) -> None:
    """Throttles do not count as attempts."""
    lambda_ = emulator.client("lambda")
    arn = function("import time\ndef handler(event, context):\n    time.sleep(0.1)\n")
    lambda_.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=1)

    for _ in range(10):
        lambda_.invoke(FunctionName=arn, InvocationType="Event", Payload="{}")

    name = arn.rpartition(":")[2]
    wait_until(lambda: emulator.metric_sum("AWS/Lambda", "Invocations", FunctionName=name) == 10)
    assert emulator.metric_sum("AWS/Lambda", "Throttles", FunctionName=name) > 0
    assert emulator.metric_sum("AWS/Lambda", "AsyncEventsDropped", FunctionName=name) == 0


def test_an_event_for_a_function_without_concurrency_goes_to_the_destination(
    emulator: Emulator, function: Callable[..., str]
) -> None:
    lambda_ = emulator.client("lambda")
    arn = function("def handler(event, context): ...\n")
    queue = emulator.queue()
    lambda_.put_function_event_invoke_config(
        FunctionName=arn, DestinationConfig={"OnFailure": {"Destination": queue.arn}}
    )
    lambda_.put_function_concurrency(FunctionName=arn, ReservedConcurrentExecutions=0)

    lambda_.invoke(FunctionName=arn, InvocationType="Event", Payload="{}")

    (body,) = wait_until(queue.receive)
    assert json.loads(body)["requestContext"]["condition"] == "ZeroReservedConcurrency"


def test_a_destination_that_fails_is_counted(emulator: Emulator, function: Callable[..., str]) -> None:
    lambda_ = emulator.client("lambda")
    arn = function("def handler(event, context):\n    raise ValueError\n")
    lambda_.put_function_event_invoke_config(
        FunctionName=arn,
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": emulator.queue().arn}},
    )
    emulator.control("outages", outages={"sqs:SendMessage": "InternalError"})
    try:
        lambda_.invoke(FunctionName=arn, InvocationType="Event", Payload="{}")
        name = arn.rpartition(":")[2]
        wait_until(
            lambda: emulator.metric_sum("AWS/Lambda", "DestinationDeliveryFailures", FunctionName=name)
        )
    finally:
        emulator.control("outages", outages={})


def test_an_outage_ends(emulator: Emulator, function: Callable[..., str], invoke: Callable[..., Any]) -> None:
    arn = function("def handler(event, context): ...\n")
    emulator.control("outages", outages={"lambda:Invoke:*": "ServiceException"})
    try:
        assert invoke(arn)["errorType"] == "ServiceException"
    finally:
        emulator.control("outages", outages={})
    assert invoke(arn) is None
