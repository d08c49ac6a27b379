"""The stack: the query engine, the workflow with its access to it, and the monitoring of both."""

from pathlib import Path

from aws_cdk import (
    BootstraplessSynthesizer,
    CfnOutput,
    CfnParameter,
    CliCredentialsStackSynthesizer,
    DefaultStackSynthesizer,
    Stack,
    Tags,
)
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.batches import Batches
from infra.monitoring import Monitoring
from infra.query_engine import QueryEngine
from infra.settings import Settings
from infra.workflow import Workflow

_SYNTHESIZERS = {"default": DefaultStackSynthesizer, "cli-credentials": CliCredentialsStackSynthesizer}


class QueryStack(Stack):
    """Account and Region are those of the CDK CLI.

    `code` is the functions' bundle; without it, the template has parameters for its place in S3 and needs no
    bootstrapped environment.
    """

    def __init__(self, scope: Construct, *, settings: Settings, code: Path | None) -> None:
        super().__init__(
            scope,
            settings.stack_name,
            description="Runs Athena queries as Step Functions executions, driven by completion events",
            synthesizer=_SYNTHESIZERS[settings.synthesizer]() if code else BootstraplessSynthesizer(),
        )
        for name, value in (("application", settings.stack_name), *settings.tags):
            Tags.of(self).add(name, value)
        if settings.permissions_boundary_arn:
            boundary = iam.ManagedPolicy.from_managed_policy_arn(
                self, "Boundary", settings.permissions_boundary_arn
            )
            iam.PermissionsBoundary.of(self).apply(boundary)
        engine = QueryEngine(self, "QueryEngine", settings=settings)
        function_code = lambda_.Code.from_asset(str(code)) if code else self._code_from_parameters()
        workflow = Workflow(
            self,
            "Workflow",
            settings=settings,
            code=function_code,
            work_group_name=engine.work_group_name,
        )
        engine.grant_run(workflow.executor.role)
        engine.grant_read(workflow.checker.role)
        engine.grant_stop(workflow.canceller.role)
        outputs = {
            "StateMachineArn": workflow.state_machine.state_machine_arn,
            "StateMachineAliasArn": workflow.alias.attr_arn,
            "WorkGroupName": engine.work_group_name,
            "TaskTableName": workflow.task_table.table_name,
            "ExecutorFunctionName": workflow.executor.function.function_name,
            "CheckerFunctionName": workflow.checker.function.function_name,
            "CancellerFunctionName": workflow.canceller.function.function_name,
            "DeadLetterQueueUrl": workflow.dead_letters.queue_url,
        }
        parameters = {"state-machine-arn": workflow.state_machine.state_machine_arn}
        batches = None
        if engine.results.bucket is not None:
            outputs["ResultsBucketName"] = parameters["results-bucket"] = engine.results.bucket.bucket_name
            parameters["results-prefix"] = settings.results_prefix
            batches = Batches(
                self,
                "Batches",
                settings=settings,
                code=function_code,
                bucket=engine.results.bucket,
                engine=engine,
                workflow=workflow,
            )
            outputs["BatchStateMachineArn"] = batches.state_machine.state_machine_arn
            outputs["BatchesLocation"] = engine.results.bucket.s3_url_for_object(settings.batches_prefix)
            outputs["PlannerFunctionName"] = batches.planner.function.function_name
            outputs["ReporterFunctionName"] = batches.reporter.function.function_name
            parameters["batch-state-machine-arn"] = batches.state_machine.state_machine_arn
        monitoring = Monitoring(self, "Monitoring", settings=settings, workflow=workflow, batches=batches)
        outputs["DashboardName"] = monitoring.dashboard.dashboard_name
        for name, value in outputs.items():
            CfnOutput(self, name, value=value)
        # Other stacks read these, without an import that would lock this stack.
        for name, value in parameters.items():
            ssm.StringParameter(
                self,
                f"Parameter {name}",
                parameter_name=f"/athena-queries/{settings.stack_name}/{name}",
                string_value=value,
            )

    def _code_from_parameters(self) -> lambda_.Code:
        bucket = CfnParameter(self, "CodeBucket", description="S3 bucket that holds the functions' zip")
        key = CfnParameter(self, "CodeKey", description="Key of the functions' zip in CodeBucket")
        place = s3.Bucket.from_bucket_name(self, "Code", bucket.value_as_string)
        return lambda_.Code.from_bucket(place, key.value_as_string)
