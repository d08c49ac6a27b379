"""Log groups that expire, and are deleted with the stack unless the settings retain them."""

from typing import cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.nag import acknowledge, compliance
from infra.settings import Settings


def log_group(scope: Construct, *, settings: Settings, name: str | None = None) -> logs.LogGroup:
    key = kms.Key.from_key_arn(scope, "LogKey", settings.logs_key_arn) if settings.logs_key_arn else None
    group = logs.LogGroup(
        scope,
        "Log",
        log_group_name=name,
        encryption_key=key,
        removal_policy=RemovalPolicy[settings.removal_policy.upper()],
    )
    # CDK's enumeration has no numeric values.
    cast("logs.CfnLogGroup", group.node.default_child).retention_in_days = settings.log_retention_days
    if key is None:
        acknowledge(
            group,
            "CloudWatch Logs encrypts with its own key, and no log line holds SQL or a token. The setting "
            "logsKeyArn brings another key.",
            *compliance("CloudWatchLogGroupEncrypted"),
            "CKV_AWS_158",
        )
    return group
