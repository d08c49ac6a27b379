"""Where query results go: the stack's bucket, your own bucket, or Athena itself."""

from typing import Any, cast

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.nag import acknowledge, compliance
from infra.permissions import grant
from infra.settings import Settings

_WHY_ALL_RESULTS = "Athena names results by query id; nothing but results is below the prefix."


class Results:
    """`bucket` is None where Athena manages the results."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        self._account = Stack.of(scope).account
        self._prefix = settings.results_prefix
        self._key: kms.IKey | None = None
        if settings.results_key_arn:
            self._key = kms.Key.from_key_arn(scope, "ResultsKey", settings.results_key_arn)
        self.bucket: s3.IBucket | None = None
        if settings.results_bucket:
            self.bucket = s3.Bucket.from_bucket_name(scope, "Results", settings.results_bucket)
        elif not settings.managed_results:
            self.bucket = self._make_bucket(scope, settings)

    def configuration(self) -> dict[str, Any]:
        """What the workgroup's configuration has on results."""
        key_arn = self._key.key_arn if self._key else None
        if self.bucket is None:
            encryption = athena.CfnWorkGroup.ManagedStorageEncryptionConfigurationProperty(kms_key=key_arn)
            return {
                "managed_query_results_configuration": (
                    athena.CfnWorkGroup.ManagedQueryResultsConfigurationProperty(
                        enabled=True, encryption_configuration=encryption if key_arn else None
                    )
                )
            }
        return {
            "result_configuration": athena.CfnWorkGroup.ResultConfigurationProperty(
                output_location=self.bucket.s3_url_for_object(self._prefix),
                expected_bucket_owner=self._account,
                encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                    encryption_option="SSE_KMS" if key_arn else "SSE_S3", kms_key=key_arn
                ),
            )
        }

    def grant_run(self, role: iam.Role) -> None:
        """Athena writes and reads results with the role's permissions."""
        self.grant_key(role, "kms:Decrypt", "kms:GenerateDataKey")
        if self.bucket is None:
            return
        grant(
            role,
            "LocateResults",
            actions=["s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
            resources=[self.bucket.bucket_arn],
        )
        grant(
            role,
            "ListResults",
            actions=["s3:ListBucket"],
            resources=[self.bucket.bucket_arn],
            conditions={"StringLike": {"s3:prefix": [f"{self._prefix}*"]}},
        )
        self._grant_objects(
            role,
            *("s3:GetObject", "s3:PutObject"),
            *("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"),
        )

    def grant_read(self, role: iam.Role) -> None:
        """GetQueryResults needs access to the result object (Athena API reference, GetQueryResults)."""
        self.grant_key(role, "kms:Decrypt")
        self._grant_objects(role, "s3:GetObject")

    def grant_claim(self, role: iam.Role) -> None:
        """Athena checks the result location when a query starts; a claim's result is of no interest."""
        self.grant_key(role, "kms:Decrypt", "kms:GenerateDataKey")
        if self.bucket is not None:
            grant(
                role,
                "LocateResults",
                actions=["s3:GetBucketLocation"],
                resources=[self.bucket.bucket_arn],
            )
        self._grant_objects(role, "s3:PutObject")

    def grant_key(self, role: iam.Role, *actions: str) -> None:
        """Use the key of the results, if there is one."""
        if self._key is not None:
            grant(role, "UseResultsKey", actions=actions, resources=[self._key.key_arn])

    def _grant_objects(self, role: iam.Role, *actions: str) -> None:
        if self.bucket is not None:
            grant(
                role,
                "AccessResults",
                actions=actions,
                resources=[self.bucket.arn_for_objects(f"{self._prefix}*")],
                wildcard_reason=_WHY_ALL_RESULTS,
            )

    def _make_bucket(self, scope: Construct, settings: Settings) -> s3.Bucket:
        retention = Duration.days(settings.results_retention_days)
        bucket = s3.Bucket(
            scope,
            "Results",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.KMS if self._key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=self._key,
            bucket_key_enabled=True if self._key else None,
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
                        prefix=f"{self._prefix}{digit}",
                        expiration=retention,
                    )
                    for digit in "0123456789abcdef"
                ),
                s3.LifecycleRule(id="ExpireBatches", prefix=settings.batches_prefix, expiration=retention),
            ],
        )
        # Otherwise the bucket that stays would accept plain HTTP.
        cast("s3.BucketPolicy", bucket.policy).apply_removal_policy(RemovalPolicy.RETAIN)
        acknowledge(
            bucket,
            "CloudTrail records who ran which query; access logs need a second bucket and outlive results.",
            *("AwsSolutions-S1", *compliance("S3BucketLoggingEnabled"), "CKV_AWS_18"),
        )
        acknowledge(
            bucket,
            "Results are written once under unique names, expire, and can be had again by running the query.",
            *compliance("S3BucketReplicationEnabled"),
            *compliance("S3BucketVersioningEnabled"),
            "CKV_AWS_21",
        )
        if self._key is None:
            acknowledge(
                bucket,
                "S3 encrypts with its own key. The setting resultsKeyArn brings a KMS key.",
                *compliance("S3DefaultEncryptionKMS"),
            )
        return bucket
