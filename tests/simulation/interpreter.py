"""Step Functions: runs a JSONata state machine document under the virtual clock.

It knows the states and fields that our document uses. Anything else is UnknownField when the document is
read: nothing is ever ignored. Semantics follow the Amazon States Language specification and the Step
Functions developer guide ("Service integration patterns", "Redriving executions").
"""

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from jsonata import Jsonata

from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.lambdas import Note, Outcome, refusal

Json = Any

INVOKE = "arn:aws:states:::lambda:invoke"
INVOKE_AND_WAIT = "arn:aws:states:::lambda:invoke.waitForTaskToken"

# What SendTask* takes (SendTaskSuccess and SendTaskFailure API reference); the payload of a task is limited
# likewise.
OUTPUT_BYTES, ERROR_CHARACTERS, CAUSE_CHARACTERS = 262_144, 256, 32_768

# An execution of more events fails with States.Runtime; one with fewer than 24,999 can be redriven, for 14
# days (Step Functions developer guide, "Service quotas" and "Redriving executions").
HISTORY_EVENTS, REDRIVABLE_EVENTS, REDRIVABLE_SECONDS = 25_000, 24_999, 14 * 86_400.0

# Events in an execution's history: what a state of each kind writes when it is entered, tried and left.
_ENTERED, _LEFT = 1, 1
_SCHEDULED_AND_STARTED, _SUBMITTED, _RESULT = 2, 1, 1

# States.ALL does not match these (Step Functions developer guide, "Error names").
_TERMINAL = ("States.DataLimitExceeded", "States.Runtime")

_FIELDS = {
    "document": {"Comment", "QueryLanguage", "TimeoutSeconds", "StartAt", "States"},
    "Task": {
        *("Type", "Comment", "Resource", "Arguments", "TimeoutSeconds"),
        *("Retry", "Catch", "Assign", "Output", "Next", "End"),
    },
    "Choice": {"Type", "Comment", "Choices", "Default", "Assign", "Output"},
    "Wait": {"Type", "Comment", "Seconds", "Assign", "Output", "Next", "End"},
    "Succeed": {"Type", "Comment", "Output"},
    "Fail": {"Type", "Comment", "Error", "Cause"},
    "Retry": {
        *("Comment", "ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxDelaySeconds"),
        *("MaxAttempts", "JitterStrategy"),
    },
    "Catch": {"Comment", "ErrorEquals", "Assign", "Output", "Next"},
    "Choices": {"Comment", "Condition", "Assign", "Output", "Next"},
}


class UnknownField(Exception):
    """The document uses something that the interpreter does not implement."""


class QueryEvaluationError(Exception):
    """States.QueryEvaluationError: an expression failed or gave nothing."""


def read_document(text: str, substitutions: Mapping[str, Any]) -> Json:
    """Fill in `${...}` and check every field. Raise UnknownField."""
    for name, value in substitutions.items():
        text = text.replace(f"${{{name}}}", str(value))
    if "${" in text:
        raise UnknownField(f"substitution left over: {text[text.index('${') :][:40]}")
    document = json.loads(text)
    check_fields(document)
    return document


def check_fields(document: Json) -> None:
    """Raise UnknownField for a field that this interpreter would have to ignore."""
    _check("document", document, "document")
    if document["QueryLanguage"] != "JSONata":
        raise UnknownField("QueryLanguage " + document["QueryLanguage"])
    for name, state in document["States"].items():
        if state["Type"] not in _FIELDS:
            raise UnknownField(f"{name}: Type {state['Type']}")
        _check(name, state, state["Type"])
        if state["Type"] == "Task" and state["Resource"] not in {INVOKE, INVOKE_AND_WAIT}:
            raise UnknownField(f"{name}: Resource {state['Resource']}")
        for part in ("Retry", "Catch", "Choices"):
            for item in state.get(part, []):
                _check(f"{name}.{part}", item, part)
                if item.get("JitterStrategy", "NONE") not in {"NONE", "FULL"}:
                    raise UnknownField(f"{name}: JitterStrategy {item['JitterStrategy']}")


def _check(where: str, value: Mapping[str, Any], kind: str) -> None:
    unknown = set(value) - _FIELDS[kind]
    if unknown:
        raise UnknownField(f"{where}: {', '.join(sorted(unknown))}")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """`at` is in epoch seconds; `state` is where it ended. `exhausted`: a Retry matched, and was used up."""

    at: float
    status: str
    state: str
    output: Json = None
    error: str = ""
    cause: str = ""
    exhausted: bool = False


