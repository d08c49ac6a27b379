"""Starts the emulator, deploys the stack's template to it, loads the sample data, and stops it."""

import contextlib
import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.settings import SettingError, Settings
from local import cdk, environment, sample_data
from ops.deployment import DEFAULT_STACK, Deployment, describe_deployment
from ops.errors import CommandError, ExitCode

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".local"

# For demonstrations and tests: short, so that the fallback branch can be watched.
SETTINGS: Mapping[str, str] = {
    "stackName": DEFAULT_STACK,
    "patienceSeconds": "5",
    "pollSeconds": "2",
    "backOffSeconds": "1",
    "batchConcurrency": "4",
    "defaultDatabase": sample_data.DATABASE,
    "readDatabases": sample_data.DATABASE,
    "readPrefixes": f"{sample_data.BUCKET}/{sample_data.DATABASE}/,{sample_data.ARRIVALS}/",
    "writeDatabases": f"{sample_data.SCRATCH},{sample_data.VERIFY}",
    "writePrefixes": f"{sample_data.BUCKET}/{sample_data.SCRATCH}/",
    "synthesizer": "cli-credentials",
}

# Of a stack that stays: a burst of executions takes longer than 5 s, and their polls would add to it.
LASTING_SETTINGS: Mapping[str, str] = {**SETTINGS, "patienceSeconds": "30"}

# Kept in a stack's folder because it takes time to create and is the same for every stack.
_SHARED = ("parquet", "synthesized")
_START_SECONDS = 120
# This machine's emulator, whatever proxy is configured.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(CommandError):
    """The local stack cannot do what was requested."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A running local stack. `outputs` are its CloudFormation outputs."""

    name: str
    port: int
    pid: int
    home: str
    outputs: dict[str, str]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str) -> Any:
        return environment.client(self.endpoint, service)

    def deployment(self) -> Deployment:
        """The stack for the commands of `ops`."""
        return describe_deployment(self.name, self.client, shortest_period=1)

    def deliver_events(self, mode: str) -> None:
        """How Athena's events are delivered from now on: a mode of local/emulator/eventbridge.py."""
        _ask(self.port, "athena-events", {"mode": mode})

    def inject_crash(self, function: str, call: int, when: str) -> None:
        """Kill the function's next invocation at its n-th AWS call, "before" or "after" its effect."""
        _ask(self.port, "crashes", {"function": function, "call": call, "when": when})

    def inject_athena_error(self, error: str) -> None:
        """What Athena does next: a throttle of StartQueryExecution, or TRANSIENT (emulator/faults.py)."""
        _ask(self.port, "athena-errors", {"error": error})

    def hold_queries(self, seconds: float) -> None:
        """Make queries that start from now on run for at least so long."""
        _ask(self.port, "query-seconds", {"seconds": seconds})

    def let_metrics_age(self, seconds: float) -> None:
        """Age CloudWatch's data points by so many seconds, as if no new ones had arrived since."""
        _ask(self.port, "metrics-age", {"seconds": seconds})

    def outage(self, operation: str, error: str) -> None:
        """Make the operation, such as "athena:GetQueryExecution" or "dynamodb:*", fail until `end_outage`."""
        _ask(self.port, "outages", {"outages": {operation: error}})

    def end_outage(self) -> None:
        _ask(self.port, "outages", {"outages": {}})

    def fire_schedule(self) -> None:
        """Fire this stack's scheduled rules now."""
        _ask(self.port, "schedules", {"rule": f"{self.name}-*"})

    def invoke_schedule(self, name: str, time: str) -> None:
        """Invoke the target of an EventBridge schedule as at the scheduled time, which is ISO 8601."""
        _ask(self.port, "scheduler", {"schedule": name, "time": time})

    def pending_events(self) -> int:
        """The number of events that their functions have not handled yet, retries included."""
        pending: int = _ask(self.port, "status")["pendingEvents"]
        return pending

    def injected_faults(self) -> dict[str, int]:
        """The number of injected faults of each kind."""
        counted: dict[str, int] = _ask(self.port, "status")["injected"]
        return counted


