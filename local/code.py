"""Deploys the functions' current code to a running local stack, without a synthesis by CDK."""

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from infra.bundle import BundleError, bundle
from local.stack import ROOT, Stack, StackError
from ops.errors import ExitCode

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_lambda import LambdaClient

# The handlers of this project; CDK may add functions of its own.
_PACKAGE = "functions."


def update(stack: Stack, root: Path = ROOT) -> list[str]:
    """Deploy the functions in `root` and return the names of the functions that have the new code.

    Raise StackError if they cannot be bundled.
    """
    try:
        archive = _zip(bundle(root))
    except BundleError as error:
        raise StackError(str(error), ExitCode.USAGE) from None
    cloudformation: CloudFormationClient = stack.client("cloudformation")
    lambda_: LambdaClient = stack.client("lambda")
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack.name)
    updated = []
    for resource in (one for page in pages for one in page["StackResourceSummaries"]):
        name = resource.get("PhysicalResourceId", "")
        if resource["ResourceType"] != "AWS::Lambda::Function":
            continue
        if lambda_.get_function_configuration(FunctionName=name)["Handler"].startswith(_PACKAGE):
            lambda_.update_function_code(FunctionName=name, ZipFile=archive)
            updated.append(name)
    return updated


def _zip(folder: Path) -> bytes:
    content = io.BytesIO()
    # Uncompressed: it goes no further than this machine.
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return content.getvalue()