@dataclass(eq=False, kw_only=True)
class Run:
    """An execution between its start or a redrive and its end.

    `entries` counts those into the first state, `visits` are all states that it entered, each with its time,
    and `pauses` are the times between tries, as `(from, until)`.
    """

    redrive_count: int
    began: float
    entries_before: int = 0
    entries: int = 0
    last_entry_tried: float = 0.0
    tries_of_entry: int = 0
    visits: list[tuple[float, str]] = field(default_factory=list)
    pauses: list[tuple[float, float]] = field(default_factory=list)
    end: Ended | None = None


@dataclass(eq=False, kw_only=True)
class Execution:
    """`document` is the one that it started with. `runs` grows with each redrive, `entry_times` with each
    entry into the first state.
    """

    arn: str
    input: Json
    document: Json
    runs: list[Run] = field(default_factory=list)
    variables: dict[str, Json] = field(default_factory=dict)
    state: str = ""
    state_input: Json = None
    entered: float = 0.0
    entry_times: list[float] = field(default_factory=list)
    history_events: int = 0
    tries: int = 0
    retries: dict[int, int] = field(default_factory=dict)
    token: str | None = None
    redriven: float | None = None

    @property
    def run(self) -> Run:
        return self.runs[-1]

    @property
    def running(self) -> bool:
        return self.run.end is None


# Called with function, payload, execution, and what receives the outcome.
Invoke = Callable[[str, Json, Execution, Callable[[Outcome], None]], None]


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """What AWS's documentation leaves open; each schedule has its own."""

    redrive_keeps_entered_time: bool
    redrive_count_from_the_start: bool


