"""A row for each statement of each role, and the settings of a stack that has them all."""

from collections.abc import Mapping
from dataclasses import dataclass

from local import stack as local_stack
from tests.permissions import operations
from tests.permissions.operations import Operation
from tools.template_checks import BROUGHT, key_arn

_PREFIX = "test-"

# Every setting that adds a statement. The local stack does not look up the keys, subnets and the function.
SETTINGS: Mapping[str, str] = {
    **local_stack.SETTINGS,
    "stackName": "Permissions",
    "roleNamePrefix": _PREFIX,
    # Nothing polls while a statement is missing.
    "patienceSeconds": "3600",
    "readDatabases": "flights",
    "writeDatabases": "scratch,temporary",
    "writeTables": "shared.written",
    "writePrefixes": "sample-data/scratch/,sample-data/shared/",
    "spillPrefixes": "sample-data/spill/",
    "lakeFormation": "true",
    "federatedCatalogs": "redis",
    "connectorFunctions": "arn:aws:lambda:us-east-1:000000000000:function:connector",
    "dataKeyArns": key_arn("data"),
    "catalogKeyArn": key_arn("catalog"),
    **{
        name: BROUGHT[name]
        for name in ("resultsKeyArn", "tableKeyArn", "queueKeyArn", "vpcSubnetIds", "vpcSecurityGroupIds")
    },
}


@dataclass(frozen=True)
class NotEnforced:
    """A statement whose lack the local stack does not show: why, and the document that asks for it."""

    reason: str
    source: str


Row = Operation | NotEnforced

_DOCS = "https://docs.aws.amazon.com"
_STEP_FUNCTIONS = f"{_DOCS}/step-functions/latest/dg"
_ATHENA = f"{_DOCS}/athena/latest/ug"
_LAMBDA = f"{_DOCS}/lambda/latest/dg"

_NO_TRACES = "no X-Ray"
_CATALOGS = NotEnforced(
    "Athena does not read the data catalog's description", f"{_STEP_FUNCTIONS}/athena-iam.html"
)

_BUCKET_KEY = NotEnforced(
    "S3 does not use a bucket's KMS key", f"{_DOCS}/AmazonS3/latest/userguide/UsingKMSEncryption.html"
)

_FUNCTION: Mapping[str, Row] = {
    "WriteTraces": NotEnforced(_NO_TRACES, f"{_LAMBDA}/services-xray.html"),
}

_STATE_MACHINE: Mapping[str, Row] = {
    "WriteTraces": NotEnforced(_NO_TRACES, f"{_STEP_FUNCTIONS}/concepts-xray-tracing.html"),
}

