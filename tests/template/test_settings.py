"""An invalid setting stops the synthesis with one line: its name, the value, what is allowed."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from infra.parsers import Prefix
from infra.settings import SettingError, Settings, camel_case
from tests.template.conftest import ROOT

WRONG: list[tuple[str, Any, str]] = [
    ("patienceSeconds", "soon", "a whole number from 1 to 86400"),
    ("patienceSeconds", "0", "a whole number from 1 to 86400"),
    ("patienceSeconds", 1.5, "a whole number from 1 to 86400"),
    ("patienceSeconds", True, "a whole number from 1 to 86400"),
    ("patienceSeconds", None, "a whole number from 1 to 86400"),
    ("pollSeconds", "-1", "a whole number from 1 to 3600"),
    ("backOffSeconds", "", "a whole number from 1 to 3600"),
    ("maxAttempts", 11, "a whole number from 1 to 10"),
    ("bytesScannedLimit", "1GB", "a whole number from 10000000 to 100000000000000000"),
    ("taskTtlDays", 2, "a whole number from 17 to 365"),
    ("resultsRetentionDays", 0, "a whole number from 1 to 3650"),
    ("logRetentionDays", 31, "one of 1, 3, 5, 7, 14, 30,"),
    ("usdPerTerabyte", "-5", "a number from 0 to 1000"),
    ("usdPerTerabyte", "nan", "a number from 0 to 1000"),
    ("stackName", "my_stack", "up to 50 letters, digits and -, a letter first"),
    ("stackName", "x" * 51, "up to 50 letters, digits and -, a letter first"),
    ("defaultDatabase", "Flights", "a Glue database: lower-case letters, digits, _ or -"),
    ("defaultCatalog", "a/b", "a data catalog: letters, digits, _ @ or -"),
    ("readDatabases", "flights,*", "a list, each a Glue database: lower-case letters, digits, _ or -"),
    ("writeDatabases", 5, "a JSON list or comma-separated text"),
    ("writeDatabases", "[flights", "a JSON list or comma-separated text"),
    ("readPrefixes", "data/flights", "a list, each an S3 prefix as bucket/prefix/ with the slash at its end"),
    ("readPrefixes", "data/*/", "without * ? $ or spaces"),
    ("readPrefixes", "*/", "a list, each an S3 prefix as bucket/prefix/"),
    ("writePrefixes", ["arn:aws:s3:::data/x/"], "a list, each an S3 prefix as bucket/prefix/"),
    ("lakeFormation", "yes", "true or false"),
    ("lakeFormation", 1.5, "true or false"),
    ("readTables", "orders", "a list, each a Glue table as database.table"),
    ("writeTables", "sales.*", "a list, each a Glue table as database.table"),
    ("federatedCatalogs", "a b", "a list, each a data catalog: letters, digits, _ @ or -"),
    ("connectorFunctions", "connector", "a list, each a Lambda function's ARN"),
    ("spillPrefixes", "spill", "a list, each an S3 prefix as bucket/prefix/"),
    ("dataKeyArns", "alias/data", "a list, each a KMS key's ARN"),
    ("catalogKeyArn", "alias/catalog", "a KMS key's ARN"),
    ("sweepMinutes", 0, "a whole number from 1 to 60"),
    ("pollGrowth", 0.01, "a number from 0.05 to 1"),
    ("runbookUrl", "https://wiki#runbook", "a URL or a path, without # and spaces"),
    ("batchConcurrency", 0, "a whole number from 1 to 1000"),
    ("batchesPrefix", "/batches/", "a key prefix that ends with a slash"),
    ("workGroup", "a b", "the name of an Athena workgroup"),
    ("resultsBucket", "s3://results", "the name of an S3 bucket"),
    ("resultsPrefix", "results", "a key prefix that ends with a slash"),
    ("managedResults", "1", "true or false"),
    ("resultsKeyArn", "alias/results", "a KMS key's ARN"),
    ("tableKeyArn", "arn:aws:kms:eu-west-1:123456789012:alias/x", "a KMS key's ARN"),
    ("queueKeyArn", "key", "a KMS key's ARN"),
    ("logsKeyArn", "key", "a KMS key's ARN"),
    ("vpcSubnetIds", "vpc-1", "a list, each the id of a subnet"),
    ("vpcSecurityGroupIds", "default", "a list, each the id of a security group"),
    ("permissionsBoundaryArn", "boundary", "an IAM policy's ARN"),
    ("rolePath", "team", "a path that begins and ends with a slash"),
    ("roleNamePrefix", "a b", "up to 32 letters, digits and"),
    ("roleNamePrefix", "équipe-", "up to 32 letters, digits and"),
    ("removalPolicy", "snapshot", "one of destroy, retain"),
    ("tags", "team", "a JSON object or KEY=VALUE"),
    ("tags", {"aws:team": "x"}, "a JSON object or KEY=VALUE"),
    ("tags", {"AWS:team": "x"}, "a JSON object or KEY=VALUE"),
    ("tags", "{", "a JSON object or KEY=VALUE"),
    ("stage", "my_stage", "up to 20 letters, digits and -"),
    ("alarmTopicArn", "my-topic", "an SNS topic's ARN"),
    ("synthesizer", "legacy", "one of default, cli-credentials"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(SettingError) as error:
        Settings.from_context({name: value})
    assert str(error.value).startswith(f"setting {name} is {json.dumps(value)}; it must be ")
    assert allowed in str(error.value)
    assert "\n" not in str(error.value)


def test_each_setting_has_a_value_that_is_refused() -> None:
    assert {name for name, _, _ in WRONG} == {camel_case(one.name) for one in fields(Settings)}


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SettingError) as misspelt:
        Settings.from_context({"patienceSecond": "5"})
    assert str(misspelt.value) == (
        'unknown setting patienceSecond (value "5"); did you mean patienceSeconds?'
    )
    with pytest.raises(SettingError) as unknown:
        Settings.from_context({"wholly": 1})
    assert str(unknown.value).startswith(
        "unknown setting wholly (value 1); the settings are alarmTopicArn, backOffSeconds, "
    )


def test_context_keys_of_cdk_are_ignored() -> None:
    cdk = {
        "@aws-cdk/x:y": True,
        "aws:cdk:bundling-stacks": ["**"],
        "cli-telemetry": False,
        "availability-zones:account=1": [],
    }
    assert Settings.from_context(cdk) == Settings()


@pytest.mark.parametrize("value", ["b,a", "a, b,", '["a", "b"]', ["b", "a"], ["a", "b", "a"]])
def test_a_list_may_be_written_as_text_or_json(value: Any) -> None:
    assert Settings.from_context({"readDatabases": value}).read_databases == ("a", "b")


@pytest.mark.parametrize(
    ("value", "prefix"),
    [
        ("data/flights/", Prefix("data", "flights/")),
        ("s3://data/a/b=1/", Prefix("data", "a/b=1/")),
        ("data/", Prefix("data", "")),
    ],
)
def test_a_prefix_may_be_a_whole_bucket(value: str, prefix: Prefix) -> None:
    assert Settings.from_context({"readPrefixes": value}).read_prefixes == (prefix,)


@pytest.mark.parametrize("value", ["team=data, cost=a=b", '{"cost": "a=b", "team": "data"}'])
def test_tags_may_be_text_or_json(value: str) -> None:
    assert Settings.from_context({"tags": value}).tags == (("cost", "a=b"), ("team", "data"))


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"managedResults": "true", "resultsBucket": "my-results"},
        "settings managedResults and resultsBucket exclude each other",
    ),
    (
        {"workGroup": "analysts"},
        "setting workGroup needs resultsBucket and resultsPrefix, its result location, or managedResults",
    ),
    (
        {"workGroup": "analysts", "managedResults": "true", "bytesScannedLimit": 10**9},
        "setting bytesScannedLimit has no effect together with workGroup; remove it",
    ),
    (
        {"resultsBucket": "my-results", "resultsRetentionDays": 3},
        "setting resultsRetentionDays has no effect together with resultsBucket; remove it",
    ),
    (
        {"managedResults": "true", "resultsRetentionDays": 3},
        "setting resultsRetentionDays has no effect together with managedResults; remove it",
    ),
    (
        {"managedResults": "true", "resultsPrefix": "athena/"},
        "setting resultsPrefix has no effect together with managedResults; remove it",
    ),
    ({"vpcSubnetIds": "subnet-01234567"}, "settings vpcSubnetIds and vpcSecurityGroupIds need each other"),
    (
        {"stage": "batch"},
        (
            "settings stackName and stage make the name AthenaQueries-batch, which is that of the batches of "
            "a stack AthenaQueries; use another"
        ),
    ),
    (
        {"roleNamePrefix": "a-company-unit-", "stackName": "x" * 50},
        (
            "settings roleNamePrefix, stackName and stage make the role name "
            f"a-company-unit-{'x' * 50}-BatchStateMachine; IAM allows 64 characters"
        ),
    ),
]


@pytest.mark.parametrize(("context", "error"), CONTRADICTIONS)
def test_settings_that_contradict_each_other_are_refused(context: dict[str, Any], error: str) -> None:
    with pytest.raises(SettingError) as refused:
        Settings.from_context(context)
    assert str(refused.value) == error


def test_a_stage_is_part_of_the_stack_s_name() -> None:
    assert Settings.from_context({"stackName": "Lab", "stage": "dev"}).stack_name == "Lab-dev"


def test_numbers_may_be_numbers_or_text() -> None:
    assert Settings.from_context({"pollSeconds": "7"}) == Settings.from_context({"pollSeconds": 7})
    assert Settings.from_context({"logRetentionDays": "7"}).log_retention_days == 7


def test_the_app_reports_it_in_one_line_and_fails() -> None:
    environment = {**os.environ, "CDK_CONTEXT_JSON": json.dumps({"pollSeconds": "often"})}
    run = subprocess.run(
        [sys.executable, "-m", "infra"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == 'setting pollSeconds is "often"; it must be a whole number from 1 to 3600\n'
    assert run.stdout == ""
