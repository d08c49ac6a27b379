"""What `make permissions` does for every statement, here for one of each role on the shared stack."""

from collections.abc import Callable

import pytest

from local.stack import Stack
from tests.end_to_end.conftest import Deployment
from tests.permissions import operations
from tests.permissions.operations import Operation, Trial
from tests.permissions.policies import deployed_statements, without


def function_role(name: str) -> Callable[[Stack], str]:
    return lambda stack: stack.client("lambda").get_function_configuration(
        FunctionName=stack.outputs[f"{name}FunctionName"]
    )["Role"]


def machine_role(stack: Stack) -> str:
    arn: str = stack.client("stepfunctions").describe_state_machine(
        stateMachineArn=stack.outputs["StateMachineArn"]
    )["roleArn"]
    return arn


@pytest.mark.parametrize(
    ("role_arn", "statement", "operation", "failure"),
    [
        (
            function_role("Executor"),
            "ReadTables",
            operations.READ,
            "AthenaQuery.Failed: glue:GetTable is denied",
        ),
        (
            function_role("Checker"),
            "ReadQueries",
            operations.COMPLETE,
            "GetQueryExecution: AccessDeniedException",
        ),
        (
            function_role("Canceller"),
            "ListExecutions",
            operations.SWEEP,
            "ListExecutions: AccessDeniedException",
        ),
        (
            machine_role,
            "InvokeFunctions",
            operations.ANY_QUERY,
            "Lambda.AWSLambdaException: lambda:InvokeFunction is denied",
        ),
    ],
)
def test_an_operation_fails_without_its_statement_only(
    deployment: Deployment,
    role_arn: Callable[[Stack], str],
    statement: str,
    operation: Operation,
    failure: str,
) -> None:
    trial, iam = Trial(stack=deployment.stack), deployment.client("iam")
    role = role_arn(deployment.stack).rpartition("/")[2]
    before = deployed_statements(iam, role)

    with without(iam, role, statement):
        assert operation.run(trial) == failure

    assert deployed_statements(iam, role) == before
    assert operation.run(trial) is None
