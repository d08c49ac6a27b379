"""Two stacks in one account, one of them with 200 databases and prefixes: none can use the other's data."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import cdk
from local.stack import SETTINGS, Stack
from tests.end_to_end.conftest import Deployment, delete_stack
from tests.permissions.operations import Trial
from tests.template.test_policy_sizes import MANAGED_CHARACTERS, MANAGED_PER_ROLE

BUCKET = "finance-data"
AREAS = [f"area_{number:03}" for number in range(200)]
# In the last of the policies.
AREA = AREAS[-1]
# Exactly the granted prefix, without its slash.
LOCATION = f"s3://{BUCKET}/{AREA}"
LEDGER = f"SELECT what FROM {AREA}.ledger WHERE n = 2"
FLIGHTS = "SELECT count(*) AS flights FROM flights.flights"


@pytest.fixture(scope="module")
def finance(deployed: Stack) -> Iterator[Trial]:
    """A stage of the stack on the same emulator, which may read 200 databases and prefixes of its own."""
    own = {name: one for name, one in SETTINGS.items() if not name.startswith(("read", "write"))}
    settings = {
        **own,
        "stage": "finance",
        "defaultDatabase": AREA,
        "readDatabases": ",".join(AREAS),
        "readPrefixes": ",".join(f"{BUCKET}/{area}/" for area in AREAS),
    }
    name = f"{deployed.name}-finance"
    outputs = cdk.deploy(deployed.endpoint, Path(deployed.home), settings)
    trial = Trial(
        stack=Stack(name=name, port=deployed.port, pid=deployed.pid, home=deployed.home, outputs=outputs)
    )
    trial.client("s3").create_bucket(Bucket=BUCKET)
    trial.administer(f"CREATE DATABASE {AREA}")
    trial.administer(
        f"CREATE EXTERNAL TABLE {AREA}.ledger (n int, what string) STORED AS PARQUET LOCATION '{LOCATION}'"
    )
    trial.administer(f"INSERT INTO {AREA}.ledger VALUES (1, 'rent'), (2, 'salaries')")
    yield trial
    trial.administer(f"DROP DATABASE {AREA} CASCADE")
    delete_stack(deployed, name)


def first_row(deployment: Deployment, sql: str, **fields: Any) -> list[str | None]:
    run = deployment.run({"QueryString": sql, "PreviewRows": 1, **fields})
    assert run.output is not None, run.cause
    row: list[str | None] = run.output["Preview"]["Rows"][0]
    return row


def refusal(deployment: Deployment, **document: Any) -> str:
    """The error and the reason of an execution that has to fail."""
    run = deployment.run(document)
    assert run.output is None
    return f"{run.error}: {run.cause['Reason']}"


def test_each_reads_its_own_data(deployment: Deployment, finance: Trial) -> None:
    assert first_row(deployment, FLIGHTS) == ["336776"]
    assert first_row(finance, LEDGER) == ["salaries"]


def test_each_ignores_the_other_s_queries(deployment: Deployment, finance: Trial) -> None:
    outputs = deployment.stack.outputs
    runs = {
        finance.stack.outputs["TaskTableName"]: deployment.run({"QueryString": FLIGHTS}),
        outputs["TaskTableName"]: finance.run({"QueryString": LEDGER}),
    }

    for other_table, run in runs.items():
        assert run.output is not None
        assert run.output["SettledBy"] in {"event", "executor"}
        key = {"Id": {"S": run.query_id}}
        assert "Item" not in deployment.client("dynamodb").get_item(TableName=other_table, Key=key)


@pytest.mark.parametrize(
    ("sql", "denied"),
    [
        (LEDGER, "glue:GetDatabase"),
        (f'SELECT * FROM "AwsDataCatalog".{AREA}.ledger', "glue:GetDatabase"),
        (f"DESCRIBE {AREA}.ledger", "glue:GetTable"),
        (f"SHOW TABLES IN {AREA}", "glue:GetDatabase"),
        (f"INSERT INTO {AREA}.ledger VALUES (3, 'x')", "glue:Get"),
        (f"DROP TABLE {AREA}.ledger", "glue:GetTable"),
        (f"CREATE VIEW {AREA}.seen AS SELECT 1 AS n", "glue:Get"),
        (f"CREATE VIEW scratch.seen AS SELECT * FROM {AREA}.ledger", "glue:GetDatabase"),
        (f"UNLOAD (SELECT 1 AS n) TO 's3://{BUCKET}/{AREA}/out/' WITH (format = 'JSON')", BUCKET),
    ],
)
def test_the_other_stack_is_refused_the_data(
    deployment: Deployment, finance: Trial, sql: str, denied: str
) -> None:
    assert finance.stack.outputs["StateMachineArn"] != deployment.stack.outputs["StateMachineArn"]
    reason = refusal(deployment, QueryString=sql)

    assert reason.startswith("AthenaQuery.Failed: ")
    assert denied in reason
    assert "not authorized" in reason or "Permission denied" in reason


def test_the_refusal_is_mutual(deployment: Deployment, finance: Trial) -> None:
    results = deployment.stack.outputs["ResultsBucketName"]
    for sql, denied in (
        (FLIGHTS, "glue:GetDatabase"),
        (f"UNLOAD ({LEDGER}) TO 's3://{results}/results/x/' WITH (format = 'JSON')", results),
        (f"UNLOAD ({LEDGER}) TO 's3://sample-data/scratch/x/' WITH (format = 'JSON')", "sample-data"),
    ):
        assert denied in refusal(finance, QueryString=sql)


def test_a_table_at_the_other_stack_s_data_does_not_open_it(deployment: Deployment, finance: Trial) -> None:
    columns = "(n int, what string) STORED AS PARQUET"
    finance.administer(f"CREATE EXTERNAL TABLE scratch.copied {columns} LOCATION '{LOCATION}'")

    reason = refusal(deployment, QueryString="SELECT * FROM scratch.copied")

    finance.administer("DROP TABLE scratch.copied")
    assert f"Permission denied on S3 path: s3://{BUCKET}/" in reason


def test_prepared_statements_and_named_queries_are_those_of_the_own_workgroup(
    deployment: Deployment, finance: Trial
) -> None:
    assert finance.execute({"QueryString": f"PREPARE salaries FROM {LEDGER}"}) is None
    named = deployment.client("athena").create_named_query(
        Name="salaries",
        Database=AREA,
        QueryString=LEDGER,
        WorkGroup=finance.stack.outputs["WorkGroupName"],
    )["NamedQueryId"]

    assert first_row(finance, "EXECUTE salaries") == ["salaries"]
    assert "was not found in workGroup" in refusal(deployment, QueryString="EXECUTE salaries")
    assert finance.execute({"NamedQueryId": named}) is None
    assert "athena:GetNamedQuery" in refusal(deployment, NamedQueryId=named)


def test_results_are_reused_only_within_a_stack(deployment: Deployment, finance: Trial) -> None:
    request = {"QueryString": "SELECT 'once' AS n", "Database": "default", "ResultReuseMaxAgeMinutes": 60}

    reused = []
    for one in (finance, finance, deployment):
        output = one.run(request).output
        assert output is not None
        reused.append(output["Statistics"]["ReusedPreviousResult"])

    assert reused == [False, True, False]


def test_the_deployed_policies_are_within_the_limits(finance: Trial) -> None:
    iam = finance.client("iam")
    name = finance.stack.outputs["ExecutorFunctionName"]
    role = finance.client("lambda").get_function_configuration(FunctionName=name)["Role"].rpartition("/")[2]
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    sizes = []
    for policy in attached:
        version = iam.get_policy(PolicyArn=policy["PolicyArn"])["Policy"]["DefaultVersionId"]
        answer = iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId=version)
        sizes.append(len(json.dumps(answer["PolicyVersion"]["Document"], separators=(",", ":"))))

    assert 1 < len(sizes) <= MANAGED_PER_ROLE
    assert max(sizes) <= MANAGED_CHARACTERS


def test_callers_of_one_stack_can_read_each_other_s_results(deployment: Deployment) -> None:
    """SECURITY.md states it: the stack is the boundary."""
    output = deployment.run({"QueryString": "SELECT 'of another caller' AS value"}).output
    assert output is not None
    location = f"s3://{deployment.stack.outputs['ResultsBucketName']}/results/"
    table = f"(value string) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' LOCATION '{location}'"

    deployment.run({"QueryString": f"CREATE EXTERNAL TABLE scratch.results {table}"})
    where = f"\"$path\" = '{output['OutputLocation']}' AND value LIKE '%caller%'"

    assert first_row(deployment, f"SELECT value FROM scratch.results WHERE {where}") == [
        '"of another caller"'
    ]
    deployment.run({"QueryString": "DROP TABLE scratch.results"})
