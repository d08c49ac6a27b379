"""Promise 4: each role has the permissions that its function needs and no others."""

import ast
import re

import pytest

from tests.template.conftest import ROOT, Synthesize
from tests.template.reading import Template, listed, text
from tools.template_checks import key_arn

# These have no resource types (service authorization reference), or AWS requires them on all resources.
WITHOUT_RESOURCE = {
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
    *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
    *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery"),
    *("logs:DeleteLogDelivery", "logs:ListLogDeliveries"),
    *("logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
}

LOG_AND_TRACE = {
    *("logs:CreateLogStream", "logs:PutLogEvents"),
    *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
}
SETTLE = {"states:SendTaskSuccess", "states:SendTaskFailure"}
READ_TABLES = {
    *("glue:GetTable", "glue:GetTables"),
    *("glue:GetPartition", "glue:GetPartitions", "glue:BatchGetPartition"),
}
WRITE_TABLES = {
    *("glue:CreateTable", "glue:UpdateTable", "glue:DeleteTable"),
    *("glue:CreatePartition", "glue:BatchCreatePartition", "glue:UpdatePartition"),
    *("glue:BatchUpdatePartition", "glue:DeletePartition", "glue:BatchDeletePartition"),
}
WRITE_DATABASES = {"glue:CreateDatabase", "glue:UpdateDatabase", "glue:DeleteDatabase"}
WRITE_OBJECTS = {
    *("s3:PutObject", "s3:DeleteObject"),
    *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads"),
}

# SHOW DATABASES lists all names. Functions can be dropped only with their database, which is named.
BEYOND_THE_SETTINGS = {
    ("glue:GetDatabases", "glue:database/*"),
    ("glue:DeleteDatabase", "glue:userDefinedFunction/*"),
}

ACTIONS = {
    "executor": {
        *LOG_AND_TRACE,
        *SETTLE,
        *("athena:StartQueryExecution", "athena:StopQueryExecution"),
        *("athena:GetQueryExecution", "athena:GetQueryResults"),
        *("athena:GetNamedQuery", "athena:GetDataCatalog"),
        *("athena:GetPreparedStatement", "athena:CreatePreparedStatement"),
        *("athena:UpdatePreparedStatement", "athena:DeletePreparedStatement"),
        *("glue:GetDatabase", "glue:GetDatabases"),
        *READ_TABLES,
        *WRITE_TABLES,
        *WRITE_DATABASES,
        *("s3:GetBucketLocation", "s3:ListBucket", "s3:GetObject"),
        *WRITE_OBJECTS,
        *("dynamodb:UpdateItem", "dynamodb:GetItem"),
    },
    "checker": {
        *LOG_AND_TRACE,
        *SETTLE,
        *("athena:GetQueryExecution", "athena:GetQueryResults", "s3:GetObject"),
        *("dynamodb:UpdateItem", "dynamodb:GetItem"),
        "sqs:SendMessage",
    },
    "canceller": {
        *LOG_AND_TRACE,
        *("athena:StartQueryExecution", "athena:StopQueryExecution"),
        *("athena:GetQueryExecution", "athena:BatchGetQueryExecution"),
        *("athena:GetNamedQuery", "athena:GetDataCatalog"),
        *("s3:GetBucketLocation", "s3:PutObject"),
        *("states:ListExecutions", "states:DescribeExecution"),
        *("dynamodb:UpdateItem", "dynamodb:BatchGetItem"),
        "sqs:SendMessage",
    },
}
STATE_MACHINE_ACTIONS = {"lambda:InvokeFunction", *WITHOUT_RESOURCE}
# tests/template/test_batches.py tests those of batches.
BATCH_FUNCTIONS = ("planner", "reporter")


@pytest.mark.parametrize("function", ACTIONS)
def test_a_function_has_exactly_these_actions(template: Template, function: str) -> None:
    assert set(template.grants(template.role_of(function))) == ACTIONS[function]


def test_the_state_machine_invokes_two_functions_logs_and_traces(template: Template) -> None:
    grants = template.grants(template.machine_role())
    assert set(grants) == STATE_MACHINE_ACTIONS
    called = [f"<{template.function(name)[0]}.Arn>" for name in ("executor", "checker")]
    assert grants["lambda:InvokeFunction"] == sorted(called)


def test_wildcards_stand_only_for_tables_objects_and_executions_of_a_named_resource(
    template: Template,
) -> None:
    for role in template.resources("AWS::IAM::Role"):
        for action, resources in template.grants(role).items():
            assert "*" not in action, f"{role} may do {action}"
            for resource in resources:
                if resource == "*":
                    assert action in WITHOUT_RESOURCE, f"{role} may {action} on everything"
                else:
                    # A trailing * stands for the tables of a database, the objects under a prefix, or the
                    # executions of the state machine.
                    named = re.fullmatch(
                        r"glue:table/[\w-]+/\*|s3:[^*]+/\*|<\w+\.Arn>/(results|batches)(/[\w-]+)?/\*|"
                        r"states:execution:[\w-]+[:/]\*|states:mapRun:[\w-]+/\*",
                        resource,
                    )
                    listed_or_dropped = (action, resource) in BEYOND_THE_SETTINGS
                    assert named or listed_or_dropped or "*" not in resource, f"{role}: {action}, {resource}"


def test_every_statement_names_its_actions_and_resources(template: Template) -> None:
    for role in template.resources("AWS::IAM::Role"):
        for statement in template.statements(role):
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}, statement


