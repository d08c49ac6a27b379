"""Stored data is private, encrypted, and deleted when it is no longer needed."""

import re
import uuid

import pytest

from tests.template.reading import Json, Template, text


def denies_plain_http(policy: Json, *resources: str) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Principal"] in ({"AWS": "*"}, "*")
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        and {*resources} == {text(one) for one in statement["Resource"]}
        for statement in policy["PolicyDocument"]["Statement"]
        if isinstance(statement["Resource"], list)
    )


def test_results_are_private_and_encrypted(template: Template) -> None:
    name, bucket = template.one("AWS::S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    _, policy = template.one("AWS::S3::BucketPolicy")
    assert denies_plain_http(policy, f"<{name}.Arn>", f"<{name}.Arn>/*")


def test_results_expire_and_tables_stay(template: Template) -> None:
    _, bucket = template.one("AWS::S3::Bucket")
    rules = bucket["LifecycleConfiguration"]["Rules"]
    assert {rule["Status"] for rule in rules} == {"Enabled"}
    assert "VersioningConfiguration" not in bucket, "old versions would outlive their results"

    def expires(key: str) -> bool:
        return any(
            rule["ExpirationInDays"] == 30 for rule in rules if key.startswith(rule.get("Prefix", "-"))
        )

    for number in range(16):
        query_id = str(uuid.UUID(int=number << 124))
        assert expires(f"results/{query_id}.csv")
        assert not expires(f"results/tables/{query_id}/part-0")
    assert any(rule.get("AbortIncompleteMultipartUpload") == {"DaysAfterInitiation": 1} for rule in rules)


def test_results_outlive_the_stack(template: Template) -> None:
    for type_ in ("AWS::S3::Bucket", "AWS::S3::BucketPolicy"):
        ((_, resource),) = template.resources(type_).items()
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_the_workgroup_enforces_its_configuration(template: Template) -> None:
    bucket, _ = template.one("AWS::S3::Bucket")
    _, work_group = template.one("AWS::Athena::WorkGroup")
    configuration = work_group["WorkGroupConfiguration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True
    assert configuration["PublishCloudWatchMetricsEnabled"] is True
    assert configuration["BytesScannedCutoffPerQuery"] == 1024**4
    results = configuration["ResultConfiguration"]
    assert text(results["OutputLocation"]) == f"s3://<{bucket}>/results/"
    assert results["EncryptionConfiguration"] == {"EncryptionOption": "SSE_S3"}
    assert results["ExpectedBucketOwner"] == {"Ref": "AWS::AccountId"}
    assert work_group["RecursiveDeleteOption"] is True


def test_task_tokens_are_encrypted_and_expire(template: Template) -> None:
    _, table = template.one("AWS::DynamoDB::Table")
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["TimeToLiveSpecification"]["Enabled"] is True
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["KeySchema"] == [{"AttributeName": "Id", "KeyType": "HASH"}]


def test_dead_letters_are_encrypted_at_rest_and_in_transit(template: Template) -> None:
    name, queue = template.one("AWS::SQS::Queue")
    assert queue["SqsManagedSseEnabled"] is True
    _, policy = template.one("AWS::SQS::QueuePolicy")
    (deny,) = (one for one in policy["PolicyDocument"]["Statement"] if one["Effect"] == "Deny")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (deny["Action"], text(deny["Resource"])) == ("sqs:*", f"<{name}.Arn>")


def test_every_log_expires_and_is_deleted_with_the_stack(template: Template) -> None:
    logs = template.resources("AWS::Logs::LogGroup")
    for name, log in logs.items():
        assert log["Properties"]["RetentionInDays"] == 30, name
        assert log["DeletionPolicy"] == "Delete", name
    written = {
        one["Properties"]["LoggingConfig"]["LogGroup"]["Ref"]
        for one in template.resources("AWS::Lambda::Function").values()
    }
    for batch in (False, True):
        (destination,) = template.machine(batch=batch)[1]["LoggingConfiguration"]["Destinations"]
        written.add(re.findall(r"\w+", text(destination["CloudWatchLogsLogGroup"]["LogGroupArn"]))[0])
    assert written == set(logs), "each writer has its own log, owned by the stack"


@pytest.mark.parametrize("type_", ["AWS::Athena::WorkGroup", "AWS::S3::Bucket", "AWS::Lambda::Function"])
def test_what_costs_money_is_tagged(template: Template, type_: str) -> None:
    for resource in template.resources(type_).values():
        assert {"Key": "application", "Value": "AthenaQueries"} in resource["Properties"]["Tags"]
