"""The workflow: the state machine, its functions, the event rules, and the task table."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.settings import Settings as FunctionSettings
from infra.document import SOURCE
from infra.function import Function
from infra.nag import acknowledge, compliance
from infra.permissions import grant
from infra.rules import make_rules
from infra.settings import Settings
from infra.state_machine import StateMachineArn, make_state_machine, make_state_machine_role, publish


class Workflow(Construct):
    """`state_machine`, its `arn` and its `alias`; the functions `executor`, `checker` and `canceller`;
    `task_table`, `rules` and `dead_letters`.

    QueryEngine grants the functions access to Athena.
    """

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, code: lambda_.Code, work_group_name: str
    ) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self._code = code
        self._work_group_name = work_group_name
        self._removal_policy = RemovalPolicy[settings.removal_policy.upper()]
        # Composed from its name: the state machine refers to the functions, so they cannot refer to it.
        self.arn = StateMachineArn(self, settings.stack_name)
        self.task_table = self._make_task_table()
        self.dead_letters = self._make_dead_letters()
        self.executor = self._make_function(
            "Executor", "Starts queries and registers the task tokens of their executions"
        )
        self.checker = self._make_function(
            "Checker", "Receives completion events and settles the waiting tasks"
        )
        self.canceller = self._make_function("Canceller", "Stops the queries of executions that have ended")
        self.state_machine = make_state_machine(
            self,
            settings=settings,
            name=settings.stack_name,
            comment="Runs one Athena query",
            source=SOURCE,
            role=make_state_machine_role(
                self,
                settings=settings,
                name="StateMachine",
                function_arns=[one.function.function_arn for one in (self.executor, self.checker)],
            ),
            substitutions={
                "ExecutorArn": self.executor.function.function_arn,
                "CheckerArn": self.checker.function.function_arn,
                "PatienceSeconds": str(settings.patience_seconds),
                "PollSeconds": str(settings.poll_seconds),
                "PollGrowth": str(settings.poll_growth),
                "BackOffSeconds": str(settings.back_off_seconds),
            },
        )
        self.alias = publish(self, self.state_machine)
        for function in (self.checker, self.canceller):
            function.send_failures_to(self.dead_letters)
        self.rules = make_rules(
            self,
            work_group_name=work_group_name,
            state_machine_arn=self.state_machine.state_machine_arn,
            sweep_minutes=settings.sweep_minutes,
            checker=self.checker,
            canceller=self.canceller,
        )
        self._grant()

    def _key(self, id_: str, arn: str) -> kms.IKey | None:
        return kms.Key.from_key_arn(self, id_, arn) if arn else None

    def _make_dead_letters(self) -> sqs.Queue:
        key = self._key("QueueKey", self._settings.queue_key_arn)
        queue = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.KMS if key else sqs.QueueEncryption.SQS_MANAGED,
            encryption_master_key=key,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            removal_policy=self._removal_policy,
        )
        acknowledge(queue, "This is the dead-letter queue.", "AwsSolutions-SQS3")
        if key is None:
            acknowledge(
                queue,
                "SQS encrypts with its own key, which checkov does not detect. The setting queueKeyArn "
                "brings a KMS key.",
                "CKV_AWS_27",
            )
        return queue

    def _make_task_table(self) -> dynamodb.Table:
        key = self._key("TableKey", self._settings.table_key_arn)
        managed, brought = dynamodb.TableEncryption.AWS_MANAGED, dynamodb.TableEncryption.CUSTOMER_MANAGED
        table = dynamodb.Table(
            self,
            "Tasks",
            partition_key=dynamodb.Attribute(name="Id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=brought if key else managed,
            encryption_key=key,
            time_to_live_attribute="ExpiresAt",
            removal_policy=self._removal_policy,
        )
        acknowledge(
            table,
            "Items expire within days and are of no use once their executions have ended.",
            "AwsSolutions-DDB3",
            *(*compliance("DynamoDBPITREnabled"), *compliance("DynamoDBInBackupPlan"), "CKV_AWS_28"),
        )
        if key is None:
            acknowledge(
                table,
                "DynamoDB encrypts with the account's AWS managed key. The setting tableKeyArn brings a key.",
                "CKV_AWS_119",
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
            environment=self._function_settings().to_environment(),
        )

    def _function_settings(self) -> FunctionSettings:
        settings = self._settings
        return FunctionSettings(
            task_table=self.task_table.table_name,
            work_group=self._work_group_name,
            state_machine_arn=self.arn.state_machine,
            region=Stack.of(self).region,
            default_database=settings.default_database,
            default_catalog=settings.default_catalog,
            max_attempts=settings.max_attempts,
            usd_per_terabyte=settings.usd_per_terabyte,
            # 0: the limit of a brought workgroup is not known.
            bytes_scanned_limit=0 if settings.work_group else settings.bytes_scanned_limit,
            poll_seconds=settings.poll_seconds,
            poll_growth=settings.poll_growth,
            task_ttl_days=settings.task_ttl_days,
        )

    def _grant(self) -> None:
        for function in (self.executor, self.checker):
            # IAM checks these against the state machine of the token, although the service authorization
            # reference lists no resource type for them (https://github.com/aws/aws-cdk/pull/8486).
            grant(
                function.role,
                "SettleTasks",
                actions=["states:SendTaskSuccess", "states:SendTaskFailure"],
                resources=[self.arn.state_machine],
            )
        table_actions = {
            self.executor: ["dynamodb:UpdateItem", "dynamodb:GetItem"],
            self.checker: ["dynamodb:UpdateItem", "dynamodb:GetItem"],
            self.canceller: ["dynamodb:UpdateItem", "dynamodb:BatchGetItem"],
        }
        for function, actions in table_actions.items():
            grant(function.role, "AccessTaskTable", actions=actions, resources=[self.task_table.table_arn])
        for function in table_actions:
            self._grant_table_key(function.role)
        for function in (self.checker, self.canceller):
            self.grant_queue_key(function.role)
        # The sweep lists executions. The input of one has the request of a start that was never confirmed.
        grant(
            self.canceller.role,
            "ListExecutions",
            actions=["states:ListExecutions"],
            resources=[self.arn.state_machine],
        )
        grant(
            self.canceller.role,
            "ReadExecutions",
            actions=["states:DescribeExecution"],
            resources=[self.arn.executions],
            wildcard_reason="Executions are named by their callers.",
        )

    def grant_find(self, role: iam.Role) -> None:
        """Read items of the task table, many at once."""
        grant(role, "ReadTaskTable", actions=["dynamodb:BatchGetItem"], resources=[self.task_table.table_arn])
        self._grant_table_key(role)

    def grant_queue_key(self, role: iam.Role) -> None:
        """Use the key of the dead-letter queue, if there is one."""
        if self._settings.queue_key_arn:
            grant(
                role,
                "UseQueueKey",
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=[self._settings.queue_key_arn],
            )

    def _grant_table_key(self, role: iam.Role) -> None:
        if self._settings.table_key_arn:
            # DynamoDB uses the key with the permissions of its caller (DynamoDB developer guide, "DynamoDB
            # encryption at rest").
            grant(
                role,
                "UseTableKey",
                actions=["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"],
                resources=[self._settings.table_key_arn],
            )
