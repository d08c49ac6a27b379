"""Glue operations that MiniStack lacks or simplifies.

A table has only its current version. GetPartitions evaluates its expression. SearchTables ignores filters.
"""

import json
from collections.abc import Callable
from typing import Any

import duckdb
from ministack.core.responses import error_response_json, json_response
from ministack.services import glue

# How values of a partition key compare; those of other types are text.
_TYPES = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "BIGINT"),
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}

_ministack_handle_request = glue.handle_request
_ministack_create_table = glue._create_table


def install() -> None:
    glue.handle_request = _handle_request
    glue._create_table = _create_table


async def _handle_request(
    method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
) -> Any:
    name = headers.get("x-amz-target", "").rpartition(".")[2]
    data = json.loads(body or b"{}")
    if name == "SearchTables":
        return json_response({"TableList": _search(data.get("SearchText", "").lower())})
    operation = _OPERATIONS.get(name)
    if operation is None:
        return await _ministack_handle_request(method, path, headers, body, query_params)
    table = glue._tables.get(f"{data.get('DatabaseName')}/{data.get('TableName')}")
    if table is None:
        message = f"Table {data.get('TableName')} not found."
        return error_response_json("EntityNotFoundException", message, 400)
    try:
        return json_response(operation(table, data))
    except duckdb.Error as error:
        return error_response_json("InvalidInputException", str(error), 400)


def _create_table(data: dict[str, Any]) -> Any:
    """CreateTable. Members that the caller left out stay absent, since UpdateTable refuses empty ones."""
    answer = _ministack_create_table(data)
    given = data.get("TableInput", {})
    table = glue._tables.get(f"{data.get('DatabaseName')}/{given.get('Name')}", {})
    for member in {"Owner", "Description"} - given.keys():
        table.pop(member, None)
    return answer


def _search(text: str) -> list[dict[str, Any]]:
    """The tables with the text in the name, in the description, or in the name of a column."""
    return [
        table
        for table in glue._tables.values()
        if any(
            text in part.lower() for part in (table["Name"], table.get("Description", ""), *_columns(table))
        )
    ]


def _columns(table: dict[str, Any]) -> list[str]:
    columns = [*table.get("StorageDescriptor", {}).get("Columns", []), *table.get("PartitionKeys", [])]
    return [column["Name"] for column in columns]


def _version(table: dict[str, Any]) -> dict[str, Any]:
    return {"Table": table, "VersionId": table.get("VersionId", "1")}


def _get_table_version(table: dict[str, Any], _data: dict[str, Any]) -> dict[str, Any]:
    return {"TableVersion": _version(table)}


def _get_table_versions(table: dict[str, Any], _data: dict[str, Any]) -> dict[str, Any]:
    return {"TableVersions": [_version(table)]}


def _batch_delete_table_version(_table: dict[str, Any], _data: dict[str, Any]) -> dict[str, Any]:
    return {"Errors": []}


def _batch_delete_partition(_table: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    names = {name: data[name] for name in ("DatabaseName", "TableName")}
    for one in data.get("PartitionsToDelete", []):
        glue._delete_partition({**names, "PartitionValues": one["Values"]})
    return {"Errors": []}


def _get_partitions(table: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    partitions = glue._partitions.get(f"{data['DatabaseName']}/{data['TableName']}", [])
    if partitions and (expression := data.get("Expression")):
        partitions = _matching(partitions, table["PartitionKeys"], expression)
    return {"Partitions": partitions}


def _matching(
    partitions: list[dict[str, Any]], keys: list[dict[str, Any]], expression: str
) -> list[dict[str, Any]]:
    """The partitions that match an expression in the syntax of a WHERE clause. Raise duckdb.Error."""
    columns = ", ".join(f'"{key["Name"]}" {_TYPES.get(key["Type"], "VARCHAR")}' for key in keys)
    places = ", ".join("?" for _ in [None, *keys])
    with duckdb.connect(config={"enable_external_access": False}) as database:
        database.execute(f'CREATE TABLE partitions ("#" INTEGER, {columns})')
        rows = [[number, *one["Values"]] for number, one in enumerate(partitions)]
        database.executemany(f"INSERT INTO partitions VALUES ({places})", rows)
        found = database.execute(f'SELECT "#" FROM partitions WHERE {expression} ORDER BY 1').fetchall()
    return [partitions[number] for (number,) in found]


_OPERATIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "GetTableVersion": _get_table_version,
    "GetTableVersions": _get_table_versions,
    "BatchDeleteTableVersion": _batch_delete_table_version,
    "BatchDeletePartition": _batch_delete_partition,
    "GetPartitions": _get_partitions,
}
