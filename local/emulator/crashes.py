"""Kills a Lambda function's process at one of its AWS calls, before or after the call has its effect."""

import re
from dataclasses import dataclass
from typing import Any

from ministack.core import lambda_runtime

from local.emulator.faults import Kill, When, faults

# Worker processes by the name that their AWS clients give in the User-Agent.
_invocations: dict[str, "Invocation"] = {}
_spawn_of_ministack = lambda_runtime.Worker._spawn
_invoke_of_ministack = lambda_runtime.Worker.invoke


@dataclass(kw_only=True)
class Invocation:
    worker: Any
    calls: int = 0
    kill: Kill | None = None


def install() -> None:
    lambda_runtime.Worker._spawn = _spawn
    lambda_runtime.Worker.invoke = _invoke


def _spawn(worker: Any) -> None:
    name = f"worker-{id(worker)}"
    variables = worker.config.get("Environment", {}).get("Variables", {})
    # botocore adds it to the User-Agent (AWS SDKs and Tools reference guide, "Application ID").
    worker.config = {
        **worker.config,
        "Environment": {"Variables": {**variables, "AWS_SDK_UA_APP_ID": name}},
    }
    _invocations.setdefault(name, Invocation(worker=worker))
    _spawn_of_ministack(worker)


def _invoke(worker: Any, event: Any, *words: Any, **named: Any) -> Any:
    invocation = _invocations.setdefault(f"worker-{id(worker)}", Invocation(worker=worker))
    invocation.calls = 0
    invocation.kill = faults.next_kill(worker.config["Handler"].split(".")[-2])
    return _invoke_of_ministack(worker, event, *words, **named)


def due(user_agent: str) -> tuple[When, Any] | None:
    """Whether the function that makes this AWS call dies of it: when, and its worker."""
    match = re.search(r"\bapp/(worker-\d+)", user_agent)
    invocation = _invocations.get(match[1]) if match else None
    if invocation is None:
        return None
    invocation.calls += 1
    if invocation.kill is None or invocation.calls != invocation.kill.call:
        return None
    return invocation.kill.when, invocation.worker


def kill(worker: Any) -> None:
    """End the worker's process as Lambda's own crash would: at once."""
    process = worker._proc
    if process is not None:
        faults.injected["killed"] += 1
        process.kill()
