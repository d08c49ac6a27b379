"""A query every morning: EventBridge Scheduler starts it with the scheduled time, once for each time."""

from pathlib import Path

from aws_cdk import App, BootstraplessSynthesizer, CfnOutput, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as scheduler_targets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

STARTER = Path(__file__).with_name("starter.asl.json").read_text()


class ScheduleExample(Stack):
    """Schedule → starter → query. The starter derives the execution's name from the scheduled time."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "ScheduleExample", synthesizer=BootstraplessSynthesizer())
        stack = self.node.try_get_context("stack") or "AthenaQueries"
        queries_arn = ssm.StringParameter.value_for_string_parameter(
            self, f"/athena-queries/{stack}/state-machine-arn"
        )
        starter = sfn.StateMachine(
            self,
            "Starter",
            definition_body=sfn.DefinitionBody.from_string(STARTER),
            definition_substitutions={"StateMachineArn": queries_arn},
        )
        queries = sfn.StateMachine.from_state_machine_arn(self, "Queries", queries_arn)
        queries.grant_start_execution(starter)
        failures = sqs.Queue(self, "Failures", enforce_ssl=True)
        schedule = self._schedule(starter, failures)
        self._report_failures(queries_arn, starter, failures)
        CfnOutput(self, "ScheduleName", value=schedule.schedule_name)
        CfnOutput(self, "FailuresQueueUrl", value=failures.queue_url)

    def _schedule(self, starter: sfn.StateMachine, failures: sqs.Queue) -> scheduler.Schedule:
        return scheduler.Schedule(
            self,
            "Daily",
            schedule=scheduler.ScheduleExpression.cron(hour="6", minute="0"),
            target=scheduler_targets.StepFunctionsStartExecution(
                starter,
                input=scheduler.ScheduleTargetInput.from_object(
                    {"ScheduledTime": scheduler.ContextAttribute.scheduled_time}
                ),
                dead_letter_queue=failures,
            ),
        )

    def _report_failures(self, queries_arn: str, starter: sfn.StateMachine, failures: sqs.Queue) -> None:
        """Nothing waits for the query, so an event reports that it did not succeed, or was not started."""
        fields = ("executionArn", "status", "error")
        events.Rule(
            self,
            "Failed",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                    "$or": [
                        {"stateMachineArn": [queries_arn], "name": [{"prefix": "daily-carriers-"}]},
                        {"stateMachineArn": [starter.state_machine_arn]},
                    ],
                },
            ),
            targets=[
                targets.SqsQueue(
                    failures,
                    message=events.RuleTargetInput.from_object(
                        {field: events.EventField.from_path(f"$.detail.{field}") for field in fields}
                    ),
                )
            ],
        )


if __name__ == "__main__":
    app = App()
    ScheduleExample(app)
    app.synth()
