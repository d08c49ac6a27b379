"""The results of a Map Run: the state's output, and what ResultWriter writes to S3."""

import json
from dataclasses import dataclass
from typing import Any

from ministack.services import s3
from ministack.services import stepfunctions as ministack
from ministack.services.stepfunctions import _ExecutionError as TaskError

from local.emulator import roles
from local.emulator.stepfunctions.executions import Run, described, pascal

_PUT_OBJECT = "arn:aws:states:::s3:putObject"
_CONTENTS = ("SUCCEEDED", "FAILED", "PENDING")


@dataclass(frozen=True)
class Writer:
    """ResultWriter, evaluated. Without `bucket` the results are the state's output."""

    bucket: str | None
    prefix: str
    transformation: str
    output_type: str


def writer(state: dict[str, Any], state_input: Any, context: dict[str, Any]) -> Writer:
    field = state.get("ResultWriter") or {}
    if ministack._state_query_language(state, context) == "JSONata":
        place = ministack._apply_jsonata_template(field.get("Arguments") or {}, state_input, context)
    else:
        selected = ministack._apply_input_path(state, state_input, context)
        place = ministack._resolve_params_obj(field.get("Parameters") or {}, selected, context)
    config = field.get("WriterConfig") or {}
    if field.get("Resource") not in {None, _PUT_OBJECT}:
        raise TaskError(
            "States.Runtime", f"ResultWriter: not supported by the local stack: {field['Resource']}"
        )
    exported = "Resource" in field
    return Writer(
        bucket=place["Bucket"] if exported else None,
        prefix=place.get("Prefix", ""),
        transformation=config.get("Transformation", "NONE" if exported else "COMPACT"),
        output_type=config.get("OutputType", "JSON"),
    )


def outputs(runs: list[Run], transformation: str) -> list[Any]:
    """The results of ended child executions. That of an unsuccessful one has the form of NONE."""
    results: list[Any] = []
    for run in runs:
        if transformation == "NONE" or run.record["status"] != "SUCCEEDED":
            results.append(_described(run))
            continue
        output = json.loads(run.record["output"])
        if transformation == "FLATTEN" and isinstance(output, list):
            results += output
        else:
            results.append(output)
    return results


def export(
    into: Writer, map_run_arn: str, runs: list[Run], pending: list[str], role_arn: str
) -> dict[str, Any]:
    """Write the results and the manifest; return the state's output. `pending` are inputs without a child."""
    succeeded = [run for run in runs if run.record["status"] == "SUCCEEDED"]
    files = {
        "SUCCEEDED": outputs(succeeded, into.transformation),
        "FAILED": outputs([run for run in runs if run not in succeeded], into.transformation),
        "PENDING": [{"Input": text, "Status": "PENDING"} for text in pending],
    }
    prefix = f"{into.prefix}/" if into.prefix and not into.prefix.endswith("/") else into.prefix
    folder = f"{prefix}{map_run_arn.rpartition(':')[2]}"
    listed: dict[str, list[Any]] = {name: [] for name in _CONTENTS}
    for name, results in files.items():
        if results:
            key = f"{folder}/{name}_0.{into.output_type.lower()}"
            body = _serialized(results, into.output_type)
            _put(into.bucket, key, body, role_arn)
            listed[name].append({"Key": key, "Size": len(body)})
    manifest = {"DestinationBucket": into.bucket, "MapRunArn": map_run_arn, "ResultFiles": listed}
    key = f"{folder}/manifest.json"
    _put(into.bucket, key, json.dumps(manifest).encode(), role_arn)
    return {"MapRunArn": map_run_arn, "ResultWriterDetails": {"Bucket": into.bucket, "Key": key}}


def _serialized(results: list[Any], output_type: str) -> bytes:
    if output_type == "JSONL":
        return "".join(json.dumps(one) + "\n" for one in results).encode()
    return json.dumps(results).encode()


def _described(run: Run) -> dict[str, Any]:
    description: dict[str, Any] = pascal(described(run.record), lambda moment: moment)
    del description["MapRunArn"]
    return description


def _put(bucket: str | None, key: str, body: bytes, role_arn: str) -> None:
    if denial := roles.denial(role_arn, "s3:PutObject", f"arn:aws:s3:::{bucket}/{key}"):
        raise TaskError("States.ResultWriterFailed", denial)
    answer = s3._put_object(bucket, key, body, {"content-length": str(len(body))})
    if answer[0] >= 300:  # noqa: PLR2004 - HTTP
        raise TaskError("States.ResultWriterFailed", f"The bucket {bucket} does not exist.")
