"""The command `batch`: runs many queries as one execution, follows them and writes the manifest."""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from functions.batch_files import Files, execution_name, parse_location
from functions.events import UNSUCCESSFUL_STATUSES
from functions.executions import list_since, result_of
from ops import execution
from ops.cli import output_file
from ops.deployment import Deployment
from ops.display import make_console
from ops.errors import CommandError, ExitCode, describe

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_stepfunctions import SFNClient

# Failures that the table lists, and characters of a reason in it.
_LISTED, _REASON = 50, 200

# The manifest of an unsuccessful batch is written once its status event has arrived.
_MANIFEST_SECONDS = 120

# Clocks of this machine and of Step Functions differ.
_CLOCKS = timedelta(minutes=5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        type=Path,
        metavar="FILE",
        help="JSON Lines, each the input of a query with an optional Name; or a folder of .sql files",
    )
    parser.add_argument("--name", help="name of the batch")
    parser.add_argument("--database", help="database of a folder's statements (default: the stack's)")
    parser.add_argument(
        "--previous",
        metavar="MANIFEST",
        help="manifest of the last run, a file or an S3 URI: run only what did not succeed",
    )
    parser.add_argument(
        "--tolerate", type=int, metavar="N", help="stop when more queries have failed (default: never)"
    )
    parser.add_argument("--out", type=output_file, metavar="FILE", help="write the manifest")
    parser.add_argument(
        "--stop-on-interrupt",
        action="store_true",
        help="Ctrl-C stops the batch and its queries (default: all continue)",
    )


def run(arguments: argparse.Namespace, deployment: Deployment) -> ExitCode:
    lines = read_queries(arguments.source, arguments.database)
    machine = deployment.output("BatchStateMachineArn")
    files = _Files(deployment.client("s3"), deployment.output("BatchesLocation"))
    previous = _previous(arguments.previous, files) if arguments.previous else None
    document: dict[str, Any] = {"QueriesLocation": files.upload("\n".join(lines))}
    if arguments.name:
        document["Batch"] = arguments.name
    if previous:
        document["PreviousManifest"] = previous
    if arguments.tolerate is not None:
        document["ToleratedFailureCount"] = arguments.tolerate
    stepfunctions = deployment.client("stepfunctions")
    arn = execution.start(stepfunctions, machine, document)
    console = make_console()
    try:
        with _progress(make_console(stderr=True), len(lines)) as show:
            ended = follow(stepfunctions, arn, deployment.output("StateMachineArn"), show)
    except KeyboardInterrupt:
        return _interrupted(arguments, stepfunctions, arn)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"{describe(error)}; the batch may still be running: {arn}", ExitCode.UNREACHABLE
        ) from None
    if ended.error == "AthenaBatch.InvalidInput":
        raise CommandError(f"the batch was refused: {ended.cause}", ExitCode.USAGE)
    manifest = files.read_manifest(arn, ended)
    rows = [json.loads(line) for line in manifest.splitlines()]
    _print_outcome(console, ended, rows, files.manifest_of(arn))
    if arguments.out:
        _write(arguments.out, manifest)
    return ExitCode.OK if all(row["State"] == "SUCCEEDED" for row in rows) else ExitCode.FAILED


def read_queries(source: Path, database: str | None) -> list[str]:
    """The queries as lines of JSON. Raise CommandError for a source that has none or cannot be read."""
    try:
        if source.is_dir():
            scripts = sorted(source.glob("*.sql"))
            lines = [_line(script, database) for script in scripts]
        else:
            lines = [line for line in source.read_text("utf-8").split("\n") if line.strip()]
    except OSError as error:
        raise CommandError(f"cannot read {source}: {error.strerror}", ExitCode.USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{source} is not UTF-8 text", ExitCode.USAGE) from None
    if not lines:
        what = "no .sql files" if source.is_dir() else "no queries"
        raise CommandError(f"{source} has {what}", ExitCode.USAGE)
    return lines


def _line(script: Path, database: str | None) -> str:
    document = {"Name": script.stem, "QueryString": script.read_text("utf-8")}
    return json.dumps({**document, "Database": database} if database else document)


def _previous(manifest: str, files: "_Files") -> str:
    if manifest.startswith("s3://"):
        return manifest
    try:
        return files.upload(Path(manifest).read_text("utf-8"))
    except OSError as error:
        raise CommandError(f"cannot read {manifest}: {error.strerror}", ExitCode.USAGE) from None
    except UnicodeDecodeError:
        raise CommandError(f"{manifest} is not UTF-8 text", ExitCode.USAGE) from None


def _write(file: Path, manifest: bytes) -> None:
    try:
        file.write_bytes(manifest)
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error.strerror}", ExitCode.FAILED) from None


