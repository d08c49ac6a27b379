"""The command `query`: runs a statement through the state machine and prints its rows."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape

from ops import execution
from ops.cli import output_file
from ops.deployment import Deployment
from ops.display import download_progress, make_console, print_rows, print_run
from ops.errors import CommandError, ExitCode, describe

_ROWS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    statement = parser.add_mutually_exclusive_group(required=True)
    statement.add_argument("sql", nargs="?", metavar="SQL", help="the statement")
    statement.add_argument("--file", metavar="FILE", help="read the statement from a file; - reads stdin")
    parser.add_argument("--database", help="database for unqualified table names (default: the stack's)")
    parser.add_argument(
        "--param",
        action="append",
        default=[],
        metavar="VALUE",
        help="value for a ? placeholder, in order: 2013, or \"'JFK'\" for text; repeatable",
    )
    parser.add_argument(
        "--rows", type=_whole_number, default=_ROWS, help=f"rows of the result to print (default: {_ROWS})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document, rows included")
    parser.add_argument("--csv", type=output_file, metavar="FILE", help="download the complete result")
    parser.add_argument(
        "--stop-on-interrupt",
        action="store_true",
        help="Ctrl-C stops the execution and its query (default: both continue)",
    )


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def run(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    document: dict[str, Any] = {"QueryString": _statement(arguments.sql, arguments.file)}
    if arguments.database:
        document["Database"] = arguments.database
    if arguments.param:
        document["ExecutionParameters"] = arguments.param
    stepfunctions = deployment.client("stepfunctions")
    arn = execution.start(stepfunctions, deployment.output("StateMachineArn"), document)
    console = make_console()
    try:
        ended = execution.follow(
            stepfunctions,
            arn,
            lambda state: None if arguments.json else console.print(f"  → {escape(state)}"),
        )
    except KeyboardInterrupt:
        return _interrupted(arguments, stepfunctions, arn)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"{describe(error)}; the execution may still be running: {arn}", ExitCode.UNREACHABLE
        ) from None
    if arguments.json:
        _print_json(ended, deployment, arguments.rows)
    else:
        print_run(console, ended)
        if ended.output and arguments.rows:
            print_rows(console, _rows(ended, deployment, arguments.rows))
    if ended.output is None:
        return ExitCode.FAILED
    if arguments.csv:
        _download(ended.output["OutputLocation"] or "", arguments.csv, deployment)
    return ExitCode.OK


def _statement(sql: str | None, file: str | None) -> str:
    if file is None:
        return str(sql)
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}", ExitCode.USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8 text", ExitCode.USAGE) from None


def _interrupted(arguments: argparse.Namespace, stepfunctions: Any, arn: str) -> ExitCode:
    if arguments.stop_on_interrupt:
        execution.stop(stepfunctions, arn)
        text = f"interrupted: stopped the execution {arn}"
    else:
        text = f"interrupted: the execution goes on; stop it with `{arguments.program} stop {arn}`"
    print(f"\n{text}", file=sys.stderr)
    return ExitCode.INTERRUPTED


def _rows(ended: execution.Run, deployment: Deployment, limit: int) -> execution.Rows:
    return execution.read_rows(deployment.client("athena"), str(ended.query_id), limit)


def _print_json(ended: execution.Run, deployment: Deployment, limit: int) -> None:
    document: dict[str, Any] = {"executionArn": ended.arn, "status": ended.status, "states": ended.states}
    if ended.output is None:
        document |= {"error": ended.error, "cause": ended.cause}
    else:
        result = _rows(ended, deployment, limit)
        document |= {"output": ended.output}
        document |= {"columns": result.columns, "rows": result.rows, "moreRows": result.more}
    print(json.dumps(document, ensure_ascii=False))


def _download(location: str, file: Path, deployment: Deployment) -> None:
    if not location.endswith(".csv"):
        where = f"; its output is {location}" if location else ""
        raise CommandError(f"the statement has no CSV result{where}", ExitCode.FAILED)
    with download_progress(make_console(stderr=True), file.name) as progress:
        execution.download(deployment.client("s3"), location, file, progress.update)
