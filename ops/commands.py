"""The commands for a deployed stack, which `python -m ops` and `python -m local` share."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.markup import escape

from ops import batch, dashboard, dead_letters, execution, explain, query
from ops.cli import add_command, output_file
from ops.deployment import Deployment
from ops.display import make_console
from ops.errors import ExitCode
from ops.verify import command as verify


@dataclass(frozen=True, kw_only=True)
class Command:
    """`run` receives the arguments that `add_arguments` declares, and the stack.

    `of_execution`: it takes the ARN of an execution, which names the stack too.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace, Deployment], ExitCode]
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda _: None
    of_execution: bool = False


def add_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    connect: Callable[[argparse.Namespace], Deployment],
    stack_arguments: argparse.ArgumentParser | None = None,
) -> None:
    """Add every command. `connect` finds the stack from the arguments, `stack_arguments` among them."""
    for command in COMMANDS:
        parents = [stack_arguments] if stack_arguments and not command.of_execution else []
        parser = add_command(commands, command.name, command.help, *parents)
        if command.of_execution:
            parser.add_argument("execution_arn", metavar="EXECUTION_ARN", type=_execution_arn)
        command.add_arguments(parser)
        parser.set_defaults(run=lambda arguments, run=command.run: run(arguments, connect(arguments)))


def _execution_arn(text: str) -> execution.ExecutionArn:
    try:
        return execution.ExecutionArn.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _explain(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    console = make_console()
    facts = explain.gather(arguments.execution_arn.text, deployment)
    for label, text in explain.lines(facts, datetime.now(UTC)):
        console.print(f"{label:<12} {escape(text)}", soft_wrap=True)
    return ExitCode.OK


def _stop(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    execution.stop(deployment.client("stepfunctions"), arguments.execution_arn.text)
    return ExitCode.OK


def _add_dashboard_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=picture_file,
        default=Path("dashboard.png"),
        metavar="FILE",
        help="file to write, .png or .svg (default: dashboard.png)",
    )
    parser.add_argument(
        "--hours",
        type=_hours,
        default=12,
        help="hours of history (default: 12), at most the stack's age",
    )


def picture_file(text: str) -> Path:
    """An argument's type: a file to write whose suffix is a format that can be drawn."""
    if Path(text).suffix not in {".png", ".svg"}:
        raise argparse.ArgumentTypeError(f"{text!r} does not end with .png or .svg")
    return output_file(text)


def _hours(text: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = 0
    if not 0 < hours <= dashboard.MAX_HOURS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours up to {dashboard.MAX_HOURS}")
    return hours


def _dashboard(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    end = datetime.now(UTC)
    start = max(end - timedelta(hours=arguments.hours), deployment.created)
    dashboard.save(deployment, start, end, arguments.out)
    print(f"wrote {arguments.out}")
    return ExitCode.OK


def _add_replay_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry-run", action="store_true", help="list the messages; invoke nothing, delete nothing"
    )


def _replay(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    return dead_letters.replay(deployment, make_console(), dry_run=arguments.dry_run)


COMMANDS = (
    Command(
        name="query",
        help="run SQL through the state machine and print its rows",
        add_arguments=query.add_arguments,
        run=query.run,
    ),
    Command(
        name="batch",
        help="run many queries as one execution and print those that failed",
        add_arguments=batch.add_arguments,
        run=batch.run,
    ),
    Command(name="explain", help="diagnose a waiting execution", run=_explain, of_execution=True),
    Command(name="stop", help="stop an execution and its query", run=_stop, of_execution=True),
    Command(
        name="dashboard",
        help="render the deployed dashboard as a picture",
        add_arguments=_add_dashboard_arguments,
        run=_dashboard,
    ),
    Command(
        name="replay-dead-letters",
        help="invoke the functions again with the events in the dead-letter queue",
        add_arguments=_add_replay_arguments,
        run=_replay,
    ),
    Command(
        name="verify",
        help="check the documented claims about AWS against the stack",
        add_arguments=verify.add_arguments,
        run=verify.run,
    ),
)
