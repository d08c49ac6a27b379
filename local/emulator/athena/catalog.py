"""MiniStack's Glue Data Catalog, as Athena reads and changes it: databases, tables, partitions, views."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from ministack.services import glue

from local.emulator.athena import permissions
from local.emulator.athena.errors import Failure, glue_refused
from local.emulator.athena.sql import types
from local.emulator.athena.sql.types import Type

DEFAULT = "awsdatacatalog"

_VIEW_TEXT = "/* Presto View: "
_VIEW = "VIRTUAL_VIEW"


@dataclass(frozen=True)
class Column:
    name: str
    type: Type
    comment: str = ""


@dataclass(frozen=True)
class Partition:
    """`values` are in the order of the table's partition keys; None is Hive's default partition."""

    values: tuple[str, ...]
    location: str


@dataclass(frozen=True)
class Table:
    """A Glue table. `glue` is the table as Glue describes it."""

    database: str
    name: str
    glue: Any

    @property
    def columns(self) -> list[Column]:
        """The columns of the files."""
        return [_column(one) for one in self._storage.get("Columns") or []]

    @property
    def keys(self) -> list[Column]:
        """The partition keys."""
        return [_column(one) for one in self.glue.get("PartitionKeys") or []]

    @property
    def location(self) -> str:
        return str(self._storage.get("Location") or "")

    @property
    def parameters(self) -> dict[str, str]:
        return dict(self.glue.get("Parameters") or {})

    @property
    def is_view(self) -> bool:
        return bool(self.glue.get("TableType") == _VIEW)

    @property
    def serde(self) -> dict[str, Any]:
        return dict(self._storage.get("SerdeInfo") or {})

    @property
    def view(self) -> dict[str, Any]:
        """A view's own description: `originalSql`, `schema` and `columns`."""
        text = str(self.glue.get("ViewOriginalText") or "")
        if not text.startswith(_VIEW_TEXT):
            raise Failure(f"NOT_SUPPORTED: Hive view {self.database}.{self.name} is not supported locally")
        described: dict[str, Any] = json.loads(base64.b64decode(text.removeprefix(_VIEW_TEXT).split(" ")[0]))
        return described

    @property
    def partitions(self) -> list[Partition]:
        """The partitions in Glue. Athena reads no others."""
        permissions.check_glue("GetPartitions", *_resources(self.database, self.name))
        known = glue._partitions.get(f"{self.database}/{self.name}") or []
        return [
            Partition(tuple(map(str, one["Values"])), str(one["StorageDescriptor"]["Location"]))
            for one in known
        ]

    @property
    def _storage(self) -> dict[str, Any]:
        return self.glue.get("StorageDescriptor") or {}


def _column(described: dict[str, Any]) -> Column:
    kind = types.parse(str(described.get("Type") or "string"))
    return Column(str(described["Name"]).lower(), kind, str(described.get("Comment") or ""))


def _resources(database: str, table: str) -> tuple[str, str]:
    """A table and its database, as IAM names them."""
    return f"database/{database}", f"table/{database}/{table}"


def databases() -> list[str]:
    permissions.check_glue("GetDatabases", "database/*")
    return sorted(glue._databases.keys())


def has_database(name: str) -> bool:
    """Whether it exists. Athena needs to read the default database too (Athena user guide)."""
    permissions.check_glue("GetDatabase", f"database/{name}", "database/default")
    return name in glue._databases


def tables(database: str) -> list[Table]:
    """All tables and views of a database, by name."""
    permissions.check_glue("GetTables", *_resources(database, "*"))
    prefix = f"{database}/"
    found = [key.removeprefix(prefix) for key in sorted(glue._tables.keys()) if key.startswith(prefix)]
    return [Table(database, name, glue._tables[prefix + name]) for name in found]


def listable(database: str) -> list[Table]:
    """All tables and views of a database, none if the starter may not list them."""
    return tables(database) if permissions.allows_glue("GetTables", *_resources(database, "*")) else []


