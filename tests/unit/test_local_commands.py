"""The local command line refuses what it cannot do: one line, the right exit code, nothing left behind."""

import socket
from pathlib import Path

import pytest

from local.__main__ import main
from local.emulator.faults import FaultSpec
from local.stack import StackError, up


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
        ["query", "SELECT 1", "--colour"],
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)

    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["down"], ["query", "SELECT 1"]])
def test_without_a_stack_it_is_exit_code_3(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path / "none"), *words]) == 3

    assert capsys.readouterr().err == "local: no stack is up; start one with `python -m local up --detach`\n"
    assert not (tmp_path / "none").exists()


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


def test_chaos_is_read_as_it_is_written() -> None:
    assert FaultSpec.parse("drop=0.3,duplicate=0.2,delay=0-2s,early=.2,crash=0.1,seed=7") == FaultSpec(
        drop=0.3, duplicate=0.2, delay=(0, 2), early=0.2, crash=0.1, seed=7
    )
