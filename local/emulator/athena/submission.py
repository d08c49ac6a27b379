"""StartQueryExecution: what Athena refuses, and the query execution that it creates."""

import json
import time
import uuid
from dataclasses import replace
from typing import Any

from ministack.services import athena

from local.emulator.athena import catalog, hive, results, statements, storage
from local.emulator.athena.errors import INVALID_INPUT, Refused
from local.emulator.athena.job import Job
from local.emulator.athena.statements import Statement

# Athena user guide, "Service Quotas": in UTF-8.
_QUERY_BYTES = 262_144
_PARAMETER_CHARACTERS = range(1, 1025)
_TOKEN_CHARACTERS = range(32, 129)


def accept(data: dict[str, Any]) -> tuple[dict[str, Any], Job]:
    """The new query execution, QUEUED. Raise Refused in the order of Athena's checks (measured)."""
    _check_token(data.get("ClientRequestToken"))
    sql = data.get("QueryString", "")
    if not 1 <= (size := len(sql.encode())) <= _QUERY_BYTES:
        raise Refused(f"QueryString has {size} bytes; 1 to {_QUERY_BYTES} are allowed", INVALID_INPUT)
    work_group = data.get("WorkGroup", "primary")
    if work_group not in athena._workgroups:
        raise Refused("WorkGroup is not found.", INVALID_INPUT)
    configuration = athena._workgroups[work_group].get("Configuration", {})
    scratch = _scratch(configuration, data.get("ResultConfiguration") or {})
    statement = statements.read(sql)
    parameters = data.get("ExecutionParameters", [])
    if any(len(one) not in _PARAMETER_CHARACTERS for one in parameters):
        raise Refused(
            "1 validation error detected: Value at 'executionParameters' failed to satisfy constraint: "
            "Member must have length between 1 and 1024",
            INVALID_INPUT,
        )
    if statement.kind == "EXECUTE":
        statement, parameters = _prepared(statement, work_group, parameters)
    statement = statements.bind(statement, parameters)
    context = data.get("QueryExecutionContext") or {}
    job = Job(
        query_id=str(uuid.uuid4()),
        statement=statement,
        # awswrangler puts the name into backticks.
        database=context.get("Database", "default").strip("`").lower(),
        catalog=context.get("Catalog", catalog.DEFAULT).lower(),
        work_group=work_group,
        scratch=scratch,
        bytes_limit=configuration.get("BytesScannedCutoffPerQuery"),
    )
    _check_location(statement, enforced=configuration.get("EnforceWorkGroupConfiguration", True))
    job = _resolved(job)
    return _execution(job, context, parameters, data.get("ResultReuseConfiguration", {})), job


def idempotent_parameters(data: dict[str, Any]) -> str:
    """What Athena compares of a request: neither execution parameters nor the workgroup (measured)."""
    location = (data.get("ResultConfiguration") or {}).get("OutputLocation")
    return json.dumps([data.get("QueryString"), data.get("QueryExecutionContext"), location], sort_keys=True)


def _check_token(token: str | None) -> None:
    if token is None:
        raise Refused("clientRequestToken is null or empty", INVALID_INPUT)
    if len(token) not in _TOKEN_CHARACTERS:
        short = len(token) < _TOKEN_CHARACTERS.start
        bound = "greater than or equal to 32" if short else "less than or equal to 128"
        raise Refused(
            "1 validation error detected: Value at 'clientRequestToken' failed to satisfy constraint: "
            f"Member must have length {bound}",
            INVALID_INPUT,
        )


def _scratch(configuration: dict[str, Any], given: dict[str, Any]) -> str:
    """The prefix for results: the workgroup's if it is enforced, otherwise the caller's."""
    location = configuration.get("ResultConfiguration", {}).get("OutputLocation")
    if not configuration.get("EnforceWorkGroupConfiguration", True) or not location:
        location = given.get("OutputLocation") or location
    if not location:
        raise Refused(
            "No output location provided. An output location is required either through the Workgroup result "
            "configuration setting or as an API input.",
            INVALID_INPUT,
        )
    if not location.startswith("s3://") or not location.removeprefix("s3://").strip("/"):
        raise Refused("outputLocation is not a valid S3 path.", INVALID_INPUT)
    if not storage.can_locate(location):
        bucket, _ = storage.split(location)
        raise Refused(f"Unable to verify/create output bucket {bucket}", INVALID_INPUT)
    return str(location).rstrip("/") + "/"


def _check_location(statement: Statement, *, enforced: bool) -> None:
    if enforced and "external_location" in statement.arguments.get("options", {}):
        raise Refused(
            "The Create Table As Select query failed because it was submitted with an 'external_location' "
            "property to an Athena Workgroup that enforces a centralized output location for all queries. "
            "Please remove the 'external_location' property and resubmit the query.",
            INVALID_INPUT,
        )


def _resolved(job: Job) -> Job:
    """Look up the table of DESCRIBE and SHOW COLUMNS. Athena rewrites DESCRIBE unless it is a view."""
    statement = job.statement
    if statement.kind not in {"DESCRIBE_TABLE", "SHOW_COLUMNS"}:
        return job
    table = catalog.look_up(*job.target)
    if table is None:
        raise hive.entity_not_found()
    if table.is_view:
        return replace(job, statement=replace(statement, kind="DESC_VIEW"))
    if statement.kind == "SHOW_COLUMNS" or job.name.database is None:
        return job
    text = statement.text[: job.name.start] + table.name + statement.text[job.name.end :]
    name = replace(job.name, database=None, catalog=None)
    return replace(job, statement=replace(statement, text=text, name=name), database=table.database)


def _prepared(statement: Statement, work_group: str, parameters: list[str]) -> tuple[Statement, list[str]]:
    given = statement.arguments
    known = athena._prepared_statements.get(f"{work_group}/{given['prepared']}")
    if known is None:
        raise Refused(
            f"PreparedStatement {given['prepared']} was not found in workGroup {work_group}", INVALID_INPUT
        )
    return statements.read(known["QueryStatement"]), given["values"] or parameters


def _execution(
    job: Job, context: dict[str, str], parameters: list[str], reuse: dict[str, Any]
) -> dict[str, Any]:
    """As MiniStack stores it. Members that start with an underscore are not returned."""
    # As GetQueryExecution returns it: only what was sent, except for the rewritten text of a DESCRIBE.
    shown = {name: value.lower() if name == "Catalog" else value for name, value in context.items()}
    if job.statement.kind == "DESCRIBE_TABLE":
        shown["Database"] = job.database
    execution: dict[str, Any] = {
        "QueryExecutionId": job.query_id,
        "Query": job.statement.text,
        "StatementType": job.statement.type,
        "SubstatementType": job.statement.kind,
        "WorkGroup": job.work_group,
        "QueryExecutionContext": shown,
        "ResultConfiguration": {"OutputLocation": results.location(job)},
        "ResultReuseConfiguration": reuse,
        "EngineVersion": {
            "SelectedEngineVersion": "AUTO",
            "EffectiveEngineVersion": "Athena engine version 3",
        },
        "Status": {"State": "QUEUED", "SubmissionDateTime": time.time()},
        "Statistics": {},
        "_events": 0,
    }
    return execution | ({"ExecutionParameters": parameters} if parameters else {})
