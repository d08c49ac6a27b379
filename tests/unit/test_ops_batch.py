"""The source of `python -m ops batch`: JSON Lines or a folder of statements."""

import json
from pathlib import Path

import pytest

from ops.batch import read_queries
from ops.errors import CommandError


def test_a_file_is_passed_on_without_its_blank_lines(tmp_path: Path) -> None:
    source = tmp_path / "queries.jsonl"
    source.write_text('{"QueryString": "SELECT \'é\'"}\n\n{"NamedQueryId": "1"}\n')
    assert read_queries(source, None) == ['{"QueryString": "SELECT \'é\'"}', '{"NamedQueryId": "1"}']


def test_each_statement_of_a_folder_has_the_name_of_its_file(tmp_path: Path) -> None:
    for name in ("b.sql", "a.sql", "notes.txt"):
        (tmp_path / name).write_text(f"SELECT '{name}'")
    lines = [json.loads(line) for line in read_queries(tmp_path, "sales")]
    assert lines == [
        {"Name": "a", "QueryString": "SELECT 'a.sql'", "Database": "sales"},
        {"Name": "b", "QueryString": "SELECT 'b.sql'", "Database": "sales"},
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read"), (b"\n", "has no queries"), (b"\xff", "is not UTF-8 text")],
)
def test_a_source_without_queries_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    source = tmp_path / "queries.jsonl"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(CommandError, match=message):
        read_queries(source, None)


def test_a_folder_without_statements_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"has no \.sql files"):
        read_queries(tmp_path, None)
