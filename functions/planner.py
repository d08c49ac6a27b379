"""Planner: checks a batch before anything starts, and writes its items and its plan to S3.

A query that its own contract refuses is not checked here: its execution fails as it would outside of a batch.
"""

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from functions import batch_files
from functions.batch_contract import MOST_QUERIES, BatchRequest, read_batch_input
from functions.batch_files import Files, Missing, Planned
from functions.batch_runtime import BatchRuntime, get_batch_runtime
from functions.errors import REASON_CHARACTERS, InvalidInput, cut
from functions.observability import lambda_handler, logger

# Held in memory.
_FILE_BYTES = 64 * 1024 * 1024

# A child execution receives an item as its input, and the query's execution what is in it and the ARN of its
# parent, both within 262,144 bytes (Step Functions developer guide, "Quotas").
_ITEM_BYTES = 261_000

# Violations that a refusal lists.
_LISTED = 20

_NAME = re.compile(r"[A-Za-z0-9 _.:/=+@-]{1,100}")


@lambda_handler
def handler(event: dict[str, Any]) -> dict[str, Any]:
    return run(event, get_batch_runtime())


def run(event: dict[str, Any], runtime: BatchRuntime) -> dict[str, Any]:
    """Return what "Run queries" needs, or `{Refused}` with the reason.

    `event` is `{Execution: {Id, Input}}`.
    """
    execution_id = event["Execution"]["Id"]
    logger.append_keys(execution_id=execution_id)
    try:
        return _plan(execution_id, read_batch_input(event["Execution"]["Input"]), runtime)
    except InvalidInput as error:
        # The reason may quote the input, so it is not logged.
        logger.info("batch refused")
        return {"Refused": cut(error.reason, REASON_CHARACTERS)}


@dataclass(frozen=True, kw_only=True)
class _Query:
    name: str
    document: Mapping[str, Any]


def _plan(execution_id: str, request: BatchRequest, runtime: BatchRuntime) -> dict[str, Any]:
    s3, bucket = runtime.s3, runtime.settings.batches_bucket
    files = Files.of(execution_id, runtime.settings)
    carried = _succeeded_before(request, runtime)
    plan: list[Planned] = []
    items: list[str] = []
    for position, query in enumerate(_queries(request, runtime), 1):
        digest = batch_files.input_sha256(query.document)
        execution = batch_files.execution_name(execution_id, position)
        item, refused = _item(execution, query.document)
        planned = Planned(
            position=position,
            name=query.name,
            batch=request.batch,
            input_sha256=digest,
            execution=execution,
            refused=refused,
            carried=carried.get((query.name, digest)),
        )
        plan.append(planned)
        if planned.carried is None:
            items.append(item)
    batch_files.write_lines(s3, bucket, files.items, items)
    batch_files.write_plan(s3, bucket, files.plan, plan)
    logger.info("batch planned", queries=len(plan), to_run=len(items))
    return {
        "Bucket": bucket,
        "ItemsKey": files.items,
        "ResultsPrefix": files.map_results,
        "ToRun": len(items),
        "ToleratedFailureCount": _tolerated(request, len(items)),
    }


def _tolerated(request: BatchRequest, queries: int) -> int:
    """Both tolerances as one count, since AWS does not document how a 0 of one combines with the other."""
    count, percentage = request.tolerated_failure_count, request.tolerated_failure_percentage
    counts = [queries]
    if count is not None:
        counts.append(count)
    if percentage is not None:
        # 64.6 percent of 1,000 are 645.9999999999999 in floating point.
        counts.append(math.floor(round(queries * percentage / 100, 6)))
    return min(counts)


def _item(execution: str, document: Mapping[str, Any]) -> tuple[str, str | None]:
    """The map's item for a query, and why Step Functions could not pass the query on; then the item has an
    empty input.
    """
    try:
        # Python reads 1e999 as infinity, which JSON does not have.
        item = json.dumps({"Name": execution, "Input": document}, ensure_ascii=False, allow_nan=False)
        size = len(item.encode())
    except UnicodeEncodeError:
        refused = "input contains a lone surrogate (\\ud800 to \\udfff), which is not text"
    except ValueError:
        refused = "input contains a number that is too large"
    else:
        if size <= _ITEM_BYTES:
            return item, None
        refused = f"input has {size:,} bytes with its envelope; a batch passes at most {_ITEM_BYTES:,}"
    return json.dumps({"Name": execution, "Input": {}}, ensure_ascii=False), refused


