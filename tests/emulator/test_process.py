"""The emulator's process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import stack
from local.stack import ROOT, _free_port, _stop
from ops.errors import ExitCode
from tests.emulator.conftest import Emulator, answers, wait_until, zipped

_PARENT = """
import os, subprocess, sys
emulator = [sys.executable, "-m", "local.emulator", "--parent", str(os.getpid()), *sys.argv[1:]]
print(subprocess.Popen(emulator, start_new_session=True).pid, flush=True)
input()
"""


def test_an_emulator_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    port = _free_port()
    parent = subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-c", _PARENT, "--port", str(port), "--home", str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    emulator = Emulator(f"http://127.0.0.1:{port}")
    wait_until(lambda: answers(emulator))

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    wait_until(lambda: not answers(emulator))


@pytest.mark.parametrize("detach", [False, True])
def test_only_a_detached_emulator_outlives_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, detach: bool
) -> None:
    given: list[str] = []

    def start(_port: int, _home: Path, options: list[str]) -> None:
        given.extend(options)
        raise stack.StackError("far enough", ExitCode.FAILED)

    monkeypatch.setattr(stack, "_start_emulator", start)

    with pytest.raises(stack.StackError, match="far enough"):
        stack.up(home=tmp_path, detach=detach)

    assert given == ([] if detach else ["--parent", str(os.getpid())])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], tuple[Emulator, subprocess.Popen[bytes]]]]:
    """Starts emulators, one after the other, in the same folder."""
    processes: list[subprocess.Popen[bytes]] = []

    def run() -> tuple[Emulator, subprocess.Popen[bytes]]:
        port = _free_port()
        words = [sys.executable, "-m", "local.emulator", "--port", str(port), "--home", str(tmp_path)]
        # In a session of its own, as `local.stack` starts it.
        processes.append(
            subprocess.Popen([*words, "--parent", str(os.getpid())], cwd=ROOT, start_new_session=True)  # noqa: S603
        )
        emulator = Emulator(f"http://127.0.0.1:{port}")
        wait_until(lambda: answers(emulator))
        return emulator, processes[-1]

    yield run
    for process in processes:
        _stop(process.pid)


def leave_files(emulator: Emulator) -> None:
    """Make a function's environment unpack its code."""
    client: Any = emulator.client("lambda")
    client.create_function(
        FunctionName="leaves-files",
        Runtime="python3.13",
        Role=emulator.role(),
        Handler="function.handler",
        Code={"ZipFile": zipped("def handler(event, context):\n    return 1\n")},
    )
    assert json.loads(client.invoke(FunctionName="leaves-files")["Payload"].read()) == 1


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_an_emulator_that_is_stopped_leaves_no_files(
    tmp_path: Path, start: Callable[[], tuple[Emulator, subprocess.Popen[bytes]]]
) -> None:
    emulator, process = start()
    leave_files(emulator)
    assert files(tmp_path)

    _stop(process.pid)

    assert files(tmp_path) == []


def group_exists(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_emulator_leaves_no_process_and_its_files_to_the_next_one(
    tmp_path: Path, start: Callable[[], tuple[Emulator, subprocess.Popen[bytes]]]
) -> None:
    emulator, process = start()
    leave_files(emulator)
    process.kill()
    process.wait()
    wait_until(lambda: not group_exists(process.pid))
    assert files(tmp_path)

    start()

    assert files(tmp_path) == []
