"""Clients of boto3 whose requests MiniStack serves in this process, without a socket."""

import asyncio
import atexit
import io
import os
import shutil
import threading
from collections.abc import Coroutine
from tempfile import mkdtemp
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

import boto3
from botocore.awsrequest import AWSResponse, HeadersDict

# MiniStack reads its settings when it is imported.
os.environ |= {"S3_DATA_DIR": mkdtemp(prefix="local-athena-"), "LOG_LEVEL": "WARNING"}

from ministack import app

atexit.register(shutil.rmtree, os.environ["S3_DATA_DIR"], ignore_errors=True)

Answer = TypeVar("Answer")

REGION = "eu-west-1"


class Loop:
    """An event loop in a separate thread, in which MiniStack runs."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


# MiniStack treats this key as the account's root user.
_ROOT = {"AccessKeyId": "test", "SecretAccessKey": "test", "SessionToken": None}


def session(loop: Loop, credentials: dict[str, Any] | None = None) -> boto3.Session:
    """A session whose clients send their requests to MiniStack in `loop`, by default as root."""
    given = credentials or _ROOT
    made: Any = boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=REGION,
    )
    made.events.register("before-send", lambda request, **_: loop.run(_answer(request)))
    return cast("boto3.Session", made)


async def _answer(request: Any) -> AWSResponse:
    """The response to a prepared request, through ASGI."""
    url = urlsplit(request.url)
    body = _bytes(request.body.read() if hasattr(request.body, "read") else request.body or b"")
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers |= {"host": url.netloc, "content-length": str(len(body))}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": request.method,
        "path": unquote(url.path) or "/",
        "raw_path": (url.path or "/").encode(),
        "query_string": url.query.encode(),
        "headers": [(name.encode(), _bytes(value)) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
    }
    await app.app(scope, receive, send)
    start, *rest = sent
    answered: Any = HeadersDict((name.decode(), value.decode()) for name, value in start["headers"])
    raw = _Raw(b"".join(message.get("body", b"") for message in rest))
    return AWSResponse(request.url, start["status"], answered, raw)


class _Raw(io.BytesIO):
    """A response body as botocore expects it from urllib3."""

    def stream(self, *_: Any, **__: Any) -> Any:
        while chunk := self.read(65_536):
            yield chunk


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("latin-1")
