"""The workflow: the state machine, its functions, the event rules, and the task table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from aws_cdk import ArnFormat, CfnResource, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from functions.events import execution_ended, query_ended
from functions.metric_names import METRICS_NAMESPACE
from functions.settings import Settings as FunctionSettings
from infra.document import render_document
from infra.function import Function
from infra.log import log_group
from infra.permissions import acknowledge, grant
from infra.settings import Settings


class Workflow(Construct):
    """`state_machine`, `executor`, `checker`, `canceller`, `task_table`, `rules` and `dead_letters`.

    QueryEngine grants the functions access to Athena.
    """

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, code: Path, work_group_name: str
    ) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self._code = code
        self._work_group_name = work_group_name
        # Composed from its name: the state machine refers to the functions, so they cannot refer to it.
        self._state_machine_arn = Stack.of(self).format_arn(
            service="states",
            resource="stateMachine",
            resource_name=settings.stack_name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self.task_table = self._make_task_table()
        self.dead_letters = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
        )
        acknowledge(self.dead_letters, "AwsSolutions-SQS3", "This is the dead-letter queue.")
        self.executor = self._make_function(
            "Executor", "Starts queries and registers the task tokens of their executions"
        )
        self.checker = self._make_function(
            "Checker", "Receives completion events and settles the waiting tasks"
        )
        self.canceller = self._make_function("Canceller", "Stops the queries of executions that have ended")
        self.state_machine = self._make_state_machine()
        self.rules = self._make_rules()
        self._grant()

    def _make_task_table(self) -> dynamodb.Table:
        table = dynamodb.Table(
            self,
            "Tasks",
            partition_key=dynamodb.Attribute(name="Id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            time_to_live_attribute="ExpiresAt",
            removal_policy=RemovalPolicy.DESTROY,
        )
        acknowledge(
            table,
            "AwsSolutions-DDB3",
            "Items expire within days and are of no use once their executions have ended.",
        )
        return table

    def _make_function(self, name: str, description: str) -> Function:
        settings = self._settings
        return Function(
            self,
            name,
            settings=settings,
            code=self._code,
            handler=f"functions.{name.lower()}.handler",
            description=description,
            environment={
                **self._function_settings().to_environment(),
                "POWERTOOLS_SERVICE_NAME": settings.stack_name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": "INFO",
            },
        )

    def _function_settings(self) -> FunctionSettings:
        settings = self._settings
        return FunctionSettings(
            task_table=self.task_table.table_name,
            work_group=self._work_group_name,
            state_machine_arn=self._state_machine_arn,
            region=Stack.of(self).region,
            default_database=settings.default_database,
            default_catalog=settings.default_catalog,
            max_attempts=settings.max_attempts,
            usd_per_terabyte=settings.usd_per_terabyte,
            bytes_scanned_limit=settings.bytes_scanned_limit,
            poll_seconds=settings.poll_seconds,
            poll_growth=settings.poll_growth,
            task_ttl_days=settings.task_ttl_days,
        )

    def _make_state_machine(self) -> sfn.StateMachine:
        # Below this prefix a log needs no entry in the account's log resource policy, whose size is limited
        # (Step Functions developer guide, "Using CloudWatch Logs to log execution history").
        log_name = f"/aws/vendedlogs/states/{self._settings.stack_name}"
        log = log_group(self, retention_days=self._settings.log_retention_days, name=log_name)
        machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=self._settings.stack_name,
            state_machine_type=sfn.StateMachineType.STANDARD,
            comment="Runs one Athena query",
            # Inside the template and not an asset: `cdk diff` shows changes, cfn-lint checks it.
            definition_body=sfn.DefinitionBody.from_string(render_document()),
            definition_substitutions={
                "ExecutorArn": self.executor.function.function_arn,
                "CheckerArn": self.checker.function.function_arn,
                "PatienceSeconds": str(self._settings.patience_seconds),
                "BackOffSeconds": str(self._settings.back_off_seconds),
            },
            role=self._make_state_machine_role().without_policy_updates(),
            # Execution data holds the SQL and the task token.
            logs=sfn.LogOptions(destination=log, level=sfn.LogLevel.ALL, include_execution_data=False),
            tracing_enabled=True,
        )
        # cfn-lint requires a number for TimeoutSeconds. In a JSONata state it may be an expression (Step
        # Functions developer guide, "Task workflow state").
        lint = {"config": {"ignore_checks": ["E3601"]}}
        cast("CfnResource", machine.node.default_child).add_metadata("cfn-lint", lint)
        return machine

    def _make_state_machine_role(self) -> iam.Role:
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("states.amazonaws.com"))
        grant(
            role,
            "InvokeFunctions",
            actions=["lambda:InvokeFunction"],
            resources=[self.executor.function.function_arn, self.checker.function.function_arn],
        )
        grant(
            role,
            "DeliverLog",
            actions=[
                *("logs:CreateLogDelivery", "logs:GetLogDelivery", "logs:UpdateLogDelivery"),
                *("logs:DeleteLogDelivery", "logs:ListLogDeliveries"),
                *("logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"),
            ],
            resources=["*"],
            wildcard_reason="Log delivery actions have no resource types (service authorization reference).",
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

    def _make_rules(self) -> list[events.Rule]:
        return [
            self._make_rule("QueryEnded", query_ended(self._work_group_name), self.checker),
            self._make_rule(
                "ExecutionEnded", execution_ended(self.state_machine.state_machine_arn), self.canceller
            ),
        ]

    def _make_rule(self, name: str, pattern: Mapping[str, Any], target: Function) -> events.Rule:
        target.send_failures_to(self.dead_letters)
        invocation = targets.LambdaFunction(
            target.function,
            dead_letter_queue=self.dead_letters,
            # By then the fallback branch has settled the task, and most queries have ended.
            max_event_age=Duration.hours(1),
            retry_attempts=185,
        )
        event_pattern = events.EventPattern(
            source=pattern["source"], detail_type=pattern["detail-type"], detail=pattern["detail"]
        )
        return events.Rule(self, name, event_pattern=event_pattern, targets=[invocation])

    def _grant(self) -> None:
        for function in (self.executor, self.checker):
            # IAM checks these against the state machine of the token, although the service authorization
            # reference lists no resource type for them (https://github.com/aws/aws-cdk/pull/8486).
            grant(
                function.role,
                "SettleTasks",
                actions=["states:SendTaskSuccess", "states:SendTaskFailure"],
                resources=[self._state_machine_arn],
            )
        table = [self.task_table.table_arn]
        grant(self.executor.role, "AccessTaskTable", actions=["dynamodb:UpdateItem"], resources=table)
        for function in (self.checker, self.canceller):
            grant(
                function.role,
                "AccessTaskTable",
                actions=["dynamodb:UpdateItem", "dynamodb:GetItem"],
                resources=table,
            )
