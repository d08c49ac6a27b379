"""Where Step Functions differs from MiniStack's: executions from start to end, tasks, and TestState."""

from local.emulator.stepfunctions import executions, single_state, tasks


def install() -> None:
    """Replace MiniStack's functions with this package's."""
    executions.install()
    tasks.install()
    single_state.install()
