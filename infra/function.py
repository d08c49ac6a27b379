"""A Lambda function with its own role and log group."""

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
from infra.permissions import acknowledge, grant
from infra.settings import Settings


class Function(Construct):
    """`function`, its `role` and its `log_group`. The role may write logs and traces; grant it the rest."""

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
        grant(
            self.role,
            "WriteLog",
            actions=["logs:CreateLogStream", "logs:PutLogEvents"],
            resources=[self.log_group.log_group_arn],
        )
        grant(
            self.role,
            "WriteTraces",
            actions=["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
            resources=["*"],
            wildcard_reason="These X-Ray actions have no resource types (service authorization reference).",
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            handler=handler,
            code=lambda_.Code.from_asset(str(code)),
            # CPU scales with memory, and a cold start adds to the caller's latency.
            memory_size=512,
            timeout=Duration.seconds(FUNCTION_TIMEOUT_SECONDS),
            environment=dict(environment),
            # Otherwise CDK adds statements to the role.
            role=self.role.without_policy_updates(),
            log_group=self.log_group,
            tracing=lambda_.Tracing.ACTIVE,
        )
        acknowledge(
            self.function,
            "AwsSolutions-L1",
            "The tests and the bundled bytecode target Python 3.13; a newer runtime changes both.",
        )

    def send_failures_to(self, queue: sqs.Queue) -> None:
        """Send events there that still fail after Lambda's two retries."""
        grant(self.role, "SendDeadLetters", actions=["sqs:SendMessage"], resources=[queue.queue_arn])
        self.function.configure_async_invoke(
            on_failure=destinations.SqsDestination(queue),
            retry_attempts=2,
            # Lambda's maximum.
            max_event_age=Duration.hours(6),
        )
