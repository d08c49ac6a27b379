"""Batches: permissions, files and settings of the second state machine and its functions."""

import json
from typing import Any

import pytest

from functions.settings import BATCH_MEMORY_MB, FUNCTION_MEMORY_MB
from tests.template.conftest import Synthesize
from tests.template.reading import Template
from tests.template.test_permissions import LOG_AND_TRACE, STATE_MACHINE_ACTIONS
from tools.template_checks import BROUGHT, key_arn

QUERIES, BATCHES = "AthenaQueries", "AthenaQueries-batch"


def files(template: Template) -> dict[str, str]:
    """Where callers store their files, and where the stack stores its own, as resources."""
    bucket = f"<{template.one('AWS::S3::Bucket')[0]}.Arn>"
    return {"all": f"{bucket}/batches/*", "own": f"{bucket}/batches/{BATCHES}/*"}


def test_the_state_machine_may_start_queries_and_children_and_read_the_items(template: Template) -> None:
    grants = template.grants(template.machine_role(batch=True))
    own = {name: resources for name, resources in grants.items() if name not in STATE_MACHINE_ACTIONS}
    called = [f"<{template.function(name)[0]}.Arn>" for name in ("planner", "reporter")]
    assert grants["lambda:InvokeFunction"] == sorted(called)
    rule = "events:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"
    object_actions = ("GetObject", "PutObject", "AbortMultipartUpload", "ListMultipartUploadParts")
    assert own == {
        "states:StartExecution": [f"states:stateMachine:{QUERIES}", f"states:stateMachine:{BATCHES}"],
        "states:DescribeExecution": [f"states:execution:{BATCHES}/*", f"states:execution:{QUERIES}:*"],
        "states:StopExecution": [f"states:execution:{BATCHES}/*", f"states:execution:{QUERIES}:*"],
        "states:RedriveExecution": [f"states:execution:{BATCHES}/*"],
        **{f"events:{action}": [rule] for action in ("PutTargets", "PutRule", "DescribeRule")},
        **{f"s3:{action}": [files(template)["own"]] for action in object_actions},
    }


def own_grants(template: Template, function: str) -> dict[str, list[str]]:
    grants = template.grants(template.role_of(function))
    return {action: resources for action, resources in grants.items() if action not in LOG_AND_TRACE}


def test_the_planner_may_read_batches_and_write_plans(template: Template) -> None:
    assert own_grants(template, "planner") == {
        "s3:GetObject": [files(template)["all"]],
        "s3:PutObject": [files(template)["own"]],
    }


def test_the_reporter_may_read_and_stop_executions_and_write_manifests(template: Template) -> None:
    assert own_grants(template, "reporter") == {
        "s3:GetObject": [files(template)["own"]],
        "s3:PutObject": [files(template)["own"]],
        "states:DescribeExecution": [f"states:execution:{BATCHES}:*", f"states:execution:{QUERIES}:*"],
        "states:ListMapRuns": [f"states:execution:{BATCHES}:*", f"states:execution:{QUERIES}:*"],
        "states:ListExecutions": [f"states:mapRun:{BATCHES}/*", f"states:stateMachine:{BATCHES}"],
        "states:StopExecution": [f"states:execution:{BATCHES}/*", f"states:execution:{QUERIES}:*"],
        "athena:GetQueryExecution": [f"athena:workgroup/<{template.one('AWS::Athena::WorkGroup')[0]}>"],
        "dynamodb:BatchGetItem": [f"<{template.one('AWS::DynamoDB::Table')[0]}.Arn>"],
        "sqs:SendMessage": [f"<{template.one('AWS::SQS::Queue')[0]}.Arn>"],
    }


def test_planner_and_reporter_have_the_memory_of_a_batch(template: Template) -> None:
    memory = {name: template.function(name)[1]["MemorySize"] for name in ("planner", "reporter", "executor")}
    assert memory == {
        "planner": BATCH_MEMORY_MB,
        "reporter": BATCH_MEMORY_MB,
        "executor": FUNCTION_MEMORY_MB,
    }


def test_queries_cannot_read_batches(template: Template) -> None:
    for function in ("executor", "checker", "canceller"):
        for action, resources in template.grants(template.role_of(function)).items():
            assert not [one for one in resources if "batches" in one], f"{function}: {action}"


def test_the_reporter_repeats_what_an_event_could_not_finish(synthesize: Synthesize) -> None:
    _, template = synthesize({"sweepMinutes": 7})
    logical_id, _ = template.function("reporter")
    schedules = [
        rule["Properties"]["ScheduleExpression"]
        for rule in template.resources("AWS::Events::Rule").values()
        if "ScheduleExpression" in rule["Properties"]
        and rule["Properties"]["Targets"][0]["Arn"] == {"Fn::GetAtt": [logical_id, "Arn"]}
    ]
    assert schedules == ["rate(7 minutes)"]


def test_the_settings_reach_the_document_and_the_functions(synthesize: Synthesize) -> None:
    _, template = synthesize({"batchConcurrency": 3, "batchesPrefix": "jobs/nightly/"})
    _, machine = template.machine(batch=True)
    assert machine["DefinitionSubstitutions"]["BatchConcurrency"] == "3"
    for function in ("planner", "reporter"):
        variables = template.function(function)[1]["Environment"]["Variables"]
        assert variables["BATCHES_PREFIX"] == "jobs/nightly/"
    _, bucket = template.one("AWS::S3::Bucket")
    expiring = [one.get("Prefix") for one in bucket["LifecycleConfiguration"]["Rules"]]
    assert "jobs/nightly/" in expiring


def test_batches_are_stored_in_the_bucket_that_is_brought(synthesize: Synthesize) -> None:
    _, template = synthesize(BROUGHT)
    own = f"s3:company-results/batches/{QUERIES}-dev-batch/*"
    for role in (
        template.role_of("planner"),
        template.role_of("reporter"),
        template.machine_role(batch=True),
    ):
        grants = template.grants(role)
        assert grants["s3:PutObject"] == [own]
        assert key_arn("results") in grants["kms:GenerateDataKey"]


@pytest.mark.parametrize("context", [{"managedResults": "true"}])
def test_without_a_bucket_there_are_no_batches(synthesize: Synthesize, context: dict[str, Any]) -> None:
    _, template = synthesize(context)
    assert len(template.resources("AWS::StepFunctions::StateMachine")) == 1
    assert "BatchStateMachineArn" not in template.body["Outputs"]
    assert "planner" not in json.dumps(template.body)
