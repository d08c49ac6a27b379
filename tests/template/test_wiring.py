"""Connections: events, queues, the document's substitutions, the functions' environment."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.batch_runtime import BatchSettings
from functions.events import EXECUTION_STATUS_CHANGE, QUERY_STATE_CHANGE
from functions.settings import Settings as FunctionSettings
from infra.document import BATCH_SOURCE, SOURCE, render_document
from tests.template.conftest import ROOT, Synthesize
from tests.template.reading import Json, Template, text

SETTINGS: dict[str, type[FunctionSettings | BatchSettings]] = {
    **dict.fromkeys(("executor", "checker", "canceller"), FunctionSettings),
    **dict.fromkeys(("planner", "reporter"), BatchSettings),
}
FUNCTIONS = tuple(SETTINGS)
# The source of the events that each function receives.
TARGETS = {"checker": "aws.athena", "canceller": "aws.states", "reporter": "aws.states"}


def rule_for(template: Template, function: str) -> Json:
    """Properties of the rule that sends the function events of a pattern."""
    logical_id, _ = template.function(function)
    rule: Json
    (rule,) = (
        rule["Properties"]
        for rule in template.resources("AWS::Events::Rule").values()
        if "EventPattern" in rule["Properties"]
        and [text(one["Arn"]) for one in rule["Properties"]["Targets"]] == [f"<{logical_id}.Arn>"]
    )
    return rule


def test_the_checker_receives_the_terminal_states_of_the_workgroup_s_queries(template: Template) -> None:
    rule = rule_for(template, "checker")
    assert rule["EventPattern"] == {
        "source": ["aws.athena"],
        "detail-type": ["Athena Query State Change"],
        "detail": {
            "workgroupName": [{"Ref": template.one("AWS::Athena::WorkGroup")[0]}],
            "currentState": ["SUCCEEDED", "FAILED", "CANCELLED"],
        },
    }
    assert rule["State"] == "ENABLED"


@pytest.mark.parametrize(("function", "batch"), [("canceller", False), ("reporter", True)])
def test_a_function_receives_each_execution_that_ended_without_success(
    template: Template, function: str, batch: bool
) -> None:
    rule = rule_for(template, function)
    assert rule["EventPattern"] == {
        "source": ["aws.states"],
        "detail-type": ["Step Functions Execution Status Change"],
        "detail": {
            "stateMachineArn": [{"Ref": template.machine(batch=batch)[0]}],
            "status": ["FAILED", "TIMED_OUT", "ABORTED"],
        },
    }
    assert rule["State"] == "ENABLED"


@pytest.mark.parametrize("function", TARGETS)
def test_events_are_retried_for_a_day_and_not_stored(template: Template, function: str) -> None:
    (target,) = rule_for(template, function)["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 24 * 3600, "MaximumRetryAttempts": 185}
    assert "DeadLetterConfig" not in target, "EventBridge would store the whole event, with SQL in it"


def test_a_sweep_that_is_late_is_replaced_by_the_next_one(template: Template) -> None:
    policies = [
        rule["Properties"]["Targets"][0]["RetryPolicy"]
        for rule in template.resources("AWS::Events::Rule").values()
        if rule["Properties"].get("ScheduleExpression") == "rate(5 minutes)"
    ]
    assert policies == 2 * [{"MaximumEventAgeInSeconds": 300, "MaximumRetryAttempts": 185}]


SQL = "SELECT * FROM patients WHERE name = 'Ada'"
# Step Functions developer guide and Athena user guide: the events with every field.
EVENTS = {
    "aws.athena": {
        "detail-type": QUERY_STATE_CHANGE,
        "source": "aws.athena",
        "detail": {
            "versionId": "0",
            "currentState": "FAILED",
            "previousState": "RUNNING",
            "statementType": "DML",
            "queryExecutionId": "01234567-0123-0123-0123-012345678901",
            "workgroupName": "AthenaQueries",
            "sequenceNumber": "3",
            "athenaError": {
                "errorCategory": 2.0,
                "errorType": 1306.0,
                "errorMessage": SQL,
                "retryable": False,
            },
        },
    },
    "aws.states": {
        "detail-type": EXECUTION_STATUS_CHANGE,
        "source": "aws.states",
        "detail": {
            "executionArn": "arn:aws:states:eu-west-1:123456789012:execution:AthenaQueries:one",
            "stateMachineArn": "arn:aws:states:eu-west-1:123456789012:stateMachine:AthenaQueries",
            "name": "one",
            "status": "FAILED",
            "startDate": 1551225271984,
            "stopDate": 1551225277000,
            "input": json.dumps({"QueryString": SQL}),
            "inputDetails": {"included": True},
            "output": SQL,
            "outputDetails": None,
            "error": SQL,
            "cause": SQL,
            "redriveCount": 1,
            "redriveDate": 1551225275000,
        },
    },
}
# What the functions read of the detail.
FIELDS = {
    "aws.athena": {"queryExecutionId", "currentState", "workgroupName"},
    "aws.states": {"executionArn", "status", "redriveCount"},
}


@pytest.mark.parametrize(("function", "source"), TARGETS.items())
def test_a_rule_passes_ids_and_states_and_no_field_that_can_hold_sql(
    template: Template, function: str, source: str
) -> None:
    (target,) = rule_for(template, function)["Targets"]
    transformer = target["InputTransformer"]
    body = transformer["InputTemplate"]
    for name, path in transformer["InputPathsMap"].items():
        value: Any = EVENTS[source]
        for part in path.removeprefix("$.").split("."):
            value = value[part]
        assert f'"<{name}>"' not in body, "EventBridge quotes strings itself"
        body = body.replace(f"<{name}>", json.dumps(value))
    assert SQL not in body
    event = EVENTS[source]
    detail: Any = event["detail"]
    assert json.loads(body) == {
        "detail-type": event["detail-type"],
        "detail": {name: detail[name] for name in FIELDS[source]},
    }


@pytest.mark.parametrize("function", TARGETS)
def test_only_its_rules_may_invoke_a_function(template: Template, function: str) -> None:
    logical_id, _ = template.function(function)
    own = {
        name
        for name, one in template.resources("AWS::Events::Rule").items()
        if text(one["Properties"]["Targets"][0]["Arn"]) == f"<{logical_id}.Arn>"
    }
    permissions = [
        one["Properties"]
        for one in template.resources("AWS::Lambda::Permission").values()
        if text(one["Properties"]["FunctionName"]) == f"<{logical_id}.Arn>"
    ]
    assert {one["Principal"] for one in permissions} == {"events.amazonaws.com"}
    assert {text(one["SourceArn"]) for one in permissions} == {f"<{name}.Arn>" for name in own}


def test_only_the_functions_send_dead_letters(template: Template) -> None:
    _, policy = template.one("AWS::SQS::QueuePolicy")
    assert {statement["Effect"] for statement in policy["PolicyDocument"]["Statement"]} == {"Deny"}


@pytest.mark.parametrize("function", TARGETS)
def test_an_event_that_a_function_cannot_handle_goes_to_the_dead_letter_queue(
    template: Template, function: str
) -> None:
    queue, properties = template.one("AWS::SQS::Queue")
    (invocations,) = (
        one["Properties"]
        for one in template.resources("AWS::Lambda::EventInvokeConfig").values()
        if one["Properties"]["FunctionName"] == {"Ref": template.function(function)[0]}
    )
    assert invocations["Qualifier"] == "$LATEST"
    assert invocations["MaximumRetryAttempts"] == 2
    assert invocations["MaximumEventAgeInSeconds"] == 6 * 3600
    assert invocations["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": [queue, "Arn"]}}}
    assert properties["MessageRetentionPeriod"] == 14 * 24 * 3600


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_environment_is_exactly_what_the_functions_read(template: Template, function: str) -> None:
    class Environment(dict[str, str]):
        """Records which variables are read."""

        def __init__(self, variables: dict[str, str]) -> None:
            super().__init__(variables)
            self.read: set[str] = set()

        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            self.read.add(name)
            return super().get(name, default)

    variables = template.function(function)[1]["Environment"]["Variables"]
    given = {name: text(value) for name, value in variables.items()}
    environment = Environment({**given, "AWS_REGION": "eu-west-1"})
    settings = SETTINGS[function].from_environment(environment)
    assert settings.task_table == f"<{template.one('AWS::DynamoDB::Table')[0]}>"
    if isinstance(settings, FunctionSettings):
        assert settings.work_group == f"<{template.one('AWS::Athena::WorkGroup')[0]}>"
    else:
        assert settings.batches_bucket == f"<{template.one('AWS::S3::Bucket')[0]}>"
        machine = template.machine(batch=True)[1]["StateMachineName"]
        assert settings.batch_state_machine_arn == f"states:stateMachine:{machine}"
    powertools = {name for name in given if name.startswith("POWERTOOLS_")}
    assert set(given) - powertools == environment.read - {"AWS_REGION"}


def test_the_settings_reach_the_functions_and_the_document(synthesize: Synthesize) -> None:
    _, template = synthesize(
        {
            "stackName": "Lab",
            "patienceSeconds": 7,
            "pollSeconds": 3,
            "backOffSeconds": 4,
            "maxAttempts": 5,
            "defaultDatabase": "db",
            "defaultCatalog": "c1",
            "taskTtlDays": 19,
            "usdPerTerabyte": "6.5",
            "bytesScannedLimit": 10_000_000,
        }
    )
    variables = template.function("executor")[1]["Environment"]["Variables"]
    assert {name: value for name, value in variables.items() if isinstance(value, str)} == {
        "DEFAULT_DATABASE": "db",
        "DEFAULT_CATALOG": "c1",
        "MAX_ATTEMPTS": "5",
        "POLL_SECONDS": "3",
        "USD_PER_TERABYTE": "6.5",
        "TASK_TTL_DAYS": "19",
        "POLL_GROWTH": "0.1",
        "BYTES_SCANNED_LIMIT": "10000000",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_SERVICE_NAME": "Lab",
        "POWERTOOLS_METRICS_NAMESPACE": "AthenaQueries",
    }
    _, machine = template.machine()
    values = machine["DefinitionSubstitutions"]
    assert (values["PatienceSeconds"], values["BackOffSeconds"]) == ("7", "4")
    _, work_group = template.one("AWS::Athena::WorkGroup")
    assert work_group["WorkGroupConfiguration"]["BytesScannedCutoffPerQuery"] == 10_000_000


DOCUMENTS = {
    False: (SOURCE, {"ExecutorArn": "executor", "CheckerArn": "checker"}),
    True: (BATCH_SOURCE, {"PlannerArn": "planner", "ReporterArn": "reporter"}),
}


@pytest.mark.parametrize("batch", DOCUMENTS)
def test_a_document_is_deployed_unchanged_with_every_substitution_defined(
    template: Template, batch: bool
) -> None:
    source, functions = DOCUMENTS[batch]
    _, machine = template.machine(batch=batch)
    document = render_document(source)
    assert json.loads(machine["DefinitionString"]) == json.loads(document)
    wanted = set(re.findall(r"\$\{(\w+)\}", document))
    assert wanted == set(machine["DefinitionSubstitutions"])
    assert machine["DefinitionSubstitutions"]["Partition"] == {"Ref": "AWS::Partition"}
    assert "arn:aws:" not in document, "it could not run in another partition"
    for name, function in functions.items():
        assert text(machine["DefinitionSubstitutions"][name]) == f"<{template.function(function)[0]}.Arn>"


@pytest.mark.parametrize("batch", DOCUMENTS)
def test_a_state_machine_logs_without_execution_data_and_traces(template: Template, batch: bool) -> None:
    _, machine = template.machine(batch=batch)
    assert machine["StateMachineType"] == "STANDARD", "Express has no callbacks and no Distributed Map"
    assert machine["LoggingConfiguration"]["IncludeExecutionData"] is False, (
        "it contains the SQL and the token"
    )
    assert machine["LoggingConfiguration"]["Level"] == "ALL"
    assert machine["TracingConfiguration"] == {"Enabled": True}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_handler_exists_and_each_function_is_traced(template: Template, function: str) -> None:
    module, name = template.function(function)[1]["Handler"].rsplit(".", 1)
    source = ROOT / Path(*module.split(".")).with_suffix(".py")
    assert re.search(rf"^def {name}\(", source.read_text(), re.MULTILINE), f"{source} has no {name}"
    properties = template.function(function)[1]
    assert properties["TracingConfig"] == {"Mode": "Active"}
    assert (properties["Runtime"], properties["Architectures"]) == ("python3.13", ["arm64"])


def tasks(states: Json) -> Iterator[Json]:
    yield from (state for state in states.values() if state["Type"] == "Task")


@pytest.mark.parametrize("batch", DOCUMENTS)
def test_a_state_outlasts_its_function(template: Template, batch: bool) -> None:
    _, functions = DOCUMENTS[batch]
    limits = {name: template.function(one)[1]["Timeout"] for name, one in functions.items()}
    document = json.loads(template.machine(batch=batch)[1]["DefinitionString"])
    for task in tasks(document["States"]):
        if task["Resource"].endswith("lambda:invoke"):
            (name,) = re.findall(r"\w+", task["Arguments"]["FunctionName"])
            assert task["TimeoutSeconds"] > limits[name], "the state times out before its function"


def test_items_outlive_executions_and_children_outlive_queries(template: Template) -> None:
    document, batches = (
        json.loads(template.machine(batch=batch)[1]["DefinitionString"]) for batch in (False, True)
    )
    _, table = template.one("AWS::DynamoDB::Table")
    assert table["TimeToLiveSpecification"] == {"AttributeName": "ExpiresAt", "Enabled": True}
    ttl_seconds = int(template.function("executor")[1]["Environment"]["Variables"]["TASK_TTL_DAYS"]) * 86_400
    assert ttl_seconds > document["TimeoutSeconds"], "an item expires before its execution ends"
    child = batches["States"]["Run queries"]["ItemProcessor"]["States"]["Run query"]
    assert document["TimeoutSeconds"] < child["TimeoutSeconds"] < batches["TimeoutSeconds"]


def test_the_outputs_name_what_callers_and_tools_need(template: Template) -> None:
    names = {name: text(output["Value"]) for name, output in template.body["Outputs"].items()}
    assert names == {
        "StateMachineArn": f"<{template.machine()[0]}>",
        "BatchStateMachineArn": f"<{template.machine(batch=True)[0]}>",
        "BatchesLocation": f"s3://<{template.one('AWS::S3::Bucket')[0]}>/batches/",
        "StateMachineAliasArn": f"<{template.one('AWS::StepFunctions::StateMachineAlias')[0]}.Arn>",
        "WorkGroupName": f"<{template.one('AWS::Athena::WorkGroup')[0]}>",
        "ResultsBucketName": f"<{template.one('AWS::S3::Bucket')[0]}>",
        "TaskTableName": f"<{template.one('AWS::DynamoDB::Table')[0]}>",
        "ExecutorFunctionName": f"<{template.function('executor')[0]}>",
        "CheckerFunctionName": f"<{template.function('checker')[0]}>",
        "CancellerFunctionName": f"<{template.function('canceller')[0]}>",
        "PlannerFunctionName": f"<{template.function('planner')[0]}>",
        "ReporterFunctionName": f"<{template.function('reporter')[0]}>",
        "DeadLetterQueueUrl": f"<{template.one('AWS::SQS::Queue')[0]}>",
        "DashboardName": f"<{template.one('AWS::CloudWatch::Dashboard')[0]}>",
    }


def test_other_stacks_find_the_state_machine_and_the_results_in_parameters(template: Template) -> None:
    parameters = {
        one["Properties"]["Name"]: text(one["Properties"]["Value"])
        for one in template.resources("AWS::SSM::Parameter").values()
    }
    assert parameters == {
        "/athena-queries/AthenaQueries/state-machine-arn": (f"<{template.machine()[0]}>"),
        "/athena-queries/AthenaQueries/batch-state-machine-arn": f"<{template.machine(batch=True)[0]}>",
        "/athena-queries/AthenaQueries/results-bucket": f"<{template.one('AWS::S3::Bucket')[0]}>",
        "/athena-queries/AthenaQueries/results-prefix": "results/",
    }


def test_each_revision_is_a_version_that_stays_and_the_alias_follows(template: Template) -> None:
    machine, _ = template.machine()
    ((version, resource),) = template.resources("AWS::StepFunctions::StateMachineVersion").items()
    assert resource["Properties"] == {
        "StateMachineArn": {"Ref": machine},
        "StateMachineRevisionId": {"Fn::GetAtt": [machine, "StateMachineRevisionId"]},
    }
    assert resource["UpdateReplacePolicy"] == resource["DeletionPolicy"] == "Retain"
    _, alias = template.one("AWS::StepFunctions::StateMachineAlias")
    assert alias["DeploymentPreference"] == {
        "StateMachineVersionArn": {"Fn::GetAtt": [version, "Arn"]},
        "Type": "ALL_AT_ONCE",
    }


NAMES = {
    *("Name", "StateMachineName", "LogGroupName", "BucketName", "TableName", "QueueName", "RoleName"),
    *("AlarmName", "DashboardName"),
}


def test_two_stacks_deploy_side_by_side(template: Template, synthesize: Synthesize) -> None:
    def chosen(one: Template) -> set[str]:
        """The names that the template sets; CloudFormation generates the others."""
        return {
            f"{resource['Type']} {value}"
            for resource in one.body["Resources"].values()
            for key, value in resource["Properties"].items()
            if key in NAMES
            and isinstance(value, str)
            # An alias is named within its state machine.
            and resource["Type"] != "AWS::StepFunctions::StateMachineAlias"
        }

    _, second = synthesize({"stackName": "Second"})
    assert chosen(template), "at least workgroup and state machine"
    assert not chosen(template) & chosen(second)
    for one in (template, second):
        functions = one.resources("AWS::Lambda::Function").values()
        assert all("FunctionName" not in function["Properties"] for function in functions)
