"""Workgroups, and the metadata of databases and tables, where MiniStack's differ from AWS's."""

import json
import re
from typing import Any

from ministack.core.responses import error_response_json, json_response
from ministack.services import athena, glue

from local.emulator.athena import catalog, hive

_NAME = "AwsDataCatalog"
# Athena API reference, ListTableMetadata.
_TABLES_PER_PAGE = 50
_CONFIGURATION = {
    "EnforceWorkGroupConfiguration": True,
    "PublishCloudWatchMetricsEnabled": False,
    "RequesterPaysEnabled": False,
    "ResultConfiguration": {},
    "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
}

_ministack_ensure_default_workgroup = athena._ensure_default_workgroup
_ministack_get_workgroup = athena._get_workgroup
_ministack_metadata = athena._glue_table_to_metadata


def install() -> None:
    athena._ensure_default_workgroup = _ensure_primary
    athena._get_workgroup = _get_work_group
    athena._glue_table_to_metadata = _metadata
    athena._get_table_metadata = _get_table_metadata
    athena._list_table_metadata = _list_table_metadata


def with_catalog_name(body: bytes) -> bytes:
    """The request with the name of the default catalog as MiniStack spells it; Athena ignores its case."""
    if b'"CatalogName"' not in body:
        return body
    data = json.loads(body)
    known = str(data["CatalogName"]).lower() == catalog.DEFAULT
    return json.dumps(data | {"CatalogName": _NAME}).encode() if known else body


def _ensure_primary() -> None:
    """In the primary workgroup, the caller's settings override those of the workgroup."""
    _ministack_ensure_default_workgroup()
    athena._workgroups["primary"]["Configuration"].setdefault("EnforceWorkGroupConfiguration", False)


def _get_work_group(data: dict[str, Any]) -> Any:
    """GetWorkGroup returns the whole configuration, whatever the workgroup was created with."""
    if group := athena._workgroups.get(data.get("WorkGroup")):
        group["Configuration"] = _CONFIGURATION | group.get("Configuration", {})
    return _ministack_get_workgroup(data)


def _metadata(table: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a table. Its parameters include the location and the format."""
    storage = table.get("StorageDescriptor") or {}
    serde = storage.get("SerdeInfo") or {}
    described = {
        "location": storage.get("Location"),
        "inputformat": storage.get("InputFormat"),
        "outputformat": storage.get("OutputFormat"),
        "serde.serialization.lib": serde.get("SerializationLibrary"),
        **{f"serde.param.{name}": value for name, value in (serde.get("Parameters") or {}).items()},
    }
    parameters = (table.get("Parameters") or {}) | {name: value for name, value in described.items() if value}
    return {**_ministack_metadata(table), "Parameters": parameters}


def _get_table_metadata(data: dict[str, Any]) -> Any:
    table = glue._tables.get(f"{data.get('DatabaseName')}/{data.get('TableName', '').lower()}")
    return json_response({"TableMetadata": _metadata(table)}) if table else _missing()


def _list_table_metadata(data: dict[str, Any]) -> Any:
    """The tables whose names match the regular expression `Expression`."""
    database = data.get("DatabaseName")
    if database not in glue._databases:
        return _missing()
    name = re.compile(data.get("Expression") or "", re.IGNORECASE)
    names = sorted(
        key for key in glue._tables if key.startswith(f"{database}/") and name.search(key.partition("/")[2])
    )
    first, most = int(data.get("NextToken") or 0), data.get("MaxResults") or _TABLES_PER_PAGE
    page = [_metadata(glue._tables[key]) for key in names[first : first + most]]
    more = {"NextToken": str(first + most)} if first + most < len(names) else {}
    return json_response({"TableMetadataList": page, **more})


def _missing() -> Any:
    return error_response_json("MetadataException", str(hive.entity_not_found()))
