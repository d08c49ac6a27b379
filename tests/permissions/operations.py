"""What needs the statements: each operation returns None if it works, or else what has failed."""

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from functions.queries import CLAIM
from functions.task_table import Entry, Statement, TaskTable
from ops.execution import follow, start
from ops.verify.session import SLOW
from tests.end_to_end.conftest import Deployment

_LIMIT_SECONDS = 60
_FAULTS = {"TaskFailed", "LambdaFunctionFailed"}
_DENIED = re.compile(r"is not authorized to perform: ([\w:]+)")
# What follows names a bucket or a key.
_NAMED = re.compile(r":? (?:s3://|to url|to url:|bucket \S+$).*")
# Nothing handles such an event.
_UNKNOWN_EVENT = {"detail-type": "Unknown"}


@dataclass(frozen=True, kw_only=True)
class Operation:
    """`run` returns what has failed, or None."""

    title: str
    run: Callable[["Trial"], str | None]


@dataclass(frozen=True, kw_only=True)
class Trial(Deployment):
    """A deployed stack, and what an operation does with it."""

    tables: list[str] = field(default_factory=list)

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not (result := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {_LIMIT_SECONDS} s")
            time.sleep(0.02)
        return result

    def administer(self, sql: str) -> None:
        """Run a statement in the stack's workgroup with the permissions of an administrator."""
        query_id = self.client("athena").start_query_execution(
            QueryString=sql, WorkGroup=self.stack.outputs["WorkGroupName"]
        )["QueryExecutionId"]
        self.wait(lambda: "CompletionDateTime" in self.query(query_id)["Status"], sql)
        status = self.query(query_id)["Status"]
        if status["State"] != "SUCCEEDED":
            raise RuntimeError(f"{sql}: {status['StateChangeReason']}")

    def settle(self) -> None:
        """Wait until the functions have handled every event."""
        self.wait(lambda: self.stack.pending_events() == 0, "no event is pending")

    def function(self, name: str) -> str:
        return self.stack.outputs[f"{name}FunctionName"]

    def invoke(self, name: str, event: Any) -> str | None:
        """The error that the function raises, or None."""
        answer = self.client("lambda").invoke(FunctionName=self.function(name), Payload=json.dumps(event))
        result = json.loads(answer["Payload"].read())
        return f"{result['errorMessage']}" if "FunctionError" in answer else None

    def execute(self, document: dict[str, Any]) -> str | None:
        """Run an execution up to its end, or to the first fault that the state machine would retry."""
        arn = self.start(document)
        failure: str | None
        (failure,) = self.wait(lambda: self.ended_or_failed(arn), "the execution ends")
        self.client("stepfunctions").stop_execution(executionArn=arn)
        self.settle()
        return failure

    def ended_or_failed(self, arn: str) -> tuple[str | None] | None:
        """What an execution that has ended, or whose task has failed, failed with; None while it runs."""
        stepfunctions = self.client("stepfunctions")
        answer = stepfunctions.describe_execution(executionArn=arn)
        if answer["status"] != "RUNNING":
            return (_failure(answer["error"], answer["cause"]) if "error" in answer else None,)
        for event in stepfunctions.get_execution_history(executionArn=arn, maxResults=100)["events"]:
            if event["type"] in _FAULTS:
                details = event["taskFailedEventDetails"]
                return (_failure(details["error"], details["cause"]),)
        return None

    def dead_letter(self) -> str | None:
        """Receive the newest dead letter: the error that its function raised."""
        error: str | None = None
        sqs, url = self.client("sqs"), self.stack.outputs["DeadLetterQueueUrl"]
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                error = json.loads(message["Body"])["responsePayload"]["errorMessage"]
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return error

    def log_events(self, name: str) -> int:
        """The number of events in a function's log."""
        configuration = self.client("lambda").get_function_configuration(FunctionName=self.function(name))
        group = configuration["LoggingConfig"]["LogGroup"]
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return sum(len(page["events"]) for page in pages)


def _failure(error: str, cause: str) -> str:
    """An execution's error or a task's fault in a few words."""
    described = json.loads(cause) if cause.startswith("{") else {"Reason": cause}
    if "errorMessage" in described:
        return str(described["errorMessage"])
    reason = described["Reason"]
    if denied := _DENIED.search(reason):
        reason = f"{denied[1]} is denied"
    return f"{error}: {_NAMED.sub('', reason)}"


def query(sql: str, title: str = "") -> Operation:
    return Operation(title=title or f"`{sql}`", run=lambda trial: trial.execute({"QueryString": sql}))


def _create_table(trial: Trial) -> str | None:
    name = f"made_{uuid.uuid4().hex[:8]}"
    trial.tables.append(name)
    return trial.execute({"QueryString": f"CREATE TABLE scratch.{name} AS SELECT 1 AS n"})


def _drop_database(trial: Trial) -> str | None:
    glue = trial.client("glue")
    if "temporary" not in [one["Name"] for one in glue.get_databases()["DatabaseList"]]:
        glue.create_database(DatabaseInput={"Name": "temporary"})
    return trial.execute({"QueryString": "DROP DATABASE temporary"})


def _complete(preview_rows: int) -> Callable[[Trial], str | None]:
    """Send the checker the completion event of a query whose execution waits."""

    def run(trial: Trial) -> str | None:
        trial.stack.deliver_events("off")
        stepfunctions = trial.client("stepfunctions")
        arn = trial.start({"QueryString": "SELECT 1 AS n", "PreviewRows": preview_rows})
        (query_id,) = trial.wait(lambda: trial.ended_queries(arn), "the query ends")
        table, key = trial.stack.outputs["TaskTableName"], {"Id": {"S": query_id}}
        trial.wait(
            lambda: (
                "TaskToken" in trial.client("dynamodb").get_item(TableName=table, Key=key).get("Item", {})
            ),
            "the task token is stored",
        )
        detail = {"queryExecutionId": query_id, "currentState": "SUCCEEDED"}
        error = trial.invoke("Checker", {"detail-type": "Athena Query State Change", "detail": detail})
        if error:
            stepfunctions.stop_execution(executionArn=arn)
        output = follow(stepfunctions, arn).output
        trial.stack.deliver_events("normal")
        trial.settle()
        if error is None and output is not None and preview_rows and output["Preview"] is None:
            return "the output has no preview"
        return error

    return run


def _abort(trial: Trial) -> str | None:
    """Abort an execution: its event reaches the canceller, which stops the query."""
    arn = trial.start({"QueryString": SLOW})
    (query_id,) = trial.wait(lambda: trial.running_queries(arn), "the query runs")
    trial.client("stepfunctions").stop_execution(executionArn=arn)
    trial.settle()
    failure = trial.dead_letter()
    state = trial.query(query_id)["Status"]["State"]
    trial.client("athena").stop_query_execution(QueryExecutionId=query_id)
    trial.settle()
    return None if state == "CANCELLED" else f"the query still runs: {failure}"


def _fail(trial: Trial) -> str | None:
    """Let an execution fail: the canceller reads its error."""
    trial.execute({"QueryString": "SELEKT 1"})
    return trial.dead_letter()


def _claim(trial: Trial) -> str | None:
    """Let the canceller find a start that was never confirmed: it claims the request token."""
    arn = start(
        trial.client("stepfunctions"), trial.stack.outputs["StateMachineArn"], {"QueryString": "SELEKT 1"}
    )
    follow(trial.client("stepfunctions"), arn)
    trial.settle()
    entry_id = hashlib.sha256(arn.encode()).hexdigest()
    now = time.time()
    entry = Entry(execution_id=arn, id=entry_id, redrive_count=0, attempt=1, entered=now)
    statement = Statement(query_string="", database="default", catalog="AwsDataCatalog", named=False)
    table = TaskTable(trial.client("dynamodb"), trial.stack.outputs["TaskTableName"], 3_600)
    table.announce_start(entry, statement, now)
    before = trial.query_ids()
    detail = {"executionArn": arn, "status": "ABORTED", "redriveCount": 0}
    error = trial.invoke(
        "Canceller", {"detail-type": "Step Functions Execution Status Change", "detail": detail}
    )
    claims = [one for one in trial.query_ids() - before if trial.query(one)["Query"] == CLAIM]
    trial.wait(
        lambda: all("CompletionDateTime" in trial.query(one)["Status"] for one in claims), "the claim ends"
    )
    for status in (trial.query(one)["Status"] for one in claims):
        if status["State"] == "FAILED":
            return f"the query of the claim fails: {_NAMED.sub('', status['StateChangeReason'])}"
    return error


def _run_batch(trial: Trial) -> str | None:
    """Run a batch of one query from a file, up to its end or to the first fault that would be retried."""
    location = f"{trial.stack.outputs['BatchesLocation']}one.jsonl"
    place = urlsplit(location)
    trial.client("s3").put_object(
        Bucket=place.netloc, Key=place.path[1:], Body=json.dumps({"QueryString": "SELECT 1"}).encode()
    )
    stepfunctions = trial.client("stepfunctions")
    arn = start(stepfunctions, trial.stack.outputs["BatchStateMachineArn"], {"QueriesLocation": location})
    (failure,) = trial.wait(lambda: trial.ended_or_failed(arn), "the batch ends")
    stepfunctions.stop_execution(executionArn=arn)
    trial.settle()
    trial.dead_letter()
    if failure is None:
        states = json.loads(stepfunctions.describe_execution(executionArn=arn)["output"])["States"]
        return None if states == {"SUCCEEDED": 1} else f"the state of the query is {next(iter(states))}"
    return str(failure)


def _redrive_batch(trial: Trial) -> str | None:
    """Redrive a batch whose only query failed: it runs again."""
    stepfunctions = trial.client("stepfunctions")
    document = {"Queries": [{"QueryString": "SELEKT 1"}], "ToleratedFailureCount": 0}
    arn = start(stepfunctions, trial.stack.outputs["BatchStateMachineArn"], document)
    follow(stepfunctions, arn)
    stepfunctions.redrive_execution(executionArn=arn)
    ended = follow(stepfunctions, arn)
    trial.settle()
    trial.dead_letter()
    names = [
        one["name"]
        for one in stepfunctions.list_executions(stateMachineArn=trial.stack.outputs["StateMachineArn"])[
            "executions"
        ]
    ]
    again = f"{arn.rpartition(':')[2]}-00001-r1" in names
    return None if again else f"the query does not run again: {ended.error}"


def _late_query(trial: Trial) -> str | None:
    """Let a query start after its batch was aborted: the reporter stops it."""
    trial.stack.deliver_events("off")
    stepfunctions, machine = trial.client("stepfunctions"), trial.stack.outputs["StateMachineArn"]
    batch_machine = trial.stack.outputs["BatchStateMachineArn"]
    batch = start(stepfunctions, batch_machine, {"Queries": [{"QueryString": SLOW}] * 9})
    name = batch.rpartition(":")[2]

    def executions() -> list[str]:
        listed = stepfunctions.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]
        return [one["executionArn"] for one in listed if one["name"].startswith(name)]

    def running() -> list[str]:
        arns = executions()
        return arns if all(trial.running_queries(arn) for arn in arns) else []

    first = trial.wait(running, "the queries run")
    stepfunctions.stop_execution(executionArn=batch)
    trial.wait(lambda: not executions(), "the executions end")
    # As a child execution would start it.
    parent = batch_machine.replace(":stateMachine:", ":execution:") + "/Queries:1"
    late = stepfunctions.start_execution(
        stateMachineArn=machine,
        name=f"{name}-00009",
        input=json.dumps({"QueryString": SLOW, "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": parent}),
    )["executionArn"]
    trial.wait(lambda: trial.running_queries(late), "the query runs")
    detail = {"executionArn": batch, "status": "ABORTED", "redriveCount": 0}
    error = trial.invoke(
        "Reporter", {"detail-type": "Step Functions Execution Status Change", "detail": detail}
    )
    status = stepfunctions.describe_execution(executionArn=late)["status"]
    stepfunctions.stop_execution(executionArn=late)
    for arn in (late, *first):
        for query_id in trial.running_queries(arn):
            trial.client("athena").stop_query_execution(QueryExecutionId=query_id)
    trial.stack.deliver_events("normal")
    trial.settle()
    return error or (None if status == "ABORTED" else "the query still runs")


