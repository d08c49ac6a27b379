"""Runs statements. Each kind has a function.

Everything here runs in a worker thread, in the context (account and region) of the request that started it.
"""

from collections.abc import Callable

from ministack.services import athena

from local.emulator.athena import ddl, hive, metadata, permissions, queries, writes
from local.emulator.athena.errors import hive_parse_error, not_supported
from local.emulator.athena.job import Job, Result


def run(job: Job) -> Result:
    """Raise Failure if the statement fails, ScanLimitExceeded if it would scan too much."""
    statement = job.statement
    if complaint := hive.block_comment(statement.text, statement.kind):
        raise hive_parse_error(complaint)
    perform = _STATEMENTS.get(statement.kind)
    if perform is None:
        raise not_supported(statement.kind)
    return perform(job)


def _prepare(job: Job) -> Result:
    given = job.statement.arguments
    permissions.check_work_group("CreatePreparedStatement", job.work_group)
    athena._prepared_statements[f"{job.work_group}/{given['prepared']}"] = {
        "StatementName": given["prepared"],
        "WorkGroupName": job.work_group,
        "QueryStatement": given["statement"],
    }
    return Result()


def _deallocate(job: Job) -> Result:
    permissions.check_work_group("DeletePreparedStatement", job.work_group)
    athena._prepared_statements.pop(f"{job.work_group}/{job.statement.arguments['prepared']}", None)
    return Result()


_STATEMENTS: dict[str, Callable[[Job], Result]] = {
    "SELECT": queries.select,
    "EXPLAIN": queries.explain,
    "CREATE_TABLE_AS_SELECT": writes.create_table_as,
    "INSERT": writes.insert,
    "UNLOAD": writes.unload,
    "CREATE_TABLE": ddl.create_table,
    "DROP_TABLE": ddl.drop_table,
    "CREATE_VIEW": ddl.create_view,
    "DROP_VIEW": ddl.drop_view,
    "CREATE_DATABASE": ddl.create_database,
    "DROP_DATABASE": ddl.drop_database,
    "ALTER_TABLE_ADD_COLUMN": ddl.add_columns,
    "ALTER_TABLE_REPLACE_COLUMN": ddl.replace_columns,
    "ALTER_TABLE_ADD_PARTITION": ddl.add_partitions,
    "ALTER_TABLE_DROP_PARTITION": ddl.drop_partitions,
    "ALTER_TABLE_SET_LOCATION": ddl.set_location,
    "ALTER_TABLE_PROPERTIES": ddl.set_properties,
    "ALTER_TABLE_RENAME": ddl.rename,
    "MSCK_REPAIR": ddl.repair,
    "SHOW_TABLES": metadata.show_tables,
    "SHOW_VIEWS": metadata.show_views,
    "SHOW_DATABASES": metadata.show_databases,
    "SHOW_COLUMNS": metadata.show_columns,
    "SHOW_PARTITIONS": metadata.show_partitions,
    "SHOW_TABLE_PROPERTIES": metadata.show_table_properties,
    "SHOW_CREATE_TABLE": metadata.show_create_table,
    "SHOW_CREATE_VIEW": metadata.show_create_view,
    "SHOW_FUNCTIONS": metadata.show_functions,
    "DESCRIBE_TABLE": metadata.describe,
    "DESC_VIEW": metadata.describe_view,
    "PREPARE": _prepare,
    "DEALLOCATE": _deallocate,
}
