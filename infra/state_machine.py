"""A state machine, its log and its role."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from aws_cdk import ArnFormat, CfnResource, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.document import render_document
from infra.log import log_group
from infra.permissions import grant, make_role
from infra.settings import Settings


class StateMachineArn:
    """ARNs of a state machine, its executions and its Map Runs, composed from its name.

    So its functions and its role can name it, although it refers to them.
    """

    def __init__(self, scope: Construct, name: str) -> None:
        self._stack = Stack.of(scope)
        self._name = name
        self.state_machine = self._format("stateMachine")
        self.executions = f"{self._format('execution')}:*"
        # Of the child executions of a Distributed Map, whose label is in their names.
        self.children = f"{self._format('execution')}/*"
        self.map_runs = f"{self._format('mapRun')}/*"

    def _format(self, resource: str) -> str:
        return self._stack.format_arn(
            service="states",
            resource=resource,
            resource_name=self._name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )


def make_state_machine(
    scope: Construct,
    *,
    settings: Settings,
    name: str,
    comment: str,
    source: Path,
    role: iam.Role,
    substitutions: Mapping[str, str],
) -> sfn.StateMachine:
    """`substitutions` are the values of the `${...}` in the document `source`, except `${Partition}`."""
    # Log names with this prefix need no entry in the account's log resource policy, whose size is limited
    # (Step Functions developer guide, "Using CloudWatch Logs to log execution history").
    log = log_group(scope, settings=settings, name=f"/aws/vendedlogs/states/{name}")
    machine = sfn.StateMachine(
        scope,
        "StateMachine",
        state_machine_name=name,
        state_machine_type=sfn.StateMachineType.STANDARD,
        comment=comment,
        # Inside the template and not an asset: `cdk diff` shows changes, cfn-lint checks it.
        definition_body=sfn.DefinitionBody.from_string(render_document(source)),
        # An execution cannot call an integration of another partition (https://github.com/aws/aws-cdk/issues/4597).
        definition_substitutions={"Partition": Stack.of(scope).partition, **substitutions},
        role=role.without_policy_updates(),
        # Execution data holds the SQL and the task token.
        logs=sfn.LogOptions(destination=log, level=sfn.LogLevel.ALL, include_execution_data=False),
        tracing_enabled=True,
    )
    # cfn-lint requires numbers, for example for TimeoutSeconds. In a JSONata state they may be expressions
    # (Step Functions developer guide, "Task workflow state"). It also requires the partition "aws".
    lint = {"config": {"ignore_checks": ["E3601"]}}
    cast("CfnResource", machine.node.default_child).add_metadata("cfn-lint", lint)
    return machine


def publish(scope: Construct, machine: sfn.StateMachine) -> sfn.CfnStateMachineAlias:
    """A version of each revision, and the alias `live` on the newest one.

    A version stays when the next one is published, for callers that pin it.
    """
    resource = cast("sfn.CfnStateMachine", machine.node.default_child)
    version = sfn.CfnStateMachineVersion(
        scope,
        "Version",
        state_machine_arn=machine.state_machine_arn,
        state_machine_revision_id=resource.attr_state_machine_revision_id,
    )
    version.apply_removal_policy(RemovalPolicy.RETAIN)
    return sfn.CfnStateMachineAlias(
        scope,
        "Live",
        name="live",
        deployment_preference=sfn.CfnStateMachineAlias.DeploymentPreferenceProperty(
            state_machine_version_arn=version.attr_arn, type="ALL_AT_ONCE"
        ),
    )


def make_state_machine_role(
    scope: Construct, *, settings: Settings, name: str, function_arns: Sequence[str]
) -> iam.Role:
    """A role that may invoke the functions, log and trace. `name` as in `make_role`."""
    role = make_role(scope, service="states", name=name, settings=settings)
    grant(role, "InvokeFunctions", actions=["lambda:InvokeFunction"], resources=function_arns)
    grant(
        role,
        "DeliverLog",
        actions=[
            *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery"),
            *("logs:DeleteLogDelivery", "logs:ListLogDeliveries"),
            *("logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
        ],
        resources=["*"],
        wildcard_reason='Required on all resources (developer guide, "Using CloudWatch Logs to log execution '
        'history").',
    )
    grant(
        role,
        "WriteTraces",
        actions=[
            *("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
            *("xray:GetSamplingRules", "xray:GetSamplingTargets"),
        ],
        resources=["*"],
        wildcard_reason="These X-Ray actions have no resource types (service authorization reference).",
    )
    return role