def test_each_function_and_each_state_machine_has_its_own_role(template: Template) -> None:
    machines = [template.machine_role(batch=batch) for batch in (False, True)]
    roles = [template.role_of(name) for name in (*ACTIONS, *BATCH_FUNCTIONS)] + machines
    assert sorted(set(roles)) == sorted(template.resources("AWS::IAM::Role"))
    assert len(set(roles)) == len(roles)
    for name, role in template.resources("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role["Properties"], f"{name} has a managed policy of AWS"
        (trust,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        service = "states" if name in machines else "lambda"
        assert trust["Principal"] == {"Service": f"{service}.amazonaws.com"}


@pytest.mark.parametrize("function", ACTIONS)
def test_a_function_is_confined_to_this_stack(template: Template, function: str) -> None:
    logical_id, properties = template.function(function)
    grants = template.grants(template.role_of(function))
    work_group = f"athena:workgroup/<{template.one('AWS::Athena::WorkGroup')[0]}>"
    table = f"<{template.one('AWS::DynamoDB::Table')[0]}.Arn>"
    log = f"<{properties['LoggingConfig']['LogGroup']['Ref']}.Arn>"
    queue = f"<{template.one('AWS::SQS::Queue')[0]}.Arn>"
    name = template.machine()[1]["StateMachineName"]
    for action, resources in grants.items():
        service = action.split(":")[0]
        if action == "athena:GetDataCatalog":
            assert resources == ["athena:datacatalog/AwsDataCatalog"]
        elif action == "states:DescribeExecution":
            assert resources == [f"states:execution:{name}:*"]
        elif service in ("athena", "dynamodb", "logs", "sqs", "states"):
            expected = {"athena": work_group, "dynamodb": table, "logs": log, "sqs": queue}
            expected["states"] = f"states:stateMachine:{name}"
            assert resources == [expected[service]], f"{logical_id}: {action}"


def test_queries_have_access_to_exactly_the_databases_in_the_settings(template: Template) -> None:
    grants = template.grants(template.role_of("executor"))
    lab = ["glue:database/lab", "glue:table/lab/*"]
    flights = ["glue:database/flights", "glue:table/flights/*"]
    for action in WRITE_TABLES | WRITE_DATABASES - {"glue:DeleteDatabase"}:
        assert grants[action] == sorted(["glue:catalog", *lab])
    assert grants["glue:DeleteDatabase"] == sorted(["glue:catalog", *lab, "glue:userDefinedFunction/*"])
    for action in READ_TABLES:
        assert grants[action] == sorted(["glue:catalog", *lab, *flights])
    # The tables in the same statement make no difference: this action is checked against databases.
    described = {one for one in grants["glue:GetDatabase"] if not one.startswith("glue:table/")}
    assert described == {
        "glue:catalog",
        "glue:database/default",
        "glue:database/flights",
        "glue:database/lab",
    }


def test_queries_have_access_to_exactly_the_tables_in_the_settings(synthesize: Synthesize) -> None:
    _, template = synthesize({"readTables": "sales.orders,hr.teams", "writeTables": "sales.report"})
    grants = template.grants(template.role_of("executor"))
    report = ["glue:catalog", "glue:database/sales", "glue:table/sales/report"]
    for action in WRITE_TABLES:
        assert grants[action] == report
    read = ["glue:database/hr", "glue:table/hr/teams", "glue:table/sales/orders"]
    for action in READ_TABLES:
        assert grants[action] == sorted([*report, *read])
    assert not WRITE_DATABASES & set(grants)


def test_queries_have_access_to_exactly_the_prefixes_in_the_settings(template: Template) -> None:
    role = template.role_of("executor")
    results = f"<{template.one('AWS::S3::Bucket')[0]}.Arn>"
    grants = template.grants(role)
    sample, other = "s3:sample-data", "s3:other-data"
    # A table may be located at a prefix without its slash.
    lab = [f"{sample}/lab", f"{sample}/lab/*"]
    read = [f"{sample}/{name}{rest}" for name in ("flights", "weather") for rest in ("", "/*")]
    assert grants["s3:GetObject"] == sorted([f"{results}/results/*", f"{other}/*", *lab, *read])
    assert grants["s3:PutObject"] == sorted([f"{results}/results/*", *lab])
    assert grants["s3:DeleteObject"] == lab
    listing = {
        text(resource): statement.get("Condition")
        for statement in template.statements(role)
        for resource in listed(statement["Resource"])
        if "s3:ListBucket" in listed(statement["Action"])
    }
    keys = ["flights/*", "flights", "lab/*", "lab", "weather/*", "weather"]
    assert listing == {
        results: {"StringLike": {"s3:prefix": ["results/*"]}},
        other: {"StringLike": {"s3:prefix": ["*"]}},
        sample: {"StringLike": {"s3:prefix": keys}},
    }


def test_lake_formation_and_federated_catalogs_are_granted_by_their_settings(
    synthesize: Synthesize, template: Template
) -> None:
    connector = "arn:aws:lambda:eu-west-1:123456789012:function:connector"
    _, federated = synthesize(
        {
            "lakeFormation": "true",
            "federatedCatalogs": "redis",
            "connectorFunctions": connector,
            "spillPrefixes": "spill-bucket/athena/",
        }
    )
    plain, more = (one.grants(one.role_of("executor")) for one in (template, federated))
    assert not {"lakeformation:GetDataAccess", "lambda:InvokeFunction"} & set(plain)
    assert more["lakeformation:GetDataAccess"] == ["*"]
    assert more["lambda:InvokeFunction"] == [connector]
    assert more["athena:GetDataCatalog"] == [
        "athena:datacatalog/AwsDataCatalog",
        "athena:datacatalog/redis",
    ]
    for action in ("s3:GetObject", "s3:PutObject"):
        assert "s3:spill-bucket/athena/*" in more[action]


def test_queries_may_use_the_keys_of_data_and_catalog(synthesize: Synthesize) -> None:
    keys = {"dataKeyArns": key_arn("data"), "catalogKeyArn": key_arn("catalog")}
    _, reading = synthesize({**keys, "readPrefixes": "data/"})
    _, writing = synthesize({**keys, "writePrefixes": "data/"})
    both = sorted(keys.values())
    for template, generating in ((reading, [key_arn("catalog")]), (writing, both)):
        grants = template.grants(template.role_of("executor"))
        assert grants["kms:Decrypt"] == both
        assert grants["kms:Encrypt"] == [key_arn("catalog")]
        assert grants["kms:GenerateDataKey"] == generating
        for function in ("checker", "canceller", *BATCH_FUNCTIONS):
            assert "kms:Decrypt" not in template.grants(template.role_of(function))


def test_without_settings_queries_have_access_to_no_data(synthesize: Synthesize) -> None:
    _, template = synthesize({})
    grants = template.grants(template.role_of("executor"))
    assert not {*READ_TABLES, *WRITE_TABLES, *WRITE_DATABASES, "s3:DeleteObject"} & set(grants)
    assert grants["s3:GetObject"] == [f"<{template.one('AWS::S3::Bucket')[0]}.Arn>/results/*"]


def test_the_code_makes_exactly_the_calls_that_are_allowed(template: Template) -> None:
    services = {"athena": "athena", "stepfunctions": "states", "client": "dynamodb"}
    calls = set()
    for source in (ROOT / "functions").glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id=client) | ast.Attribute(attr=client), attr="get_paginator"
                    ),
                    args=[ast.Constant(value=str(call))],
                ):
                    calls.add((client, call))
                case ast.Attribute(value=ast.Name(id=client) | ast.Attribute(attr=client), attr=call) if (
                    client in services and call != "get_paginator"
                ):
                    calls.add((client, call))
    made = {f"{services[client]}:{call.title().replace('_', '')}" for client, call in calls}
    roles = [template.role_of(name) for name in (*ACTIONS, *BATCH_FUNCTIONS)]
    allowed = set[str]().union(*map(template.grants, roles))
    # StartQueryExecution needs these for statements on prepared statements, and for a catalog.
    implied = {"athena:GetDataCatalog"} | {
        f"athena:{verb}PreparedStatement" for verb in ("Get", "Create", "Update", "Delete")
    }
    assert {action for action in allowed if action.split(":")[0] in services.values()} - implied == made
