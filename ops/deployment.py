"""A deployed stack: its CloudFormation outputs, and clients of the account and region that it is in."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ops.errors import CommandError, ExitCode

DEFAULT_STACK = "AthenaQueries"

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 4})


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """`client` makes a boto3 client of a service.

    `shortest_period` is in seconds: CloudWatch's for metrics of standard resolution (API reference,
    MetricStat), while the local stack's metrics are finer.
    """

    name: str
    created: datetime
    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    shortest_period: int = 60

    def output(self, name: str) -> str:
        """A CloudFormation output. Raise CommandError if the stack has none of this name."""
        try:
            return self.outputs[name]
        except KeyError:
            raise CommandError(
                f"the stack {self.name} has no output {name}; "
                "name another stack with --stack, or deploy this one again",
                ExitCode.UNREACHABLE,
            ) from None


def connect(name: str, *, region: str | None = None) -> Deployment:
    """The stack `name` where the AWS environment points to: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL.

    Raise CommandError if there is no such stack, botocore's errors if AWS cannot be reached.
    """
    # boto3 reads AWS_DEFAULT_REGION only; the AWS CLI and the other SDKs read AWS_REGION first.
    session = boto3.Session(region_name=region or os.environ.get("AWS_REGION") or None)

    def client(service: str) -> Any:
        try:
            # boto3-stubs has an overload for each literal name and none for a variable.
            return session.client(service, config=_CONFIG)  # type: ignore[call-overload]
        except ValueError as error:
            if isinstance(error, BotoCoreError):
                raise
            # botocore has no error of its own for an endpoint that is no URL.
            raise CommandError(
                f"{error}; set AWS_ENDPOINT_URL to a URL such as http://127.0.0.1:4566, or unset it",
                ExitCode.UNREACHABLE,
            ) from None

    return describe_deployment(name, client)


def describe_deployment(name: str, client: Callable[[str], Any], *, shortest_period: int = 60) -> Deployment:
    """Read the stack from CloudFormation. Raise CommandError if there is no such stack."""
    cloudformation = client("cloudformation")
    try:
        stack = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        # CloudFormation has no error code of its own for it (API reference, DescribeStacks).
        if "does not exist" not in error.response["Error"].get("Message", ""):
            raise
        raise CommandError(
            f"there is no stack {name} in {cloudformation.meta.region_name}; deploy it, or check its name "
            "(--stack, or the state machine of the execution's ARN), AWS_REGION and AWS_PROFILE",
            ExitCode.UNREACHABLE,
        ) from None
    return Deployment(
        name=name,
        created=stack["CreationTime"],
        outputs={one["OutputKey"]: one["OutputValue"] for one in stack.get("Outputs", [])},
        client=client,
        shortest_period=shortest_period,
    )
