"""Whatever the input is, the executor refuses it by name or makes a request that Athena's API accepts."""

import json
from typing import Any
from unittest.mock import Mock

import boto3
from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from functions import executor
from functions.runtime import Runtime
from functions.task_table import ExecutionItem, QueryItem, TaskTable
from tests.contract import check_cause
from tests.unit.conftest import NOW, SETTINGS
from tests.unit.samples import QUERY, task
from tests.unit.test_contract import SCHEMA

REQUEST = (
    boto3.client("athena", region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")
    .meta.service_model.operation_model("StartQueryExecution")
    .input_shape
)

texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["\ud800", "a\udfffb", "\x00", "\x1b[2J", "\u202e", "\u2028", "/**/" * 30_000, "(" * 100_000]
    ),
    st.integers(1, 300_000).map(lambda length: "é" * length),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
fields = st.sampled_from(list(SCHEMA["properties"]))
documents = values | st.dictionaries(fields | texts, values, max_size=6)


def run(document: Any) -> tuple[list[str], list[dict[str, Any]]]:
    """The names of the errors that the task receives, and the requests to Athena, each valid by its model."""
    errors: list[str] = []
    requests: list[dict[str, Any]] = []

    def start(**request: Any) -> dict[str, str]:
        assert REQUEST is not None
        report = ParamValidator().validate(request, REQUEST)
        if report.has_errors():
            raise ParamValidationError(report=report.generate_report())
        json.dumps(request, ensure_ascii=False).encode()
        requests.append(request)
        return {"QueryExecutionId": QUERY}

    def fail(*, error: str, cause: str, **_: Any) -> None:
        check_cause(json.loads(cause))
        cause.encode()
        errors.append(error)

    table = Mock(spec=TaskTable)
    table.announce_start.return_value = table.register_start.return_value = ExecutionItem.read({})
    table.find_execution.return_value = ExecutionItem.read({})
    table.store_token.return_value = QueryItem.read(QUERY, {})
    athena = Mock(**{"get_named_query.return_value": NAMED, "start_query_execution.side_effect": start})
    stepfunctions = Mock(**{"send_task_failure.side_effect": fail})
    runtime = Runtime(
        settings=SETTINGS, athena=athena, stepfunctions=stepfunctions, table=table, now=lambda: NOW
    )
    executor.run(task(document), runtime)
    return errors, requests


NAMED = {"NamedQuery": {"QueryString": "SELECT 1", "Database": "sales"}}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=documents)
@example(document={"QueryString": "x" * 250_000})
@example(document={"QueryString": "SELECT 1", "TimeoutSeconds": 1e308})
@example(document={"QueryString": "SELECT 1", "ExecutionParameters": ["\ud800"]})
@example(document=[{"QueryString": "SELECT 1"}])
def test_any_input_is_refused_by_name_or_runs(document: Any) -> None:
    errors, requests = run(document)

    assert (errors, len(requests)) in (([], 1), (["AthenaQuery.InvalidInput"], 0))


def test_both_happen() -> None:
    assert run({"QueryString": "SELECT 1"})[1]
    assert run({"QueryString": "SELECT 1", "NamedQueryId": "0"})[0]
