"""The stack for deployments without CDK: a plain CloudFormation template and the functions' zip.

`python -m infra.template [-c NAME=VALUE]… [--output FOLDER]`
"""

import argparse
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aws_cdk import App

from infra.bundle import BundleError, bundle
from infra.settings import SettingError, Settings
from infra.stack import QueryStack

ROOT = Path(__file__).parents[1]
TEMPLATE = "template.json"
ARCHIVE = "functions.zip"

# The earliest that a zip can hold: the same files make the same archive.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def _project_context() -> Any:
    """The settings and CDK's feature flags in cdk.json, which the CDK CLI reads by itself."""
    return json.loads((ROOT / "cdk.json").read_text())["context"]


def synthesize(settings: Settings) -> Any:
    """The template, with the parameters CodeBucket and CodeKey."""
    with tempfile.TemporaryDirectory() as scratch:
        app = App(context=_project_context(), outdir=scratch, analytics_reporting=False)
        stack = QueryStack(app, settings=settings, code=None)
        return app.synth().get_stack_by_name(stack.stack_name).template


def write(folder: Path, settings: Settings, code: Path) -> None:
    """Write both files. The template's parameters CodeBucket and CodeKey are the archive's place in S3."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TEMPLATE).write_text(json.dumps(synthesize(settings), separators=(",", ":")))
    with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(one for one in code.rglob("*") if one.is_file()):
            entry = zipfile.ZipInfo(str(file.relative_to(code)), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.template", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "-c",
        "--context",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting, instead of its value in cdk.json",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "template", metavar="FOLDER")
    given = parser.parse_args(arguments)
    context = {**_project_context(), **dict(one.partition("=")[::2] for one in given.context)}
    try:
        write(given.output, Settings.from_context(context), bundle(ROOT))
    except (SettingError, BundleError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(f"{given.output / TEMPLATE}\n{given.output / ARCHIVE}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