def _queries(request: BatchRequest, runtime: BatchRuntime) -> list[_Query]:
    """The queries with their names. Raise InvalidInput for a file that cannot be read or is malformed."""
    if request.queries is not None:
        entries = [(f"input.Queries[{number}]", query) for number, query in enumerate(request.queries)]
        faults: list[str] = []
    else:
        location = str(request.queries_location)
        entries, faults = _parse(_read(location, "QueriesLocation", runtime))
    queries: list[_Query] = []
    places: dict[str, str] = {}
    for place, entry in entries:
        document = dict(entry)
        name = document.pop("Name", str(len(queries) + 1))
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(f"{place}.Name is not 1 to 100 letters, digits, spaces and _.:/=+@-")
        elif name in places:
            faults.append(f"{place} has the name of {places[name]}")
        else:
            places[name] = place
            queries.append(_Query(name=name, document=document))
    if not entries and not faults:
        faults = ["the file has no queries"]
    _refuse(faults)
    return queries


def _parse(content: bytes) -> tuple[list[tuple[str, dict[str, Any]]], list[str]]:
    """The objects of a JSON Lines file, each with its place, and what is wrong with the other lines.

    Raise InvalidInput at the first line too many: there may be millions, which do not fit into memory.
    """
    entries: list[tuple[str, dict[str, Any]]] = []
    faults: list[str] = []
    for number, line in enumerate(io.BytesIO(content), 1):
        if not line.strip():
            continue
        if len(entries) + len(faults) == MOST_QUERIES:
            raise InvalidInput(f"the file has more than {MOST_QUERIES:,} lines, which is the most of a batch")
        try:
            entry = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            faults.append(f"line {number} is not JSON")
            continue
        if isinstance(entry, dict):
            entries.append((f"line {number}", entry))
        else:
            faults.append(f"line {number} is not an object")
    return entries, faults


def _no_constant(name: str) -> NoReturn:
    """Python reads NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


def _refuse(faults: list[str]) -> None:
    if faults:
        more = [f"and {len(faults) - _LISTED:,} more"] if len(faults) > _LISTED else []
        raise InvalidInput("; ".join([*faults[:_LISTED], *more]))


def _succeeded_before(request: BatchRequest, runtime: BatchRuntime) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of the previous manifest that succeeded, by name and digest of the input."""
    if request.previous_manifest is None:
        return {}
    rows, faults = _parse(_read(request.previous_manifest, "PreviousManifest", runtime))
    _refuse(faults)
    try:
        if other := {row["Batch"] for _, row in rows} - {request.batch}:
            raise InvalidInput(f"PreviousManifest is of the batch {other.pop()}, not {request.batch}")
        succeeded = [row for _, row in rows if row["State"] == "SUCCEEDED" and row["Error"] is None]
        # The reporter copies them.
        json.dumps(succeeded, ensure_ascii=False, allow_nan=False).encode()
        return {(row["Name"], row["InputSha256"]): row for row in succeeded}
    except (KeyError, TypeError, ValueError):
        raise InvalidInput("PreviousManifest is not the manifest of a batch") from None


def _read(location: str, field: str, runtime: BatchRuntime) -> bytes:
    """Raise InvalidInput if the object is not where a batch may read, does not exist, or is too large."""
    settings = runtime.settings
    bucket, key = batch_files.parse_location(location)
    if bucket != settings.batches_bucket or not key.startswith(settings.batches_prefix):
        raise InvalidInput(
            f"{field} is not below s3://{settings.batches_bucket}/{settings.batches_prefix}, "
            "where batches may read"
        )
    try:
        content = batch_files.read(runtime.s3, bucket, key, most=_FILE_BYTES + 1)
    except Missing:
        raise InvalidInput(f"{field} does not exist: {location}") from None
    if len(content) > _FILE_BYTES:
        raise InvalidInput(f"{field} is larger than {_FILE_BYTES // 1024**2} MiB")
    return content
