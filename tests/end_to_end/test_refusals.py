"""Under enforced IAM, each role and each kind of reader may do what its row allows, and nothing else."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local.environment import ACCOUNT, REGION
from local.stack import Stack
from ops.execution import follow, start
from tests.permissions.policies import deployed_role, deployed_statements

_REFUSALS = {"AccessDenied", "AccessDeniedException"}
_OTHER_MACHINE = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:Other"


@dataclass(frozen=True, kw_only=True)
class Target:
    """The deployed stack, and one execution of it that has ended."""

    outputs: Mapping[str, str]
    log_group: str
    execution_arn: str
    query_id: str
    token: str

    def batch_file(self, key: str) -> dict[str, str]:
        bucket, _, prefix = self.outputs["BatchesLocation"].removeprefix("s3://").partition("/")
        return {"Bucket": bucket, "Key": f"{prefix}{key}"}

    def own_batch_file(self) -> dict[str, str]:
        """A file that the stack writes for a batch."""
        machine = self.outputs["BatchStateMachineArn"].rpartition(":")[2]
        return self.batch_file(f"{machine}/nothing")

    def result(self) -> dict[str, str]:
        return {"Bucket": self.outputs["ResultsBucketName"], "Key": f"results/{self.query_id}.csv"}


Client = Callable[[str], Any]
Call = Callable[[Client, Target], Any]


def _invoke(name: str) -> Call:
    """Lambda only checks the permission."""
    return lambda client, target: client("lambda").invoke(
        FunctionName=target.outputs[f"{name}FunctionName"], InvocationType="DryRun"
    )


def _item(operation: str) -> Call:
    return lambda client, target: getattr(client("dynamodb"), operation)(
        TableName=target.outputs["TaskTableName"], Key={"Id": {"S": "nothing"}}
    )


def _query(operation: str) -> Call:
    return lambda client, target: getattr(client("athena"), operation)(QueryExecutionId=target.query_id)


def _execution(operation: str) -> Call:
    return lambda client, target: getattr(client("stepfunctions"), operation)(
        executionArn=target.execution_arn
    )


# None of them does harm where it is allowed.
CALLS: Mapping[str, Call] = {
    "StartExecution": lambda client, target: client("stepfunctions").start_execution(
        stateMachineArn=target.outputs["StateMachineArn"], input='{"QueryString": "SELECT 1"}'
    ),
    "StartExecution of another state machine": lambda client, _: client("stepfunctions").start_execution(
        stateMachineArn=_OTHER_MACHINE
    ),
    "StartExecution of a batch": lambda client, target: client("stepfunctions").start_execution(
        stateMachineArn=target.outputs["BatchStateMachineArn"], input="{}"
    ),
    "ListExecutions of batches": lambda client, target: client("stepfunctions").list_executions(
        stateMachineArn=target.outputs["BatchStateMachineArn"]
    ),
    "StopExecution": _execution("stop_execution"),
    "RedriveExecution": _execution("redrive_execution"),
    "DescribeExecution": _execution("describe_execution"),
    "GetExecutionHistory": _execution("get_execution_history"),
    "ListExecutions": lambda client, target: client("stepfunctions").list_executions(
        stateMachineArn=target.outputs["StateMachineArn"]
    ),
    "UpdateStateMachine": lambda client, target: client("stepfunctions").update_state_machine(
        stateMachineArn=target.outputs["StateMachineArn"]
    ),
    "SendTaskSuccess": lambda client, target: client("stepfunctions").send_task_success(
        taskToken=target.token, output="{}"
    ),
    "SendTaskFailure": lambda client, target: client("stepfunctions").send_task_failure(
        taskToken=target.token
    ),
    "Invoke the executor": _invoke("Executor"),
    "Invoke the checker": _invoke("Checker"),
    "Invoke the canceller": _invoke("Canceller"),
    "Invoke the planner": _invoke("Planner"),
    "Invoke the reporter": _invoke("Reporter"),
    "UpdateFunctionConfiguration": lambda client, target: client("lambda").update_function_configuration(
        FunctionName=target.outputs["ExecutorFunctionName"], Description="Starts queries"
    ),
    "StartQueryExecution": lambda client, target: client("athena").start_query_execution(
        QueryString="EXPLAIN SELECT 1", WorkGroup=target.outputs["WorkGroupName"]
    ),
    "StartQueryExecution in another workgroup": lambda client, _: client("athena").start_query_execution(
        QueryString="EXPLAIN SELECT 1", WorkGroup="primary"
    ),
    "StopQueryExecution": _query("stop_query_execution"),
    "GetQueryExecution": _query("get_query_execution"),
    "GetQueryResults": _query("get_query_results"),
    "BatchGetQueryExecution": lambda client, target: client("athena").batch_get_query_execution(
        QueryExecutionIds=[target.query_id]
    ),
    "ListQueryExecutions": lambda client, target: client("athena").list_query_executions(
        WorkGroup=target.outputs["WorkGroupName"]
    ),
    "UpdateWorkGroup": lambda client, target: client("athena").update_work_group(
        WorkGroup=target.outputs["WorkGroupName"], Description="Queries"
    ),
    "GetTable of a database in the settings": lambda client, _: client("glue").get_table(
        DatabaseName="flights", Name="airlines"
    ),
    "GetTable of another database": lambda client, _: client("glue").get_table(
        DatabaseName="elsewhere", Name="orders"
    ),
    "DeleteTable of a database that is read": lambda client, _: client("glue").delete_table(
        DatabaseName="flights", Name="nothing"
    ),
    "DeleteTable of a database that is written": lambda client, _: client("glue").delete_table(
        DatabaseName="scratch", Name="nothing"
    ),
    "GetObject of a table": lambda client, _: client("s3").get_object(
        Bucket="sample-data", Key="flights/airlines/airlines.parquet"
    ),
    "PutObject to a table that is read": lambda client, _: client("s3").put_object(
        Bucket="sample-data", Key="flights/nothing/nothing", Body=b""
    ),
    "PutObject to a prefix that is written": lambda client, _: client("s3").put_object(
        Bucket="sample-data", Key="scratch/nothing", Body=b""
    ),
    "GetObject elsewhere": lambda client, _: client("s3").get_object(Bucket="sample-data", Key="elsewhere"),
    "GetObject of a result": lambda client, target: client("s3").get_object(**target.result()),
    "PutObject of a result": lambda client, target: client("s3").put_object(
        **target.result() | {"Key": "results/nothing"}, Body=b""
    ),
    "DeleteObject of a result": lambda client, target: client("s3").delete_object(
        **target.result() | {"Key": "results/nothing"}
    ),
    "GetObject of a caller's batch": lambda client, target: client("s3").get_object(
        **target.batch_file("nothing")
    ),
    "PutObject of a caller's batch": lambda client, target: client("s3").put_object(
        **target.batch_file("nothing"), Body=b""
    ),
    "GetObject of a manifest": lambda client, target: client("s3").get_object(**target.own_batch_file()),
    "PutObject of a manifest": lambda client, target: client("s3").put_object(
        **target.own_batch_file(), Body=b""
    ),
    "GetBucketPolicy": lambda client, target: client("s3").get_bucket_policy(
        Bucket=target.outputs["ResultsBucketName"]
    ),
    "GetItem": _item("get_item"),
    "UpdateItem": _item("update_item"),
    "DeleteItem": _item("delete_item"),
    "BatchGetItem": lambda client, target: client("dynamodb").batch_get_item(
        RequestItems={target.outputs["TaskTableName"]: {"Keys": [{"Id": {"S": "nothing"}}]}}
    ),
    "Scan": lambda client, target: client("dynamodb").scan(TableName=target.outputs["TaskTableName"]),
    "SendMessage": lambda client, target: client("sqs").send_message(
        QueueUrl=target.outputs["DeadLetterQueueUrl"], MessageBody="{}"
    ),
    "ReceiveMessage": lambda client, target: client("sqs").receive_message(
        QueueUrl=target.outputs["DeadLetterQueueUrl"], VisibilityTimeout=0
    ),
    "FilterLogEvents": lambda client, target: client("logs").filter_log_events(
        logGroupName=target.log_group, limit=1
    ),
    "DeleteLogStream": lambda client, target: client("logs").delete_log_stream(
        logGroupName=target.log_group, logStreamName="nothing"
    ),
    "DisableRule": lambda client, _: client("events").disable_rule(Name="nothing"),
    "PutRolePolicy": lambda client, _: client("iam").put_role_policy(
        RoleName="nothing", PolicyName="nothing", PolicyDocument="{}"
    ),
    "AssumeRole": lambda client, _: client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/nothing", RoleSessionName="nothing"
    ),
}

ROLES = {
    *("Executor", "Checker", "Canceller", "StateMachine"),
    *("Planner", "Reporter", "BatchStateMachine"),
}
ALLOWED: Mapping[str, set[str]] = {
    "Executor": {
        *("SendTaskSuccess", "SendTaskFailure", "GetItem", "UpdateItem"),
        *("StartQueryExecution", "StopQueryExecution", "GetQueryExecution", "GetQueryResults"),
        *("GetTable of a database in the settings", "DeleteTable of a database that is written"),
        *("GetObject of a table", "PutObject to a prefix that is written"),
        *("GetObject of a result", "PutObject of a result"),
    },
    "Checker": {
        *("SendTaskSuccess", "SendTaskFailure", "GetItem", "UpdateItem"),
        *("GetQueryExecution", "GetQueryResults", "GetObject of a result"),
        "SendMessage",
    },
    "Canceller": {
        *("ListExecutions", "DescribeExecution", "UpdateItem", "BatchGetItem"),
        *("StartQueryExecution", "StopQueryExecution", "GetQueryExecution", "BatchGetQueryExecution"),
        *("PutObject of a result", "SendMessage"),
    },
    "StateMachine": {"Invoke the executor", "Invoke the checker"},
    "Planner": {"GetObject of a caller's batch", "GetObject of a manifest", "PutObject of a manifest"},
    "Reporter": {
        *("ListExecutions of batches", "DescribeExecution", "StopExecution", "GetQueryExecution"),
        *("BatchGetItem", "SendMessage", "GetObject of a manifest", "PutObject of a manifest"),
    },
    "BatchStateMachine": {
        *("StartExecution", "StartExecution of a batch", "DescribeExecution", "StopExecution"),
        *("Invoke the planner", "Invoke the reporter"),
        *("GetObject of a manifest", "PutObject of a manifest"),
    },
    "a caller": {"StartExecution"},
    "a caller of batches": {"StartExecution of a batch"},
    "a reader of the logs": {"FilterLogEvents"},
    "a reader of the task table": {"GetItem", "Scan"},
    "a reader of the dead letters": {"ReceiveMessage"},
}


@pytest.fixture(scope="module")
def target(deployed: Stack) -> Iterator[Target]:
    stepfunctions, outputs = deployed.client("stepfunctions"), deployed.outputs
    arn = start(stepfunctions, outputs["StateMachineArn"], {"QueryString": "SELECT 1 AS n"})
    query_id = follow(stepfunctions, arn).query_id
    history = stepfunctions.get_execution_history(executionArn=arn)["events"]
    scheduled = next(one["taskScheduledEventDetails"] for one in history if one["type"] == "TaskScheduled")
    configuration = deployed.client("lambda").get_function_configuration(
        FunctionName=outputs["ExecutorFunctionName"]
    )
    assert query_id is not None
    written = Target(
        outputs=outputs,
        log_group=configuration["LoggingConfig"]["LogGroup"],
        execution_arn=arn,
        query_id=query_id,
        token=json.loads(scheduled["parameters"])["Payload"]["TaskToken"],
    )
    yield written
    # What the allowed calls have written.
    deployed.client("sqs").purge_queue(QueueUrl=outputs["DeadLetterQueueUrl"])
    deployed.client("dynamodb").delete_item(TableName=outputs["TaskTableName"], Key={"Id": {"S": "nothing"}})
    s3 = deployed.client("s3")
    s3.delete_object(Bucket="sample-data", Key="scratch/nothing")
    s3.delete_object(Bucket=outputs["ResultsBucketName"], Key="results/nothing")
    s3.delete_object(**written.own_batch_file())


def statements_of(deployed: Stack, principal: str) -> list[dict[str, Any]]:
    """The statements of a deployed role, or those that a caller or a reader is given."""
    outputs = deployed.outputs
    if principal in ROLES:
        return deployed_statements(deployed.client("iam"), deployed_role(deployed, principal))
    queue = outputs["DeadLetterQueueUrl"].rpartition("/")[2]
    actions, resource = {
        "a caller": (["states:StartExecution"], outputs["StateMachineArn"]),
        "a caller of batches": (["states:StartExecution"], outputs["BatchStateMachineArn"]),
        "a reader of the logs": (["logs:FilterLogEvents"], "*"),
        "a reader of the task table": (
            ["dynamodb:GetItem", "dynamodb:Scan"],
            f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{outputs['TaskTableName']}",
        ),
        "a reader of the dead letters": (
            ["sqs:ReceiveMessage"],
            f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}",
        ),
    }[principal]
    return [{"Effect": "Allow", "Action": actions, "Resource": resource}]


@pytest.fixture
def client_of(deployed: Stack) -> Iterator[Callable[[str], Client]]:
    """Clients with the permissions of a principal, from a role with the same statements."""
    iam, name = deployed.client("iam"), "same-statements"

    def clients(principal: str) -> Client:
        trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(trust))["Role"]
        iam.put_role_policy(
            RoleName=name,
            PolicyName=name,
            PolicyDocument=_document(*statements_of(deployed, principal)),
        )
        credentials = deployed.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="test")
        session = boto3.Session(
            aws_access_key_id=credentials["Credentials"]["AccessKeyId"],
            aws_secret_access_key=credentials["Credentials"]["SecretAccessKey"],
            aws_session_token=credentials["Credentials"]["SessionToken"],
            region_name=REGION,
        )
        once = Config(retries={"total_max_attempts": 1}, proxies={})
        made: dict[str, Any] = {}

        def client(service: str) -> Any:
            if service not in made:
                made[service] = session.client(service, endpoint_url=deployed.endpoint, config=once)  # type: ignore[call-overload]
            return made[service]

        return client

    yield clients
    iam.delete_role_policy(RoleName=name, PolicyName=name)
    iam.delete_role(RoleName=name)


def _document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def is_refused(call: Call, client: Client, target: Target) -> bool:
    try:
        call(client, target)
    except ClientError as error:
        return error.response["Error"]["Code"] in _REFUSALS
    return False


@pytest.mark.parametrize("principal", ALLOWED)
def test_a_principal_may_do_exactly_what_its_row_allows(
    client_of: Callable[[str], Client], target: Target, principal: str
) -> None:
    client = client_of(principal)

    allowed = {name for name, call in CALLS.items() if not is_refused(call, client, target)}

    assert allowed == ALLOWED[principal]
