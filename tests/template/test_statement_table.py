"""docs/permissions.md has a row for each statement of each role, and no other."""

from collections.abc import Mapping

import pytest

from tests.permissions.operations import Operation
from tests.permissions.policies import names_and_actions
from tests.permissions.statements import ROWS, SETTINGS, role_of
from tests.template.conftest import Synthesize
from tests.template.reading import Template
from tests.template.test_checks import CONTEXTS
from tools import records

# Role and statement to actions.
Statements = Mapping[tuple[str, str], list[str]]

AGAIN = "run `make permissions`"


def statements_of(template: Template) -> Statements:
    return {
        (role_of(role["Properties"]["RoleName"]), name): actions
        for logical_id, role in template.resources("AWS::IAM::Role").items()
        for name, actions in names_and_actions(template.statements(logical_id)).items()
    }


@pytest.fixture(scope="module")
def statements(synthesize: Synthesize) -> Statements:
    return statements_of(synthesize(SETTINGS)[1])


def test_each_statement_has_a_row(statements: Statements) -> None:
    rows = {(role, name) for role, rows in ROWS.items() for name in rows}
    assert set(statements) - rows == set(), "add a row to tests/permissions/statements.py"
    assert rows - set(statements) == set(), "the statement no longer exists: remove its row"


@pytest.mark.parametrize("settings", ["brought", "managed results", "tables"])
def test_no_other_settings_add_a_statement(synthesize: Synthesize, settings: str) -> None:
    named = {name: SETTINGS[name] for name in ("stackName", "roleNamePrefix")} | {"stage": ""}
    _, template = synthesize({**CONTEXTS[settings], **named})
    assert {name for role, name in statements_of(template) if name not in ROWS[role]} == set()


def test_the_recorded_table_is_of_these_statements(statements: Statements) -> None:
    recorded = {(one["role"], one["statement"]): one["actions"] for one in records.read("permissions")}
    assert recorded == statements, AGAIN


def test_something_fails_without_each_statement_that_is_enforced() -> None:
    for one in records.read("permissions"):
        row = ROWS[one["role"]][one["statement"]]
        if isinstance(row, Operation):
            assert (one["operation"], bool(one["without"])) == (row.title, True), AGAIN
        else:
            assert (one["reason"], one["source"], one["without"]) == (row.reason, row.source, None), AGAIN
