"""Execution environments: processes that run a function; bounded in number, reused, and ended when idle."""

import io
import json
import os
import re
import select
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from local.emulator.faults import Crash, faults
from local.emulator.trace import tracer

_RUNTIME = Path(__file__).with_name("runtime.py")
_MARK = b"\n\0result "
_LONG_IDLE_SECONDS = 5.0
# It names the environment in the User-Agent of its AWS calls (SDKs and Tools reference, "Application ID").
_APP_ID = "AWS_SDK_UA_APP_ID"
_USER_AGENT = re.compile(r"\bapp/(environment-\d+)")


class TimedOut(Exception):
    """The function did not return within its time limit."""


class Exited(Exception):
    """The function's process ended without a result."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """What an environment runs. `key` differs with every configuration, `hash` with the code."""

    key: str
    handler: str
    code: bytes
    hash: str
    variables: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """`log` is what the function has written, `result` what it has returned or raised."""

    log: str
    result: dict[str, Any]


class Environment:
    """A process that runs one invocation at a time."""

    _numbers = count(1)

    def __init__(self, function: Function, code: Path) -> None:
        self.function = function
        self.name = f"environment-{next(self._numbers)}"
        self.idle_since = time.monotonic()
        self.crash: Crash | None = None
        self.calls = 0
        self._output = b""
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(_RUNTIME)],
            cwd=code,
            env=function.variables
            | {"_HANDLER": function.handler, "LAMBDA_TASK_ROOT": str(code), _APP_ID: self.name},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def invoke(
        self, context: dict[str, Any], payload: str, seconds: float, crash: Crash | None
    ) -> Invocation:
        """Raise TimedOut or Exited, with the log as argument; then the environment cannot be used again."""
        self.crash, self.calls, self._output = crash, 0, b""
        deadline = time.time() + seconds
        envelope = json.dumps(context | {"deadline": deadline})
        try:
            self._write(f"{envelope}\t{payload}\n".encode())
            self._read_until(_MARK, deadline)
            log, _, _ = self._output.partition(_MARK)
            self._read_until(b"\n", deadline, len(log) + len(_MARK))
        except OSError:
            raise Exited(self._log()) from None
        result = self._output[len(log) + len(_MARK) :]
        return Invocation(log=log.decode(errors="replace"), result=json.loads(result))

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _write(self, data: bytes) -> None:
        stdin = self._process.stdin
        if stdin:
            stdin.write(data)
            stdin.flush()

    def _read_until(self, mark: bytes, deadline: float, start: int = 0) -> None:
        stderr = self._process.stderr
        if stderr is None:
            return
        poll = select.poll()
        poll.register(stderr, select.POLLIN)
        while self._output.find(mark, start) < 0:
            if not poll.poll(max(0, deadline - time.time()) * 1000):
                raise TimedOut(self._log())
            chunk = os.read(stderr.fileno(), 65_536)
            if not chunk:
                raise Exited(self._log())
            self._output += chunk

    def _log(self) -> str:
        return self._output.decode(errors="replace")


@dataclass(eq=False)
class _Waiter:
    """An invocation that waits for an environment: an idle one, or permission to start one."""

    function: Function
    ready: threading.Event = field(default_factory=threading.Event)
    environment: Environment | None = None


class Pool:
    """At most `limit` environments, half of them for one function. Invocations beyond them wait."""

    def __init__(self, limit: int, folder: Path, idle_seconds: float = 30) -> None:
        """`folder` is for the functions' code. Environments that are idle for `idle_seconds` end."""
        self._limit = limit
        self._folder = folder
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._idle: list[Environment] = []
        self._busy: dict[str, Environment] = {}
        # Environments of each function, including those that are being started.
        self._counts: dict[str, int] = {}
        self._waiting: dict[str, deque[_Waiter]] = {}
        threading.Thread(target=self._reap, daemon=True, name="lambda-reaper").start()

    def invoke(
        self, function: Function, context: dict[str, Any], payload: str, seconds: float, crash: Crash | None
    ) -> Invocation:
        """Raise TimedOut or Exited."""
        requested = time.time()
        environment = self._acquire(function)
        usable = False
        try:
            tracer.record_start(environment.name, requested, payload)
            invocation = environment.invoke(context, payload, seconds, crash)
            usable = True
        finally:
            self._release(environment, usable=usable)
        return invocation

    def size(self) -> int:
        """The number of environments, including those that are being started."""
        with self._lock:
            return sum(self._counts.values())

    def crashing(self, user_agent: str) -> Environment | None:
        """The environment that makes this AWS call, if it is the call at which its function crashes."""
        environment = self._busy.get(environment_name(user_agent))
        if environment is None:
            return None
        environment.calls += 1
        if environment.crash is None or environment.crash.call != environment.calls:
            return None
        faults.injected["killed"] += 1
        return environment

    def _acquire(self, function: Function) -> Environment:
        waiter = _Waiter(function)
        with self._lock:
            self._waiting.setdefault(function.key, deque()).append(waiter)
            surplus = self._serve()
        _kill(surplus)
        waiter.ready.wait()
        environment = waiter.environment or self._start(function)
        with self._lock:
            self._busy[environment.name] = environment
        return environment

    def _start(self, function: Function) -> Environment:
        try:
            return Environment(function, self._code(function))
        except BaseException:
            with self._lock:
                self._forget(function.key)
                surplus = self._serve()
            _kill(surplus)
            raise

    def _release(self, environment: Environment, *, usable: bool) -> None:
        with self._lock:
            del self._busy[environment.name]
            if usable:
                environment.idle_since = time.monotonic()
                self._idle.append(environment)
            else:
                self._forget(environment.function.key)
            surplus = self._serve()
        _kill([*surplus, *([] if usable else [environment])])

    def _forget(self, key: str) -> None:
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    def _serve(self) -> list[Environment]:
        """Assign environments to waiting invocations; return those that have to be ended to make room."""
        surplus: list[Environment] = []
        for environment in reversed(self._idle[:]):
            key = environment.function.key
            if self._waiting.get(key) and not self._owed(key):
                self._idle.remove(environment)
                self._serve_one(key, environment)
        # The function with the fewest environments first.
        for key in sorted(self._waiting, key=lambda one: self._counts.get(one, 0)):
            while self._waiting[key] and self._counts.get(key, 0) < max(1, self._limit // 2):
                if sum(self._counts.values()) >= self._limit and not self._make_room(key, surplus):
                    break
                self._counts[key] = self._counts.get(key, 0) + 1
                self._serve_one(key, None)
        self._waiting = {key: waiters for key, waiters in self._waiting.items() if waiters}
        return surplus

    def _serve_one(self, key: str, environment: Environment | None) -> None:
        waiter = self._waiting[key].popleft()
        waiter.environment = environment
        waiter.ready.set()

    def _share(self) -> int:
        return max(1, self._limit // max(1, len(self._waiting.keys() | self._counts.keys())))

    def _owed(self, key: str) -> bool:
        """Whether this function has more than its share, and another waits that has less."""
        share = self._share()
        return self._counts[key] > share and any(
            waiters and self._counts.get(other, 0) < share for other, waiters in self._waiting.items()
        )

    def _make_room(self, key: str, surplus: list[Environment]) -> bool:
        """End another function's environment: the longest idle one, unless this function has its share.

        Then it has to have been idle for long. Otherwise functions that take turns would start an environment
        at each turn.
        """
        oldest = time.monotonic() - (_LONG_IDLE_SECONDS if self._counts.get(key, 0) >= self._share() else 0)
        for environment in self._idle:
            if environment.function.key != key and environment.idle_since <= oldest:
                self._idle.remove(environment)
                self._forget(environment.function.key)
                surplus.append(environment)
                return True
        return False

    def _reap(self) -> None:
        while True:
            time.sleep(self._idle_seconds / 4)
            with self._lock:
                oldest = time.monotonic() - self._idle_seconds
                idle = [one for one in self._idle if one.idle_since < oldest]
                self._idle = [one for one in self._idle if one not in idle]
                for environment in idle:
                    self._forget(environment.function.key)
            _kill(idle)

    def _code(self, function: Function) -> Path:
        """The folder with the function's code, shared by its environments."""
        folder = self._folder / function.hash
        if not folder.exists():
            part = folder.with_suffix(f".{threading.get_ident()}")
            with zipfile.ZipFile(io.BytesIO(function.code)) as archive:
                archive.extractall(part)
            try:
                part.rename(folder)
            except OSError:
                shutil.rmtree(part)  # another thread was faster
        return folder


def environment_name(user_agent: str) -> str:
    """The environment that made an AWS call, by its User-Agent; empty for another caller."""
    match = _USER_AGENT.search(user_agent)
    return match[1] if match else ""


def _kill(environments: list[Environment]) -> None:
    for environment in environments:
        environment.kill()
