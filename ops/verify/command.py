"""The command line of `verify`."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from ops.deployment import Deployment
from ops.display import make_console
from ops.errors import CommandError, ExitCode, describe
from ops.verify.claims import CLAIMS
from ops.verify.events import receive_events
from ops.verify.recording import Recorder
from ops.verify.session import Failed, Result, Session, Skipped

_PLAN = """\
verify starts up to about 120 executions of the state machine {name} and as many small Athena queries. They
scan no data; with Athena's minimum of 10 MB a query this costs about 0.01 USD, and the transitions about as
much. {scratch}At the end, also after an interruption, it stops what still runs and removes what it created;
the results of its queries expire with the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="start without confirmation")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        choices=sorted(CLAIMS),
        metavar="CLAIM",
        help="check only this claim; repeatable",
    )
    parser.add_argument(
        "--scratch",
        metavar="DATABASE",
        help="database for a table, one of the stack's writeDatabases; created and dropped if it does not "
        "exist",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--record",
        type=Path,
        metavar="DIR",
        help="record AWS's responses, with account ids and names replaced",
    )


def run(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    _confirm(arguments, deployment)
    recorder = Recorder()
    session = Session(deployment=_recorded(deployment, recorder), scratch=arguments.scratch)
    names = [name for name in CLAIMS if not arguments.only or name in arguments.only]
    results = []
    try:
        events = receive_events(session) if arguments.record else list
        with _progress(quiet=arguments.json) as progress:
            task = progress.add_task("", total=len(names))
            for name in names:
                progress.update(task, description=name)
                results.append(attempt(name, session))
                for event in events():
                    recorder.add("events", event["detail-type"], event)
                if arguments.record:
                    recorder.write(arguments.record, name)
                progress.advance(task)
    finally:
        for problem in session.remove():
            print(f"verify: not removed: {problem}", file=sys.stderr)
    _print(results, as_json=arguments.json)
    return ExitCode.FAILED if any(result.status == "failed" for result in results) else ExitCode.OK


def _confirm(arguments: argparse.Namespace, deployment: Deployment) -> None:
    if arguments.yes:
        return
    scratch = ""
    if arguments.scratch:
        scratch = (
            f"It creates a table in the database {arguments.scratch}, and the database if it does not exist. "
        )
    if arguments.record:
        scratch += "To record events it creates a queue and two rules. "
    print(_PLAN.format(name=deployment.name, scratch=scratch), file=sys.stderr)
    if not sys.stdin.isatty() or _answer("Continue? [y/N] ").lower() != "y":
        raise CommandError("not confirmed; add --yes to start without confirmation", ExitCode.USAGE)


def _answer(question: str) -> str:
    """Ask at the terminal; end of input is no answer. `input` would ask on stdout, where the JSON goes."""
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def _recorded(deployment: Deployment, recorder: Recorder) -> Deployment:
    """The deployment with clients that are made once and recorded."""
    clients: dict[str, Any] = {}

    def client(service: str) -> Any:
        if service not in clients:
            clients[service] = recorder.attach(deployment.client(service))
        return clients[service]

    return replace(deployment, client=client)


def attempt(name: str, session: Session) -> Result:
    """Try one claim."""
    expected, check = CLAIMS[name]
    session.evidence = {}
    began = time.monotonic()
    try:
        status, happened = "held", check(session)
    except Skipped as reason:
        status, happened = "skipped", str(reason)
    except Failed as reason:
        status, happened = "failed", str(reason)
    except (BotoCoreError, ClientError) as error:
        status, happened = "failed", describe(error)
    except Exception as error:  # noqa: BLE001 - a malformed answer must not end the other claims
        status, happened = "failed", f"{type(error).__name__}: {error}"
    return Result(
        claim=name,
        expected=expected,
        status=status,
        happened=happened,
        evidence=session.evidence,
        seconds=round(time.monotonic() - began, 1),
    )


def _progress(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=make_console(stderr=True), transient=True, disable=quiet)


_COLOURS = {"held": "green", "failed": "red", "skipped": "yellow"}


def _print(results: Sequence[Result], *, as_json: bool) -> None:
    counts = {status: sum(one.status == status for one in results) for status in _COLOURS}
    if as_json:
        print(json.dumps({**counts, "claims": [asdict(one) for one in results]}, default=str))
        return
    console = make_console()
    table = Table()
    for heading in ("claim", "expected", "status", "what happened"):
        table.add_column(heading)
    for one in results:
        colour = _COLOURS[one.status]
        table.add_row(one.claim, one.expected, f"[{colour}]{one.status}", escape(one.happened))
    console.print(table)
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
