"""The command line: `python -m local --help`.

Exit codes: 0 success, 1 the query failed or the demo went wrong, 2 usage, 3 the stack is not there.
"""

import argparse
import json
import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError
from rich.console import Console
from rich.markup import escape

from local import demo, stack
from local.emulator.faults import FaultSpec
from ops import dashboard, explain
from ops.display import print_rows, print_run
from ops.execution import follow, result_rows

_ROWS = 100
_WIDTH_IN_FILES = 140


def main(words: list[str] | None = None) -> int:
    arguments = _parser().parse_args(words)
    console = Console()
    if not console.is_terminal:
        console.width = _WIDTH_IN_FILES
    try:
        code: int = arguments.run(arguments, console)
    except stack.StackError as reason:
        print(f"local: {reason}", file=sys.stderr)
        return reason.code
    except KeyboardInterrupt:
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local",
        description="The same stack on one machine.",
        epilog="Exit codes: 0 success, 1 the query failed, 2 usage, 3 the stack is not there.",
    )
    parser.add_argument(
        "--home", type=Path, default=stack.HOME, help="where a stack keeps its files (.local)"
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start the stack, deploy the template, load the sample data")
    up.add_argument("--port", type=_port, help="port on 127.0.0.1; default: a free one")
    up.add_argument("--detach", action="store_true", help="return once it is up; `down` stops it")
    up.add_argument(
        "--chaos",
        type=_chaos,
        metavar="FAULTS",
        help='for example "drop=0.3,duplicate=0.2,delay=0-2s,early=0.2,crash=0.1,seed=7"',
    )
    up.set_defaults(run=_up)

    down = commands.add_parser("down", help="stop what `up` started")
    down.set_defaults(run=_down)

    query = commands.add_parser("query", help="run SQL through the state machine and show its rows")
    query.add_argument("sql", metavar="SQL")
    query.add_argument("--database", help="default: flights")
    query.add_argument(
        "--param", action="append", default=[], metavar="V", help="value for a ?, in order: 2013 or \"'JFK'\""
    )
    query.add_argument("--json", action="store_true", help="print one JSON document instead")
    query.set_defaults(run=_query)

    board = commands.add_parser("dashboard", help="draw the deployed dashboard into one page")
    board.add_argument("--out", type=Path, default=Path("dashboard.html"), help="the page (dashboard.html)")
    board.add_argument("--png", type=Path, metavar="FILE", help="a picture of it too; needs Chromium")
    board.add_argument("--hours", type=float, default=12, help="how far back at most (12)")
    board.set_defaults(run=_dashboard)

    why = commands.add_parser("explain", help="say why an execution still waits; works on an AWS account too")
    why.add_argument("execution_arn", metavar="EXECUTION_ARN", type=_execution_arn)
    why.set_defaults(run=_explain)

    show = commands.add_parser("demo", help="run six queries whose outcomes are known, and stop again")
    show.add_argument(
        "--png", type=Path, metavar="FILE", help="draw the dashboard into a picture before stopping"
    )
    show.set_defaults(run=_demo)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:  # noqa: PLR2004 - TCP
        raise argparse.ArgumentTypeError(f"{text!r} is not a port; it must be a number from 1 to 65535")
    return int(text)


def _execution_arn(text: str) -> str:
    if not re.fullmatch(r"arn:aws[\w-]*:states:[\w-]+:\d{12}:execution:[^:]+:[^:]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the ARN of a Step Functions execution")
    return text


def _chaos(text: str) -> str:
    try:
        FaultSpec.parse(text)
    except ValueError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from None
    return text


def _up(arguments: argparse.Namespace, console: Console) -> int:
    with console.status("starting") as status:
        started = stack.up(port=arguments.port, home=arguments.home, chaos=arguments.chaos, say=status.update)
    console.print(f"endpoint       {started.endpoint}")
    console.print(f"state machine  {started.outputs['StateMachineArn']}\n")
    for name, value in started.exports.items():
        console.print(f"export {name}={value}", soft_wrap=True, highlight=False)
    if arguments.detach:
        return 0
    console.print("\nCtrl-C stops it.")
    # So does `kill`: what was started is not left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        signal.pause()
    finally:
        stack.down(arguments.home)
    return 0


def _down(arguments: argparse.Namespace, _console: Console) -> int:
    stack.down(arguments.home)
    return 0


def _query(arguments: argparse.Namespace, console: Console) -> int:
    found = stack.find(arguments.home)
    document: dict[str, Any] = {"QueryString": arguments.sql}
    if arguments.database:
        document["Database"] = arguments.database
    if arguments.param:
        document["ExecutionParameters"] = arguments.param
    quiet = arguments.json
    run = follow(
        found.client("stepfunctions"),
        found.outputs["StateMachineArn"],
        document,
        (lambda _: None) if quiet else (lambda name: console.print(f"  → {escape(name)}")),
    )
    if quiet:
        told = {"output": run.output} if run.error is None else {"error": run.error, "cause": run.cause}
        print(json.dumps({"status": run.status, **told, "states": run.states}))
    else:
        print_run(console, run)
        if run.output and (run.output["OutputLocation"] or "").endswith(".csv"):
            names, rows, more = result_rows(found.client("s3"), run.output["OutputLocation"], _ROWS)
            print_rows(console, names, rows, more=more)
    return 0 if run.status == "SUCCEEDED" else 1


def _explain(arguments: argparse.Namespace, console: Console) -> int:
    arn = arguments.execution_arn
    here = arn.split(":")[4] == stack.ACCOUNT
    # An account is reached with the caller's own credentials, as the AWS CLI finds them.
    session: Any = stack.find(arguments.home) if here else boto3.Session(region_name=arn.split(":")[3])
    try:
        facts = explain.gather(arn, session.client)
    except (explain.Unexplained, BotoCoreError) as reason:
        raise stack.StackError(str(reason), 3) from None
    for label, text in explain.lines(facts, datetime.now(UTC)):
        console.print(f"{label:<12} {escape(text)}", soft_wrap=True, highlight=False)
    return 0


def _dashboard(arguments: argparse.Namespace, console: Console) -> int:
    _draw(stack.find(arguments.home), arguments.png, page=arguments.out, hours=arguments.hours)
    for file in filter(None, (arguments.out, arguments.png)):
        console.print(f"wrote {file}")
    return 0


def _draw(found: stack.Stack, png: Path | None, *, page: Path | None = None, hours: float) -> None:
    document = dashboard.page(
        found.client, found.outputs["DashboardName"], found.outputs["StateMachineArn"], hours=hours
    )
    if page:
        page.write_text(document)
    if png:
        try:
            dashboard.picture(document, png)
        except dashboard.NoBrowser as reason:
            raise stack.StackError(str(reason), 2) from None


def _demo(arguments: argparse.Namespace, console: Console) -> int:
    # Beside a stack that may be up already: the demo has one of its own, but shares what takes time to make.
    arguments.home.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="demo-", dir=arguments.home) as own:
        home = Path(own)
        for shared in ("parquet", "synthesized"):
            (arguments.home / shared).mkdir(exist_ok=True)
            (home / shared).symlink_to(arguments.home / shared)
        with console.status("starting") as status:
            started = stack.up(home=home, say=status.update)
        try:
            well = demo.perform(
                console,
                stepfunctions=started.client("stepfunctions"),
                athena=started.client("athena"),
                s3=started.client("s3"),
                state_machine_arn=started.outputs["StateMachineArn"],
                deliver_events=started.deliver_events,
            )
            if arguments.png:
                _draw(started, arguments.png, hours=1)
        finally:
            stack.down(home)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
