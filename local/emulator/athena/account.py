"""Workgroups and data catalogs, where the account of MiniStack differs from one of AWS."""

import json
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import athena, glue

from local.emulator.athena import catalog

_NAME = "AwsDataCatalog"
_CONFIGURATION = {
    "EnforceWorkGroupConfiguration": True,
    "PublishCloudWatchMetricsEnabled": False,
    "RequesterPaysEnabled": False,
    "ResultConfiguration": {},
    "EngineVersion": {"SelectedEngineVersion": "AUTO", "EffectiveEngineVersion": "Athena engine version 3"},
}

_ministack_ensure_default_workgroup = athena._ensure_default_workgroup
_ministack_get_workgroup = athena._get_workgroup
_ministack_get_table_metadata = athena._get_table_metadata


def install() -> None:
    athena._ensure_default_workgroup = _ensure_primary
    athena._get_workgroup = _get_work_group
    athena._get_table_metadata = _get_table_metadata


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


def _get_table_metadata(data: dict[str, Any]) -> Any:
    name = data.get("TableName", "")
    if f"{data.get('DatabaseName')}/{name}" not in glue._tables:
        return error_response_json("MetadataException", f"EntityNotFoundException: Table {name} not found.")
    return _ministack_get_table_metadata(data)
