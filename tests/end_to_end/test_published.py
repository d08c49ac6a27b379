"""What the stack publishes for its callers: an alias of the state machine, and parameters."""

from tests.end_to_end.conftest import Deployment

COUNT = {"QueryString": "SELECT count(*) AS flights FROM flights"}


def test_a_query_runs_through_the_alias(deployment: Deployment) -> None:
    run = deployment.run(COUNT, state_machine_arn=deployment.stack.outputs["StateMachineAliasArn"])

    assert run.output is not None
    assert run.output["SettledBy"] in {"event", "executor"}


def test_the_alias_routes_to_a_published_version(deployment: Deployment) -> None:
    stepfunctions = deployment.client("stepfunctions")
    alias = stepfunctions.describe_state_machine_alias(
        stateMachineAliasArn=deployment.stack.outputs["StateMachineAliasArn"]
    )
    versions = stepfunctions.list_state_machine_versions(
        stateMachineArn=deployment.stack.outputs["StateMachineArn"]
    )

    (route,) = alias["routingConfiguration"]
    assert route["stateMachineVersionArn"] in [
        one["stateMachineVersionArn"] for one in versions["stateMachineVersions"]
    ]


def test_the_parameters_have_the_values_of_the_outputs(deployment: Deployment) -> None:
    ssm = deployment.client("ssm")

    def parameter(name: str) -> str:
        path = f"/athena-queries/{deployment.stack.name}/{name}"
        value: str = ssm.get_parameter(Name=path)["Parameter"]["Value"]
        return value

    outputs = deployment.stack.outputs
    assert parameter("state-machine-arn") == outputs["StateMachineArn"]
    assert parameter("results-bucket") == outputs["ResultsBucketName"]
    assert parameter("results-prefix") == "results/"
