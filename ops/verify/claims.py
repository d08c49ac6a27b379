"""The claims: each a sentence of the documents, and a function that tries it.

A check returns what happened, or raises Failed or Skipped. The contents of `session.evidence` are shown.
"""

import json
import re
import statistics
import uuid
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from functions.events import TERMINAL_STATES
from functions.metric_names import METRICS_NAMESPACE, Metric
from ops.execution import Run
from ops.verify import states
from ops.verify.session import SLOW, Failed, Session, Skipped, expect, reason_of

Check = Callable[[Session], str]

CLAIMS: dict[str, tuple[str, Check]] = {}

# The number of queries for the order of events and tokens, and for the lag.
_MANY = 50
# The output of the batch state machine's ARN, which a stack with managed results does not have.
_BATCH = "BatchStateMachineArn"
# The emulator's account.
_LOCAL_ACCOUNT = "000000000000"

# Errors of an endpoint that does not support the operation: an emulator.
_UNSUPPORTED = {"UnknownOperationException", "InvalidAction", "NotImplemented", "UnsupportedOperation", "404"}


def claim(name: str, expected: str) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        CLAIMS[name] = (expected, check)
        return check

    return register


def _output(run: Run) -> dict[str, Any]:
    """The output of an execution that succeeded. Raise Failed if it did not."""
    if run.output is None:
        raise Failed(reason_of(run))
    return run.output


def _error(session: Session, run: Run, name: str) -> str:
    expect(run.error == f"AthenaQuery.{name}", reason_of(run))
    expect(isinstance(run.cause, dict), "the cause is not JSON")
    session.evidence["cause"] = {key: run.cause[key] for key in ("State", "ErrorCategory", "ErrorType")}
    if run.query_id:
        state = session.query(run.query_id)["Status"]["State"]
        expect(state == run.cause["State"], f"the cause has {run.cause['State']}, Athena reports {state}")
    return f"failed with {run.error}"


@claim("event-path", "a query whose event arrives ends in two states")
def event_path(session: Session) -> str:
    run = session.run("SELECT 1 AS n")
    by = _output(run)["SettledBy"]
    expect(run.states == ["Start query", "Done"], reason_of(run))
    expect(by in {"event", "executor"}, f"detected by {by}")
    return f"SUCCEEDED, detected by {by}"


@claim("transitions", "the event path is two state transitions, without a retry")
def transitions(session: Session) -> str:
    run = session.run("SELECT 2 AS n")
    events = session.history(run.arn)
    entered = [event for event in events if "stateEnteredEventDetails" in event]
    scheduled = [event for event in events if event["type"] == "TaskScheduled"]
    expect((len(entered), len(scheduled)) == (2, 1), f"{len(entered)} states, {len(scheduled)} task tries")
    return f"2 states, 1 task try, {len(events)} history events"


@claim("many-queries", "many short queries at once each end once, with the expected outcome")
def many_queries(session: Session) -> str:
    """Also reports whether an event arrived before its token, so that the executor settled the task."""
    runs = [session.start({"QueryString": f"SELECT {number} AS n"}) for number in range(_MANY)]
    detected = [_output(session.finish(arn))["SettledBy"] for arn in runs]
    session.evidence |= {by: detected.count(by) for by in ("event", "executor", "poll")}
    early = detected.count("executor")
    seen = f"{early} events arrived before their token" if early else "no event arrived before its token"
    return f"{_MANY} SUCCEEDED; {seen}"


@claim("lag", "an execution ends within a second of its query, in the median of 50")
def lag(session: Session) -> str:
    if f":{_LOCAL_ACCOUNT}:" in session.state_machine_arn:
        raise Skipped("the lag of a local stack is that of its machine: see benchmarks/")
    lags = []
    for number in range(_MANY):
        run = session.run(f"SELECT {number} AS n")
        completed = session.query(_output(run)["QueryId"])["Status"]["CompletionDateTime"]
        if run.stopped:
            lags.append((run.stopped - completed).total_seconds())
    lags.sort()
    median = statistics.median(lags)
    session.evidence = {"p50_s": median, "p90_s": lags[int(len(lags) * 0.9)], "max_s": lags[-1]}
    expect(median <= 1, f"the median lag is {median:.2f} s")
    return f"median {median:.2f} s, longest {lags[-1]:.2f} s"


