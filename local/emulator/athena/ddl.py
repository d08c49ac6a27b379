"""CREATE, ALTER and DROP: changes of the Glue Data Catalog. None of them touches data."""

from dataclasses import replace
from typing import Any

from ministack.services import athena

from local.emulator.athena import catalog, queries, storage, translation, writes
from local.emulator.athena.catalog import Table
from local.emulator.athena.errors import Failure, hive_failure, not_supported
from local.emulator.athena.job import Job, Result

_DDL_TASK = "Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask."
# Hive's error messages.
_EXISTS, _NO_SUCH_ENTITY, _UNSUPPORTED = 1006, 1301, 1200


def create_table(job: Job) -> Result:
    described = job.statement.arguments["table"]
    database, name = job.target
    if described.iceberg:
        raise not_supported("an Iceberg table")
    if not catalog.has_database(database):
        raise hive_failure(
            f"SemanticException [Error 10072]: Database does not exist: {database}", _NO_SUCH_ENTITY
        )
    if catalog.table(database, name):
        if not described.if_not_exists:
            reason = f"AlreadyExistsException(message:Table {name} already exists)"
            raise hive_failure(f"{_DDL_TASK} {reason}", _EXISTS)
        return Result()
    catalog.create_table(database, {**athena._create_table_input(described), "Name": name})
    return Result()


def drop_table(job: Job) -> Result:
    table = catalog.table(*job.target)
    if table is None:
        return _missing(job)
    if table.is_view:
        raise hive_failure(
            f"SemanticException [Error 10092]: Cannot drop a view with DROP TABLE: {table.name}", _UNSUPPORTED
        )
    catalog.delete_table(table.database, table.name)
    return Result()


def _missing(job: Job) -> Result:
    if job.statement.arguments["missing_is_fine"]:
        return Result()
    database, name = job.target
    raise hive_failure(f"SemanticException [Error 10001]: Table not found {database}.{name}", _NO_SUCH_ENTITY)


def create_view(job: Job) -> Result:
    database, name = job.target
    with queries.connected(job) as db:
        query = translation.translate(db, job.statement.query, replace(job, bytes_limit=None))
    columns = writes.named_columns(query.columns)
    described = catalog.view_input(name, job.statement.arguments["sql"], job.database, columns)
    known = catalog.table(job.existing_database(database), name)
    if known is not None:
        if not (job.statement.arguments["replaces"] and known.is_view):
            target = f"{catalog.DEFAULT}.{database}.{name}"
            raise Failure(f"TABLE_ALREADY_EXISTS: line 1:1: Table '{target}' already exists")
        catalog.update_table(known, **described)
    else:
        catalog.create_table(database, described)
    return Result()


def drop_view(job: Job) -> Result:
    view = catalog.table(*job.target)
    if view is None or not view.is_view:
        if job.statement.arguments["missing_is_fine"]:
            return Result()
        raise Failure(
            f"TABLE_NOT_FOUND: line 1:1: View '{'.'.join((catalog.DEFAULT, *job.target))}' does not exist"
        )
    catalog.delete_table(view.database, view.name)
    return Result()


def create_database(job: Job) -> Result:
    given = job.statement.arguments
    if catalog.has_database(given["database"]):
        if given["exists_is_fine"]:
            return Result()
        raise hive_failure(f"{_DDL_TASK} Database {given['database']} already exists", _EXISTS)
    described: dict[str, Any] = {"Name": given["database"], "Parameters": given["properties"]}
    if given["comment"]:
        described["Description"] = given["comment"]
    if given["location"]:
        described["LocationUri"] = given["location"]
    catalog.create_database(described)
    return Result()


def drop_database(job: Job) -> Result:
    given = job.statement.arguments
    name = given["database"]
    if not catalog.has_database(name):
        if given["missing_is_fine"]:
            return Result()
        raise hive_failure(
            f"SemanticException [Error 10072]: Database does not exist: {name}", _NO_SUCH_ENTITY
        )
    tables = catalog.tables(name)
    if tables and not given["cascade"]:
        reason = f"InvalidOperationException(message:Database {name} is not empty. One or more tables exist.)"
        raise hive_failure(f"{_DDL_TASK} {reason}", _EXISTS)
    for table in tables:
        catalog.delete_table(name, table.name)
    catalog.delete_database(name)
    return Result()


