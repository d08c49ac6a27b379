"""The templates of the examples: what their roles may do, and that they deploy without assets."""

from pathlib import Path

import pytest

from tests import examples
from tests.template.reading import Template, text
from tools.template_checks import lint_errors

CONSUME = {
    *("sqs:ReceiveMessage", "sqs:ChangeMessageVisibility", "sqs:DeleteMessage"),
    *("sqs:GetQueueUrl", "sqs:GetQueueAttributes"),
}
START = {"states:StartExecution"}

# For each example, the actions of its roles by the construct whose ARN they are allowed on.
ALLOWED: dict[str, dict[str, set[str]]] = {
    "event": {"Queries": START},
    "message": {"Queries": START, "Starter": START, "Messages": CONSUME},
    "schedule": {"Queries": START, "Starter": START, "Failures": {"sqs:SendMessage"}},
    "state_machine": {
        "Queries": START,
        "executions of Queries": {"states:DescribeExecution", "states:StopExecution"},
        "managed rule": {"events:PutTargets", "events:PutRule", "events:DescribeRule"},
        "results": {"s3:GetObject"},
        "Report": START,
        "executions of Report": {
            *("states:DescribeExecution", "states:StopExecution", "states:RedriveExecution"),
        },
    },
}


@pytest.fixture(scope="module", params=examples.names())
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Template]:
    body = examples.synthesize(request.param, {}, tmp_path_factory.mktemp(request.param))
    return request.param, Template(body)


def test_a_caller_may_start_the_one_state_machine_and_nothing_more(example: tuple[str, Template]) -> None:
    name, template = example
    allowed: dict[str, set[str]] = {}
    for role in template.resources("AWS::IAM::Role"):
        for action, resources in template.grants(role).items():
            for resource in resources:
                allowed.setdefault(_construct(resource), set()).add(action)
    assert allowed == ALLOWED[name]


def _construct(arn: str) -> str:
    """The construct that an ARN is of."""
    kind = "executions of " if "execution:" in arn else ""
    if "athenaqueriesAthenaQueriesstatemachinearn" in arn:
        return f"{kind}Queries"
    if "resultsbucket" in arn:
        assert "resultsprefix" in arn
        return "results"
    if "StepFunctionsGetEventsForStepFunctionsExecutionRule" in arn:
        return "managed rule"
    for construct in ("Starter", "Report", "Messages", "Failures"):
        if construct in arn:
            return f"{kind}{construct}"
    return arn


def test_an_example_deploys_without_a_bootstrapped_environment(example: tuple[str, Template]) -> None:
    _, template = example
    assert not [one for one in template.body.get("Parameters", {}) if one.startswith("BootstrapVersion")]
    assert not template.resources("AWS::Lambda::Function")


def test_cfn_lint_finds_no_error(example: tuple[str, Template], tmp_path: Path) -> None:
    _, template = example
    assert lint_errors(template.body, tmp_path / "template.json") == []


def test_every_queue_demands_tls(example: tuple[str, Template]) -> None:
    _, template = example
    denied = {
        text(statement["Resource"])
        for policy in template.resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny"
    }
    assert denied == {f"<{queue}.Arn>" for queue in template.resources("AWS::SQS::Queue")}