@claim("invalid-input", "an invalid input fails as AthenaQuery.InvalidInput, and nothing starts")
def invalid_input(session: Session) -> str:
    run = session.run("SELECT 1", Nonsense=1)
    expect(run.query_id is None, f"a query was started: {run.query_id}")
    return _error(session, run, "InvalidInput")


@claim("parent-field", "the field that nested executions add to the input is accepted")
def parent_field(session: Session) -> str:
    run = session.run("SELECT 1", AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID=session.state_machine_arn)
    expect(run.status == "SUCCEEDED", reason_of(run))
    return "SUCCEEDED"


@claim("invalid-request", "a syntax error fails as AthenaQuery.InvalidRequest")
def invalid_request(session: Session) -> str:
    return _error(session, session.run("SELEKT 1"), "InvalidRequest")


@claim("failed", "a query that fails at run time fails as AthenaQuery.Failed")
def failed(session: Session) -> str:
    return _error(session, session.run("SELECT 1 / (n - n) FROM (VALUES 1) AS t (n)"), "Failed")


@claim("timed-out", "a query is stopped at its deadline, as AthenaQuery.TimedOut")
def timed_out(session: Session) -> str:
    return _error(session, session.run(SLOW, TimeoutSeconds=5), "TimedOut")


@claim("cancelled", "a query that someone stops fails as AthenaQuery.Cancelled")
def cancelled(session: Session) -> str:
    arn = session.start({"QueryString": SLOW})
    session.client("athena").stop_query_execution(QueryExecutionId=session.query_of(arn))
    return _error(session, session.finish(arn), "Cancelled")


@claim("scan-limit", "the workgroup's scan limit fails a query as AthenaQuery.ScanLimitExceeded")
def scan_limit(session: Session) -> str:
    group = session.client("athena").get_work_group(WorkGroup=session.work_group)["WorkGroup"]
    limit = group["Configuration"].get("BytesScannedCutoffPerQuery")
    session.evidence["limit_bytes"] = limit
    raise Skipped(
        f"no query here scans more than the limit of {limit:,} bytes" if limit else "no limit is set"
    )


@claim("abort", "aborting an execution stops its query")
def abort(session: Session) -> str:
    arn = session.start({"QueryString": SLOW})
    query_id = session.query_of(arn)
    session.client("stepfunctions").stop_execution(executionArn=arn)
    session.evidence |= {"execution": arn, "query": query_id}
    state = session.wait("the query ends", lambda: _ended_state(session, query_id))
    expect(state == "CANCELLED", f"the query is {state}")
    return "the query is CANCELLED"


def _ended_state(session: Session, query_id: str) -> str | None:
    state: str = session.query(query_id)["Status"]["State"]
    return state if state in TERMINAL_STATES else None


@claim("redrive", "a redrive of an aborted execution starts a new query, with a new entry")
def redrive(session: Session) -> str:
    arn = session.start({"QueryString": SLOW, "TimeoutSeconds": 60})
    first = session.query_of(arn)
    stepfunctions = session.client("stepfunctions")
    stepfunctions.stop_execution(executionArn=arn)
    session.wait("the query ends", lambda: _ended_state(session, first))
    stepfunctions.redrive_execution(executionArn=arn)
    second = session.wait("a second query", lambda: _other(session.query_of(arn), first))
    entries = [_start(event) for event in session.history(arn)]
    session.evidence |= {"queries": [first, second], "entries": [entry for entry in entries if entry]}
    stepfunctions.stop_execution(executionArn=arn)
    return "a second query was started"


def _other(found: str, first: str) -> str | None:
    return found if found != first else None


def _start(event: dict[str, Any]) -> dict[str, Any] | None:
    """The EnteredTime, RedriveCount and RedriveTime that a task was scheduled with: undocumented on a
    redrive.
    """
    parameters = event.get("taskScheduledEventDetails", {}).get("parameters")
    payload = json.loads(parameters).get("Payload", {}) if parameters else {}
    start: dict[str, Any] | None = payload.get("Start")
    return {key: value for key, value in start.items() if key != "RunAgain"} if start else None


