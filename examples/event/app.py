"""A query for each object that arrives: S3 → EventBridge rule with an input transformer → execution."""

from typing import cast

from aws_cdk import App, BootstraplessSynthesizer, CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_glue as glue
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

# Checks the object: the query fails if a row has no valid date.
QUERY = 'SELECT count(*) AS readings, max(CAST(day AS date)) AS newest FROM arrivals WHERE "$path" = ?'


class EventExample(Stack):
    """`bucketName` and `database` are context; the main stack must be able to read both."""

    def __init__(self, scope: Construct) -> None:
        super().__init__(scope, "EventExample", synthesizer=BootstraplessSynthesizer())
        stack = self.node.try_get_context("stack") or "AthenaQueries"
        database = self.node.try_get_context("database") or "default"
        queries_arn = ssm.StringParameter.value_for_string_parameter(
            self, f"/athena-queries/{stack}/state-machine-arn"
        )
        queries = sfn.StateMachine.from_state_machine_arn(self, "Queries", queries_arn)
        bucket = self._bucket(self.node.try_get_context("bucketName"))
        self._table(database, bucket)
        failures = sqs.Queue(self, "Failures", enforce_ssl=True)
        self._query_arrivals(queries, database, bucket, failures)
        self._report_failures(queries_arn, failures)
        CfnOutput(self, "BucketName", value=bucket.bucket_name)
        CfnOutput(self, "FailuresQueueUrl", value=failures.queue_url)

    def _query_arrivals(
        self, queries: sfn.IStateMachine, database: str, bucket: s3.Bucket, failures: sqs.Queue
    ) -> None:
        path = "s3://" + "/".join(
            events.EventField.from_path(f"$.detail.{field}") for field in ("bucket.name", "object.key")
        )
        events.Rule(
            self,
            "Arrived",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [bucket.bucket_name]},
                    # The transformer escapes nothing: these would end the literal or the JSON string.
                    "object": {"key": [{"anything-but": {"wildcard": ["*'*", '*"*', r"*\\*"]}}]},
                },
            ),
            targets=[
                targets.SfnStateMachine(
                    queries,
                    input=events.RuleTargetInput.from_object(
                        {
                            "QueryString": QUERY,
                            "Database": database,
                            "ExecutionParameters": [f"'{path}'"],
                            "Labels": {"job": "arrivals"},
                        }
                    ),
                    dead_letter_queue=failures,
                )
            ],
        )

    def _report_failures(self, queries_arn: str, failures: sqs.Queue) -> None:
        """Nothing waits for the query, so an event reports that it did not succeed.

        EventBridge names the executions that it starts; their label identifies them.
        """
        fields = ("executionArn", "status", "error")
        events.Rule(
            self,
            "Failed",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [queries_arn],
                    "status": ["FAILED", "TIMED_OUT", "ABORTED"],
                    "input": [{"wildcard": '*"job":*"arrivals"*'}],
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

    def _bucket(self, name: str | None) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Arrivals",
            bucket_name=name,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            removal_policy=RemovalPolicy.RETAIN,
        )
        # The property `event_bridge_enabled` would deploy a Lambda function for this.
        resource = cast("s3.CfnBucket", bucket.node.default_child)
        resource.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(
                event_bridge_enabled=True
            )
        )
        return bucket

    def _table(self, database: str, bucket: s3.Bucket) -> None:
        """The table `arrivals` over the bucket: CSV files with a day and a reading in each row."""
        hive = "org.apache.hadoop.hive"
        glue.CfnTable(
            self,
            "Table",
            catalog_id=self.account,
            database_name=database,
            table_input=glue.CfnTable.TableInputProperty(
                name="arrivals",
                table_type="EXTERNAL_TABLE",
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    columns=[
                        glue.CfnTable.ColumnProperty(name=name, type="string") for name in ("day", "reading")
                    ],
                    location=f"s3://{bucket.bucket_name}/",
                    input_format="org.apache.hadoop.mapred.TextInputFormat",
                    output_format=f"{hive}.ql.io.HiveIgnoreKeyTextOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library=f"{hive}.serde2.lazy.LazySimpleSerDe",
                        parameters={"field.delim": ","},
                    ),
                ),
            ),
        )


if __name__ == "__main__":
    app = App()
    EventExample(app)
    app.synth()