class StateMachine:
    """`ended(execution, run)` is called at each end. `document` may be replaced: executions keep theirs."""

    def __init__(
        self,
        document: Json,
        *,
        arn: str,
        clock: Clock,
        choices: Choices,
        note: Note,
        invoke: Invoke,
        ended: Callable[[Execution, Run], None],
        quirks: Quirks,
    ) -> None:
        self.executions: list[Execution] = []
        self.arn = arn
        self.document = document
        self._tokens: dict[str, tuple[Execution, int]] = {}
        self._clock = clock
        self._choices = choices
        self._note = note
        self._invoke = invoke
        self._ended = ended
        self._quirks = quirks

    def start(self, arn: str, execution_input: Json) -> Execution:
        execution = Execution(arn=arn, input=execution_input, document=self.document)
        self.executions.append(execution)
        self._begin(execution)
        self._enter(execution, execution.document["StartAt"], execution_input)
        return execution

    def stop(self, execution: Execution, status: str) -> None:
        """StopExecution (ABORTED), or the machine's own time limit (TIMED_OUT); nothing if it has ended."""
        if execution.running:
            self._end(execution, status)

    def redrive(self, execution: Execution) -> None:
        """RedriveExecution: continue from the state that did not succeed. Nothing if that is not possible."""
        end = execution.run.end
        if end is None or end.status == "SUCCEEDED" or execution.history_events >= REDRIVABLE_EVENTS:
            return
        if self._clock.now > end.at + REDRIVABLE_SECONDS:
            return
        self._begin(execution)
        execution.redriven = self._clock.now
        self._note(_name(execution), f"redriven at {execution.state!r}")
        entered = execution.entered
        self._enter(execution, execution.state, execution.state_input)
        if self._quirks.redrive_keeps_entered_time:
            execution.entered = entered

    def waiting(self, token: str) -> Execution:
        """The execution whose task waits with this token. Raise ClientError if none does."""
        if token not in self._tokens:
            raise refusal("SendTask", "InvalidToken", f"Invalid token: {token}")
        execution, tries = self._tokens[token]
        if not execution.running:
            raise refusal("SendTask", self._choices.pick(("TaskTimedOut", "TaskDoesNotExist")))
        if execution.tries != tries or execution.token != token:
            raise refusal("SendTask", "TaskTimedOut")
        return execution

    def settle(self, token: str, outcome: Outcome) -> None:
        """SendTaskSuccess or SendTaskFailure. Raise ClientError for a token that no task waits with."""
        execution = self.waiting(token)
        if outcome.error is None:
            self._succeed(execution, outcome.value)
        else:
            self._fail(execution, outcome.error, outcome.cause)

    def _begin(self, execution: Execution) -> None:
        run = Run(
            redrive_count=len(execution.runs),
            began=self._clock.now,
            entries_before=len(execution.entry_times),
        )
        execution.runs.append(run)
        execution.history_events += 1
        if "TimeoutSeconds" in execution.document:
            self._clock.after(execution.document["TimeoutSeconds"], partial(self._overdue, execution, run))

    def _overdue(self, execution: Execution, run: Run) -> None:
        if run.end is None:
            self._end(execution, "TIMED_OUT")

    def _end(self, execution: Execution, status: str, **details: Any) -> None:
        run = execution.run
        run.end = Ended(at=self._clock.now, status=status, state=execution.state, **details)
        execution.history_events += 1
        execution.tries += 1
        execution.token = None
        self._note(_name(execution), f"{status} {run.end.error} in {execution.state!r}")
        self._ended(execution, run)

    def _enter(self, execution: Execution, name: str, state_input: Json) -> None:
        execution.state, execution.state_input = name, state_input
        execution.entered = self._clock.now
        execution.retries = {}
        execution.tries += 1
        execution.run.visits.append((self._clock.now, name))
        execution.history_events += _ENTERED
        if name == execution.document["StartAt"]:
            execution.entry_times.append(self._clock.now)
            execution.run.entries += 1
            execution.run.tries_of_entry = 0
        self._note(_name(execution), f"enters {name!r}")
        self._soon(0.0, execution, self._run_state)

    def _soon(self, seconds: float, execution: Execution, step: Callable[[Execution], None]) -> None:
        """Take a step of the execution later, unless something else has become of it by then."""
        tries = execution.tries

        def action() -> None:
            if execution.tries != tries or not execution.running:
                return
            if execution.history_events > HISTORY_EVENTS:
                self._end(execution, "FAILED", error="States.Runtime", cause="too many history events")
                return
            step(execution)

        self._clock.after(seconds, action)

    def _run_state(self, execution: Execution) -> None:
        state = execution.document["States"][execution.state]
        try:
            match state["Type"]:
                case "Task":
                    self._try_task(execution, state)
                case "Choice":
                    self._choose(execution, state)
                case "Wait":
                    seconds = self._seconds(execution, state, "Seconds", least=0)
                    self._soon(seconds, execution, partial(self._leave, state=state, result=_NOTHING))
                case "Succeed":
                    output = self._output(execution, state, _NOTHING)
                    self._end(execution, "SUCCEEDED", output=output)
                case "Fail":
                    self._end(execution, "FAILED", error=state["Error"], cause=state.get("Cause", ""))
        except QueryEvaluationError as error:
            self._fail(execution, "States.QueryEvaluationError", str(error))

    def _seconds(self, execution: Execution, state: Json, name: str, *, least: int) -> int:
        seconds = self._evaluate(state[name], execution)
        if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < least:
            raise QueryEvaluationError(f"{name} is {seconds!r}")
        return seconds

    def _choose(self, execution: Execution, state: Json) -> None:
        for choice in state["Choices"]:
            holds = self._evaluate(choice["Condition"], execution)
            if not isinstance(holds, bool):
                raise QueryEvaluationError(f"Condition is {holds!r}")
            if holds:
                self._leave(execution, state=choice, result=_NOTHING)
                return
        if "Default" not in state:
            self._fail(execution, "States.NoChoiceMatched", "")
            return
        self._leave(execution, state={**state, "Next": state["Default"]}, result=_NOTHING)

    def _try_task(self, execution: Execution, state: Json) -> None:
        execution.tries += 1
        if execution.state == execution.document["StartAt"]:
            execution.run.last_entry_tried = self._clock.now
            execution.run.tries_of_entry += 1
        waits = state["Resource"] == INVOKE_AND_WAIT
        execution.history_events += _SCHEDULED_AND_STARTED + (_SUBMITTED if waits else 0)
        execution.token = None
        if waits:
            execution.token = f"task-token-{len(self._tokens) + 1}-{_name(execution)}"
            self._tokens[execution.token] = (execution, execution.tries)
        arguments = self._evaluate(state["Arguments"], execution)
        if "TimeoutSeconds" in state:
            seconds = self._seconds(execution, state, "TimeoutSeconds", least=1)
            self._soon(seconds, execution, partial(self._fail, error="States.Timeout", cause=""))
        tries = execution.tries

        def answer(outcome: Outcome) -> None:
            if execution.tries != tries or not execution.running:
                return
            if outcome.error is not None:
                self._fail(execution, outcome.error, outcome.cause)
            elif not waits:
                result = {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": outcome.value}
                self._succeed(execution, result)

        unknown = set(arguments) - {"FunctionName", "Payload"}
        if unknown:
            raise UnknownField(f"Arguments: {unknown}")
        text = json.dumps(arguments["Payload"], ensure_ascii=False)
        if len(text.encode()) > OUTPUT_BYTES:
            self._fail(execution, "States.DataLimitExceeded", "")
            return
        self._invoke(arguments["FunctionName"], json.loads(text), execution, answer)

    def _succeed(self, execution: Execution, result: Json) -> None:
        state = execution.document["States"][execution.state]
        execution.tries += 1
        execution.history_events += _RESULT
        try:
            self._leave(execution, state=state, result=result)
        except QueryEvaluationError as error:
            self._fail(execution, "States.QueryEvaluationError", str(error))

    def _fail(self, execution: Execution, error: str, cause: str) -> None:
        """A state failed: retry, catch, or end."""
        state = execution.document["States"][execution.state]
        execution.tries += 1
        execution.token = None
        execution.history_events += _RESULT
        self._note(_name(execution), f"{execution.state!r} fails with {error}")
        exhausted = False
        for number, retrier in enumerate(state.get("Retry", [])):
            if not _matches(retrier["ErrorEquals"], error):
                continue
            done = execution.retries.get(number, 0)
            if done < retrier.get("MaxAttempts", 3):
                execution.retries[number] = done + 1
                delay = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** done
                delay = min(delay, retrier.get("MaxDelaySeconds", math.inf))
                if retrier.get("JitterStrategy") == "FULL":
                    delay = self._choices.jitter(delay)
                execution.run.pauses.append((self._clock.now, self._clock.now + delay))
                self._soon(delay, execution, self._run_state)
                return
            exhausted = True
            break
        for catcher in state.get("Catch", []):
            if _matches(catcher["ErrorEquals"], error):
                try:
                    self._leave(execution, state=catcher, result=_NOTHING, error=(error, cause))
                except QueryEvaluationError as unusable:
                    self._end(execution, "FAILED", error="States.QueryEvaluationError", cause=str(unusable))
                return
        self._end(execution, "FAILED", error=error, cause=cause, exhausted=exhausted)

    def _leave(
        self,
        execution: Execution,
        *,
        state: Json,
        result: Json,
        error: tuple[str, str] | None = None,
    ) -> None:
        """Assign, compute the output, and go to the next state. `state` may be a state, choice or catcher."""
        output = self._output(execution, state, result, error)
        execution.history_events += _LEFT
        assigned = self._evaluate(state.get("Assign", {}), execution, result, error)
        execution.variables.update(assigned)
        if state.get("End"):
            self._end(execution, "SUCCEEDED", output=output)
        else:
            self._enter(execution, state["Next"], output)

    def _output(
        self, execution: Execution, state: Json, result: Json, error: tuple[str, str] | None = None
    ) -> Json:
        if "Output" in state:
            return self._evaluate(state["Output"], execution, result, error)
        if error is not None:
            return {"Error": error[0], "Cause": error[1]}
        return execution.state_input if result is _NOTHING else result

    def _evaluate(
        self,
        template: Json,
        execution: Execution,
        result: Json = None,
        error: tuple[str, str] | None = None,
    ) -> Json:
        """Replace each `{% … %}` in the template by the expression's value."""
        states: Json = {"input": execution.state_input, "context": self._context(execution)}
        if result is not None and result is not _NOTHING:
            states["result"] = result
        if error is not None:
            states["errorOutput"] = {"Error": error[0], "Cause": error[1]}
        return _fill(template, {"states": states, **execution.variables}, self._clock.now)

    def _context(self, execution: Execution) -> Json:
        redrives = execution.run.redrive_count
        about: Json = {
            "Id": execution.arn,
            "Input": execution.input,
            "Name": _name(execution),
            "StartTime": iso(execution.runs[0].began),
        }
        if redrives or self._quirks.redrive_count_from_the_start:
            about["RedriveCount"] = redrives
        if execution.redriven is not None:
            about["RedriveTime"] = iso(execution.redriven)
        context: Json = {
            "Execution": about,
            "State": {
                "Name": execution.state,
                "EnteredTime": iso(execution.entered),
                "RetryCount": sum(execution.retries.values()),
            },
        }
        if execution.token is not None:
            context["Task"] = {"Token": execution.token}
        return context


_NOTHING = object()


def _name(execution: Execution) -> str:
    return execution.arn.rpartition(":")[2]


def _matches(names: list[str], error: str) -> bool:
    """Whether a Retry or a Catch matches. States.TaskFailed is any error but States.Timeout."""
    if error in names:
        return True
    if error in _TERMINAL:
        return False
    return "States.ALL" in names or ("States.TaskFailed" in names and error != "States.Timeout")


def iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


# AWS adds $parse to JSONata. Its clock is ours; what else is not a function of the input is not known here.
_PARSE = Jsonata.JLambda(json.loads)
_IMPURE = ("$now", "$random", "$uuid", "$shuffle", "$eval")


# A path of names is looked up here: most expressions are one, and the library takes long for them.
_PATH = re.compile(r"\{%\s*\$(\w+(?:\.[A-Za-z]\w*)*)\s*%\}")


def _fill(template: Json, variables: Mapping[str, Json], now: float) -> Json:
    if isinstance(template, dict):
        return {name: _fill(value, variables, now) for name, value in template.items()}
    if isinstance(template, list):
        return [_fill(value, variables, now) for value in template]
    if not isinstance(template, str) or not template.startswith("{%"):
        return template
    return evaluate(template, variables, now)


def evaluate(template: str, variables: Mapping[str, Json], now: float) -> Json:
    """The value of `{% expression %}`. Raise QueryEvaluationError if it fails or has none."""
    if path := _path(template):
        return _look_up(template, path, variables)
    moment = now if "$millis" in template else None
    known = (template, moment, repr([_find(path, variables) for path in _paths_in(template)]))
    if known not in _VALUES:
        if len(_VALUES) > _MOST_VALUES:
            _VALUES.clear()
        _VALUES[known] = _evaluate(template, variables, now)
    return copy.deepcopy(_VALUES[known])


# An expression depends on the paths in it and on the time only. The library takes long, so values are kept.
_VALUES: dict[tuple[str, float | None, str], Json] = {}
_MOST_VALUES = 10_000
_PATHS = re.compile(r"\$([A-Za-z]\w*(?:\.[A-Za-z]\w*)*)")


@cache
def _paths_in(template: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(match[1].split(".")) for match in _PATHS.finditer(template))


def _evaluate(template: str, variables: Mapping[str, Json], now: float) -> Json:
    millis = Jsonata.JLambda(lambda: int(now * 1000))
    try:
        value = _compile(template).evaluate(None, {**variables, "parse": _PARSE, "millis": millis})
    except Exception as error:
        raise QueryEvaluationError(f"{template}: {error}") from error
    if value is None:
        raise QueryEvaluationError(f"{template} has no value")
    return value


@cache
def _path(template: str) -> tuple[str, ...] | None:
    match = _PATH.fullmatch(template)
    return tuple(match[1].split(".")) if match else None


def _look_up(template: str, path: tuple[str, ...], variables: Mapping[str, Json]) -> Json:
    value = _find(path, variables)
    # To JSONata a list on the way is a sequence, which no path of our document meets.
    if isinstance(value, list) and len(path) > 1:
        raise UnknownField(f"{template} leads to a list")
    if value is None:
        raise QueryEvaluationError(f"{template} has no value")
    return value


def _find(path: tuple[str, ...], variables: Mapping[str, Json]) -> Json:
    """The value at the path, or the list that is met on the way."""
    value: Json = variables
    for name in path:
        if isinstance(value, list):
            break
        value = value.get(name) if isinstance(value, dict) else None
    return value


@cache
def _compile(template: str) -> Jsonata:
    expression = template.removeprefix("{%").removesuffix("%}").strip()
    if not template.endswith("%}") or any(name + "(" in expression for name in _IMPURE):
        raise UnknownField(template)
    return Jsonata(expression)
