"""Lambda: runs the real function code, suspended at each AWS call.

A function is plain synchronous Python. Each invocation runs in a greenlet of its own; a call of an AWS client
switches back to the scheduler, which lets the call take effect later, twice, or never, runs whatever else is
due in between, and then resumes the function with the answer, or never does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ReadTimeoutError
from greenlet import GreenletExit, getcurrent, greenlet

from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults

TIME_LIMIT = 30.0  # seconds, as infra/ sets it

# Lambda delivers an asynchronous invocation again after one and after two minutes (Lambda developer guide).
ASYNC_RETRIES = (60.0, 120.0)

Note = Callable[[str, str], None]


def refusal(operation: str, code: str, message: str = "") -> ClientError:
    """An AWS service's answer that a call cannot be done."""
    return ClientError({"Error": {"Code": code, "Message": message or code}}, operation)


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: with a value, or with an error's name and cause, as its caller sees it."""

    value: Any = None
    error: str | None = None
    cause: str = ""


@dataclass(eq=False)
class Invocation:
    """`subject` is what it is about, as the simulation knows and the function need not: see world.py.

    `injected` are the faults that befell it, `outcome` is None while it runs.
    """

    serial: int
    function: str
    payload: Any
    subject: Any
    began: float
    lag: float
    answer: Callable[[Outcome], None]
    thread: greenlet | None = None
    injected: list[str] = field(default_factory=list)
    outcome: Outcome | None = None
    exception: Exception | None = None

    @property
    def name(self) -> str:
        return f"{self.function}#{self.serial}"


@dataclass(frozen=True)
class DeadLetter:
    """An event that a function failed to take, and its tries."""

    function: str
    event: Any
    tries: tuple[Invocation, ...]


@dataclass(frozen=True)
class _Call:
    operation: str
    effect: Callable[[], dict[str, Any]]
    about: str


class _Context:
    """What Powertools reads of Lambda's context object."""

    function_name = memory_limit_in_mb = invoked_function_arn = aws_request_id = "simulated"


