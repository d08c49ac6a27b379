"""A query as a step of another state machine: each typed error is handled, then each row of the result."""

from pathlib import Path

from aws_cdk import App, ArnFormat, BootstraplessSynthesizer, CfnOutput, Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

REPORT = Path(__file__).with_name("report.asl.json").read_text()
# By which Step Functions receives the ends of nested executions.
MANAGED_RULE = "StepFunctionsGetEventsForStepFunctionsExecutionRule"


class StateMachineExample(Stack):
    """`retrySeconds` is context: the pause before a query is started again."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "StateMachineExample", synthesizer=BootstraplessSynthesizer())
        queries_arn, bucket, prefix = (
            self._parameter(name) for name in ("state-machine-arn", "results-bucket", "results-prefix")
        )
        report = sfn.StateMachine(
            self,
            "Report",
            definition_body=sfn.DefinitionBody.from_string(REPORT),
            definition_substitutions={
                "StateMachineArn": queries_arn,
                "RetrySeconds": self.node.try_get_context("retrySeconds") or "60",
            },
        )
        self._allow_nested_execution(report, queries_arn)
        self._allow_distributed_map(report, f"arn:{self.partition}:s3:::{bucket}/{prefix}*")
        CfnOutput(self, "StateMachineArn", value=report.state_machine_arn)

    def _allow_nested_execution(self, report: sfn.StateMachine, queries_arn: str) -> None:
        """What startExecution.sync:2 needs: start, follow and stop executions of this one state machine."""
        name = Fn.select(6, Fn.split(":", queries_arn))
        rule_arn = self.format_arn(service="events", resource="rule", resource_name=MANAGED_RULE)
        for actions, arn in (
            (["states:StartExecution"], queries_arn),
            (["states:DescribeExecution", "states:StopExecution"], self._executions(f"{name}:*")),
            (["events:PutTargets", "events:PutRule", "events:DescribeRule"], rule_arn),
        ):
            report.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=[arn]))

    def _allow_distributed_map(self, report: sfn.StateMachine, results_arn: str) -> None:
        """The rows, and executions of its own state machine.

        The role's own policy cannot name the state machine, which waits for that policy to exist.
        """
        report.add_to_role_policy(iam.PolicyStatement(actions=["s3:GetObject"], resources=[results_arn]))
        name = report.state_machine_name
        statements = [
            iam.PolicyStatement(actions=["states:StartExecution"], resources=[report.state_machine_arn]),
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
                resources=[self._executions(f"{name}:*"), self._executions(f"{name}/*:*")],
            ),
        ]
        iam.Policy(self, "MapPolicy", roles=[report.role], statements=statements)

    def _parameter(self, name: str) -> str:
        stack = self.node.try_get_context("stack") or "AthenaQueries"
        return ssm.StringParameter.value_for_string_parameter(self, f"/athena-queries/{stack}/{name}")

    def _executions(self, name: str) -> str:
        return self.format_arn(
            service="states",
            resource="execution",
            resource_name=name,
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )


if __name__ == "__main__":
    app = App()
    StateMachineExample(app)
    app.synth()
