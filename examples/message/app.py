"""A query for each message: SQS → EventBridge Pipe → execution, with a dead-letter queue."""

from pathlib import Path

from aws_cdk import App, BootstraplessSynthesizer, CfnOutput, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_pipes as pipes
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

STARTER = Path(__file__).with_name("starter.asl.json").read_text()


class MessageExample(Stack):
    """Queue → pipe → starter → query. A message whose query does not succeed becomes a dead letter."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "MessageExample", synthesizer=BootstraplessSynthesizer())
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
        dead_letters = sqs.Queue(self, "DeadLetters", enforce_ssl=True)
        messages = sqs.Queue(
            self,
            "Messages",
            enforce_ssl=True,
            # For messages that the pipe cannot deliver.
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=5),
        )
        self._pipe(messages, starter)
        self._keep_failures(queries_arn, starter, dead_letters)
        CfnOutput(self, "QueueUrl", value=messages.queue_url)
        CfnOutput(self, "DeadLetterQueueUrl", value=dead_letters.queue_url)

    def _pipe(self, messages: sqs.Queue, starter: sfn.StateMachine) -> None:
        role = iam.Role(self, "PipeRole", assumed_by=iam.ServicePrincipal("pipes.amazonaws.com"))
        messages.grant_consume_messages(role)
        starter.grant_start_execution(role)
        pipe = pipes.CfnPipe(
            self,
            "Pipe",
            role_arn=role.role_arn,
            source=messages.queue_arn,
            target=starter.state_machine_arn,
            source_parameters=pipes.CfnPipe.PipeSourceParametersProperty(
                sqs_queue_parameters=pipes.CfnPipe.PipeSourceSqsQueueParametersProperty(batch_size=1)
            ),
            target_parameters=pipes.CfnPipe.PipeTargetParametersProperty(
                step_function_state_machine_parameters=(
                    pipes.CfnPipe.PipeTargetStateMachineParametersProperty(invocation_type="FIRE_AND_FORGET")
                )
            ),
        )
        # Pipes checks the role's permissions when the pipe is created.
        pipe.node.add_dependency(role)

    def _keep_failures(self, queries_arn: str, starter: sfn.StateMachine, dead_letters: sqs.Queue) -> None:
        """A dead letter is an execution's status event: its input, typed error and cause."""
        events.Rule(
            self,
            "Failed",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                    "$or": [
                        {"stateMachineArn": [queries_arn], "name": [{"prefix": "message-"}]},
                        {"stateMachineArn": [starter.state_machine_arn]},
                    ],
                },
            ),
            targets=[
                targets.SqsQueue(dead_letters, message=events.RuleTargetInput.from_event_path("$.detail"))
            ],
        )


if __name__ == "__main__":
    app = App()
    MessageExample(app)
    app.synth()
