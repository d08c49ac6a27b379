"""Emulates AWS: MiniStack plus what it lacks, with faults on demand.

`python -m local.emulator --port N --home DIR` serves on 127.0.0.1 until it is terminated.
"""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from importlib import import_module
from pathlib import Path

from local.emulator import recording, trace

_CORES = os.cpu_count() or 1
# Between two checks of whether the parent process is there, and for an orderly end.
_PARENT_SECONDS, _SHUTDOWN_SECONDS = 1, 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="folder for data and temporary files")
    parser.add_argument("--chaos", help="random faults, as in local/emulator/faults.py")
    parser.add_argument(
        "--environments",
        type=int,
        default=max(4, 4 * _CORES),
        help="Lambda execution environments at a time (default: four per core)",
    )
    parser.add_argument(
        "--idle-seconds",
        type=float,
        default=30,
        help="seconds after which an idle execution environment ends (default: 30)",
    )
    parser.add_argument(
        "--async-retry-seconds",
        type=float,
        default=1,
        help="seconds before the first retry of an asynchronous invocation, doubled for the second "
        "(default: 1; on AWS 60)",
    )
    parser.add_argument("--record", type=Path, help="file to record logs, events and secrets in, for tests")
    parser.add_argument(
        "--trace", type=Path, help="file to record the times of invocations in, for benchmarks"
    )
    parser.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="end when this process, which started the emulator, has ended",
    )
    arguments = parser.parse_args()
    scratch = arguments.home / "tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    tempfile.tempdir = str(scratch)
    # MiniStack reads its settings when it is imported.
    os.environ |= {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(arguments.port),
        "IOT_MTLS_ENABLED": "0",
        # The pool of execution environments is the limit.
        "LAMBDA_ACCOUNT_CONCURRENCY": "0",
        "S3_DATA_DIR": str(arguments.home / "s3"),
        "LOG_LEVEL": "WARNING",
    }
    if arguments.parent:
        threading.Thread(target=_end_with, args=(arguments.parent,), daemon=True).start()
    recording.recorder.file = arguments.record
    trace.tracer.file = arguments.trace
    server = import_module("local.emulator.server")
    try:
        asyncio.run(
            server.serve(
                port=arguments.port,
                folder=scratch,
                chaos=arguments.chaos,
                environments=arguments.environments,
                idle_seconds=arguments.idle_seconds,
                async_retry_seconds=arguments.async_retry_seconds,
            )
        )
    except OSError as error:
        sys.exit(f"port {arguments.port} cannot be used: {error.strerror}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _end_with(parent: int) -> None:
    """Terminate this process and what it has started, once it is no longer the parent's child."""
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    # Its own group: `local.stack` starts the emulator in a session of its own.
    os.killpg(os.getpid(), signal.SIGTERM)
    time.sleep(_SHUTDOWN_SECONDS)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