def add_columns(job: Job) -> Result:
    table = job.existing()
    known = {one.name for one in [*table.columns, *table.keys]}
    new = job.statement.arguments["columns"]
    for one in new:
        if one["Name"].lower() in known:
            raise hive_failure(f"{_DDL_TASK} Duplicate column name: {one['Name']}", _EXISTS)
    return _with_columns(table, [*table.glue["StorageDescriptor"].get("Columns", []), *new])


def replace_columns(job: Job) -> Result:
    return _with_columns(job.existing(), job.statement.arguments["columns"])


def _with_columns(table: Table, columns: list[Any]) -> Result:
    catalog.update_table(table, StorageDescriptor={**table.glue["StorageDescriptor"], "Columns": columns})
    return Result()


def set_location(job: Job) -> Result:
    table = job.existing()
    location = job.statement.arguments["location"]
    catalog.update_table(table, StorageDescriptor={**table.glue["StorageDescriptor"], "Location": location})
    return Result()


def set_properties(job: Job) -> Result:
    table = job.existing()
    catalog.update_table(table, Parameters={**table.parameters, **job.statement.arguments})
    return Result()


def rename(job: Job) -> Result:
    """Glue cannot rename a Hive table, and so Athena cannot."""
    job.existing()
    raise Failure("Query type not supported by DDL engine.", _EXISTS)


def add_partitions(job: Job) -> Result:
    table = job.existing()
    for given, location in job.statement.arguments["partitions"]:
        values = _partition_values(table, given)
        path = "/".join(f"{key.name}={value}" for key, value in zip(table.keys, values, strict=True))
        added = catalog.add_partition(table, values, location or f"{table.location.rstrip('/')}/{path}/")
        if not added and not job.statement.arguments["exists_is_fine"]:
            reason = f"AlreadyExistsException(message:Partition already exists: {list(values)})"
            raise hive_failure(f"{_DDL_TASK} {reason}", _EXISTS)
    return Result()


def drop_partitions(job: Job) -> Result:
    table = job.existing()
    for given in job.statement.arguments["partitions"]:
        values = _partition_values(table, given)
        if not catalog.drop_partition(table, values) and not job.statement.arguments["missing_is_fine"]:
            reason = f"SemanticException [Error 10006]: Partition not found ({given})"
            raise hive_failure(reason, _NO_SUCH_ENTITY)
    return Result()


def _partition_values(table: Table, given: dict[str, str]) -> tuple[str, ...]:
    if set(given) != {one.name for one in table.keys}:
        raise hive_failure(
            f"SemanticException partition spec {given} doesn't contain all partition columns", _EXISTS
        )
    return tuple(given[one.name] for one in table.keys)


def repair(job: Job) -> Result:
    """MSCK REPAIR TABLE: add the partitions that occur as key=value in the keys of the objects."""
    table = job.existing()
    if not table.keys:
        return Result()
    bucket, prefix = storage.split(table.location)
    found = set()
    for key in storage.keys(table.location):
        folders = key.removeprefix(prefix).strip("/").split("/")[:-1][: len(table.keys)]
        pairs = [folder.partition("=") for folder in folders]
        if [name for name, _, _ in pairs] == [one.name for one in table.keys]:
            found.add((tuple(value for _, _, value in pairs), "/".join(folders)))
    added = [
        path
        for values, path in sorted(found)
        if catalog.add_partition(table, values, f"s3://{bucket}/{prefix.rstrip('/')}/{path}/")
    ]
    if not added:
        return Result()
    missing = "\t".join(f"{table.name}:{path}" for path in added)
    done = [f"Repair: Added partition to metastore {table.database}.{table.name}:{path}" for path in added]
    # The rows of DDL have no columns.
    return Result(rows=[[line] for line in [f"Partitions not in metastore:\t{missing}", *done]])
