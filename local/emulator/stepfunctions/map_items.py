"""The items of a Distributed Map: from the state's input, or from an object in S3."""

import csv
import io
import json
from typing import Any

from ministack.services import s3
from ministack.services import stepfunctions as ministack
from ministack.services.stepfunctions import _ExecutionError as TaskError

from local.emulator import roles

_GET_OBJECT = "arn:aws:states:::s3:getObject"
_DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}
_HEADER_BYTES = 10 * 1024
_READER = {"Resource", "Arguments", "Parameters", "ReaderConfig"}
_CONFIG = {"InputType", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter", "MaxItems", "MaxItemsPath"}


def from_input(state: dict[str, Any], state_input: Any, context: dict[str, Any]) -> list[Any]:
    """The items in the state's input."""
    if ministack._state_query_language(state, context) != "JSONata":
        selected = ministack._apply_input_path(state, state_input, context)
        items = ministack._resolve_path_or_ctx(state.get("ItemsPath", "$"), selected, context)
    elif "Items" in state:
        items = ministack._jsonata_state_field(state, "Items", "array", state_input, context)
    else:
        items = state_input
    if not isinstance(items, list):
        raise TaskError("States.Runtime", "The items of a Map state must be an array.")
    return items


def from_reader(state: dict[str, Any], state_input: Any, context: dict[str, Any], role_arn: str) -> list[Any]:
    """The items that ItemReader reads with the permissions of the state machine's role."""
    reader = state["ItemReader"]
    if ministack._state_query_language(state, context) == "JSONata":
        place = ministack._apply_jsonata_template(reader.get("Arguments") or {}, state_input, context)
        config = ministack._apply_jsonata_template(reader.get("ReaderConfig") or {}, state_input, context)
    else:
        selected = ministack._apply_input_path(state, state_input, context)
        place = ministack._resolve_params_obj(reader.get("Parameters") or {}, selected, context)
        config = dict(reader.get("ReaderConfig") or {})
        if path := config.get("MaxItemsPath"):
            config["MaxItems"] = ministack._resolve_path_or_ctx(path, selected, context)
    _check(reader, place, config)
    limit = config.get("MaxItems") or None
    if limit is not None and limit < 0:
        raise _failed("field MaxItems must be positive")
    items = _parse(_text(place["Bucket"], place["Key"], role_arn), config)
    return items[: None if limit is None else int(limit)]


def _check(reader: dict[str, Any], place: dict[str, Any], config: dict[str, Any]) -> None:
    """Raise TaskError for what AWS reads and the local stack does not."""
    others = (set(reader) - _READER) | (set(place) - {"Bucket", "Key"}) | (set(config) - _CONFIG)
    kind = config.get("InputType", "JSON")
    if reader.get("Resource") != _GET_OBJECT:
        others.add(f"Resource {reader.get('Resource')}")
    if kind not in {"CSV", "JSON", "JSONL"}:
        others.add(f"InputType {kind}")
    if others:
        raise TaskError(
            "States.Runtime", f"ItemReader: not supported by the local stack: {', '.join(sorted(others))}"
        )


def _text(bucket: str, key: str, role_arn: str) -> str:
    if denial := roles.denial(role_arn, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}"):
        raise _failed(denial)
    data: bytes | None = s3._get_object_data(bucket, key)
    if data is None:
        raise _failed(f"The specified bucket or key does not exist. (Bucket: {bucket}, Key: {key})")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _failed("The object is not encoded in UTF-8.") from None


def _parse(text: str, config: dict[str, Any]) -> list[Any]:
    if config.get("InputType") == "CSV":
        return list(_rows(text, config))
    try:
        if config.get("InputType") == "JSONL":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        items = json.loads(text)
    except json.JSONDecodeError as error:
        raise _failed(f"The object is not valid {config.get('InputType', 'JSON')}: {error}") from None
    if not isinstance(items, list):
        raise _failed("Attempting to map over non-iterable node.")
    return items


def _rows(text: str, config: dict[str, Any]) -> list[dict[str, str]]:
    """A missing field is an empty string; fields beyond the header, and empty lines, are dropped."""
    delimiter = _DELIMITERS[config.get("CSVDelimiter", "COMMA")]
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row
        ]
    except csv.Error as error:
        raise _failed(f"The object is not valid CSV: {error}") from None
    if config.get("CSVHeaderLocation") == "GIVEN":
        header = config.get("CSVHeaders") or []
    else:
        header, rows = (rows[0], rows[1:]) if rows else ([], [])
    if not header:
        raise _failed("The CSV file has no header.")
    if len(set(header)) < len(header):
        raise _failed("CSV headers cannot contain duplicates.")
    if len(delimiter.join(header).encode()) > _HEADER_BYTES:
        raise _failed("CSV headers cannot exceed 10 KiB.")
    return [
        {name: row[index] if index < len(row) else "" for index, name in enumerate(header)} for row in rows
    ]


def _failed(cause: str) -> TaskError:
    return TaskError("States.ItemReaderFailed", cause)
