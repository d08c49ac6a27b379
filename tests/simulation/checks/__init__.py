"""The promises of the design, each checked by name against the history of a schedule.

A check yields a sentence for each violation. docs/simulation.md lists what is excused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.simulation.checks import outcomes, queries, reports, state, timing
from tests.simulation.world import History

Check = Callable[[History], Iterator[str]]


@dataclass(frozen=True)
class Violation:
    check: str
    what: str

    def __str__(self) -> str:
        return f"{self.check}: {self.what}"


def violations(history: History) -> list[Violation]:
    return [Violation(check.__name__, what) for check in CHECKS for what in check(history)]


CHECKS: tuple[Check, ...] = (
    outcomes.every_execution_ends,
    outcomes.ends_with_true_final_state,
    outcomes.not_before_its_query,
    timing.ends_in_time,
    timing.query_deadline_is_kept,
    timing.execution_deadline_is_kept,
    timing.not_timed_out_early,
    timing.no_start_after_deadline,
    timing.polls_are_few,
    timing.a_poll_asks_athena_once,
    queries.one_query_per_attempt,
    queries.only_executors_start_queries,
    queries.attempts_are_bounded,
    queries.transient_failures_are_retried,
    queries.back_off_is_kept,
    queries.redrive_adopts,
    queries.starts_or_adopts,
    queries.nothing_left_running,
    queries.stops_only_its_own,
    state.no_late_token_is_an_error,
    state.no_callback_fault_is_swallowed,
    state.no_preview_fault_is_fatal,
    state.no_unexplained_failure,
    state.dead_letters_are_explained,
    reports.keeps_the_contract,
    reports.reports_the_truth,
    reports.reports_each_outcome,
    reports.reports_the_final_error,
    reports.measures_stuck_executions,
    state.leaves_the_table_in_order,
    state.removes_only_spent_tokens,
    state.sweeps_repeat_nothing,
    state.claims_are_explained,
    reports.logs_keep_secrets,
)
