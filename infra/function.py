"""One Lambda function with a role and a log group of its own."""

from collections.abc import Mapping
from pathlib import Path

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.settings import FUNCTION_TIMEOUT_SECONDS
from infra.log import log_group
from infra.permissions import acknowledge, allow
from infra.settings import Settings


class Function(Construct):
    """`function`, its `role` and its `log_group`. The role may log and trace; more is granted to it."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        code: Path,
        handler: str,
        description: str,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, id_)
        self.log_group = log_group(self, retention_days=settings.log_retention_days)
        self.role = iam.Role(
            self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description=description
        )
        allow(
            self.role,
            "WriteLog",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            on=[self.log_group.log_group_arn],
        )
        allow(
            self.role,
            "WriteTraces",
            actions=["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
            on=["*"],
            wildcards="X-Ray has no resources to name (service authorization reference).",
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=handler,
            code=lambda_.Code.from_asset(str(code)),
            # CPU comes with memory, and a cold start is latency that a caller sees.
            memory_size=512,
            timeout=Duration.seconds(FUNCTION_TIMEOUT_SECONDS),
            environment=dict(environment),
            # CDK would add statements of its own.
            role=self.role.without_policy_updates(),
            log_group=self.log_group,
            tracing=lambda_.Tracing.ACTIVE,
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            "Tests and bytecode are for Python 3.13; a newer runtime is a change to both.",
        )

    def send_failures_to(self, queue: sqs.Queue) -> None:
        """Put an event there that the function could not handle in any of Lambda's three tries."""
        allow(self.role, "KeepLostEvents", actions=["sqs:SendMessage"], on=[queue.queue_arn])
        self.function.configure_async_invoke(
            on_failure=destinations.SqsDestination(queue),
            retry_attempts=2,
            max_event_age=Duration.hours(1),
        )