def up(
    *,
    port: int | None = None,
    home: Path = HOME,
    chaos: str | None = None,
    settings: Mapping[str, str] = SETTINGS,
    async_retry_seconds: float | None = None,
    emulator_options: Sequence[str] = (),
    detach: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Stack:
    """Start a stack. `report` receives the name of each step as it begins.

    The stack ends with this process, however that ends, unless `detach` is set.

    Raise CommandError if one is running already, a setting is invalid, the port is taken, or a step fails.
    """
    name = _stack_name(settings)
    # The processes below have other working directories.
    home = home.absolute()
    if running := _running(home):
        raise StackError(
            f"a local stack is already running at {running.endpoint}; stop it with `python -m local down`",
            ExitCode.USAGE,
        )
    port = _free_port() if port is None else port
    _must_be_free(port)
    home.mkdir(parents=True, exist_ok=True)
    options = [*emulator_options] if detach else [*emulator_options, "--parent", str(os.getpid())]
    if chaos:
        options += ["--chaos", chaos]
    if async_retry_seconds is not None:
        options += ["--async-retry-seconds", str(async_retry_seconds)]
    with _starting(home):
        report("starting the emulator")
        emulator = _start_emulator(port, home, options)
        try:
            endpoint = f"http://127.0.0.1:{port}"
            outputs = cdk.deploy(endpoint, home, settings, report)
            report("loading the sample data")
            s3, glue = (environment.client(endpoint, service) for service in ("s3", "glue"))
            sample_data.load(s3, glue, home / "parquet")
        except BaseException:
            _stop(emulator.pid)
            raise
        stack = Stack(name=name, port=port, pid=emulator.pid, home=str(home), outputs=outputs)
        (home / "stack.json").write_text(json.dumps(asdict(stack), indent=2))
    return stack


@contextlib.contextmanager
def _starting(home: Path) -> Iterator[None]:
    """Raise StackError if another process is starting a stack in the same folder."""
    with (home / "starting.lock").open("w") as lock:
        try:
            # The system releases it with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"another process is starting a stack in {home}; wait for it, or choose another --home",
                ExitCode.USAGE,
            ) from None
        yield


def wait(stack: Stack) -> None:
    """Wait until the stack is stopped. Only for the process that has started it, which reaps the emulator.

    Raise StackError if the emulator fails.
    """
    _, status = os.waitpid(stack.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, -signal.SIGTERM):
        raise StackError(
            f"the emulator ended with exit code {code}; see {stack.home}/emulator.log", ExitCode.UNREACHABLE
        )


def _stack_name(settings: Mapping[str, str]) -> str:
    try:
        return Settings.from_context(settings).stack_name
    except SettingError as error:
        raise StackError(str(error), ExitCode.USAGE) from None


def find(home: Path = HOME) -> Stack:
    """The running stack. Raise StackError if there is none."""
    if running := _running(home):
        return running
    raise StackError(
        "no local stack is running; start one with `python -m local up --detach`", ExitCode.UNREACHABLE
    )


def _running(home: Path) -> Stack | None:
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, TypeError):
        stack = Stack(**json.loads((home / "stack.json").read_text()))
        if _ask(stack.port, "status").get("pid") == stack.pid:
            return stack
    return None


def down(home: Path = HOME) -> None:
    """Stop the running stack. Raise StackError if there is none."""
    stack = _running(home)
    if stack is None:
        raise StackError("no local stack is running", ExitCode.UNREACHABLE)
    _stop(stack.pid)
    (home / "stack.json").unlink()


@contextlib.contextmanager
def temporary(
    home: Path = HOME,
    report: Callable[[str], None] = lambda _: None,
    settings: Mapping[str, str] = SETTINGS,
    emulator_options: Sequence[str] = (),
) -> Iterator[Stack]:
    """A separate stack in a folder under `home`, which may run beside another one; stopped at the end.

    If it does not start, its folder is kept with the logs.
    """
    home.mkdir(parents=True, exist_ok=True)
    own = share(Path(tempfile.mkdtemp(prefix="temporary-", dir=home)), home)
    stack = up(home=own, settings=settings, emulator_options=emulator_options, report=report)
    try:
        yield stack
    finally:
        with contextlib.suppress(StackError):
            down(own)
        shutil.rmtree(own, ignore_errors=True)


def share(own: Path, home: Path = HOME) -> Path:
    """Make a stack in the folder `own` reuse what is slow to create from the folder `home`; return `own`."""
    for name in _SHARED:
        (home / name).mkdir(parents=True, exist_ok=True)
        (own / name).symlink_to((home / name).absolute())
    return own


def _start_emulator(port: int, home: Path, options: list[str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "local.emulator", "--port", str(port), "--home", str(home), *options]
    log = home / "emulator.log"
    with log.open("wb") as output:
        emulator = subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment.process_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # In a separate session: Ctrl-C must not reach it, and its workers can be stopped with it.
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    try:
        while time.monotonic() < deadline and emulator.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                if _ask(port, "status").get("pid") == emulator.pid:
                    return emulator
            time.sleep(0.1)
    except KeyboardInterrupt:
        _stop(emulator.pid)
        raise
    reason = f"no answer within {_START_SECONDS} s"
    if emulator.poll() is None:
        _stop(emulator.pid)
    elif lines := log.read_text(errors="replace").strip().splitlines():
        reason = lines[-1]
    raise StackError(f"the emulator failed to start: {reason}; see {log}", ExitCode.UNREACHABLE)


def _stop(pid: int) -> None:
    """End an emulator and the workers that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
        for _ in _until(10):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            os.killpg(pid, 0)
        os.killpg(pid, signal.SIGKILL)


def _until(seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
        yield


def _ask(port: int, what: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Call the emulator's own API. Raise OSError if nothing answers, ValueError if it is no emulator."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/_local/{what}",
        data=json.dumps(body).encode() if body else None,
        method="PUT" if body else "GET",
    )
    with _OPENER.open(request, timeout=10) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


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
            raise StackError(
                f"port {port} cannot be used; choose another with --port", ExitCode.USAGE
            ) from None
