"""Where Step Functions differs from MiniStack's: executions, tasks, Distributed Map, and TestState."""

from local.emulator.stepfunctions import definitions, executions, log_delivery, map_runs, single_state, tasks


def install() -> None:
    """Replace MiniStack's functions with this package's."""
    definitions.install()
    executions.install()
    map_runs.install()
    tasks.install()
    log_delivery.install()
    single_state.install()
