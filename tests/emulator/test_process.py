"""The emulator's process."""

import signal
import subprocess
import sys
from pathlib import Path

from local.stack import ROOT, _free_port
from tests.emulator.conftest import Emulator, answers, wait_until

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
