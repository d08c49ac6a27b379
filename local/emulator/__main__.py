"""The process that plays AWS: MiniStack with the gaps closed that matter here, and faults on demand.

`python -m local.emulator --port N --home DIR` serves on 127.0.0.1 until it is told to stop.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A second attempt after this many seconds, a third after twice as many; on AWS it is minutes.
_LAMBDA_RETRY_SECONDS = "1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="folder for data and temporary files")
    parser.add_argument("--chaos", help="faults to inject: see local/emulator/faults.py")
    arguments = parser.parse_args()
    scratch = arguments.home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    # MiniStack reads its settings when it is imported.
    os.environ |= {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(arguments.port),
        "IOT_MTLS_ENABLED": "0",
        "S3_DATA_DIR": str(arguments.home / "s3"),
        "TMPDIR": str(scratch),
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": _LAMBDA_RETRY_SECONDS,
        "LOG_LEVEL": "WARNING",
    }
    try:
        asyncio.run(_serve(arguments.port, arguments.chaos))
    except OSError as error:
        sys.exit(f"port {arguments.port} cannot be used: {error.strerror}")


async def _serve(port: int, faults_on_purpose: str | None) -> None:
    # ruff: noqa: PLC0415 - the environment has to be set before MiniStack is imported
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app as ministack

    from local.emulator import cloudformation, cloudwatch, crashes, eventbridge, iam, lambda_, stepfunctions
    from local.emulator.athena import api as athena
    from local.emulator.faults import FaultSpec, faults

    for extension in (athena, cloudformation, cloudwatch, crashes, iam, lambda_, stepfunctions):
        extension.install()
    if faults_on_purpose:
        faults.begin(FaultSpec.parse(faults_on_purpose))

    orders: dict[str, Callable[..., None]] = {
        "/_local/events": eventbridge.delivery.switch,
        "/_local/athena": faults.inject_athena_error,
        "/_local/kills": faults.inject_crash,
        "/_local/metrics": cloudwatch.let_time_pass,
    }

    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/_local/host":
            await _answer(send, 200, {"pid": os.getpid(), "injected": dict(faults.injected)})
        elif path in orders:
            await _obey(send, orders[path], await _body(receive))
        elif path and (death := crashes.due(_user_agent(scope))):
            when, worker = death
            if when == "after":
                await ministack(scope, receive, _nowhere)
            crashes.kill(worker)
        else:
            await ministack(scope, receive, send)

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    await serve(app, config)


async def _body(receive: Any) -> Any:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return json.loads(body)


async def _obey(send: Any, order: Callable[..., None], words: dict[str, Any]) -> None:
    try:
        order(**words)
    except (ValueError, TypeError) as error:
        await _answer(send, 400, {"message": str(error)})
    else:
        await _answer(send, 200, {})


async def _nowhere(_message: Any) -> None:
    """Whoever asked is dead by the time of the answer."""


def _user_agent(scope: Any) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"user-agent"), "")


async def _answer(send: Any, status: int, document: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


if __name__ == "__main__":
    main()
