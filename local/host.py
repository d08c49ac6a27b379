"""The process that plays AWS: MiniStack with the gaps closed that matter here.

`python -m local.host --port N --home DIR` serves on 127.0.0.1 until it is told to stop.
"""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

# A second attempt after this many seconds, a third after twice as many; on AWS it is minutes.
_LAMBDA_RETRY_SECONDS = "1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.host", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="folder for data and temporary files")
    arguments = parser.parse_args()
    scratch = arguments.home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    # MiniStack reads its settings when it is imported.
    os.environ |= {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(arguments.port),
        "IOT_MTLS_ENABLED": "0",
        "S3_DATA_DIR": str(arguments.home / "s3"),
        "TMPDIR": str(scratch),
        "LAMBDA_ASYNC_RETRY_BASE_SECONDS": _LAMBDA_RETRY_SECONDS,
        "LOG_LEVEL": "WARNING",
    }
    try:
        asyncio.run(_serve(arguments.port))
    except OSError as error:
        sys.exit(f"port {arguments.port} cannot be used: {error.strerror}")


async def _serve(port: int) -> None:
    # ruff: noqa: PLC0415 - the environment has to be set before MiniStack is imported
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app as ministack

    from local import athena, events, lambdas, stepfunctions, templates

    for extension in (athena, lambdas, stepfunctions, templates):
        extension.install()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/_local/host":
            await _answer(send, 200, {"pid": os.getpid()})
        elif scope["type"] == "http" and scope["path"] == "/_local/events":
            await _switch_events(receive, send, events.delivery)
        else:
            await ministack(scope, receive, send)

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    await serve(app, config)


async def _switch_events(receive: Any, send: Any, delivery: Any) -> None:
    """`PUT /_local/events` with `{"mode": …}`: see local/events.py."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    status, answer = 200, {"mode": delivery.mode}
    if body:
        try:
            delivery.switch(json.loads(body)["mode"])
            answer = {"mode": delivery.mode}
        except (ValueError, KeyError) as error:
            status, answer = 400, {"message": str(error)}
    await _answer(send, status, answer)


async def _answer(send: Any, status: int, document: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


if __name__ == "__main__":
    main()
