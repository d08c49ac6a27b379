"""The HTTP server: MiniStack's API with this package's extensions, and an API of its own for tests.

The environment variables that MiniStack reads have to be set before this module is imported.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypercorn.asyncio import serve as serve_http
from hypercorn.config import Config
from ministack.app import app as ministack

from local.emulator import (
    cloudformation,
    cloudwatch,
    dynamodb,
    eventbridge,
    glue_operations,
    iam,
    lambda_,
    logs,
    outages,
    pipes,
    scheduler,
    stepfunctions,
)
from local.emulator.athena import api as athena
from local.emulator.faults import FaultSpec, faults
from local.emulator.lambda_.pool import environment_name
from local.emulator.trace import tracer

# What tests can request, by path. The parameters are the members of a JSON document.
_CONTROL: dict[str, Callable[..., None]] = {
    "/_local/athena-events": eventbridge.delivery.set_mode,
    "/_local/athena-errors": faults.inject_athena_error,
    "/_local/crashes": faults.inject_crash,
    "/_local/metrics-age": cloudwatch.age_metrics,
    "/_local/outages": faults.set_outages,
    "/_local/query-seconds": faults.hold_queries,
    "/_local/scheduler": scheduler.fire_schedules,
    "/_local/schedules": eventbridge.fire_schedules,
}


async def serve(
    *,
    port: int,
    folder: Path,
    chaos: str | None,
    environments: int,
    idle_seconds: float,
    async_retry_seconds: float,
) -> None:
    """Serve until the process is terminated. `folder` is for temporary files."""
    lambda_.install(
        folder=folder / "functions",
        environments=environments,
        idle_seconds=idle_seconds,
        retry_seconds=async_retry_seconds,
    )
    for extension in (
        athena,
        cloudformation,
        cloudwatch,
        dynamodb,
        eventbridge,
        glue_operations,
        iam,
        logs,
        pipes,
        stepfunctions,
    ):
        extension.install()
    if chaos:
        faults.configure(FaultSpec.parse(chaos))
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    await serve_http(_app, config)


async def _app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        await ministack(scope, receive, send)
        return
    path = scope["path"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    if path == "/_local/status":
        await _answer(send, 200, _status())
    elif path in _CONTROL:
        await _control(send, _CONTROL[path], await _body(receive))
    elif environment := lambda_.crashing(headers.get("user-agent", "")):
        if environment.crash and environment.crash.when == "after":
            await ministack(scope, receive, _discard)
        environment.kill()
    elif failure := outages.failure(scope["method"], headers):
        await _answer(
            send, failure.status, {"__type": failure.code, "message": "The service is unavailable."}
        )
    else:
        caller, target = environment_name(headers.get("user-agent", "")), headers.get("x-amz-target", "")
        with tracer.call(caller, target):
            await ministack(scope, receive, send)


def _status() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "injected": dict(faults.injected),
        "environments": lambda_.environments(),
        "pendingEvents": lambda_.pending_events() + eventbridge.delivery.pending,
    }


async def _body(receive: Any) -> Any:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return json.loads(body)


async def _control(send: Any, function: Callable[..., None], parameters: dict[str, Any]) -> None:
    try:
        function(**parameters)
    except (ValueError, TypeError) as error:
        await _answer(send, 400, {"message": str(error)})
    else:
        await _answer(send, 200, {})


async def _discard(_message: Any) -> None:
    """The function that sent the request has crashed before the response."""


async def _answer(send: Any, status: int, document: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})
