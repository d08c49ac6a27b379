"""The project's documents, as the tests read them."""

import re
from collections.abc import Iterator

from tools.generate_docs import ROOT

_FOLDERS = (".github", "benchmarks", "docs", "examples")
PAGES = sorted([*ROOT.glob("*.md"), *(page for one in _FOLDERS for page in (ROOT / one).glob("**/*.md"))])

_BLOCK = re.compile(r"^```(\w*).*?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def without_code(text: str) -> str:
    """The text without its code blocks."""
    return _BLOCK.sub("", text)


def code_blocks(text: str, language: str) -> list[str]:
    return [block for name, block in _BLOCK.findall(text) if name == language]


def shell_commands(text: str) -> Iterator[str]:
    """The commands of the shell blocks, continued lines joined, and the commands in backticks."""
    for block in code_blocks(text, "bash"):
        # A quoted JSON document may have several lines.
        joined = re.sub(r"'[^']*'", lambda quoted: quoted[0].replace("\n", " "), block.replace("\\\n", " "))
        yield from joined.splitlines()
    yield from re.findall(r"`((?:make|python -m|aws) [^`\n]+)`", without_code(text))