def _attach(name: str) -> Callable[[Trial], str | None]:
    network = {"SubnetIds": ["subnet-00000001"], "SecurityGroupIds": ["sg-00000001"]}

    def run(trial: Trial) -> str | None:
        update = trial.client("lambda").update_function_configuration
        return _refusal(lambda: update(FunctionName=trial.function(name), VpcConfig=network))

    return run


def _configure_logging(output: str) -> Callable[[Trial], str | None]:
    def run(trial: Trial) -> str | None:
        arn = trial.stack.outputs[output]
        name = f"/aws/vendedlogs/states/{arn.rpartition(':')[2]}"
        group = trial.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]["arn"]
        destination = {"cloudWatchLogsLogGroup": {"logGroupArn": group}}
        return _refusal(
            lambda: trial.client("stepfunctions").update_state_machine(
                stateMachineArn=arn, loggingConfiguration={"level": "ALL", "destinations": [destination]}
            )
        )

    return run


def _refusal(call: Callable[[], Any]) -> str | None:
    try:
        call()
    except ClientError as error:
        return f"{error.operation_name}: {error.response['Error']['Message']}"
    return None


def _lose_event(name: str) -> Callable[[Trial], str | None]:
    """Let an asynchronous invocation fail: it becomes a dead letter."""

    def run(trial: Trial) -> str | None:
        trial.client("lambda").invoke(
            FunctionName=trial.function(name), InvocationType="Event", Payload=json.dumps(_UNKNOWN_EVENT)
        )
        trial.settle()
        return None if trial.dead_letter() else "the event is lost"

    return run


