"""A Lambda function with its own role and log group."""

from collections.abc import Mapping
from typing import cast

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.metric_names import METRICS_NAMESPACE
from functions.settings import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT_SECONDS
from infra.log import log_group
from infra.nag import acknowledge, compliance
from infra.permissions import grant, make_role
from infra.settings import Settings


class Function(Construct):
    """`function`, its `role` and its `log_group`. The role may write logs and traces; grant it the rest."""

    def __init__(  # noqa: PLR0913 - one argument for each property
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        code: lambda_.Code,
        handler: str,
        description: str,
        environment: Mapping[str, str],
        timeout_seconds: int = FUNCTION_TIMEOUT_SECONDS,
        memory_mb: int = FUNCTION_MEMORY_MB,
    ) -> None:
        super().__init__(scope, id_)
        self.log_group = log_group(self, settings=settings)
        self.role = make_role(self, service="lambda", name=id_, settings=settings, description=description)
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
            code=code,
            # CPU scales with memory, and a cold start adds to the caller's latency.
            memory_size=memory_mb,
            timeout=Duration.seconds(timeout_seconds),
            environment={
                **environment,
                "POWERTOOLS_SERVICE_NAME": settings.stack_name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                "POWERTOOLS_LOG_LEVEL": "INFO",
            },
            # Otherwise CDK adds statements to the role.
            role=self.role.without_policy_updates(),
            log_group=self.log_group,
            tracing=lambda_.Tracing.ACTIVE,
        )
        if settings.vpc_subnet_ids:
            self._attach_to_vpc(settings)
        acknowledge(
            self.function,
            "The tests and the bundled bytecode target Python 3.13; a newer runtime changes both.",
            "AwsSolutions-L1",
        )
        acknowledge(
            self.function,
            "Reserved concurrency takes from the account's other functions. Throttled calls are retried, and "
            "alarms report them.",
            *compliance("LambdaConcurrency"),
            "CKV_AWS_115",
        )
        acknowledge(
            self.function,
            "Asynchronous events that fail go to the function's on-failure destination, which this rule does "
            "not know. Step Functions calls the executor synchronously and retries it.",
            *compliance("LambdaDLQ"),
            "CKV_AWS_116",
        )
        acknowledge(
            self.function,
            "The variables hold names and settings. Lambda encrypts them with its own key.",
            "CKV_AWS_173",
        )
        if not settings.vpc_subnet_ids:
            acknowledge(
                self.function,
                "The function calls AWS APIs only. The setting vpcSubnetIds puts it into a VPC.",
                *compliance("LambdaInsideVPC"),
                "CKV_AWS_117",
            )

    def _attach_to_vpc(self, settings: Settings) -> None:
        grant(
            self.role,
            "AttachToVpc",
            actions=[
                *("ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"),
                *("ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses"),
                "ec2:UnassignPrivateIpAddresses",
            ],
            resources=["*"],
            # For Lambda itself and not for the function's code, whose calls have this key (Lambda developer
            # guide, "Using source function ARN to control function access behavior").
            conditions={"Null": {"lambda:SourceFunctionArn": "true"}},
            wildcard_reason="Lambda names its network interfaces itself (AWSLambdaVPCAccessExecutionRole).",
        )
        function = cast("lambda_.CfnFunction", self.function.node.default_child)
        function.vpc_config = lambda_.CfnFunction.VpcConfigProperty(
            subnet_ids=[*settings.vpc_subnet_ids], security_group_ids=[*settings.vpc_security_group_ids]
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
