"""What lies under the promises: failures of functions, the task table, tokens, claims and sweeps."""

from collections.abc import Iterator
from math import inf

from functions.events import SCHEDULED_EVENT
from functions.task_table import ANNOUNCED, CLEANED_UP, STARTED, TASK_TOKEN
from tests.simulation.expectations import (
    name_of,
)
from tests.simulation.world import History

# How far the times of Athena, of lists and of reads from the table may differ from the simulation's own, in
# seconds.
_SLACK = 6.0

# An item's bound, so that it never comes near DynamoDB's 400 KB.
_MOST_STARTED = 50

_FAILED_CALLS = ("call throttled", "call failed before its effect", "call failed after its effect")
_NOT_VISIBLE_YET = "DescribeExecution: the end is not visible yet"
_LATE = ("TaskTimedOut", "TaskDoesNotExist")
_FAULTS = frozenset(
    {"ServiceFault", "Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Failure"}
)


def no_late_token_is_an_error(history: History) -> Iterator[str]:
    for invocation in history.lambdas.invocations:
        if invocation.exception is not None and str(invocation.exception).endswith(_LATE):
            yield f"{invocation.name} failed: {invocation.exception}"


def no_callback_fault_is_swallowed(history: History) -> Iterator[str]:
    """A function whose callback failed is called again."""
    for invocation in history.lambdas.invocations:
        failed = [
            fault
            for call, fault in invocation.calls
            if call.startswith("SendTask") and fault in _FAILED_CALLS
        ]
        if failed and invocation.outcome is not None and invocation.outcome.error is None:
            yield f"{invocation.name} ended as if its callback had arrived"


def no_preview_fault_is_fatal(history: History) -> Iterator[str]:
    """A query whose result cannot be read still succeeds."""
    for invocation in history.lambdas.invocations:
        faults = [(call, fault) for call, fault in invocation.calls if fault is not None]
        preview = [fault for call, fault in faults if call == "GetQueryResults" and fault in _FAILED_CALLS]
        if preview and len(preview) == len(faults) and invocation.outcome and invocation.outcome.error:
            yield f"{invocation.name} failed because it could not read a result"


def no_unexplained_failure(history: History) -> Iterator[str]:
    """A function fails only by a fault that it met, or because Step Functions does not show an end yet."""
    for invocation in history.lambdas.invocations:
        outcome = invocation.outcome
        if outcome is None:
            yield f"{invocation.name} never ended"
        elif outcome.error is None or outcome.cause == _NOT_VISIBLE_YET:
            continue
        elif not (invocation.injected and outcome.error in _FAULTS):
            yield f"{invocation.name} failed: {outcome.error} {outcome.cause}"


def dead_letters_are_explained(history: History) -> Iterator[str]:
    for letter in history.lambdas.dead_letters:
        tries = letter.tries
        if letter.ran and not any(each.injected for each in tries):
            yield f"{letter.function} gave up without a fault: {tries[-1].outcome}"


def leaves_the_table_in_order(history: History) -> Iterator[str]:
    """An end without success is marked as cleaned up, once every start announced before is accounted for. No
    token stays of a task that was settled in calm conditions.
    """
    items = history.table.items()
    for execution in history.machine.executions:
        end = execution.run.end
        if end is None or end.status == "SUCCEEDED" or not history.sweeps:
            continue
        if f"{CLEANED_UP}{execution.run.redrive_count}" not in items.get(execution.arn, {}):
            yield f"the end of {name_of(execution)} is not marked as cleaned up"
    yield from _unconfirmed_starts(history)
    for key, item in items.items():
        starts = sum(name.startswith(STARTED) for name in item)
        if starts > _MOST_STARTED:
            yield f"{key} holds {starts} starts"
    if history.faults.profile.level == "calm":
        for key, item in items.items():
            if TASK_TOKEN in item:
                yield f"{key} still has a token"
            if any(name.replace(ANNOUNCED, STARTED) in item for name in item if name.startswith(ANNOUNCED)):
                yield f"{key} still announces a start that is registered"


def _unconfirmed_starts(history: History) -> Iterator[str]:
    """Ends that were marked as cleaned up although the canceller had seen a start that is unaccounted for."""
    # The starts that each canceller saw in its first write, and that have been there since.
    seen: dict[str, dict[int, set[str]]] = {}
    marked: dict[str, set[str]] = {}
    for write in history.table.writes:
        announced = {name for name in write.item if name.startswith(ANNOUNCED)}
        marks = {name for name in write.item if name.startswith(CLEANED_UP)}
        new = marks - marked.get(write.key, set())
        marked[write.key] = marks
        cancellers = seen.setdefault(write.key, {})
        for each in cancellers.values():
            each.intersection_update(announced)
        if write.invocation is None or write.invocation.function != "canceller":
            continue
        names = cancellers.setdefault(write.invocation.serial, set(announced))
        for mark in new:
            ended = int(mark.removeprefix(CLEANED_UP))
            left = [
                name
                for name in names
                # One that is registered too was repeated by an executor that died then.
                if name.replace(ANNOUNCED, STARTED) not in write.item
                and int(write.item[name]["M"]["RedriveCount"]["N"]) <= ended
            ]
            if left:
                yield f"{write.invocation.name} marked {mark} with {len(left)} starts unaccounted for"


def removes_only_spent_tokens(history: History) -> Iterator[str]:
    """A function removes the token that it sent, not one that has replaced it."""
    tokens: dict[str, str] = {}
    for write in history.table.writes:
        token, before = write.item.get(TASK_TOKEN, {}).get("S"), tokens.get(write.key)
        if token is not None:
            tokens[write.key] = token
        elif before is not None:
            del tokens[write.key]
            if write.invocation and (write.invocation.serial, before) not in history.sent_tokens:
                yield f"{write.invocation.name} removed a token of {write.key} that it had not sent"


def sweeps_repeat_nothing(history: History) -> Iterator[str]:
    """A sweep leaves executions alone whose last end is marked as cleaned up."""
    executions = {execution.arn: execution for execution in history.machine.executions}
    marked: dict[tuple[str, int], float] = {}
    for write in history.table.writes:
        execution, invocation = executions.get(write.key), write.invocation
        if execution is None or invocation is None:
            continue
        counts = [int(name.removeprefix(CLEANED_UP)) for name in write.item if name.startswith(CLEANED_UP)]
        if invocation.payload.get("detail-type") == SCHEDULED_EVENT:
            # It may not see a mark that was set while it ran, or a moment before.
            ended = [run for run in execution.runs if run.end and run.end.at <= write.at]
            if ended and marked.get((write.key, ended[-1].redrive_count), inf) < invocation.began - _SLACK:
                yield f"{invocation.name} cleaned up again after {name_of(execution)}"
        for count in counts:
            marked.setdefault((write.key, count), write.at)


def claims_are_explained(history: History) -> Iterator[str]:
    """A token is claimed only after a start whose result is unknown: a fault, no capacity, or an end in the
    middle.
    """
    refused = {each.serial for _, each in history.athena.refusals if each is not None}
    for at, claimant, token in history.athena.claims:
        announcing = [
            write.invocation
            for write in history.table.writes
            if write.invocation is not None and ANNOUNCED + token in write.item and write.at < at
        ]
        executors = {
            each.serial: each for each in announcing if each.function == "executor" and each is not claimant
        }
        if (
            claimant is not None
            and not claimant.injected
            and not any(
                each.injected or each.serial in refused or each.ended is None or each.ended > claimant.began
                for each in executors.values()
            )
        ):
            yield f"{claimant.name} claimed a token although every start was confirmed or withdrawn"