@claim("preview", "the first rows are in the output, with NULL distinct from the empty string")
def preview(session: Session) -> str:
    run = session.run("SELECT * FROM (VALUES (1, 'a'), (2, ''), (3, NULL)) AS t (n, s)", PreviewRows=3)
    output = _output(run)
    shown = output["Preview"]
    expect(shown is not None, "the preview is null")
    rows = [["1", "a"], ["2", ""], ["3", None]]
    expect(shown["Rows"] == rows, f"the rows are {shown['Rows']}")
    expect([one["Name"] for one in shown["Columns"]] == ["n", "s"], f"the columns are {shown['Columns']}")
    return "three rows, without the row of column names"


@claim("result-reuse", "the result of an identical query is reused")
def result_reuse(session: Session) -> str:
    sql = f"SELECT '{uuid.uuid4()}' AS run"
    session.run(sql)
    run = session.run(sql, ResultReuseMaxAgeMinutes=60)
    output = _output(run)
    reused = output["Statistics"]["ReusedPreviousResult"]
    expect(reused, "the query ran again")
    expect(output["EstimatedCostUsd"] == 0, f"the estimate is {output['EstimatedCostUsd']} USD")
    return "reused, at no cost"


@claim("explain", "EXPLAIN runs, and is estimated to be free")
def explain(session: Session) -> str:
    run = session.run("EXPLAIN SELECT 1", PreviewRows=1)
    output = _output(run)
    session.evidence["statement_type"] = output["StatementType"]
    expect(output["EstimatedCostUsd"] == 0, f"the estimate is {output['EstimatedCostUsd']} USD")
    return f"SUCCEEDED as {output['StatementType']}"


@claim(
    "statements",
    "CREATE DATABASE, CTAS, INSERT, SHOW, DESCRIBE, UNLOAD, PREPARE, EXECUTE, DEALLOCATE and DROP run",
)
def statements(session: Session) -> str:
    if session.scratch is None:
        raise Skipped("no scratch database: name one of the stack's writeDatabases with --scratch")
    database = session.scratch
    table = f"{database}.verify_{session.id}"
    types = {}

    def run(sql: str) -> dict[str, Any]:
        output = _output(session.run(sql))
        types[" ".join(sql.split()[:2])] = output["StatementType"]
        return output

    creates = not session.database_exists(database)
    if creates:
        session.databases.append(database)
        run(f"CREATE DATABASE {database}")
    session.tables.append(table)
    created = run(f"CREATE TABLE {table} WITH (format = 'PARQUET') AS SELECT 1 AS n")
    session.prefixes.append(created["OutputLocation"])
    run(f"INSERT INTO {table} VALUES (2)")
    run(f"SHOW TABLES IN {database}")
    run(f"DESCRIBE {table}")
    if location := session.results_location():
        session.prefixes.append(f"{location}verify-{session.id}/")
        run(f"UNLOAD (SELECT n FROM {table}) TO '{session.prefixes[-1]}' WITH (format = 'PARQUET')")
    run(f"PREPARE verify_{session.id} FROM SELECT count(*) FROM {table} WHERE n > ?")
    run(f"EXECUTE verify_{session.id} USING 0")
    run(f"DEALLOCATE PREPARE verify_{session.id}")
    run(f"DROP TABLE {table}")
    session.tables.remove(table)
    if creates:
        run(f"DROP DATABASE {database}")
        session.databases.remove(database)
    session.evidence["statement_types"] = types
    return f"{len(types)} statements SUCCEEDED"


@claim(
    "idempotency-token", "Athena accepts a ClientRequestToken for one statement, and returns one query for it"
)
def idempotency_token(session: Session) -> str:
    token = f"verify-{session.id}-{'0' * 32}"
    first = session.start_query("SELECT 1 AS n", token)
    second = session.start_query("SELECT 1 AS n", token)
    expect(first == second, f"a second query was started: {second}")
    try:
        third = session.start_query("EXPLAIN SELECT 1", token)
    except ClientError as error:
        code = error.response.get("AthenaErrorCode")
        session.evidence |= {"query": first, "code": code}
        expect(code == "IDEMPOTENT_PARAMETER_MISMATCH", f"refused with {code}")
        return f"the same query, and {code} for another statement"
    raise Failed(f"another statement was accepted: {third}")


