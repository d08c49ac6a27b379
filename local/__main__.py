"""The command line of the local stack: `python -m local --help`."""

import argparse
import re
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from local import code, demo, environment, load, stack
from local.emulator.faults import FaultSpec
from local.steps import Steps
from ops import cli, dashboard
from ops.commands import add_commands, picture_file
from ops.deployment import Deployment
from ops.display import make_console
from ops.errors import ExitCode

_NOTES = "`python -m ops` has the commands from query to verify for any deployed stack.\n"


def main(words: list[str] | None = None) -> int:
    return cli.run(_parser(), words)


def _parser() -> argparse.ArgumentParser:
    parser = cli.make_parser("python -m local", "Run the stack locally.", _NOTES)
    parser.add_argument(
        "--home", type=Path, default=stack.HOME, help="folder for the stack's files (default: .local)"
    )
    commands = cli.add_subcommands(parser)
    _add_up(cli.add_command(commands, "up", "start the emulator, deploy the stack, load the sample data"))
    cli.add_command(commands, "down", "stop the stack").set_defaults(run=_down)
    cli.add_command(
        commands,
        "update",
        "deploy the functions' current code, and nothing else, to the running stack",
    ).set_defaults(run=_update)
    add_commands(commands, _connect)
    show = cli.add_command(commands, "demo", "run six sample queries, verify their outcomes, then stop")
    show.set_defaults(run=_demo)
    _add_load(cli.add_command(commands, "load", "run a load of mixed outcomes and render the dashboard"))
    return parser


def _add_up(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument(
        "--detach", action="store_true", help="return once the stack is running; `down` stops it"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="NAME=VALUE",
        help="a setting of the stack, over the local defaults: patienceSeconds=60; repeatable",
    )
    parser.add_argument(
        "--async-retry-seconds",
        type=_positive,
        metavar="SECONDS",
        help="delay before Lambda retries an asynchronous invocation, doubled for the second retry "
        "(default: 1; on AWS 60)",
    )
    parser.add_argument(
        "--chaos",
        type=_chaos,
        metavar="FAULTS",
        help='random faults: "drop=0.3,duplicate=0.2,delay=0-2s,early=0.2,crash=0.1,seed=7"',
    )
    parser.set_defaults(run=_up)


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--minutes", type=_positive, default=10, help="how long queries are started (default: 10)"
    )
    parser.add_argument(
        "--out",
        type=picture_file,
        default=Path("dashboard.png"),
        metavar="FILE",
        help="file to write, .png or .svg (default: dashboard.png)",
    )
    parser.set_defaults(run=_load)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:  # noqa: PLR2004 - TCP
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it must be a number from 1 to 65535")
    return int(text)


def _positive(text: str) -> float:
    if not re.fullmatch(r"\d{1,5}(\.\d{1,3})?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return float(text)


def _setting(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _chaos(text: str) -> str:
    try:
        FaultSpec.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _connect(arguments: argparse.Namespace) -> Deployment:
    return stack.find(arguments.home).deployment()


def _up(arguments: argparse.Namespace) -> ExitCode:
    # `kill` stops it as Ctrl-C does, also while it starts.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Steps(make_console(stderr=True)) as steps:
        started = stack.up(
            port=arguments.port,
            home=arguments.home,
            chaos=arguments.chaos,
            settings={**stack.LASTING_SETTINGS, **dict(arguments.set)},
            async_retry_seconds=arguments.async_retry_seconds,
            detach=arguments.detach,
            report=steps.begin,
        )
    # eval "$(python -m local up --detach)" sets the variables and skips the comments.
    print(f"# The local stack {started.name} is running at {started.endpoint}")
    for line in environment.shell_commands(started.endpoint, started.outputs["StateMachineArn"]):
        print(line)
    if arguments.detach:
        print("# Stop it with: python -m local down")
        return ExitCode.OK
    try:
        print("# Press Ctrl-C to stop it", flush=True)
        stack.wait(started)
    except KeyboardInterrupt:
        stack.down(arguments.home)
    return ExitCode.OK


def _down(arguments: argparse.Namespace) -> ExitCode:
    stack.down(arguments.home)
    return ExitCode.OK


def _update(arguments: argparse.Namespace) -> ExitCode:
    for name in code.update(stack.find(arguments.home)):
        print(f"updated {name}")
    return ExitCode.OK


def _demo(arguments: argparse.Namespace) -> ExitCode:
    with ExitStack() as cleanup:
        started = _start_temporary(arguments.home, cleanup)
        return ExitCode.OK if demo.run(make_console(), started) else ExitCode.FAILED


def _load(arguments: argparse.Namespace) -> ExitCode:
    with ExitStack() as cleanup:
        started = _start_temporary(arguments.home, cleanup)
        load.warm_up(started)
        begin = datetime.now(UTC)
        load.run(make_console(), started, arguments.minutes)
        dashboard.save(started.deployment(), begin, datetime.now(UTC), arguments.out)
    print(f"wrote {arguments.out}")
    return ExitCode.OK


def _start_temporary(home: Path, cleanup: ExitStack) -> stack.Stack:
    """A stack that `cleanup` stops, beside one that may be running."""
    with Steps(make_console(stderr=True)) as steps:
        return cleanup.enter_context(stack.temporary(home, steps.begin))


if __name__ == "__main__":
    sys.exit(main())
