"""Which statements only read, in time linear in their length."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.statements import only_reads


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("  (\n( select 1))", True),
        ("-- a comment\nWITH t AS (SELECT 1) SELECT * FROM t", True),
        ("/* INSERT */ VALUES 1", True),
        ("TABLE t", True),
        ("SHOW TABLES", True),
        ("desc t", True),
        ("DESCRIBE t", True),
        ("EXPLAIN SELECT 1", True),
        ("EXPLAIN (TYPE IO) INSERT INTO t SELECT 1", True),
        ("EXPLAIN ANALYZE SELECT 1", False),
        ("EXPLAIN /*x*/ ANALYZE INSERT INTO t SELECT 1", False),
        ("EXPLAIN -- x\n ANALYZE INSERT INTO t SELECT 1", False),
        ("INSERT INTO t SELECT 1", False),
        ("-- a comment\rINSERT INTO t\nSELECT 1", False),
        ("-- a comment\r\nSELECT 1", True),
        ("/* SELECT */ INSERT INTO t SELECT 1", False),
        ("SELECTED", False),
        ("EXECUTE p", False),
        ("CREATE TABLE t AS SELECT 1", False),
        ("UNLOAD (SELECT 1) TO 's3://b/'", False),
        ("/* never closed SELECT 1", False),
        ("-- never closed SELECT 1", False),
        ("", False),
    ],
)
def test_a_statement_reads_only_by_its_first_keyword(sql: str, reads: bool) -> None:
    assert only_reads(sql) is reads


class Counted(str):
    """A statement that counts how often it is read."""

    __slots__ = ("steps",)
    steps: int

    def __getitem__(self, at: Any) -> str:
        self.steps += 1
        return super().__getitem__(at)

    def startswith(self, *arguments: Any) -> bool:
        self.steps += 1
        return super().startswith(*arguments)

    def find(self, *arguments: Any) -> int:
        self.steps += 1
        return super().find(*arguments)


@given(st.lists(st.sampled_from(["/**/", "--\n", " ", "(", "/*", "*/", "-", "x", "EXPLAIN "]), max_size=400))
def test_the_number_of_steps_is_bounded_by_the_length(parts: list[str]) -> None:
    """A regular expression once took minutes for 24 comments before an INSERT."""
    sql = Counted("".join(parts))
    sql.steps = 0

    only_reads(sql)

    assert sql.steps <= 5 * len(sql) + 10
