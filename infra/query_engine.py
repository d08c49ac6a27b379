"""Athena: the workgroup, the bucket for its results, and the permissions to use them."""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.data_access import grant_data_access
from infra.permissions import acknowledge, grant
from infra.settings import Settings

_RESULTS = "results/"
_WHY_ALL_RESULTS = "Athena names results by query id, and the bucket holds only results of this stack."


class QueryEngine(Construct):
    """`work_group_name` and `results_bucket`. A query has the permissions of the role that starts it."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self.results_bucket = self._make_results_bucket()
        self.work_group_name = self._make_work_group().ref
        self._work_group_arn = Stack.of(self).format_arn(
            service="athena", resource="workgroup", resource_name=self.work_group_name
        )
        self._result_objects = self.results_bucket.arn_for_objects(f"{_RESULTS}*")

    def grant_run(self, role: iam.Role) -> None:
        """Start, read and stop queries over the data in the settings."""
        grant(
            role,
            "RunQueries",
            actions=[
                *("athena:StartQueryExecution", "athena:StopQueryExecution"),
                *("athena:GetQueryExecution", "athena:GetQueryResults"),
                *("athena:GetNamedQuery", "athena:GetPreparedStatement"),
                *("athena:CreatePreparedStatement", "athena:UpdatePreparedStatement"),
                "athena:DeletePreparedStatement",
            ],
            resources=[self._work_group_arn],
        )
        self._grant_catalogs(role)
        grant(
            role,
            "LocateResults",
            actions=["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            resources=[self.results_bucket.bucket_arn],
        )
        grant(
            role,
            "WriteResults",
            actions=[
                *("s3:GetObject", "s3:PutObject"),
                *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
            ],
            resources=[self._result_objects],
            wildcard_reason=_WHY_ALL_RESULTS,
        )
        grant_data_access(role, self._settings)

    def grant_read(self, role: iam.Role) -> None:
        """Read queries and their results."""
        grant(
            role,
            "ReadQueries",
            actions=["athena:GetQueryExecution", "athena:GetQueryResults"],
            resources=[self._work_group_arn],
        )
        # GetQueryResults needs access to the result object (Athena API reference, GetQueryResults).
        grant(
            role,
            "ReadResults",
            actions=["s3:GetObject"],
            resources=[self._result_objects],
            wildcard_reason=_WHY_ALL_RESULTS,
        )

    def grant_stop(self, role: iam.Role) -> None:
        """Read and stop queries, and start those that claim a request token (docs/adr/0011)."""
        grant(
            role,
            "StopQueries",
            actions=[
                *("athena:StartQueryExecution", "athena:StopQueryExecution"),
                *("athena:GetQueryExecution", "athena:BatchGetQueryExecution"),
                "athena:GetNamedQuery",
            ],
            resources=[self._work_group_arn],
        )
        self._grant_catalogs(role)
        # Athena checks the result location when a query starts.
        grant(
            role,
            "LocateResults",
            actions=["s3:GetBucketLocation"],
            resources=[self.results_bucket.bucket_arn],
        )
        grant(
            role,
            "WriteResults",
            actions=["s3:PutObject"],
            resources=[self._result_objects],
            wildcard_reason=_WHY_ALL_RESULTS,
        )

    def _grant_catalogs(self, role: iam.Role) -> None:
        """Needed to start a query (Step Functions developer guide, "Run Amazon Athena queries")."""
        grant(
            role,
            "ResolveCatalogs",
            actions=["athena:GetDataCatalog"],
            resources=[
                Stack.of(self).format_arn(service="athena", resource="datacatalog", resource_name=name)
                for name in sorted(
                    {
                        "AwsDataCatalog",
                        self._settings.default_catalog,
                        *self._settings.federated_catalogs,
                    }
                )
            ],
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
            # Callers own the results, and tables may be stored beside them: the bucket outlives the stack.
            removal_policy=RemovalPolicy.RETAIN,
            lifecycle_rules=[
                s3.LifecycleRule(id="AbortUploads", abort_incomplete_multipart_upload_after=Duration.days(1)),
                # Results expire; tables that CREATE TABLE AS SELECT stores under results/tables/ must not. A
                # rule cannot exclude a prefix, but a query id starts with a hexadecimal digit and "tables"
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
            "CloudTrail records who ran which query; access logs need a second bucket and outlive results.",
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
