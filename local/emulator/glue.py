"""Glue tables over Parquet files, as Athena itself creates them."""

from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import ColumnTypeDef, TableInputTypeDef

_GLUE_TYPES = {
    "BIGINT": "bigint",
    "INTEGER": "int",
    "DOUBLE": "double",
    "VARCHAR": "string",
    "TIMESTAMP": "timestamp",
    "DATE": "date",
    "BOOLEAN": "boolean",
}


def columns_of(parquet: Path) -> "list[ColumnTypeDef]":
    """A Parquet file's columns, as Glue describes them."""
    with duckdb.connect() as db:
        rows = db.execute(f"DESCRIBE SELECT * FROM read_parquet('{parquet}')").fetchall()
    return [{"Name": name, "Type": _glue_type(kind)} for name, kind, *_ in rows]


def parquet_table(name: str, location: str, columns: "list[ColumnTypeDef]") -> "TableInputTypeDef":
    """A Glue table over the Parquet files at `location`, as Athena itself would create it."""
    hive = "org.apache.hadoop.hive.ql.io.parquet"
    return {
        "Name": name,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {"classification": "parquet", "EXTERNAL": "TRUE"},
        "StorageDescriptor": {
            "Columns": columns,
            "Location": location,
            "InputFormat": f"{hive}.MapredParquetInputFormat",
            "OutputFormat": f"{hive}.MapredParquetOutputFormat",
            "SerdeInfo": {"SerializationLibrary": f"{hive}.serde.ParquetHiveSerDe"},
        },
    }


def _glue_type(kind: str) -> str:
    return kind.lower() if kind.startswith("DECIMAL") else _GLUE_TYPES[kind]
