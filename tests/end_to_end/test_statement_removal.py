"""What `make permissions` does for every statement, here for one of each role on the shared stack."""

import pytest

from tests.end_to_end.conftest import Deployment
from tests.permissions import operations
from tests.permissions.operations import Operation, Trial
from tests.permissions.policies import deployed_role, deployed_statements, without

NO_GLUE = "AthenaQuery.Failed: glue:GetTable is denied"
NO_INVOKE = "Lambda.AWSLambdaException: lambda:InvokeFunction is denied"


@pytest.mark.parametrize(
    ("role", "statement", "operation", "failure"),
    [
        ("Executor", "ReadTables", operations.READ, NO_GLUE),
        ("Checker", "ReadQueries", operations.COMPLETE, "GetQueryExecution: AccessDeniedException"),
        ("Canceller", "ListExecutions", operations.SWEEP, "ListExecutions: AccessDeniedException"),
        ("StateMachine", "InvokeFunctions", operations.ANY_QUERY, NO_INVOKE),
    ],
    ids=["Executor", "Checker", "Canceller", "StateMachine"],
)
def test_an_operation_fails_while_its_statement_is_removed(
    deployment: Deployment, role: str, statement: str, operation: Operation, failure: str
) -> None:
    trial, iam = Trial(stack=deployment.stack), deployment.client("iam")
    name = deployed_role(deployment.stack, role)
    before = deployed_statements(iam, name)

    with without(iam, name, statement):
        assert operation.run(trial) == failure

    assert deployed_statements(iam, name) == before
    assert operation.run(trial) is None
