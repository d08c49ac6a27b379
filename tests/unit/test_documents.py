"""The documents: generated parts are current, links resolve, decision records are complete."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from local import demo
from ops.execution import Run
from tests.documents import PAGES, code_blocks, without_code
from tools.generate_docs import DECISIONS, DOCUMENTS, ROOT, render

# Written by tools, so a clean checkout does not have them.
_NOT_IN_GIT = (".venv/", "build/", "cdk.out/", "node_modules/")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """The fragments that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=_name)
def test_generated_parts_are_current(document: Path) -> None:
    text = document.read_text()
    assert render(text) == text, "run `python -m tools.generate_docs`"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        target, _, fragment = link.partition("#")
        if ":" in target:
            continue
        file = page.parent / target if target else page
        if not file.exists() or (fragment and fragment not in _anchors(file)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_paths_in_the_text_exist(page: Path) -> None:
    """A path is a word in backticks that starts with one of the project's folders."""
    folders = "|".join(sorted(re.escape(one.name) for one in ROOT.iterdir() if one.is_dir()))
    paths = re.findall(rf"`((?:{folders})/[\w./-]*)`", without_code(page.read_text()))
    missing = [path for path in paths if not (ROOT / path).exists() and not path.startswith(_NOT_IN_GIT)]
    assert missing == []


def test_the_readme_shows_the_summary_of_the_demo() -> None:
    """The demo verifies its outcomes, and the gate runs it; only the times are those of one run."""
    (shown,) = code_blocks((ROOT / "README.md").read_text(), "text")
    times = re.findall(r"\d+\.\d\d s", shown)
    results = []
    for sample in demo.SAMPLES:
        run = Run(arn="", status="FAILED" if sample.error else "SUCCEEDED", error=sample.error)
        run.states += sample.states
        run.output = None if sample.error else {"SettledBy": sample.settled_by}
        results.append((sample, run, f"{times.pop(0)} later" if run.output else ""))
    printed = io.StringIO()
    table = demo.summarize(results)
    table.title = None
    Console(file=printed, width=140).print(table)
    assert _lines(shown) == _lines(printed.getvalue())
    assert not times


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


_RECORD = re.compile(
    r"# (\d+)\. .+\n\n\* Status: (?:accepted|superseded)\b.*\n\* Date: \d{4}-\d\d-\d\d\n\n## Context\n"
)


def test_decision_records_are_numbered_without_gaps() -> None:
    records = sorted(DECISIONS.glob("[0-9]*.md"))
    numbers = [int(head[1]) if (head := _RECORD.match(one.read_text())) else one.name for one in records]
    assert numbers == [int(one.name[:4]) for one in records] == list(range(1, len(records) + 1))