# Role, statement: numbers in a Sid are left out, since a long statement is split into numbered parts.
ROWS: Mapping[str, Mapping[str, Row]] = {
    "Executor": {
        **_FUNCTION,
        "WriteLog": operations.log("Executor"),
        "AttachToVpc": operations.attach("Executor"),
        "UseTableKey": operations.ANY_QUERY,
        "SettleTasks": operations.REFUSED_QUERY,
        "AccessTaskTable": operations.ANY_QUERY,
        "RunQueries": operations.ANY_QUERY,
        "ResolveCatalogs": _CATALOGS,
        "UseResultsKey": operations.ANY_QUERY,
        "LocateResults": operations.ANY_QUERY,
        "ListResults": operations.CREATE_TABLE,
        "AccessResults": operations.ANY_QUERY,
        "Catalog": operations.READ,
        "DescribeDatabases": operations.LIST_TABLES,
        "ListDatabases": operations.LIST_DATABASES,
        "ReadTables": operations.READ,
        "WriteTables": operations.INSERT,
        "WriteDatabases": operations.CREATE_TABLE,
        "DropFunctions": operations.DROP_DATABASE,
        "LocateData": NotEnforced(
            "Athena does not look up the Region of a table's bucket", f"{_STEP_FUNCTIONS}/athena-iam.html"
        ),
        "ListData": operations.READ,
        "ReadData": operations.READ,
        "ListUploads": NotEnforced("objects are written in one part", f"{_STEP_FUNCTIONS}/athena-iam.html"),
        "WriteData": operations.INSERT,
        "UseDataKeys": _BUCKET_KEY,
        "UseCatalogKey": NotEnforced(
            "Glue does not use a key", f"{_ATHENA}/access-encrypted-data-glue-data-catalog.html"
        ),
        "InvokeConnectors": NotEnforced(
            "no federated catalogs", f"{_ATHENA}/federated-query-iam-access.html"
        ),
        "LakeFormation": NotEnforced("no Lake Formation", f"{_STEP_FUNCTIONS}/athena-iam.html"),
    },
    "Checker": {
        **_FUNCTION,
        "WriteLog": operations.log("Checker"),
        "AttachToVpc": operations.attach("Checker"),
        "UseTableKey": operations.COMPLETE,
        "SendDeadLetters": operations.lose_event("Checker"),
        "SettleTasks": operations.COMPLETE,
        "AccessTaskTable": operations.COMPLETE,
        "ReadQueries": operations.COMPLETE,
        "AccessResults": operations.PREVIEW,
        "UseResultsKey": operations.PREVIEW,
        "UseQueueKey": operations.lose_event("Checker"),
    },
    "Canceller": {
        **_FUNCTION,
        "WriteLog": operations.log("Canceller"),
        "AttachToVpc": operations.attach("Canceller"),
        "UseTableKey": operations.ABORT,
        "SendDeadLetters": operations.lose_event("Canceller"),
        "AccessTaskTable": operations.ABORT,
        "StopQueries": operations.ABORT,
        "ResolveCatalogs": _CATALOGS,
        "LocateResults": operations.CLAIM_START,
        "AccessResults": operations.CLAIM_START,
        "ListExecutions": operations.SWEEP,
        "ReadExecutions": operations.FAIL,
        "UseQueueKey": operations.lose_event("Canceller"),
        "UseResultsKey": operations.CLAIM_START,
    },
    "StateMachine": {
        **_STATE_MACHINE,
        "DeliverLog": operations.logging("StateMachineArn"),
        "InvokeFunctions": operations.ANY_QUERY,
    },
    "Planner": {
        **_FUNCTION,
        "WriteLog": operations.log("Planner"),
        "AttachToVpc": operations.attach("Planner"),
        "ReadBatches": operations.RUN_BATCH,
        "WritePlans": operations.RUN_BATCH,
        "UseResultsKey": _BUCKET_KEY,
    },
    "Reporter": {
        **_FUNCTION,
        "WriteLog": operations.log("Reporter"),
        "AttachToVpc": operations.attach("Reporter"),
        "UseTableKey": operations.LATE_QUERY,
        "SendDeadLetters": operations.lose_event("Reporter"),
        "AccessFiles": operations.RUN_BATCH,
        "ListBatches": operations.LATE_QUERY,
        "ReadExecutions": operations.LATE_QUERY,
        "StopExecutions": operations.LATE_QUERY,
        "DescribeQueries": operations.LATE_QUERY,
        "ReadTaskTable": operations.LATE_QUERY,
        "UseQueueKey": operations.lose_event("Reporter"),
        "UseResultsKey": _BUCKET_KEY,
    },
    "BatchStateMachine": {
        **_STATE_MACHINE,
        "DeliverLog": operations.logging("BatchStateMachineArn"),
        "InvokeFunctions": operations.RUN_BATCH,
        "StartQueriesAndChildren": operations.RUN_BATCH,
        "FollowQueries": operations.RUN_BATCH,
        "ReceiveEndsOfQueries": operations.RUN_BATCH,
        "AccessFiles": operations.RUN_BATCH,
        "ManageChildren": operations.REDRIVE_BATCH,
        "UseResultsKey": _BUCKET_KEY,
    },
}


def role_name(role: str) -> str:
    """The name of a deployed role."""
    return f"{_PREFIX}{SETTINGS['stackName']}-{role}"


def role_of(name: str) -> str:
    """The role of a deployed role's name."""
    return name.removeprefix(role_name(""))