def _log(name: str) -> Callable[[Trial], str | None]:
    def run(trial: Trial) -> str | None:
        before = trial.log_events(name)
        trial.invoke(name, _UNKNOWN_EVENT)
        return None if trial.log_events(name) > before else "the log stays empty"

    return run


ANY_QUERY = query("SELECT 1")
REFUSED_QUERY = Operation(
    title="`SELEKT 1`, which Athena refuses",
    run=lambda trial: (
        failure
        if (failure := trial.execute({"QueryString": "SELEKT 1"}))
        and not failure.startswith("AthenaQuery.InvalidRequest")
        else None
    ),
)
READ = query("SELECT count(*) FROM airlines")
LIST_TABLES = query("SHOW TABLES IN flights")
LIST_DATABASES = query("SHOW DATABASES")
INSERT = query("INSERT INTO shared.written SELECT 1 AS n")
CREATE_TABLE = Operation(title="`CREATE TABLE … AS SELECT`", run=_create_table)
DROP_DATABASE = Operation(title="`DROP DATABASE temporary`", run=_drop_database)
COMPLETE = Operation(title="the completion event of a query", run=_complete(0))
PREVIEW = Operation(title="the completion event of a query with `PreviewRows`", run=_complete(1))
ABORT = Operation(title="`StopExecution` while the query runs", run=_abort)
FAIL = Operation(title="the event of a failed execution", run=_fail)
CLAIM_START = Operation(title="the end of an execution with an unconfirmed start", run=_claim)
SWEEP = Operation(
    title="the sweep", run=lambda trial: trial.invoke("Canceller", {"detail-type": "Scheduled Event"})
)
RUN_BATCH = Operation(title="a batch of one query", run=_run_batch)
REDRIVE_BATCH = Operation(title="a redrive of a failed batch", run=_redrive_batch)
LATE_QUERY = Operation(title="the event of an aborted batch of which a query starts late", run=_late_query)


def attach(name: str) -> Operation:
    return Operation(title="`UpdateFunctionConfiguration` with a network", run=_attach(name))


def lose_event(name: str) -> Operation:
    return Operation(title="an event that fails three times", run=_lose_event(name))


def log(name: str) -> Operation:
    return Operation(title="any invocation", run=_log(name))


def logging(output: str) -> Operation:
    return Operation(title="`UpdateStateMachine` with its log", run=_configure_logging(output))
