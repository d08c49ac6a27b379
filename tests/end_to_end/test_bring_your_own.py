"""A stack that is built wholly on what the account has already, beside another stack."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from local import cdk, demo
from local.stack import SETTINGS, Stack
from tests.end_to_end.conftest import Deployment, delete_stack

BUCKET = "company-results"


def create_key(deployed: Stack) -> str:
    arn: str = deployed.client("kms").create_key()["KeyMetadata"]["Arn"]
    return arn


def create_network(deployed: Stack) -> dict[str, str]:
    ec2 = deployed.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="functions", Description="functions", VpcId=vpc)["GroupId"]
    return {"vpcSubnetIds": subnet, "vpcSecurityGroupIds": group}


def create_boundary(deployed: Stack) -> str:
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [everything]}
    answer = deployed.client("iam").create_policy(PolicyName="boundary", PolicyDocument=json.dumps(policy))
    arn: str = answer["Policy"]["Arn"]
    return arn


@pytest.fixture(scope="module")
def brought(deployed: Stack) -> Iterator[Stack]:
    """The second stack, deployed to the emulator of the first."""
    deployed.client("s3").create_bucket(Bucket=BUCKET)
    location = {"OutputLocation": f"s3://{BUCKET}/athena/"}
    deployed.client("athena").create_work_group(
        Name="analysts",
        Configuration={"ResultConfiguration": location, "EnforceWorkGroupConfiguration": True},
    )
    settings = {
        **SETTINGS,
        "stackName": "Brought",
        "workGroup": "analysts",
        "resultsBucket": BUCKET,
        "resultsPrefix": "athena/",
        **{
            name: create_key(deployed)
            for name in ("resultsKeyArn", "tableKeyArn", "queueKeyArn", "logsKeyArn")
        },
        **create_network(deployed),
        "permissionsBoundaryArn": create_boundary(deployed),
        "rolePath": "/data/",
        "roleNamePrefix": "acme-",
        "tags": "team=data",
        "alarmTopicArn": deployed.client("sns").create_topic(Name="on-call")["TopicArn"],
    }
    outputs = cdk.deploy(deployed.endpoint, Path(deployed.home), settings)
    yield Stack(name="Brought", port=deployed.port, pid=deployed.pid, home=deployed.home, outputs=outputs)
    delete_stack(deployed, "Brought")


def test_the_demo_s_queries_run_on_it(brought: Stack) -> None:
    shown = io.StringIO()

    assert demo.run(Console(file=shown, width=120), brought), shown.getvalue()


def test_its_results_are_in_the_brought_bucket(brought: Stack) -> None:
    output: Any = Deployment(stack=brought).run({"QueryString": "SELECT 1 AS one"}).output

    assert output["OutputLocation"].startswith(f"s3://{BUCKET}/athena/")
    assert brought.outputs["ResultsBucketName"] == BUCKET
    assert brought.outputs["WorkGroupName"] == "analysts"


def test_its_roles_are_where_the_account_wants_them(brought: Stack) -> None:
    name = brought.outputs["ExecutorFunctionName"]
    role = brought.client("lambda").get_function_configuration(FunctionName=name)["Role"]

    assert role.endswith(":role/data/acme-Brought-Executor")


def test_the_first_stack_still_runs_queries(deployment: Deployment, brought: Stack) -> None:
    run = deployment.run({"QueryString": "SELECT 1 AS one"})

    assert run.output is not None
    assert run.output["OutputLocation"].startswith(f"s3://{deployment.stack.outputs['ResultsBucketName']}/")
    assert deployment.stack.outputs["StateMachineArn"] != brought.outputs["StateMachineArn"]
