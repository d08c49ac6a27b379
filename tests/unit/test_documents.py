"""The documents: their generated parts are current, and their links lead somewhere."""

from pathlib import Path

import pytest

from tools.generate_docs import DOCUMENTS, render


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_generated_parts_are_current(document: Path) -> None:
    text = document.read_text()
    assert render(text) == text, "run `python -m tools.generate_docs`"