@claim("batch", "a batch runs each of its queries, and one that fails stops no other")
def batch(session: Session) -> str:
    machine = session.deployment.outputs.get(_BATCH)
    if machine is None:
        raise Skipped("the stack has no batches, since Athena manages its results")
    queries = [{"QueryString": sql} for sql in ("SELECT 1 AS n", "SELEKT 1", "SELECT 2 AS n")]
    run = session.finish(session.start({"Queries": queries}, machine))
    output = _output(run)
    session.prefixes.append(output["Manifest"].rpartition("/")[0] + "/")
    session.evidence["executions"] = [run.arn]
    counts = {name: output[name] for name in ("Queries", "Succeeded", "Errors")}
    expect(counts == {"Queries": 3, "Succeeded": 2, "Errors": {"AthenaQuery.InvalidRequest": 1}}, f"{counts}")
    return "2 of 3 queries SUCCEEDED, one failed with AthenaQuery.InvalidRequest"


@claim("document", "Step Functions validates the state machines' documents without a finding")
def document(session: Session) -> str:
    stepfunctions = session.client("stepfunctions")
    machines = [session.state_machine_arn, session.deployment.outputs.get(_BATCH)]
    faults: list[str] = []
    for arn in filter(None, machines):
        machine = stepfunctions.describe_state_machine(stateMachineArn=arn)
        answer = _supported(
            stepfunctions.validate_state_machine_definition, definition=machine["definition"], type="STANDARD"
        )
        found = [f"{one['code']} at {one.get('location')}" for one in answer["diagnostics"]]
        faults += found if found or answer["result"] == "OK" else [answer["result"]]
    session.evidence["diagnostics"] = faults
    expect(not faults, "; ".join(faults))
    return "OK"


@claim("states", "each state leads where the document intends, for each outcome of its task")
def each_state(session: Session) -> str:
    stepfunctions = session.client("stepfunctions")
    machine = stepfunctions.describe_state_machine(stateMachineArn=session.state_machine_arn)
    untried = set(json.loads(machine["definition"])["States"]) - {case.state for case in states.CASES}
    expect(not untried, f"no case for {', '.join(sorted(untried))}")
    found = []
    for case in states.CASES:
        answer = _supported(stepfunctions.test_state, **states.request(case, machine["definition"]))
        found += states.differences(case, answer)
    session.evidence["differences"] = found
    expect(not found, "; ".join(found))
    return f"{len(states.CASES)} cases of {len({case.state for case in states.CASES})} states"


