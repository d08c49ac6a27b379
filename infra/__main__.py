"""The CDK app; cdk.json runs it as `python -m infra`."""

import sys
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.bundle import BundleError, bundle
from infra.settings import SettingError, Settings
from infra.stack import QueryStack


def main() -> int:
    """Return 0, or 1 after reporting an invalid setting, a failed bundle or a cdk-nag finding."""
    app = App()
    try:
        settings = Settings.from_context(app.node.get_all_context())
        code = bundle(Path(__file__).parents[1])
        QueryStack(app, settings=settings, code=code)
    except (SettingError, BundleError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    # A finding without an acknowledgement fails the synthesis.
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        # CDK has printed the findings; its JavaScript stack trace adds nothing.
        if str(error).startswith("ValidationFailed"):
            return 1
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
