"""What an account has already replaces what the stack creates: results, keys, network, names of roles."""

import pytest

from tests.template.conftest import Synthesize
from tests.template.reading import Json, Template, listed, text
from tools.template_checks import BROUGHT, key_arn

FUNCTIONS = ("executor", "checker", "canceller")


@pytest.fixture(scope="module")
def brought(synthesize: Synthesize) -> Template:
    return synthesize(BROUGHT)[1]


def one(template: Template, type_: str) -> Json:
    properties: Json = template.one(type_)[1]
    return properties


def test_no_bucket_and_no_workgroup_is_created(brought: Template) -> None:
    assert not brought.resources("AWS::S3::Bucket")
    assert not brought.resources("AWS::Athena::WorkGroup")
    outputs = {name: text(value["Value"]) for name, value in brought.body["Outputs"].items()}
    assert outputs["WorkGroupName"] == "analysts"
    assert outputs["ResultsBucketName"] == "company-results"


def test_queries_use_the_workgroup_and_only_the_prefix_of_the_bucket(brought: Template) -> None:
    for function in FUNCTIONS:
        grants = brought.grants(brought.role_of(function))
        assert grants["athena:GetQueryExecution"] == ["athena:workgroup/analysts"]
        variables = brought.function(function)[1]["Environment"]["Variables"]
        assert (variables["WORK_GROUP"], variables["BYTES_SCANNED_LIMIT"]) == ("analysts", "0")
    objects = "s3:company-results/athena/*"
    assert objects in brought.grants(brought.role_of("executor"))["s3:PutObject"]
    assert brought.grants(brought.role_of("checker"))["s3:GetObject"] == [objects]
    (listing,) = (
        statement
        for statement in brought.statements(brought.role_of("executor"))
        if statement["Sid"] == "ListResults"
    )
    assert listing["Condition"] == {"StringLike": {"s3:prefix": ["athena/*"]}}
    patterns = [
        rule["Properties"].get("EventPattern", {}) for rule in brought.resources("AWS::Events::Rule").values()
    ]
    assert [one["detail"]["workgroupName"] for one in patterns if one.get("source") == ["aws.athena"]] == [
        ["analysts"]
    ]


def test_the_own_bucket_may_have_another_prefix_and_key(synthesize: Synthesize) -> None:
    _, template = synthesize({"resultsPrefix": "a/b/", "resultsKeyArn": key_arn("results")})
    bucket, properties = template.one("AWS::S3::Bucket")
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": key_arn("results"),
    }
    assert rule["BucketKeyEnabled"] is True
    expiring = [one["Prefix"] for one in properties["LifecycleConfiguration"]["Rules"] if "Prefix" in one]
    assert expiring == [*(f"a/b/{digit}" for digit in "0123456789abcdef"), "batches/"]
    results = one(template, "AWS::Athena::WorkGroup")["WorkGroupConfiguration"]["ResultConfiguration"]
    assert text(results["OutputLocation"]) == f"s3://<{bucket}>/a/b/"
    assert results["EncryptionConfiguration"] == {"EncryptionOption": "SSE_KMS", "KmsKey": key_arn("results")}


def test_athena_may_manage_the_results(synthesize: Synthesize) -> None:
    _, template = synthesize({"managedResults": "true", "resultsKeyArn": key_arn("results")})
    assert not template.resources("AWS::S3::Bucket")
    configuration = one(template, "AWS::Athena::WorkGroup")["WorkGroupConfiguration"]
    assert "ResultConfiguration" not in configuration
    assert configuration["ManagedQueryResultsConfiguration"] == {
        "Enabled": True,
        "EncryptionConfiguration": {"KmsKey": key_arn("results")},
    }
    for function in ("executor", "checker"):
        grants = template.grants(template.role_of(function))
        assert "athena:GetQueryResultsStream" in grants
        assert not {"s3:GetObject", "s3:PutObject"} & set(grants)
    assert "ResultsBucketName" not in template.body["Outputs"]


