"""A query has the permissions of the role that starts it."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping

import pytest
from botocore.exceptions import ClientError
from ministack import app

from tests.athena import in_process
from tests.athena.conftest import BUCKET, WORK_GROUP, Athena, clients

_ACCOUNT = "000000000000"
_GLUE = f"arn:aws:glue:{in_process.REGION}:{_ACCOUNT}:"
_S3 = f"arn:aws:s3:::{BUCKET}"
_KEY = f"arn:aws:kms:{in_process.REGION}:{_ACCOUNT}:key/0c9231a0-de75-4736-bdfa-dd3f3de85970"

# ARNs by action, and for s3:ListBucket prefixes in the bucket.
Grants = dict[str, list[str]]
Role = Callable[[Grants], Athena]

_DATABASES = [f"{_GLUE}catalog", f"{_GLUE}database/guarded", f"{_GLUE}database/default"]
_TABLES = [*_DATABASES, f"{_GLUE}table/guarded/*"]
_START: Grants = {
    "athena:*": ["*"],
    "s3:GetBucketLocation": [_S3],
    "s3:PutObject": [f"{_S3}/results/*"],
}
_FIND: Grants = {"glue:GetDatabase": _DATABASES, "glue:GetTable": _TABLES}
_READ: Grants = {
    **_FIND,
    "glue:GetPartitions": _TABLES,
    "s3:ListBucket": ["guarded/*"],
    "s3:GetObject": [f"{_S3}/guarded/*"],
}
_ADD: Grants = {"glue:BatchCreatePartition": _TABLES}
_WRITE: Grants = {"s3:PutObject": [f"{_S3}/results/*", f"{_S3}/guarded/*"]}

# A statement, the permissions that it needs besides those to start it.
_STATEMENTS: dict[str, Grants] = {
    "SELECT count(*) FROM guarded.orders": _READ,
    "SELECT * FROM guarded.summary": _READ,
    'SELECT * FROM guarded."orders$partitions"': {**_FIND, "glue:GetPartitions": _TABLES},
    "CREATE TABLE guarded.made AS SELECT 1 AS n": {
        **_FIND,
        "s3:ListBucket": ["results/*"],
        "glue:CreateTable": _TABLES,
    },
    "INSERT INTO guarded.orders SELECT 3, 'c'": {
        **_FIND,
        **_WRITE,
        **_ADD,
        "glue:GetPartitions": _TABLES,
    },
    f"UNLOAD (SELECT n FROM guarded.orders) TO 's3://{BUCKET}/guarded/out/' WITH (format = 'JSON')": {
        **_READ,
        **_WRITE,
    },
    "CREATE VIEW guarded.seen AS SELECT 1 AS n": {**_FIND, "glue:CreateTable": _TABLES},
    "CREATE OR REPLACE VIEW guarded.summary AS SELECT 1 AS n": {**_FIND, "glue:UpdateTable": _TABLES},
    f"CREATE EXTERNAL TABLE guarded.external (n int) LOCATION 's3://{BUCKET}/guarded/external/'": {
        **_FIND,
        "glue:CreateTable": _TABLES,
    },
    "ALTER TABLE guarded.orders SET TBLPROPERTIES ('a' = 'b')": {
        "glue:GetTable": _TABLES,
        "glue:UpdateTable": _TABLES,
    },
    "ALTER TABLE guarded.orders ADD PARTITION (day = 'z')": {
        "glue:GetTable": _TABLES,
        "glue:GetPartitions": _TABLES,
        **_ADD,
    },
    "ALTER TABLE guarded.orders DROP PARTITION (day = 'a')": {
        "glue:GetTable": _TABLES,
        "glue:GetPartitions": _TABLES,
        "glue:DeletePartition": _TABLES,
    },
    "MSCK REPAIR TABLE guarded.found": {
        "glue:GetTable": _TABLES,
        "glue:GetPartitions": _TABLES,
        "s3:ListBucket": ["guarded/*"],
        **_ADD,
    },
    "DROP TABLE guarded.orders": {"glue:GetTable": _TABLES, "glue:DeleteTable": _TABLES},
    "SHOW TABLES IN guarded": {"glue:GetDatabase": _DATABASES, "glue:GetTables": _TABLES},
    "SHOW DATABASES": {"glue:GetDatabases": [f"{_GLUE}catalog", f"{_GLUE}database/*"]},
    "SHOW PARTITIONS guarded.orders": {"glue:GetTable": _TABLES, "glue:GetPartitions": _TABLES},
    "DESCRIBE guarded.orders": {"glue:GetTable": _TABLES},
    "CREATE DATABASE more": {
        "glue:GetDatabase": [*_DATABASES, f"{_GLUE}database/more"],
        "glue:CreateDatabase": [f"{_GLUE}catalog", f"{_GLUE}database/more"],
    },
    "DROP DATABASE guarded CASCADE": {
        "glue:GetDatabase": _DATABASES,
        "glue:GetTables": _TABLES,
        "glue:DeleteTable": _TABLES,
        "glue:DeleteDatabase": [*_TABLES, f"{_GLUE}userDefinedFunction/guarded/*"],
    },
    "EXPLAIN SELECT 1": {},
}


@pytest.fixture(autouse=True)
def guarded(athena: Athena) -> Iterator[None]:
    """A database with a partitioned table, a view of it, and a table with a partition that Glue lacks."""
    athena.run("CREATE DATABASE guarded")
    columns = f"(n int) PARTITIONED BY (day string) STORED AS PARQUET LOCATION 's3://{BUCKET}/guarded"
    athena.run(f"CREATE EXTERNAL TABLE guarded.orders {columns}/orders/'")
    athena.run("INSERT INTO guarded.orders SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v(n, day)")
    athena.run("CREATE VIEW guarded.summary AS SELECT sum(n) AS n FROM guarded.orders")
    athena.put("guarded/found/day=x/empty", b"")
    athena.run(f"CREATE EXTERNAL TABLE guarded.found {columns}/found/'")
    yield
    athena.run("DROP DATABASE IF EXISTS guarded CASCADE")
    athena.run("DROP DATABASE IF EXISTS more")
    listed = athena.s3.list_objects_v2(Bucket=BUCKET, Prefix="guarded/").get("Contents", [])
    for one in listed:
        athena.s3.delete_object(Bucket=BUCKET, Key=one["Key"])


@pytest.fixture
def role(loop: in_process.Loop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Role]:
    """Clients with the credentials of a role that has these permissions only."""
    root = in_process.session(loop)
    iam, sts = root.client("iam"), root.client("sts")
    trust = {"Effect": "Allow", "Principal": {"AWS": _ACCOUNT}, "Action": "sts:AssumeRole"}
    made = iam.create_role(RoleName="starter", AssumeRolePolicyDocument=_document(trust))["Role"]
    credentials = sts.assume_role(RoleArn=made["Arn"], RoleSessionName="test")["Credentials"]
    started = clients(in_process.session(loop, dict(credentials)))
    monkeypatch.setattr(app, "AUTH", True)

    def grant(grants: Grants) -> Athena:
        document = _document(*(_statement(action, granted) for action, granted in grants.items()))
        iam.put_role_policy(RoleName="starter", PolicyName="grants", PolicyDocument=document)
        return started

    yield grant
    iam.delete_role_policy(RoleName="starter", PolicyName="grants")
    iam.delete_role(RoleName="starter")


def _statement(action: str, granted: list[str]) -> dict[str, object]:
    statement: dict[str, object] = {"Effect": "Allow", "Action": action, "Resource": granted}
    if action == "s3:ListBucket":
        return statement | {"Resource": _S3, "Condition": {"StringLike": {"s3:prefix": granted}}}
    return statement


def _document(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _denied(action: str) -> str:
    """What the reason of a failure contains if this action is denied."""
    return "Permission denied on S3 path: s3://" if action.startswith("s3:") else f"perform: {action} on "


@pytest.mark.parametrize("sql", _STATEMENTS)
def test_a_statement_needs_exactly_the_permissions_that_aws_documents(role: Role, sql: str) -> None:
    needed = _STATEMENTS[sql]
    for action in needed:
        granted = {**_START, **needed}
        if action == "s3:PutObject":
            granted[action] = _START[action]
        else:
            del granted[action]
        assert _denied(action) in role(granted).reason(sql)

    query = role({**_START, **needed}).run(sql)

    assert query["Status"]["State"] == "SUCCEEDED", query["Status"].get("StateChangeReason")


def test_a_denial_by_glue_fails_the_query_as_on_athena(role: Role) -> None:
    starter = role({**_START, **_READ, "glue:GetTable": [f"{_GLUE}catalog", f"{_GLUE}table/guarded/orders"]})

    error = starter.run("SELECT * FROM guarded.orders")["Status"]["AthenaError"]

    assert (error["ErrorCategory"], error["ErrorType"], error["Retryable"]) == (2, 1500, False)
    assert error["ErrorMessage"] == (
        f"Insufficient permissions to execute the query. User: arn:aws:sts::{_ACCOUNT}:assumed-role/starter/"
        f"test is not authorized to perform: glue:GetTable on resource: {_GLUE}database/guarded because no "
        "identity-based policy allows the glue:GetTable action (Service: AmazonDataCatalog; "
        "Status Code: 400; Error Code: AccessDeniedException)"
    )


def test_a_denial_by_s3_fails_the_query_as_on_athena(role: Role) -> None:
    starter = role({**_START, **_READ, "s3:GetObject": [f"{_S3}/elsewhere/*"]})

    error = starter.run("SELECT * FROM guarded.orders")["Status"]["AthenaError"]

    assert (error["ErrorCategory"], error["ErrorType"]) == (2, 1403)
    assert error["ErrorMessage"].startswith(
        f"Permission denied on S3 path: s3://{BUCKET}/guarded/orders/day=a/"
    )


def test_the_bucket_policy_denies_too(role: Role, athena: Athena) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"{_S3}/guarded/*",
    }
    athena.s3.put_bucket_policy(Bucket=BUCKET, Policy=_document(statement))

    try:
        reason = role({**_START, **_READ}).reason("SELECT * FROM guarded.orders")
    finally:
        athena.s3.delete_bucket_policy(Bucket=BUCKET)

    assert _denied("s3:GetObject") in reason


def test_the_list_permission_may_be_limited_to_other_prefixes(role: Role) -> None:
    starter = role({**_START, **_READ, "s3:ListBucket": ["elsewhere/*"]})

    reason = starter.reason("SELECT * FROM guarded.orders")

    assert reason == f"Permission denied on S3 path: s3://{BUCKET}/guarded/orders/day=a/"


def test_a_result_that_must_not_be_written_fails_the_query(role: Role) -> None:
    query = role({**_START, "s3:PutObject": [f"{_S3}/elsewhere/*"]}).run("SELECT 1")

    assert query["Status"]["AthenaError"]["ErrorType"] == 401
    assert query["Status"]["StateChangeReason"].startswith("Access denied when writing output to url: s3://")


def test_a_start_needs_the_location_of_the_results_bucket(role: Role) -> None:
    starter = role({"athena:*": ["*"]})

    with pytest.raises(ClientError, match=f"Unable to verify/create output bucket {BUCKET}"):
        starter.start("SELECT 1")


def test_the_information_schema_leaves_out_what_the_starter_may_not_list(role: Role) -> None:
    everything = [f"{_GLUE}catalog", f"{_GLUE}database/*"]
    read_results = {"s3:GetObject": [f"{_S3}/results/*"]}
    starter = role({**_START, **read_results, "glue:GetDatabases": everything, "glue:GetTables": _TABLES})

    rows = starter.rows("SELECT DISTINCT table_schema FROM information_schema.tables")

    assert rows == [["table_schema"], ["guarded"]]


def test_a_repeated_start_needs_no_permission_on_the_tables(role: Role, athena: Athena) -> None:
    request = {"ClientRequestToken": str(uuid.uuid4()), "context": {"Database": "guarded"}}
    first = athena.start("SELECT * FROM orders", **request)
    athena.ended(first)

    starter = role(_START)

    assert starter.start("SELECT * FROM orders", **request) == first
    assert _denied("glue:GetDatabase") in starter.reason(
        "SELECT * FROM orders", context={"Database": "guarded"}
    )


def test_encrypted_results_need_the_key(role: Role, athena: Athena) -> None:
    encryption = {"EncryptionOption": "SSE_KMS", "KmsKey": _KEY}
    athena.work_group(
        "encrypted",
        ResultConfiguration={
            "OutputLocation": f"s3://{BUCKET}/results/",
            "EncryptionConfiguration": encryption,
        },
    )
    read_results = {"s3:GetObject": [f"{_S3}/results/*"]}

    assert (
        role({**_START, **read_results})
        .reason("SELECT 1", WorkGroup="encrypted")
        .startswith("Access denied when writing output")
    )
    writer = role({**_START, **read_results, "kms:GenerateDataKey": [_KEY]})
    query = writer.run("SELECT 1 AS n", WorkGroup="encrypted")
    assert query["Status"]["State"] == "SUCCEEDED"
    with pytest.raises(ClientError, match="not seem to have access"):
        writer.results(query["QueryExecutionId"])

    role({**_START, **read_results, "kms:Decrypt": [_KEY]}).results(query["QueryExecutionId"])


def test_reading_a_result_needs_access_to_its_object(role: Role) -> None:
    started = role(_START).run("SELECT 1 AS n")["QueryExecutionId"]

    with pytest.raises(ClientError, match="not seem to have access to the S3 location"):
        role(_START).results(started)

    reader = role({**_START, "s3:GetObject": [f"{_S3}/results/*"]})
    assert reader.results(started)["ResultSet"]["Rows"]


@pytest.mark.parametrize(
    ("sql", "action"),
    [
        ("PREPARE counted FROM SELECT 1", "athena:CreatePreparedStatement"),
        ("DEALLOCATE PREPARE counted", "athena:DeletePreparedStatement"),
    ],
)
def test_prepared_statements_need_permissions_of_the_workgroup(role: Role, sql: str, action: str) -> None:
    calls = {"athena:StartQueryExecution": ["*"], "athena:GetQueryExecution": ["*"]}
    granted = {**{name: arns for name, arns in _START.items() if name != "athena:*"}, **calls}

    assert _denied(action) in role(granted).reason(sql)
    assert (
        role({**granted, action: [f"arn:aws:athena:*:*:workgroup/{WORK_GROUP}"]}).run(sql)["Status"]["State"]
        == "SUCCEEDED"
    )
