"""The session of a check: its executions and queries, which are removed at the end, and the results."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from functions.task_table import TaskTable
from ops import execution
from ops.deployment import Deployment
from ops.execution import Run

# A statement that reads no data and runs much longer than any check waits.
SLOW = (
    "SELECT count(*) FROM UNNEST(sequence(1, 10000)) AS a (x) "
    "CROSS JOIN UNNEST(sequence(1, 10000)) AS b (y) CROSS JOIN UNNEST(sequence(1, 10000)) AS c (z) "
    "WHERE a.x + b.y > c.z"
)

_POLL_SECONDS = 0.25


class Skipped(Exception):
    """The claim cannot be tried here; the text is the reason."""


class Failed(Exception):
    """The claim does not hold; the text is what happened instead."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """`status` is held, failed or skipped. `evidence` names ARNs, ids and figures that show it."""

    claim: str
    expected: str
    status: str
    happened: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(kw_only=True)
class Session:
    """One run of `verify`. Everything that it starts or creates is removed by `remove`.

    `scratch` is the Glue database in which tables may be created; it is created if it does not exist.
    `tables` and `databases` are to be dropped, the objects below the S3 URIs in `prefixes` to be deleted, and
    each of `removals`, with what it removes, to be called.
    """

    deployment: Deployment
    scratch: str | None = None
    limit_seconds: float = 120.0
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    executions: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    databases: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    removals: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        return self.deployment.client(service)

    @property
    def work_group(self) -> str:
        return self.deployment.output("WorkGroupName")

    @property
    def state_machine_arn(self) -> str:
        return self.deployment.output("StateMachineArn")

    def start(self, document: Mapping[str, Any], state_machine_arn: str | None = None) -> str:
        """Start an execution, of the query state machine unless another is given, and return its ARN."""
        machine = state_machine_arn or self.state_machine_arn
        arn = execution.start(self.client("stepfunctions"), machine, document)
        self.executions.append(arn)
        return arn

    def finish(self, arn: str) -> Run:
        """Wait for the execution's end."""
        return execution.follow(self.client("stepfunctions"), arn)

    def run(self, sql: str, **fields: Any) -> Run:
        """Run a statement through the state machine to its end; the ids are evidence."""
        run = self.finish(self.start({"QueryString": sql, **fields}))
        self.evidence.setdefault("executions", []).append(run.arn)
        if run.query_id:
            self.evidence.setdefault("queries", []).append(run.query_id)
        return run

    def start_query(self, sql: str, token: str) -> str:
        """Start a query outside of the state machine, with a ClientRequestToken, and return its id."""
        query_id: str = self.client("athena").start_query_execution(
            QueryString=sql, WorkGroup=self.work_group, ClientRequestToken=token
        )["QueryExecutionId"]
        self.queries.append(query_id)
        return query_id

    def query(self, query_id: str) -> Any:
        return self.client("athena").get_query_execution(QueryExecutionId=query_id)["QueryExecution"]

    def query_of(self, arn: str) -> str:
        """The query that an execution has started, once it is registered in the task table."""
        table = TaskTable(self.client("dynamodb"), self.deployment.output("TaskTableName"), ttl_seconds=0)

        def registered() -> str | None:
            newest = table.find_execution(arn).newest_query
            return newest.query_id if newest else None

        found: str = self.wait("the query is registered", registered)
        return found

    def wait(self, what: str, condition: Callable[[], Any]) -> Any:
        """Poll until the condition returns something. Raise Failed after the limit."""
        deadline = time.monotonic() + self.limit_seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(_POLL_SECONDS)
        raise Failed(f"not within {self.limit_seconds:.0f} s: {what}")

    def history(self, arn: str) -> list[dict[str, Any]]:
        pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def database_exists(self, name: str) -> bool:
        glue = self.client("glue")
        try:
            glue.get_database(Name=name)
        except glue.exceptions.EntityNotFoundException:
            return False
        return True

    def results_location(self) -> str | None:
        """The S3 URI of the workgroup's results; None where Athena manages them."""
        group = self.client("athena").get_work_group(WorkGroup=self.work_group)["WorkGroup"]
        location: str | None = group["Configuration"].get("ResultConfiguration", {}).get("OutputLocation")
        return location

    def remove(self) -> list[str]:
        """Stop what still runs, drop the tables and databases, delete the objects.

        Return what could not be removed, with the reason.
        """
        steps: list[tuple[str, Callable[[], object]]] = [
            *((arn, partial(self._stop, arn)) for arn in self.executions),
            *((f"query {one}", partial(self._stop_query, one)) for one in self.queries),
            *((f"table {one}", partial(self._drop, f"TABLE IF EXISTS {one}")) for one in self.tables),
            *(
                (f"database {one}", partial(self._drop, f"DATABASE IF EXISTS {one}"))
                for one in self.databases
            ),
            *((uri, partial(self._delete_objects, uri)) for uri in self.prefixes),
            *reversed(self.removals),
        ]
        left = []
        for what, step in steps:
            try:
                step()
            except (BotoCoreError, ClientError, Failed) as error:
                left.append(f"{what}: {error}")
        return left

    def _stop(self, arn: str) -> None:
        stepfunctions = self.client("stepfunctions")
        if stepfunctions.describe_execution(executionArn=arn)["status"] == "RUNNING":
            execution.stop(stepfunctions, arn)

    def _stop_query(self, query_id: str) -> None:
        self.client("athena").stop_query_execution(QueryExecutionId=query_id)

    def _drop(self, what: str) -> None:
        run = execution.follow(
            self.client("stepfunctions"),
            execution.start(
                self.client("stepfunctions"), self.state_machine_arn, {"QueryString": f"DROP {what}"}
            ),
        )
        expect(run.status == "SUCCEEDED", reason_of(run))

    def _delete_objects(self, uri: str) -> None:
        s3 = self.client("s3")
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for one in page.get("Contents", []):
                s3.delete_object(Bucket=bucket, Key=one["Key"])


def expect(condition: object, happened: str) -> None:
    """Raise Failed with what happened if the condition does not hold."""
    if not condition:
        raise Failed(happened)


def reason_of(run: Run) -> str:
    """How an execution ended, in words."""
    if run.status == "SUCCEEDED":
        return f"SUCCEEDED through {', '.join(run.states)}"
    reason = run.cause.get("Reason", "") if isinstance(run.cause, dict) else json.dumps(run.cause)
    return f"{run.status} {run.error or 'without an error name'}: {reason}"[:300]
