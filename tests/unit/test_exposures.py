"""The search for secrets in a test run finds those that are planted."""

import pytest

from tests.end_to_end.exposures import find_exposures

SECRETS = [
    ("secret", "TASK-TOKEN-1"),
    ("secret", "SELECT 'planted-literal'\nFROM flights"),
    ("secret", "'planted-parameter'"),
]


@pytest.mark.parametrize("kind", ["log", "event", "dead letter", "metric"])
@pytest.mark.parametrize(
    "text",
    [
        '{"token": "TASK-TOKEN-1"}',
        "failed at planted-literal",
        "planted-parameter",
        r'{"sql": "SELECT \'planted-literal\'\nFROM flights"}',
    ],
)
def test_a_secret_is_found_and_not_repeated(kind: str, text: str) -> None:
    (first, *_) = find_exposures([*SECRETS, (kind, text)])

    assert first.startswith("a secret of ")
    assert kind in first


def test_other_text_is_not_reported() -> None:
    assert find_exposures([*SECRETS, ("log", "SELECT"), ("event", '{"state": "SUCCEEDED"}')]) == []
