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
        # What startExecution.sync:2 needs.
        queries_name = Fn.select(6, Fn.split(":", queries_arn))
        self._allow(report, "states:StartExecution", on=queries_arn)
        self._allow(
            report,
            *("states:DescribeExecution", "states:StopExecution"),
            on=self._arn("states", "execution", f"{queries_name}:*"),
        )
        self._allow(
            report,
            *("events:PutTargets", "events:PutRule", "events:DescribeRule"),
            on=f"arn:{self.partition}:events:{self.region}:{self.account}:rule/{MANAGED_RULE}",
        )
        # What the Distributed Map needs: the rows, and executions of its own state machine.
        self._allow(report, "s3:GetObject", on=f"arn:{self.partition}:s3:::{bucket}/{prefix}*")
        own = iam.Policy(self, "MapPolicy", roles=[report.role])
        children = [
            self._arn("states", "execution", f"{report.state_machine_name}{end}") for end in (":*", "/*:*")
        ]
        own.add_statements(
            iam.PolicyStatement(actions=["states:StartExecution"], resources=[report.state_machine_arn]),
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"],
                resources=children,
            ),
        )
        CfnOutput(self, "StateMachineArn", value=report.state_machine_arn)

    def _parameter(self, name: str) -> str:
        stack = self.node.try_get_context("stack") or "AthenaQueries"
        return ssm.StringParameter.value_for_string_parameter(self, f"/athena-queries/{stack}/{name}")

    def _arn(self, service: str, resource: str, name: str) -> str:
        return self.format_arn(
            service=service, resource=resource, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
        )

    def _allow(self, machine: sfn.StateMachine, *actions: str, on: str) -> None:
        machine.add_to_role_policy(iam.PolicyStatement(actions=[*actions], resources=[on]))


if __name__ == "__main__":
    app = App()
    StateMachineExample(app)
    app.synth()