def test_keys_encrypt_table_queue_and_logs(brought: Template) -> None:
    table = one(brought, "AWS::DynamoDB::Table")["SSESpecification"]
    assert table == {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": key_arn("table")}
    assert one(brought, "AWS::SQS::Queue")["KmsMasterKeyId"] == key_arn("queue")
    logs = brought.resources("AWS::Logs::LogGroup").values()
    assert {log["Properties"]["KmsKeyId"] for log in logs} == {key_arn("logs")}


# What each function does with data that is encrypted with the key.
KEY_ACTIONS = {
    "executor": {
        key_arn("results"): {"kms:Decrypt", "kms:GenerateDataKey"},
        key_arn("table"): {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"},
    },
    "checker": {
        key_arn("results"): {"kms:Decrypt"},
        key_arn("table"): {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"},
        key_arn("queue"): {"kms:Decrypt", "kms:GenerateDataKey"},
    },
    "canceller": {
        key_arn("results"): {"kms:Decrypt", "kms:GenerateDataKey"},
        key_arn("table"): {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"},
        key_arn("queue"): {"kms:Decrypt", "kms:GenerateDataKey"},
    },
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_use_exactly_the_keys_that_it_needs(brought: Template, function: str) -> None:
    used: dict[str, set[str]] = {}
    for statement in brought.statements(brought.role_of(function)):
        for resource in map(text, listed(statement["Resource"])):
            if resource.startswith("arn:aws:kms"):
                used.setdefault(resource, set()).update(listed(statement["Action"]))
    assert used == KEY_ACTIONS[function]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_run_in_the_subnets_once_their_role_allows_it(brought: Template, function: str) -> None:
    logical_id, properties = brought.function(function)
    assert properties["VpcConfig"] == {
        "SubnetIds": ["subnet-00000001", "subnet-00000002"],
        "SecurityGroupIds": ["sg-00000001"],
    }
    role = brought.role_of(function)
    (attach,) = (one for one in brought.statements(role) if one["Sid"] == "AttachToVpc")
    assert "ec2:CreateNetworkInterface" in attach["Action"]
    assert attach["Condition"] == {"Null": {"lambda:SourceFunctionArn": "true"}}, "Lambda, not the code"
    (policy,) = (
        name
        for name, resource in brought.resources("AWS::IAM::Policy").items()
        if {"Ref": role} in resource["Properties"]["Roles"]
    )
    assert policy in brought.body["Resources"][logical_id]["DependsOn"]


def test_without_subnets_a_function_has_no_permission_on_network_interfaces(template: Template) -> None:
    for function in FUNCTIONS:
        assert not [
            action for action in template.grants(template.role_of(function)) if action.startswith("ec2:")
        ]
        assert "VpcConfig" not in template.function(function)[1]


def test_roles_have_the_boundary_the_path_and_names_with_the_prefix(brought: Template) -> None:
    roles = [role["Properties"] for role in brought.resources("AWS::IAM::Role").values()]
    assert {role["PermissionsBoundary"] for role in roles} == {BROUGHT["permissionsBoundaryArn"]}
    assert {role["Path"] for role in roles} == {"/data/"}
    assert {role["RoleName"] for role in roles} == {
        f"acme-AthenaQueries-dev-{name}"
        for name in (
            *("Executor", "Checker", "Canceller", "StateMachine"),
            *("Planner", "Reporter", "BatchStateMachine"),
        )
    }
    policies = [policy["Properties"] for policy in brought.resources("AWS::IAM::ManagedPolicy").values()]
    assert {policy["Path"] for policy in policies} == {"/data/"}
    assert [policy["ManagedPolicyName"] for policy in policies] == [
        f"acme-AthenaQueries-dev-DataAccess{number}" for number in range(len(policies))
    ]


def test_what_the_settings_retain_stays(brought: Template, template: Template) -> None:
    types = ("AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Logs::LogGroup")
    for type_ in types:
        assert {one["DeletionPolicy"] for one in brought.resources(type_).values()} == {"Retain"}
        assert {one["DeletionPolicy"] for one in template.resources(type_).values()} == {"Delete"}


@pytest.mark.parametrize("type_", ["AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::IAM::Role"])
def test_resources_have_the_tags(brought: Template, type_: str) -> None:
    for resource in brought.resources(type_).values():
        tags = {tag["Key"]: tag["Value"] for tag in resource["Properties"]["Tags"]}
        assert tags == {"application": "AthenaQueries-dev", "team": "data", "cost-center": "42"}


def test_stages_share_no_name(synthesize: Synthesize) -> None:
    first, second = (synthesize({"stage": stage})[1] for stage in ("dev", "prod"))
    for type_ in ("AWS::Athena::WorkGroup", "AWS::CloudWatch::Dashboard"):
        assert one(first, type_) != one(second, type_)
    names = [
        one.machine(batch=batch)[1]["StateMachineName"] for one in (first, second) for batch in (False, True)
    ]
    assert names == [f"AthenaQueries-{name}" for name in ("dev", "dev-batch", "prod", "prod-batch")]
