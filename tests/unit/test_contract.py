"""The contract: valid and invalid inputs, the cost of a query, the contents of a cause."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions import errors
from functions.contract import read_input
from functions.outcome import console_url, estimated_cost_usd
from functions.queries import Query
from functions.settings import InvalidSetting, Settings
from tests.contract import check_cause
from tests.unit.conftest import SETTINGS

SCHEMA = json.loads((Path(__file__).parents[2] / "statemachine" / "input.schema.json").read_text())
_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "Database": _text,
    "Catalog": _text,
    "ExecutionParameters": st.lists(_text, min_size=1, max_size=4),
    "ResultReuseMaxAgeMinutes": st.integers(0, 10_080),
    "TimeoutSeconds": st.integers(1, 86_400),
    "MaxAttempts": st.integers(1, 10),
    "Idempotent": st.booleans(),
    "PreviewRows": st.integers(0, 100),
    "Labels": st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,39}", fullmatch=True),
        st.from_regex(r"[A-Za-z0-9 _.:/=+@-]{1,100}", fullmatch=True),
        max_size=10,
    ),
    "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": _text,
}
_sql = _text.filter(lambda text: bool(text.strip()))
inputs = st.fixed_dictionaries({"QueryString": _sql}, optional=_FIELDS)

# One invalid value for each field, and what its message has to contain.
_WRONG: dict[str, Any] = {
    "QueryString": ["", " \n", 7, None, "x" * 250_001],
    "NamedQueryId": ["", "not an id!", 7],
    "Database": ["", 7, "x" * 256],
    "Catalog": ["", None],
    "ExecutionParameters": [[], "1", [""], [1], ["x" * 1025]],
    "ResultReuseMaxAgeMinutes": [-1, 10_081, "60", 1.5],
    "TimeoutSeconds": [0, 86_401, "60", True],
    "MaxAttempts": [0, 11, "2"],
    "Idempotent": ["yes", 1, None],
    "PreviewRows": [-1, 101, "10"],
    "Labels": [
        "team=growth",
        ["growth"],
        {"team": 7},
        {"team": None},
        {"team": ""},
        {"team": "x" * 101},
        {"team": "a\nb"},
        {"team": "growth\n"},
        {"": "growth"},
        {"1st": "growth"},
        {"team.name": "growth"},
        {"x" * 41: "growth"},
        {f"k{number}": "v" for number in range(11)},
    ],
    "AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID": [7, None],
}


def test_every_field_of_the_schema_is_tried() -> None:
    assert set(_WRONG) == set(SCHEMA["properties"])


@given(document=inputs)
def test_what_the_schema_allows_is_read_unchanged(document: dict[str, Any]) -> None:
    request = read_input(document, SETTINGS)

    assert request.query_string == document["QueryString"]
    assert list(request.execution_parameters) == document.get("ExecutionParameters", [])
    assert request.timeout_seconds == document.get("TimeoutSeconds")
    assert request.max_attempts == document.get("MaxAttempts", SETTINGS.max_attempts)
    assert request.preview_rows == document.get("PreviewRows", 0)
    assert request.idempotent is document.get("Idempotent", False)
    assert request.labels == document.get("Labels", {})


@given(document=inputs, wrong=st.sampled_from([(name, one) for name, many in _WRONG.items() for one in many]))
def test_one_wrong_value_is_refused_by_its_path(document: dict[str, Any], wrong: tuple[str, Any]) -> None:
    name, value = wrong
    changed = {**document, name: value}
    if name == "NamedQueryId":
        del changed["QueryString"]

    with pytest.raises(errors.InvalidInput) as refusal:
        read_input(changed, SETTINGS)

    assert f"input.{name}" in refusal.value.reason


@given(document=inputs, name=_text.filter(lambda name: name not in SCHEMA["properties"]))
def test_an_unknown_field_is_refused(document: dict[str, Any], name: str) -> None:
    with pytest.raises(errors.InvalidInput) as refusal:
        read_input({**document, name: 1}, SETTINGS)

    assert "input must not contain" in refusal.value.reason


def test_all_violations_are_listed_together() -> None:
    with pytest.raises(errors.InvalidInput) as refusal:
        read_input({"QueryString": 7, "MaxAttempts": 0, "Nonsense": 1}, SETTINGS)

    assert all(
        words in refusal.value.reason for words in ("input.QueryString", "input.MaxAttempts", "Nonsense")
    )


@pytest.mark.parametrize("document", [{}, {"QueryString": "SELECT 1", "NamedQueryId": "abc"}])
def test_exactly_one_statement_is_required_by_name(document: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput) as refusal:
        read_input(document, SETTINGS)

    assert "exactly one of QueryString and NamedQueryId" in refusal.value.reason


QUERY = Query(query_id="q", state="SUCCEEDED", sql="SELECT 1", statement_type="DML")


@pytest.mark.parametrize(
    ("query", "usd"),
    [
        (replace(QUERY, scanned_bytes=10**12), 5.0),
        (replace(QUERY, scanned_bytes=0), 0.00005),
        (replace(QUERY, scanned_bytes=10_000_001), 0.000055),
        (replace(QUERY, scanned_bytes=10**12, state="CANCELLED"), 5.0),
        (replace(QUERY, scanned_bytes=10**12, state="FAILED"), 0.0),
        (replace(QUERY, scanned_bytes=10**12, reused_result=True), 0.0),
        (replace(QUERY, statement_type="DDL"), 0.0),
        (replace(QUERY, statement_type="UTILITY"), 0.0),
        (replace(QUERY, statement_type="UTILITY", scanned_bytes=10**12), 5.0),
        (replace(QUERY, substatement_type="EXPLAIN"), 0.0),
        (replace(QUERY, substatement_type="EXPLAIN", scanned_bytes=10**12), 5.0),  # EXPLAIN ANALYZE
        (replace(QUERY, dpu_count=4.0, scanned_bytes=10**12), 0.0),
    ],
)
def test_the_cost_follows_athenas_price_list(query: Query, usd: float) -> None:
    assert estimated_cost_usd(query, 5.0) == pytest.approx(usd)


@given(reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=40_000))
def test_a_cause_stays_within_step_functions_limit_for_any_reason(reason: str) -> None:
    error = errors.Failed(reason, query_id="q", state="FAILED", category=2, error_type=1000, attempts=1)
    error.labels = {f"{number:0>40}": "v" * 100 for number in range(10)}

    assert len(error.cause()) <= 32_768
    check_cause(json.loads(error.cause()))


def test_a_long_reason_is_cut_and_marked() -> None:
    reason = json.loads(errors.Failed("\x00" * 9000).cause())["Reason"]

    assert len(reason) == errors.REASON_CHARACTERS
    assert reason.endswith("(cut)")


def test_a_reason_stays_out_of_the_exceptions_text() -> None:
    assert str(errors.Failed("near 'someone@example.com'")) == "AthenaQuery.Failed"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
        ("cn-north-1", "cn-north-1.console.amazonaws.cn"),
        ("us-gov-west-1", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_the_console_link_is_of_the_regions_partition(region: str, host: str) -> None:
    assert console_url(region, "q").startswith(f"https://{host}/athena/")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
_names = st.sampled_from([*SCHEMA["properties"], "Sql", ""])
_hostile_text = st.sampled_from(
    [
        "\ud800",
        "x\udfff",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\u2028",
        "'; DROP TABLE t; --",
        "(" * 5_000,
        "\u00e9" * 9_000,
    ]
)


@settings(max_examples=400)
@given(document=_json | st.dictionaries(_names, _json | _hostile_text, max_size=5))
def test_any_document_is_read_or_refused_as_invalid_input(document: Any) -> None:
    """Through JSON, as it reaches the function, which preserves a lone surrogate."""
    try:
        request = read_input(json.loads(json.dumps(document)), SETTINGS)
    except errors.InvalidInput as refusal:
        check_cause(json.loads(refusal.cause()))
        refusal.cause().encode()
        return
    assert isinstance(document, dict)
    for text in (request.query_string, request.database, request.catalog, *request.execution_parameters):
        assert text is None or text.encode()


@pytest.mark.parametrize("depth", [50, 400])
def test_deep_nesting_is_refused(depth: int) -> None:
    document: Any = "SELECT 1"
    for _ in range(depth):
        document = [document]

    with pytest.raises(errors.InvalidInput):
        read_input({"QueryString": document}, SETTINGS)


def test_a_missing_setting_is_named() -> None:
    with pytest.raises(InvalidSetting, match="TASK_TABLE is not set"):
        Settings.from_environment({"AWS_REGION": "eu-west-1"})


def test_a_setting_that_must_be_a_number_is_named() -> None:
    environment = {**SETTINGS.to_environment(), "AWS_REGION": "eu-west-1", "POLL_SECONDS": "soon"}

    with pytest.raises(InvalidSetting, match="POLL_SECONDS is 'soon'; it must be a number"):
        Settings.from_environment(environment)


def test_settings_are_read_as_they_were_written() -> None:
    environment = {**SETTINGS.to_environment(), "AWS_REGION": SETTINGS.region}

    assert Settings.from_environment(environment) == SETTINGS
