"""The state machine's document."""

from typing import Any

from functions import checker
from tests.simulation.mutants.registry import Patches, code, document

Document = Any


def _remove_error(doc: Document, name: str) -> None:
    """Remove an error's name from every Retry and Catch."""
    for state in doc["States"].values():
        for block in (*state.get("Retry", []), *state.get("Catch", [])):
            block["ErrorEquals"] = [each for each in block["ErrorEquals"] if each != name]


@document("there is no fallback", "a lost event is never made up for", caught_by="ends_in_time")
def _(doc: Document) -> None:
    state = doc["States"]["Start query"]
    state["TimeoutSeconds"] = 172_000
    state["Catch"] = [each for each in state["Catch"] if each["ErrorEquals"] != ["States.Timeout"]]


@document(
    "nothing limits a wait", "an execution whose event is lost never ends", caught_by="every_execution_ends"
)
def _(doc: Document) -> None:
    del doc["TimeoutSeconds"]
    del doc["States"]["Start query"]["TimeoutSeconds"]


@document("the fallback waits blindly", "it receives no event between two polls", caught_by="ends_in_time")
def _(doc: Document) -> None:
    doc["States"]["Wait"] = {"Type": "Wait", "Seconds": "{% $waitSeconds %}", "Next": "Get query status"}


@document(
    "the fallback forgets the entry",
    "it finds no query, and starts another",
    caught_by="one_query_per_attempt",
)
def _(doc: Document) -> None:
    for name in ("Get query status", "Wait", "Failed"):
        doc["States"][name]["Arguments"]["Payload"]["Start"] = {
            "EnteredTime": "{% $states.context.State.EnteredTime %}",
            "RedriveCount": "{% [$states.context.Execution.RedriveCount, 0][0] %}",
            "RunAgain": {},
        }


@document("a failed query is done", "an error ends as success", caught_by="keeps_the_contract")
def _(doc: Document) -> None:
    for choice in doc["States"]["Check query status"]["Choices"]:
        choice["Next"] = "Done"


@document("a blanket retry", "it repeats what the caller should receive", caught_by="ends_in_time")
def _(doc: Document) -> None:
    doc["States"]["Start query"]["Retry"][1]["ErrorEquals"] = ["States.TaskFailed"]


@document(
    "a crash ends the execution", "Runtime.ExitError is not named", caught_by="ends_with_true_final_state"
)
def _(doc: Document) -> None:
    _remove_error(doc, "Runtime.ExitError")


@document(
    "a function out of memory ends the execution",
    "Runtime.OutOfMemory is not named",
    caught_by="ends_with_true_final_state",
)
def _(doc: Document) -> None:
    _remove_error(doc, "Runtime.OutOfMemory")


@document(
    "a fault in the fallback ends the execution",
    "the poll's own retries are few",
    caught_by="ends_with_true_final_state",
    scenario="outages",
)
def _(doc: Document) -> None:
    doc["States"]["Get query status"]["Catch"] = []


@document(
    "a fault in Wait ends the execution",
    "once its retries are used up",
    caught_by="ends_with_true_final_state",
    scenario="outages",
)
def _(doc: Document) -> None:
    state = doc["States"]["Wait"]
    state["Catch"] = [each for each in state["Catch"] if "ServiceFault" not in each["ErrorEquals"]]
    state["Retry"] = [{**each, "MaxAttempts": 8} for each in state["Retry"]]


@document(
    "a fault of a start ends the execution",
    "its retries end after an hour",
    caught_by="ends_with_true_final_state",
    scenario="outages",
)
def _(doc: Document) -> None:
    state = doc["States"]["Start query"]
    state["Catch"] = [each for each in state["Catch"] if "ServiceFault" not in each["ErrorEquals"]]


@document(
    "a throttled start is tried three times",
    "instead of for an hour",
    caught_by="ends_with_true_final_state",
    scenario="full",
)
def _(doc: Document) -> None:
    for state in doc["States"].values():
        for retrier in state.get("Retry", []):
            if "AthenaQuery.Throttled" in retrier["ErrorEquals"]:
                retrier["MaxAttempts"] = 3


@document(
    "a large input ends the execution untyped",
    "States.DataLimitExceeded is not caught",
    caught_by="ends_with_true_final_state",
    scenario="large inputs",
)
def _(doc: Document) -> None:
    _remove_error(doc, "States.DataLimitExceeded")


@document(
    "Wait passes a large input",
    "after a fault of the refusal it is not caught",
    caught_by="ends_with_true_final_state",
    scenario="large inputs",
)
def _(doc: Document) -> None:
    state = doc["States"]["Wait"]
    state["Catch"] = [
        each for each in state["Catch"] if "States.DataLimitExceeded" not in each["ErrorEquals"]
    ]


@document("there is no back-off", "a query runs again at once", caught_by="back_off_is_kept")
def _(doc: Document) -> None:
    doc["States"]["Back off"]["Seconds"] = 0


@document(
    "the back-off does not grow", "each attempt waits as long as the second", caught_by="back_off_is_kept"
)
def _(doc: Document) -> None:
    doc["States"]["Back off"]["Seconds"] = "{% $states.input.RunAgain.Attempt > 1 ? 10 : 1 %}"


@document(
    "the deadline counts from each try",
    "a throttled start puts it off",
    caught_by="query_deadline_is_kept",
    scenario="deadlines",
)
def _(doc: Document) -> None:
    state = doc["States"]["Start query"]
    assert "$limit - $late" in state["TimeoutSeconds"]
    state["TimeoutSeconds"] = state["TimeoutSeconds"].replace("$limit - $late", "$limit")


@document(
    "failed polls repeat at once",
    "the interval does not grow while Athena is down",
    caught_by="polls_are_few",
    scenario="outages",
)
def _(doc: Document) -> None:
    [catcher] = doc["States"]["Get query status"]["Catch"]
    catcher["Assign"]["waitSeconds"] = "{% $waitSeconds %}"


@code(
    "the poll interval is constant",
    "a long query is polled as often as a short one",
    caught_by="polls_are_few",
    scenario="windows",
)
def _(patches: Patches) -> None:
    patches.replace(checker, "_poll_interval", lambda _entry, runtime: runtime.settings.poll_seconds)
