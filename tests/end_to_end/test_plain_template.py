"""The plain template, deployed by CloudFormation alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import template as plain
from infra.bundle import bundle
from infra.settings import Settings
from local.stack import SETTINGS, Stack
from tests.end_to_end.conftest import Deployment, Eventually, delete_stack


@pytest.fixture
def plainly_deployed(deployed: Stack, eventually: Eventually, tmp_path: Path) -> Iterator[Stack]:
    settings = Settings.from_context({**SETTINGS, "stackName": "Plain"})
    plain.write(tmp_path, settings, bundle(plain.ROOT))
    s3, cloudformation = deployed.client("s3"), deployed.client("cloudformation")
    s3.create_bucket(Bucket="deployments")
    # CloudFormation takes a template of this size from S3 only.
    for name in (plain.TEMPLATE, plain.ARCHIVE):
        s3.upload_file(str(tmp_path / name), "deployments", name)
    place = {"CodeBucket": "deployments", "CodeKey": plain.ARCHIVE}
    cloudformation.create_stack(
        StackName="Plain",
        TemplateURL=f"{deployed.endpoint}/deployments/{plain.TEMPLATE}",
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in place.items()],
        Capabilities=["CAPABILITY_IAM"],
    )

    def complete() -> bool:
        (stack,) = cloudformation.describe_stacks(StackName="Plain")["Stacks"]
        assert not stack["StackStatus"].startswith("ROLLBACK"), stack
        return bool(stack["StackStatus"] == "CREATE_COMPLETE")

    eventually(complete)
    outputs = cloudformation.describe_stacks(StackName="Plain")["Stacks"][0]["Outputs"]
    yield Stack(
        name="Plain",
        port=deployed.port,
        pid=deployed.pid,
        home=deployed.home,
        outputs={one["OutputKey"]: one["OutputValue"] for one in outputs},
    )
    delete_stack(deployed, "Plain")


def test_a_query_runs_on_it(plainly_deployed: Stack) -> None:
    run = Deployment(stack=plainly_deployed).run({"QueryString": "SELECT count(*) AS flights FROM flights"})

    assert run.states == ["Start query", "Done"]
    assert run.output is not None
    assert run.output["SettledBy"] in {"event", "executor"}
