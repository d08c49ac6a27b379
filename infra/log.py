"""Log groups that expire and are deleted with the stack."""

from typing import cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct


def log_group(scope: Construct, *, retention_days: int, name: str | None = None) -> logs.LogGroup:
    group = logs.LogGroup(scope, "Log", log_group_name=name, removal_policy=RemovalPolicy.DESTROY)
    # CDK's enumeration has no numeric values.
    cast("logs.CfnLogGroup", group.node.default_child).retention_in_days = retention_days
    return group
