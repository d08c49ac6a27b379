"""Lambda: runs the real function code, suspended at each AWS call.

A function is plain synchronous Python. Each invocation runs in a greenlet of its own. A call of an AWS client
switches back to the scheduler. It lets the call take effect later, twice, or never, runs whatever else is due
in between, and then resumes the function with the answer, or never does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, ReadTimeoutError
from greenlet import GreenletExit, getcurrent, greenlet

from functions.runtime import CALL_SECONDS
from functions.settings import FUNCTION_TIMEOUT_SECONDS
from functions.time_budget import OutOfTime
from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults

if TYPE_CHECKING:
    from tests.simulation.quotas import Quotas

TIME_LIMIT = float(FUNCTION_TIMEOUT_SECONDS)

# Lambda delivers an asynchronous invocation that failed again after one and after two minutes. One that it
# could not even start goes back to its queue for 1 s, twice as long each time up to 5 minutes, until it is
# too old (Lambda developer guide, "How Lambda handles errors and retries with asynchronous invocation").
ASYNC_RETRIES = (60.0, 120.0)
LONGEST_QUEUE_PAUSE = 300.0

# What Step Functions reports when a function's process dies, and when Lambda does not run it.
CRASHES = ("Runtime.ExitError", "Runtime.OutOfMemory", "Sandbox.Failure")
REFUSALS = (
    "Lambda.TooManyRequestsException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.EC2ThrottledException",
    "Lambda.EC2UnexpectedException",
    "Lambda.ENILimitReachedException",
    "Lambda.SubnetIPAddressLimitReachedException",
    "Lambda.ResourceConflictException",
    "Lambda.ResourceNotReadyException",
    "Lambda.SnapStartNotReadyException",
    "Lambda.SnapStartTimeoutException",
    "Lambda.Unknown",
)

# Seconds until a refusal is answered, and the longest until Step Functions gives up an answer that is lost.
_REFUSED_AFTER, _LOST_AFTER = 0.05, 5.0

_NOT_RUN = "not run"

Note = Callable[[str, str], None]


def refusal(operation: str, code: str, message: str = "", **more: str) -> ClientError:
    """An AWS service's answer that a call cannot be done. `more` are further fields of the exception."""
    answer: Any = {"Error": {"Code": code, "Message": message or code}, **more}
    return ClientError(answer, operation)


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended: with a value, or with an error's name and cause, as its caller receives it."""

    value: Any = None
    error: str | None = None
    cause: str = ""


@dataclass(eq=False)
class Invocation:
    """`subject` is what it is for: the simulation's own record, which the function never sees (world.py).

    `lag` is how far the clock of its host is ahead, `injected` the faults that it met, `calls` its AWS calls,
    each with its fault. `outcome` is None while it runs.
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
    calls: list[tuple[str, str | None]] = field(default_factory=list)
    outcome: Outcome | None = None
    ended: float | None = None
    exception: Exception | None = None

    @property
    def name(self) -> str:
        return f"{self.function}#{self.serial}"


@dataclass(frozen=True)
class DeadLetter:
    """An event that a function failed to process, and its tries. `ran`: Lambda ran the function at the last
    one.
    """

    function: str
    event: Any
    tries: tuple[Invocation, ...]
    ran: bool


@dataclass(frozen=True)
class _Call:
    service: str
    operation: str
    effect: Callable[[], dict[str, Any]]
    about: str


@dataclass(frozen=True)
class _Sleep:
    seconds: float


@dataclass(frozen=True)
class _Context:
    """What the functions and Powertools read of Lambda's context object."""

    remaining_seconds: Callable[[], float]
    function_name: str = "simulated"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "simulated"
    aws_request_id: str = "simulated"

    def get_remaining_time_in_millis(self) -> int:
        return int(self.remaining_seconds() * 1000)


