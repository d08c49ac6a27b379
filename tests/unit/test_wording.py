"""The text of the project is plain technical English: phrases that it used to have do not come back."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.generate_docs import ROOT

# Each with what to write instead.
BANNED = {
    r"hears?|heard|unheard": "receives, detects",
    r"says?|said": "reports, states, answers",
    r"told|(?<!\.)tells?": "sent, notified, reports, distinguishes",
    r"looks?(?! up\b)|looked(?! up\b)|looking": "polls, gets, checks",
    r"mend(?:s|ed|ing)?": "fix",
    r"by hand": "manually, explicitly",
    r"(?:go|goes|going|gone|went) wrong": "fails",
    r"ha(?:s|ve) a place": "is stored",
    r"dear(?:er|est)?": "expensive",
    r"plumbing": "infrastructure",
    r"(?:own|last|athena's) words?|word on": "status, final error",
    r"news": "error, information",
    r"for ever": "indefinitely",
    r"no stack is up|stack that is up": "no local stack is running",
    r"on one machine": "locally",
    r"with commas in between": "comma-separated",
    r"fails nothing": "the query still succeeds",
    r"sky|story|stories": "the precise term",
}
_PATTERN = re.compile("|".join(rf"(?P<b{i}>\b(?:{one})\b)" for i, one in enumerate(BANNED)), re.IGNORECASE)
_SKIPPED = {"LICENSE", "package-lock.json", Path(__file__).name}


def _files() -> list[Path]:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")
    listed = subprocess.run(  # noqa: S603 - git, by its path
        [git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git working copy")
    return [
        ROOT / name
        for name in listed.stdout.split("\0")
        if name
        and Path(name).name not in _SKIPPED
        and Path(name).suffix not in {".png", ".sql", ".zip", ".lock"}
    ]


def test_banned_phrases_do_not_come_back() -> None:
    found = []
    for file in _files():
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            for match in _PATTERN.finditer(line):
                better = list(BANNED.values())[int(str(match.lastgroup)[1:])]
                found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]!r}, better {better}: {line}")
    assert found == []


def test_no_heading_is_a_question() -> None:
    headings = [
        f"{file.name}: {line}"
        for file in _files()
        if file.suffix == ".md"
        for line in file.read_text().splitlines()
        if line.startswith("#") and line.rstrip().endswith("?")
    ]
    assert headings == []