# For each role, an action that it is allowed, which shows that the evaluation does not refuse everything, and
# actions that it must be refused; each on a resource of the stack's own. Nothing is called.
_EVALUATED: dict[str, tuple[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    "Executor": (
        ("athena:StartQueryExecution", "work group"),
        (
            ("athena:UpdateWorkGroup", "work group"),
            ("dynamodb:DeleteItem", "table"),
            ("dynamodb:Scan", "table"),
            ("states:StartExecution", "machine"),
        ),
    ),
    "Checker": (
        ("athena:GetQueryExecution", "work group"),
        (
            ("athena:StartQueryExecution", "work group"),
            ("athena:StopQueryExecution", "work group"),
            ("dynamodb:DeleteItem", "table"),
            ("states:StartExecution", "machine"),
        ),
    ),
    "Canceller": (
        ("athena:StopQueryExecution", "work group"),
        (
            ("athena:GetQueryResults", "work group"),
            ("dynamodb:DeleteItem", "table"),
            ("states:SendTaskSuccess", "machine"),
            ("states:StartExecution", "machine"),
        ),
    ),
    "StateMachine": (
        ("lambda:InvokeFunction", "executor"),
        (
            ("lambda:InvokeFunction", "canceller"),
            ("athena:StartQueryExecution", "work group"),
            ("dynamodb:GetItem", "table"),
            ("states:SendTaskSuccess", "machine"),
        ),
    ),
}


@claim("least-privilege", "each role is refused what its function, or the state machine, does not do")
def least_privilege(session: Session) -> str:
    resources = _resources(session)
    refused = 0
    for role, (allowed, denied) in _EVALUATED.items():
        decisions = {
            pair: _decision(session, role, pair[0], resources[pair[1]]) for pair in (allowed, *denied)
        }
        session.evidence[role] = {f"{action} on the {one}": made for (action, one), made in decisions.items()}
        expect(decisions[allowed] == "allowed", f"{role} may not {allowed[0]}: {decisions[allowed]}")
        wrong = [action for action, one in denied if decisions[action, one] == "allowed"]
        expect(not wrong, f"{role} may {', '.join(wrong)}")
        refused += len(denied)
    return f"{refused} actions refused, {len(_EVALUATED)} allowed"


def _resources(session: Session) -> dict[str, str]:
    """The ARNs of the stack's resources, by what `_EVALUATED` calls them."""
    _, partition, _, region, account, *_ = session.state_machine_arn.split(":")
    place = f"{region}:{account}"
    table = session.deployment.output("TaskTableName")
    return {
        "machine": session.state_machine_arn,
        "work group": f"arn:{partition}:athena:{place}:workgroup/{session.work_group}",
        "table": f"arn:{partition}:dynamodb:{place}:table/{table}",
        **{
            name.lower(): _function(session, name)["FunctionArn"]
            for name in ("Executor", "Checker", "Canceller")
        },
    }


def _function(session: Session, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = session.client("lambda").get_function_configuration(
        FunctionName=session.deployment.output(f"{name}FunctionName")
    )
    return answer


def _decision(session: Session, role: str, action: str, resource: str) -> str:
    if role == "StateMachine":
        machine = session.client("stepfunctions").describe_state_machine(
            stateMachineArn=session.state_machine_arn
        )
        role_arn = machine["roleArn"]
    else:
        role_arn = _function(session, role)["Role"]
    answer = _supported(
        session.client("iam").simulate_principal_policy,
        PolicySourceArn=role_arn,
        ActionNames=[action],
        ResourceArns=[resource],
    )
    decision: str = answer["EvaluationResults"][0]["EvalDecision"]
    return decision


@claim("metrics", "alarms and dashboard exist, and CloudWatch has the functions' metrics that they name")
def metrics(session: Session) -> str:
    cloudwatch = session.client("cloudwatch")
    dimensions = [{"Name": "service", "Value": session.deployment.name}]

    def names() -> set[str]:
        pages = cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=METRICS_NAMESPACE, Dimensions=dimensions
        )
        return {metric["MetricName"] for page in pages for metric in page["Metrics"]}

    wanted = {"Succeeded", "SettledByEvent", "CallbackLag", "EstimatedCost"}
    found = session.wait("metrics in CloudWatch", lambda: (known := names()) >= wanted and known)
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix=f"{session.deployment.name}-")["MetricAlarms"]
    expect(alarms, "there are no alarms")
    body = cloudwatch.get_dashboard(DashboardName=session.deployment.output("DashboardName"))["DashboardBody"]
    named = {alarm["MetricName"] for alarm in alarms if alarm.get("Namespace") == METRICS_NAMESPACE}
    named |= set(re.findall(rf'\["{METRICS_NAMESPACE}",\s*"(\w+)"', body))
    expect(named >= wanted, f"alarms and dashboard name only {', '.join(sorted(named))}")
    unknown = named - set(Metric)
    expect(not unknown, f"no function emits {', '.join(sorted(unknown))}")
    session.evidence |= {
        "metrics": sorted(found),
        "alarms": len(alarms),
        "without data": sorted(named - found),
    }
    return f"{len(named & found)} of {len(named)} metrics have data; {len(alarms)} alarms, a dashboard"


def _supported(call: Callable[..., Any], **parameters: Any) -> Any:
    """Raise Skipped if the endpoint does not support the operation."""
    try:
        return call(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] in _UNSUPPORTED:
            raise Skipped(f"{error.operation_name} is not supported at this endpoint") from None
        raise