def table(database: str, name: str) -> Table | None:
    permissions.check_glue("GetTable", *_resources(database, name))
    return look_up(database, name)


def look_up(database: str, name: str) -> Table | None:
    """The table, whatever the starter's permissions are."""
    described = glue._tables.get(f"{database}/{name}")
    return None if described is None else Table(database, name, described)


def existing(database: str, name: str) -> Table:
    """The table that a Hive statement needs."""
    found = table(database, name)
    if found is None:
        reason = f"FAILED: SemanticException [Error 10001]: Table not found {database}.{name}"
        raise Failure(reason, _NO_SUCH_ENTITY)
    return found


_NO_SUCH_ENTITY = 1301


def create_table(database: str, described: dict[str, Any]) -> None:
    permissions.check_glue("CreateTable", *_resources(database, described["Name"]))
    _checked(glue._create_table({"DatabaseName": database, "TableInput": described}))


def update_table(changed: Table, **changes: Any) -> None:
    """Replace parts of a table's description in Glue."""
    permissions.check_glue("UpdateTable", *_resources(changed.database, changed.name))
    described = {**changed.glue, **changes}
    _checked(glue._update_table({"DatabaseName": changed.database, "TableInput": described}))


def delete_table(database: str, name: str) -> None:
    permissions.check_glue("DeleteTable", *_resources(database, name))
    _checked(glue._delete_table({"DatabaseName": database, "Name": name}))


def create_database(described: dict[str, Any]) -> None:
    permissions.check_glue("CreateDatabase", f"database/{described['Name']}")
    _checked(glue._create_database({"DatabaseInput": described}))


def delete_database(name: str) -> None:
    contents = (f"table/{name}/*", f"userDefinedFunction/{name}/*")
    permissions.check_glue("DeleteDatabase", f"database/{name}", *contents)
    _checked(glue._delete_database({"Name": name}))


def add_partition(to: Table, values: tuple[str, ...], location: str) -> bool:
    """Return False if it is in Glue already."""
    if any(one.values == values for one in to.partitions):
        return False
    permissions.check_glue("BatchCreatePartition", *_resources(to.database, to.name))
    storage = {**to.glue["StorageDescriptor"], "Location": location}
    _checked(
        glue._create_partition(
            {
                "DatabaseName": to.database,
                "TableName": to.name,
                "PartitionInput": {"Values": list(values), "StorageDescriptor": storage, "Parameters": {}},
            }
        )
    )
    return True


def drop_partition(of: Table, values: tuple[str, ...]) -> bool:
    """Return False if there is none in Glue."""
    if not any(one.values == values for one in of.partitions):
        return False
    permissions.check_glue("DeletePartition", *_resources(of.database, of.name))
    request = {"DatabaseName": of.database, "TableName": of.name, "PartitionValues": list(values)}
    _checked(glue._delete_partition(request))
    return True


def view_input(name: str, sql: str, database: str, columns: list[Column]) -> dict[str, Any]:
    """A view as Athena describes it to Glue."""
    described = {
        "originalSql": sql,
        "catalog": DEFAULT,
        "schema": database,
        "columns": [{"name": one.name, "type": str(one.type)} for one in columns],
    }
    encoded = base64.b64encode(json.dumps(described).encode()).decode()
    return {
        "Name": name,
        "TableType": _VIEW,
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "ViewOriginalText": f"{_VIEW_TEXT}{encoded} */",
        "ViewExpandedText": "/* Presto View */",
        "StorageDescriptor": {
            "Columns": [{"Name": one.name, "Type": one.type.hive} for one in columns],
            "Location": "",
            "SerdeInfo": {},
        },
    }


def _checked(answer: Any) -> None:
    """Raise Failure for a request that Glue rejects."""
    status, _, body = answer
    if status >= 300:  # noqa: PLR2004 - HTTP
        problem = json.loads(body)
        raise glue_refused(str(problem.get("message") or problem.get("Message") or problem))
