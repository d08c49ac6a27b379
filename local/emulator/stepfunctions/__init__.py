"""Where Step Functions differs from MiniStack's: executions from start to end, and tasks."""

from local.emulator.stepfunctions import executions, tasks


def install() -> None:
    """Replace MiniStack's functions with this package's."""
    executions.install()
    tasks.install()