class Lambdas:
    """`handlers` are Lambda handlers by the function's name; `slowest_call` is in seconds for each."""

    def __init__(
        self,
        *,
        clock: Clock,
        choices: Choices,
        faults: Faults,
        note: Note,
        lags: tuple[float, ...],
        slowest_start: float,
        slowest_call: Mapping[str, float],
    ) -> None:
        self.handlers: Mapping[str, Callable[[Any, Any], Any]] = {}
        self.invocations: list[Invocation] = []
        self.dead_letters: list[DeadLetter] = []
        self.current: Invocation | None = None
        self._clock = clock
        self._choices = choices
        self._faults = faults
        self._note = note
        self._lags = lags
        self._slowest_start = slowest_start
        self._slowest_call = slowest_call

    def now(self) -> float:
        """Epoch seconds on the clock of the machine that the present invocation runs on."""
        return self._clock.now + (self.current.lag if self.current else 0.0)

    def invoke(self, function: str, payload: Any, *, subject: Any, answer: Callable[[Outcome], None]) -> None:
        """Invoke synchronously, as Step Functions does. `answer` hears of the end once, or never."""
        happens = self._faults.happens
        if happens("invocation refused"):
            refused = Outcome(error="Lambda.TooManyRequestsException", cause="Rate exceeded")
            self._clock.after(0.05, partial(answer, refused))
            return
        if happens("invocation's answer lost"):
            lost = Outcome(error="Lambda.Unknown", cause="no answer")
            self._clock.after(self._choices.between(0.0, 5.0), partial(answer, lost))
            answer = _nobody
        self._begin(function, payload, subject, answer, self._start_up())

    def deliver(self, function: str, event: Any, *, subject: Any) -> None:
        """Invoke asynchronously, as EventBridge does: again after a failure, then to the dead letters."""
        self._try(function, event, subject, ())

    def _try(self, function: str, event: Any, subject: Any, tries: tuple[Invocation, ...]) -> None:
        def answer(outcome: Outcome) -> None:
            nonlocal tries
            if outcome.error is None:
                return
            tries = (*tries, invocation)
            if len(tries) <= len(ASYNC_RETRIES):
                again = partial(self._try, function, event, subject, tries)
                self._clock.after(ASYNC_RETRIES[len(tries) - 1], again)
                return
            self._note(function, f"gave up: {outcome.error}; the event is in the dead-letter queue")
            self.dead_letters.append(DeadLetter(function, event, tries))

        invocation = self._begin(function, event, subject, answer, self._start_up())

    def _start_up(self) -> float:
        if self._faults.happens("invocation late"):
            delay = self._choices.between(0.0, 40.0)
            self._faults.last = max(self._faults.last, self._clock.now + delay)
            return delay
        return self._choices.between(0.001, self._slowest_start)

    def _begin(
        self, function: str, payload: Any, subject: Any, answer: Callable[[Outcome], None], delay: float
    ) -> Invocation:
        invocation = Invocation(
            serial=len(self.invocations) + 1,
            function=function,
            payload=payload,
            subject=subject,
            began=self._clock.now + delay,
            lag=self._choices.pick(self._lags),
            answer=answer,
        )
        self.invocations.append(invocation)
        self._clock.after(delay, partial(self._run, invocation))
        return invocation

    def _run(self, invocation: Invocation) -> None:
        self._note(invocation.name, "begins")
        handler = self.handlers[invocation.function]

        def body(_start: Any) -> Outcome:
            try:
                return Outcome(value=handler(invocation.payload, _Context))
            except Exception as error:  # noqa: BLE001 — Lambda reports any
                invocation.exception = error
                return Outcome(error=type(error).__name__, cause=str(error))

        invocation.thread = greenlet(body)
        self._resume(invocation, None, None)

    def call(self, operation: str, effect: Callable[[], dict[str, Any]], about: str = "") -> dict[str, Any]:
        """Make an AWS call from function code: suspends the function until the scheduler has an answer."""
        hub = getcurrent().parent
        assert hub is not None, "AWS models answer only within the simulation"
        answer: dict[str, Any]
        error: Exception | None
        answer, error = hub.switch(_Call(operation, effect, about))
        if error is not None:
            raise error
        return answer

    def _resume(self, invocation: Invocation, answer: Any, error: Exception | None) -> None:
        if invocation.thread is None:
            return
        self.current = invocation
        reached = invocation.thread.switch((answer, error))
        self.current = None
        if isinstance(reached, _Call):
            self._befall(invocation, reached)
        else:
            self._end(invocation, reached)

    def _befall(self, invocation: Invocation, call: _Call) -> None:
        """Decide what becomes of a call: when it takes effect, and what the function hears of it."""
        delay = self._choices.between(0.004, self._slowest_call[invocation.function])
        fault = self._faults.of_call()
        if fault is None:
            self._clock.after(delay, partial(self._carry_out, invocation, call, None))
            return
        invocation.injected.append(fault)
        if fault == "call slow":
            delay = self._choices.between(0.0, TIME_LIMIT)
        left = invocation.began + TIME_LIMIT - self._clock.now
        if delay >= left:
            # Its request may still arrive although nobody waits for the answer.
            fault, delay = "function timed out after a call", left
        self._faults.last = max(self._faults.last, self._clock.now + delay)
        self._clock.after(delay, partial(self._carry_out, invocation, call, fault))

    def _carry_out(self, invocation: Invocation, call: _Call, fault: str | None) -> None:
        self._note(invocation.name, f"{call.operation} {call.about}" + (f"  ⚡ {fault}" if fault else ""))
        answer: Any = None
        error: Exception | None = None
        if fault not in _WITHOUT_EFFECT:
            self.current = invocation
            try:
                answer = call.effect()
                if fault == "call took effect twice":
                    answer = call.effect()
            except (ClientError, BotoCoreError) as refused:
                error = refused
                self._note(invocation.name, f"  answer: {refused}")
            self.current = None
        if fault == "call throttled":
            error = refusal(call.operation, "ThrottlingException", "Rate exceeded")
        elif fault == "call failed before its effect":
            error = (
                refusal(call.operation, "InternalServerError")
                if self._choices.chance(0.5)
                else EndpointConnectionError(endpoint_url="https://aws")
            )
        elif fault == "call failed after its effect":
            error = ReadTimeoutError(endpoint_url="https://aws")
        elif fault is not None and fault.startswith("function crashed"):
            self._kill(invocation, Outcome(error="Runtime.ExitError", cause="exited"))
            return
        elif fault is not None and fault.startswith("function timed out"):
            left = invocation.began + TIME_LIMIT - self._clock.now
            self._faults.last = max(self._faults.last, self._clock.now + left)
            killed = Outcome(error="Sandbox.Timedout", cause="timed out")
            self._clock.after(left, partial(self._kill, invocation, killed))
            return
        self._resume(invocation, answer, error)

    def _kill(self, invocation: Invocation, outcome: Outcome) -> None:
        if invocation.thread is not None:
            invocation.thread.throw(GreenletExit)
        self._end(invocation, outcome)

    def _end(self, invocation: Invocation, outcome: Outcome) -> None:
        invocation.thread = None
        invocation.outcome = outcome
        self._note(invocation.name, f"ends: {outcome.error}" if outcome.error else "ends")
        invocation.answer(outcome)


_WITHOUT_EFFECT = frozenset(
    {
        "call throttled",
        "call failed before its effect",
        "function crashed before a call",
        "function timed out before a call",
    }
)


def _nobody(_outcome: Outcome) -> None:
    pass