@dataclass(frozen=True)
class _Files:
    """The files of batches, below `location`."""

    s3: "S3Client"
    location: str

    def upload(self, text: str) -> str:
        uri = f"{self.location}input/{uuid.uuid4()}.jsonl"
        bucket, key = parse_location(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="application/jsonl")
        return uri

    def manifest_of(self, execution_arn: str) -> str:
        bucket, prefix = parse_location(self.location)
        return f"s3://{bucket}/{Files.below(prefix, execution_arn).manifest}"

    def read_manifest(self, execution_arn: str, ended: execution.Run) -> bytes:
        """Wait for the manifest. Raise CommandError if there is none."""
        uri = self.manifest_of(execution_arn)
        bucket, key = parse_location(uri)
        deadline = time.monotonic() + _MANIFEST_SECONDS
        while True:
            try:
                return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("NoSuchKey", "AccessDenied"):
                    raise
            if ended.status == "SUCCEEDED" or time.monotonic() > deadline:
                how = ended.status + (f" ({ended.error})" if ended.error else "")
                raise CommandError(
                    f"the batch ended with status {how}, and its manifest cannot be read: {uri}",
                    ExitCode.FAILED,
                )
            time.sleep(1)


@dataclass(kw_only=True)
class Counts:
    """The progress of a batch."""

    done: int = 0
    running: int = 0
    failed: int = 0
    scanned_bytes: int = 0
    cost_usd: float = 0.0


def follow(
    stepfunctions: "SFNClient", batch_arn: str, machine_arn: str, show: Callable[[Counts], None]
) -> execution.Run:
    """Wait until the batch has ended. `show` receives the counts after each poll."""
    queries = _Queries(stepfunctions, batch_arn, machine_arn)
    return execution.follow(stepfunctions, batch_arn, on_poll=lambda: show(queries.poll()))


class _Queries:
    """The executions of a batch's queries. Each is described once, when it has ended."""

    def __init__(self, stepfunctions: "SFNClient", batch_arn: str, machine_arn: str) -> None:
        self._stepfunctions = stepfunctions
        self._machine_arn = machine_arn
        self._prefix = execution_name(batch_arn, 0).removesuffix("00000")
        self._since = stepfunctions.describe_execution(executionArn=batch_arn)["startDate"] - _CLOCKS
        self._ended: set[str] = set()
        self._counts = Counts()

    def poll(self) -> Counts:
        counts = self._counts
        counts.running = 0
        for arn, status in self._list():
            if status == "RUNNING":
                counts.running += 1
            elif arn not in self._ended:
                self._ended.add(arn)
                counts.done += 1
                counts.failed += status in UNSUCCESSFUL_STATUSES
                self._add_usage(arn)
        return counts

    def _list(self) -> Iterator[tuple[str, str]]:
        for one in list_since(self._stepfunctions, self._machine_arn, self._since):
            if one["name"].startswith(self._prefix):
                yield one["executionArn"], one["status"]

    def _add_usage(self, arn: str) -> None:
        result = result_of(self._stepfunctions.describe_execution(executionArn=arn))
        self._counts.scanned_bytes += result.get("Statistics", result).get("DataScannedInBytes") or 0
        self._counts.cost_usd += result.get("EstimatedCostUsd") or 0.0


@contextmanager
def _progress(console: Console, queries: int) -> Iterator[Callable[[Counts], None]]:
    text = TextColumn("{task.fields[text]}")
    with Progress(BarColumn(), MofNCompleteColumn(), text, console=console) as progress:
        task = progress.add_task("", total=queries, text="")

        def show(counts: Counts) -> None:
            progress.update(
                task,
                completed=counts.done,
                text=f"{counts.running:,} running, {counts.failed:,} failed, "
                f"{counts.scanned_bytes:,} bytes, {counts.cost_usd:.6f} USD",
            )

        yield show


def _interrupted(arguments: argparse.Namespace, stepfunctions: "SFNClient", arn: str) -> ExitCode:
    if arguments.stop_on_interrupt:
        execution.stop(stepfunctions, arn)
        text = f"interrupted: stopped the batch {arn}"
    else:
        text = (
            "interrupted: the batch goes on; stop it with "
            f"`aws stepfunctions stop-execution --execution-arn {arn}`"
        )
    print(f"\n{text}", file=sys.stderr)
    return ExitCode.INTERRUPTED


def _print_outcome(console: Console, ended: execution.Run, rows: list[dict[str, Any]], manifest: str) -> None:
    failed = [row for row in rows if row["State"] != "SUCCEEDED"]
    carried = sum(row["CarriedOver"] for row in rows)
    own = [row for row in rows if not row["CarriedOver"]]
    color = "red" if failed else "green"
    console.print(
        f"[{color}]{ended.status}[/] in {ended.seconds:.2f} s{f': {ended.error}' if ended.error else ''}; "
        f"{len(rows) - len(failed):,} of {len(rows):,} queries succeeded"
        + (f", {carried:,} of them in an earlier run" if carried else "")
        + f"; {sum(row['DataScannedInBytes'] or 0 for row in own):,} bytes scanned, "
        f"estimated cost {sum(row['EstimatedCostUsd'] or 0 for row in own):.6f} USD",
        soft_wrap=True,
    )
    if failed:
        table = Table()
        table.add_column("position", justify="right")
        for heading in ("name", "state", "error", "reason"):
            table.add_column(heading, overflow="fold")
        for row in failed[:_LISTED]:
            reason = " ".join((row["Reason"] or "").split())[:_REASON]
            table.add_row(
                str(row["Position"]),
                *(escape(text) for text in (row["Name"], row["State"], row["Error"] or "", reason)),
            )
        console.print(table)
        if len(failed) > _LISTED:
            console.print(f"[dim]the first {_LISTED} of {len(failed):,}; all are in the manifest")
    console.print(f"manifest: {escape(manifest)}", soft_wrap=True)