class Lambdas:
    """`handlers` are Lambda handlers by the function's name; `slowest_call` is in seconds for each.
    `under_way` counts invocations that run and events that may be delivered again.

    `event_age` is how long Lambda keeps an event that it cannot process, in seconds. `quotas` throttle calls;
    without them nothing does.
    """

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
        event_age: float,
    ) -> None:
        self.handlers: Mapping[str, Callable[[Any, Any], Any]] = {}
        self.invocations: list[Invocation] = []
        self.dead_letters: list[DeadLetter] = []
        self.current: Invocation | None = None
        self.under_way = 0
        self.quotas: Quotas | None = None
        self._clock = clock
        self._choices = choices
        self._faults = faults
        self._note = note
        self._lags = lags
        self._slowest_start = slowest_start
        self._slowest_call = slowest_call
        self._event_age = event_age

    def now(self) -> float:
        """Epoch seconds on the clock of the host that the present invocation runs on."""
        return self._clock.now + (self.current.lag if self.current else 0.0)

    def invoke(self, function: str, payload: Any, *, subject: Any, answer: Callable[[Outcome], None]) -> None:
        """Invoke synchronously, as Step Functions does. `answer` receives the outcome once, or never."""
        happens = self._faults.happens
        if self._faults.outage(function) or happens("invocation refused", lasting=_REFUSED_AFTER):
            refused = Outcome(error=self._choices.pick(REFUSALS), cause=_NOT_RUN)
            self._clock.after(_REFUSED_AFTER, partial(answer, refused))
            return
        if happens("invocation's answer lost", lasting=_LOST_AFTER):
            lost = Outcome(error="Lambda.Unknown", cause="no answer")
            self._clock.after(self._choices.between(0.0, _LOST_AFTER), partial(answer, lost))
            answer = _nobody
        self._begin(function, payload, subject, answer, self._start_up())

    def deliver(self, function: str, event: Any, *, subject: Any) -> None:
        """Invoke asynchronously, as EventBridge does: again after a failure, then to the dead letters."""
        self.under_way += 1
        self._try(_Delivery(function, event, subject, self._clock.now))

    def _try(self, delivery: "_Delivery") -> None:
        if self._faults.outage(delivery.function):
            pause = min(2.0**delivery.refusals, LONGEST_QUEUE_PAUSE)
            delivery.refusals += 1
            self._again(delivery, pause, _NOT_RUN)
            return

        def answer(outcome: Outcome) -> None:
            delivery.tries = (*delivery.tries, invocation)
            if outcome.error is None:
                self.under_way -= 1
            elif len(delivery.tries) <= len(ASYNC_RETRIES):
                self._again(delivery, ASYNC_RETRIES[len(delivery.tries) - 1], outcome.error)
            else:
                self._give_up(delivery, outcome.error)

        invocation = self._begin(
            delivery.function, delivery.event, delivery.subject, answer, self._start_up()
        )

    def _again(self, delivery: "_Delivery", pause: float, error: str) -> None:
        if self._clock.now + pause - delivery.since > self._event_age:
            self._give_up(delivery, error)
        else:
            self._clock.after(pause, partial(self._try, delivery))

    def _give_up(self, delivery: "_Delivery", error: str) -> None:
        self.under_way -= 1
        self._note(delivery.function, f"gave up: {error}; the event is in the dead-letter queue")
        ran = error != _NOT_RUN
        self.dead_letters.append(DeadLetter(delivery.function, delivery.event, delivery.tries, ran))

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
        self.under_way += 1
        self._clock.after(delay, partial(self._run, invocation))
        return invocation

    def _run(self, invocation: Invocation) -> None:
        self._note(invocation.name, "begins")
        handler = self.handlers[invocation.function]

        def body(_start: Any) -> Outcome:
            try:
                return Outcome(value=handler(invocation.payload, _Context(partial(self._left, invocation))))
            except Exception as error:  # noqa: BLE001 — Lambda reports any
                invocation.exception = error
                return Outcome(error=type(error).__name__, cause=str(error))

        invocation.thread = greenlet(body)
        self._resume(invocation, None, None)

    def _left(self, invocation: Invocation) -> float:
        """Seconds until the function's time is over."""
        return invocation.began + TIME_LIMIT - self._clock.now

    def call(
        self, service: str, operation: str, effect: Callable[[], dict[str, Any]], about: str = ""
    ) -> dict[str, Any]:
        """Make an AWS call from function code: suspends the function until the scheduler has an answer."""
        answer, error = _hub().switch(_Call(service, operation, effect, about))
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]  # greenlets switch untyped values

    def sleep(self, seconds: float) -> None:
        """Suspend the function, as time.sleep does."""
        _hub().switch(_Sleep(seconds))

    def _resume(self, invocation: Invocation, answer: Any, error: Exception | None) -> None:
        if invocation.thread is None:
            return
        self.current = invocation
        reached = invocation.thread.switch((answer, error))
        self.current = None
        if isinstance(reached, _Call):
            self._take(invocation, reached)
        elif isinstance(reached, _Sleep):
            self._pause(invocation, reached.seconds)
        else:
            self._end(invocation, reached)

    def _pause(self, invocation: Invocation, seconds: float) -> None:
        if seconds >= self._left(invocation):
            self._time_out(invocation)
        else:
            self._clock.after(seconds, partial(self._resume, invocation, None, None))

    def _take(self, invocation: Invocation, call: _Call) -> None:
        """Decide when a call takes effect, and what the function receives for it."""
        if self._left(invocation) < CALL_SECONDS:
            # What functions/runtime.py does before each call.
            self._clock.after(0.0, partial(self._resume, invocation, None, OutOfTime()))
            return
        delay = self._choices.between(0.004, self._slowest_call[invocation.function])
        outage = self._faults.outage(call.service, call.operation)
        if outage is not None:
            # Clients give up after a few seconds of their own retries, or wait until the function's time is
            # over.
            fault: str | None = (
                "call failed before its effect"
                if outage.mode == "refuse"
                else "function timed out before a call"
            )
            delay = self._choices.between(0.1, 3.0)
        else:
            fault = self._faults.of_call()
        invocation.calls.append((call.operation, fault))
        if fault is None:
            self._clock.after(delay, partial(self._carry_out, invocation, call, None))
            return
        invocation.injected.append(fault)
        if fault == "call slow":
            delay = self._choices.between(0.0, TIME_LIMIT)
        left = self._left(invocation)
        if delay >= left:
            # Its request may still arrive although nobody waits for the answer.
            fault, delay = "function timed out after a call", left
        self._faults.last = max(self._faults.last, self._clock.now + delay)
        self._clock.after(delay, partial(self._carry_out, invocation, call, fault))

    def _carry_out(self, invocation: Invocation, call: _Call, fault: str | None, attempt: int = 1) -> None:
        if self.quotas and (code := self.quotas.refusal(call.operation)):
            self._throttle(invocation, call, code, attempt)
            return
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
            self._kill(invocation, Outcome(error=self._choices.pick(CRASHES), cause="exited"))
            return
        elif fault is not None and fault.startswith("function timed out"):
            self._time_out(invocation)
            return
        self._resume(invocation, answer, error)

    def _throttle(self, invocation: Invocation, call: _Call, code: str, attempt: int) -> None:
        """A quota refuses the call: botocore repeats it after a random pause, a few times."""
        if self.quotas and attempt < self.quotas.attempts:
            pause = self._choices.between(0.0, 2.0 ** (attempt - 1))
            again = partial(self._carry_out, invocation, call, None, attempt + 1)
            self._clock.after(pause, again)
        else:
            self._note(invocation.name, f"{call.operation}: {code}")
            self._resume(invocation, None, refusal(call.operation, code, "Rate exceeded"))

    def _time_out(self, invocation: Invocation) -> None:
        left = max(self._left(invocation), 0.0)
        self._faults.last = max(self._faults.last, self._clock.now + left)
        self._clock.after(
            left, partial(self._kill, invocation, Outcome(error="Sandbox.Timedout", cause="timed out"))
        )

    def _kill(self, invocation: Invocation, outcome: Outcome) -> None:
        if invocation.thread is not None:
            invocation.thread.throw(GreenletExit)
        self._end(invocation, outcome)

    def _end(self, invocation: Invocation, outcome: Outcome) -> None:
        invocation.thread = None
        invocation.outcome, invocation.ended = outcome, self._clock.now
        self.under_way -= 1
        self._note(invocation.name, f"ends: {outcome.error}" if outcome.error else "ends")
        invocation.answer(outcome)


@dataclass
class _Delivery:
    """One event on its way into one function. `since` is when Lambda took it, in epoch seconds."""

    function: str
    event: Any
    subject: Any
    since: float
    refusals: int = 0
    tries: tuple[Invocation, ...] = ()


_WITHOUT_EFFECT = frozenset(
    {
        "call throttled",
        "call failed before its effect",
        "function crashed before a call",
        "function timed out before a call",
    }
)


def _hub() -> greenlet:
    hub = getcurrent().parent
    assert hub is not None, "AWS models answer only within the simulation"
    return hub


def _nobody(_outcome: Outcome) -> None:
    pass
