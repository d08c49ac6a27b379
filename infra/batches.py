"""The state machine that runs a batch of queries as one execution, its functions and their permissions."""

from aws_cdk import Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from constructs import Construct

from functions.batch_runtime import BatchSettings
from functions.settings import BATCH_MEMORY_MB, BATCH_TIMEOUT_SECONDS
from infra.document import BATCH_SOURCE
from infra.function import Function
from infra.permissions import grant
from infra.query_engine import QueryEngine
from infra.rules import make_end_rules
from infra.settings import Settings
from infra.state_machine import StateMachineArn, make_state_machine, make_state_machine_role
from infra.workflow import Workflow

_WHY_ALL_EXECUTIONS = "Executions are named by their callers, and child executions by Step Functions."
_WHY_ALL_FILES = "A batch's files are below the name of its execution, and callers name their own."


class Batches(Construct):
    """`state_machine`, the functions `planner` and `reporter`, and `rules`.

    `bucket` holds the batches and their manifests.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        code: lambda_.Code,
        bucket: s3.IBucket,
        engine: QueryEngine,
        workflow: Workflow,
    ) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self._bucket = bucket
        self._name = settings.batch_name
        self._arn = StateMachineArn(self, self._name)
        self._queries = workflow.arn
        self._environment = BatchSettings(
            region=Stack.of(self).region,
            task_table=workflow.task_table.table_name,
            state_machine_arn=self._queries.state_machine,
            batch_state_machine_arn=self._arn.state_machine,
            batches_bucket=bucket.bucket_name,
            batches_prefix=settings.batches_prefix,
            usd_per_terabyte=settings.usd_per_terabyte,
        ).to_environment()
        self.planner = self._make_function("Planner", "Checks batches and plans their queries", code)
        self.reporter = self._make_function("Reporter", "Writes the manifests of batches", code)
        self._role = make_state_machine_role(
            self,
            settings=settings,
            name="BatchStateMachine",
            function_arns=[one.function.function_arn for one in (self.planner, self.reporter)],
        )
        self.state_machine = make_state_machine(
            self,
            settings=settings,
            name=self._name,
            comment="Runs a batch of Athena queries",
            source=BATCH_SOURCE,
            role=self._role,
            substitutions={
                "PlannerArn": self.planner.function.function_arn,
                "ReporterArn": self.reporter.function.function_arn,
                "QueryStateMachineArn": self._queries.state_machine,
                "BatchConcurrency": str(settings.batch_concurrency),
            },
        )
        self.reporter.send_failures_to(workflow.dead_letters)
        self.rules = make_end_rules(
            self,
            names=("BatchEnded", "BatchSweep"),
            state_machine_arn=self.state_machine.state_machine_arn,
            sweep_minutes=settings.sweep_minutes,
            function=self.reporter,
        )
        self._grant_map()
        self._grant_planner(engine)
        self._grant_reporter(engine, workflow)

    def _make_function(self, name: str, description: str, code: lambda_.Code) -> Function:
        return Function(
            self,
            name,
            settings=self._settings,
            code=code,
            handler=f"functions.{name.lower()}.handler",
            description=description,
            environment=self._environment,
            timeout_seconds=BATCH_TIMEOUT_SECONDS,
            memory_mb=BATCH_MEMORY_MB,
        )

    def _grant_map(self) -> None:
        """What a Distributed Map and nested executions need.

        See the Step Functions developer guide, "IAM policies for using Distributed Map states" and "IAM
        policies for calling AWS Step Functions workflows".
        """
        grant(
            self._role,
            "StartQueriesAndChildren",
            actions=["states:StartExecution"],
            resources=[self._queries.state_machine, self._arn.state_machine],
        )
        grant(
            self._role,
            "FollowQueries",
            actions=["states:DescribeExecution", "states:StopExecution"],
            resources=[self._queries.executions],
            wildcard_reason=_WHY_ALL_EXECUTIONS,
        )
        grant(
            self._role,
            "ManageChildren",
            actions=["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
            resources=[self._arn.children],
            wildcard_reason=_WHY_ALL_EXECUTIONS,
        )
        grant(
            self._role,
            "ReceiveEndsOfQueries",
            actions=["events:PutTargets", "events:PutRule", "events:DescribeRule"],
            resources=[
                Stack.of(self).format_arn(
                    service="events",
                    resource="rule",
                    # Step Functions' own rule, one for the account.
                    resource_name="StepFunctionsGetEventsForStepFunctionsExecutionRule",
                )
            ],
        )
        grant(
            self._role,
            "AccessFiles",
            actions=[
                *("s3:GetObject", "s3:PutObject"),
                *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
            ],
            resources=[self._own_files],
            wildcard_reason=_WHY_ALL_FILES,
        )

    @property
    def _own_files(self) -> str:
        """The files of this stack's batches, not those of its callers."""
        return self._bucket.arn_for_objects(f"{self._settings.batches_prefix}{self._name}/*")

    def _grant_planner(self, engine: QueryEngine) -> None:
        grant(
            self.planner.role,
            "ReadBatches",
            actions=["s3:GetObject"],
            resources=[self._bucket.arn_for_objects(f"{self._settings.batches_prefix}*")],
            wildcard_reason=_WHY_ALL_FILES,
        )
        grant(
            self.planner.role,
            "WritePlans",
            actions=["s3:PutObject"],
            resources=[self._own_files],
            wildcard_reason=_WHY_ALL_FILES,
        )
        for role in (self.planner.role, self.reporter.role, self._role):
            engine.results.grant_key(role, "kms:Decrypt", "kms:GenerateDataKey")

    def _grant_reporter(self, engine: QueryEngine, workflow: Workflow) -> None:
        role = self.reporter.role
        grant(
            role,
            "AccessFiles",
            actions=["s3:GetObject", "s3:PutObject"],
            resources=[self._own_files],
            wildcard_reason=_WHY_ALL_FILES,
        )
        grant(
            role,
            "ListBatches",
            actions=["states:ListExecutions"],
            resources=[self._arn.state_machine, self._arn.map_runs],
            wildcard_reason=_WHY_ALL_EXECUTIONS,
        )
        grant(
            role,
            "ReadExecutions",
            actions=["states:DescribeExecution", "states:ListMapRuns"],
            resources=[self._arn.executions, self._queries.executions],
            wildcard_reason=_WHY_ALL_EXECUTIONS,
        )
        grant(
            role,
            "StopExecutions",
            actions=["states:StopExecution"],
            resources=[self._arn.children, self._queries.executions],
            wildcard_reason=_WHY_ALL_EXECUTIONS,
        )
        engine.grant_describe(role)
        workflow.grant_find(role)
        workflow.grant_queue_key(role)
