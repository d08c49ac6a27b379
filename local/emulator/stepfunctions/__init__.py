"""Where Step Functions differs from MiniStack's: executions, tasks, Distributed Map, and TestState."""

from local.emulator.stepfunctions import executions, map_runs, single_state, tasks


def install() -> None:
    """Replace MiniStack's functions with this package's."""
    executions.install()
    map_runs.install()
    tasks.install()
    single_state.install()
