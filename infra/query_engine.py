"""Athena: a workgroup of its own, a bucket for its results, and what a role needs to use them."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.data_access import allow_databases, allow_prefixes
from infra.permissions import acknowledge, allow
from infra.settings import Settings

_RESULTS = "results/"
_WHY_ALL_RESULTS = "Athena names results by query id; the bucket holds this stack's results only."


class QueryEngine(Construct):
    """`work_group_name` and `results_bucket`; queries run with the rights of the role that starts them."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self.results_bucket = self._make_results_bucket()
        self.work_group_name = self._make_work_group().ref
        self._work_group_arn = Stack.of(self).format_arn(
            service="athena", resource="workgroup", resource_name=self.work_group_name
        )
        self._result_objects = self.results_bucket.arn_for_objects(f"{_RESULTS}*")

    def allow_running(self, role: iam.Role) -> None:
        """Run queries over the data that the settings name, look at them, stop them."""
        allow(
            role,
            "RunQueries",
            actions=[
                *("athena:StartQueryExecution", "athena:StopQueryExecution"),
                *("athena:GetQueryExecution", "athena:GetQueryResults"),
                *("athena:GetNamedQuery", "athena:GetPreparedStatement"),
            ],
            on=[self._work_group_arn],
        )
        # Step Functions' developer guide grants it beside StartQueryExecution ("Run Amazon Athena queries").
        stack = Stack.of(self)
        allow(
            role,
            "ResolveCatalogs",
            actions=["athena:GetDataCatalog"],
            on=[
                stack.format_arn(service="athena", resource="datacatalog", resource_name=name)
                for name in sorted({"AwsDataCatalog", self._settings.default_catalog})
            ],
        )
        allow(
            role,
            "FindResults",
            actions=["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            on=[self.results_bucket.bucket_arn],
        )
        allow(
            role,
            "WriteResults",
            actions=[
                *("s3:GetObject", "s3:PutObject"),
                *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
            ],
            on=[self._result_objects],
            wildcards=_WHY_ALL_RESULTS,
        )
        allow_databases(role, self._settings)
        allow_prefixes(role, self._settings)

    def allow_looking(self, role: iam.Role) -> None:
        """See how a query ended, and read its result."""
        allow(
            role,
            "LookAtQueries",
            actions=["athena:GetQueryExecution", "athena:GetQueryResults"],
            on=[self._work_group_arn],
        )
        # GetQueryResults reads the object with its caller's rights (Athena API reference, GetQueryResults).
        allow(
            role,
            "ReadResults",
            actions=["s3:GetObject"],
            on=[self._result_objects],
            wildcards=_WHY_ALL_RESULTS,
        )

    def allow_stopping(self, role: iam.Role) -> None:
        """Find the queries that run, and stop them."""
        allow(
            role,
            "StopQueries",
            actions=[
                *("athena:ListQueryExecutions", "athena:BatchGetQueryExecution"),
                *("athena:GetQueryExecution", "athena:StopQueryExecution"),
            ],
            on=[self._work_group_arn],
        )

    def _make_results_bucket(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Results",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            # Results are their caller's, and tables may lie beside them: they outlive the stack.
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(id="AbortUploads", abort_incomplete_multipart_upload_after=Duration.days(1)),
                # Results expire; tables that CREATE TABLE AS SELECT puts under results/tables/ must not. A
                # rule cannot leave a prefix out, but a query id starts with a hexadecimal digit and "tables"
                # does not: docs/adr/0008-results-expire-tables-stay.md.
                *(
                    s3.LifecycleRule(
                        id=f"ExpireResults{digit}",
                        prefix=f"{_RESULTS}{digit}",
                        expiration=Duration.days(self._settings.results_retention_days),
                    )
                    for digit in "0123456789abcdef"
                ),
            ],
        )
        acknowledge(
            bucket,
            "AwsSolutions-S1",
            "CloudTrail records who ran which query; access logs need a second bucket, and outlive results.",
        )
        return bucket

    def _make_work_group(self) -> athena.CfnWorkGroup:
        return athena.CfnWorkGroup(
            self,
            "WorkGroup",
            name=self._settings.stack_name,
            description=f"Queries of the state machine {self._settings.stack_name}",
            recursive_delete_option=True,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=self._settings.bytes_scanned_limit,
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=self.results_bucket.s3_url_for_object(_RESULTS),
                    expected_bucket_owner=Stack.of(self).account,
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_S3"
                    ),
                ),
            ),
        )
