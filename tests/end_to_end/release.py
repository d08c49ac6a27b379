"""The previous release, as a plain template and the functions' zip: what the upgrade starts from.

`python -m tests.end_to_end.release` records the working copy; docs/upgrading.md describes when.
"""

import argparse
from pathlib import Path

from infra import template
from infra.bundle import bundle
from infra.settings import Settings
from local import stack

FOLDER = Path(__file__).with_name("upgrade")
STACK_NAME = "Upgrade"


def write(folder: Path) -> None:
    """Write the working copy's template and zip. Its waits are long, so that a deployment fits into them."""
    settings = {
        **stack.SETTINGS,
        "stackName": STACK_NAME,
        "patienceSeconds": "300",
        "backOffSeconds": "10",
    }
    template.write(folder, Settings.from_context(settings), bundle(template.ROOT))


def main(words: list[str] | None = None) -> None:
    """Refuse any argument, so that `--help` or a misspelled option does not replace the record."""
    folder = FOLDER.relative_to(template.ROOT)
    argparse.ArgumentParser(
        prog="python -m tests.end_to_end.release",
        description=f"Record the working copy as the previous release, in {folder}.",
    ).parse_args(words)
    write(FOLDER)


if __name__ == "__main__":
    main()
