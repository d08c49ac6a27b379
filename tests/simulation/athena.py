"""Athena: queries that are queued, run and end by a plan drawn at their start."""

# ruff: noqa: N803 — arguments are named as botocore names them

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from functions.events import TERMINAL_STATES
from tests.simulation.choices import Choices
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults
from tests.simulation.lambdas import Invocation, Lambdas, Note, refusal

End = Literal[
    "success",
    "failure",
    "transient failure",
    "cancelled by somebody",
    "scan limit",
    "failed, then resumed",
]

STOPPING_SECONDS = 3.0

# Measured on Athena: a token returns the same query while it runs and for at least 67 minutes after its end.
TOKEN_SECONDS = 67 * 60.0

# How long Athena's answers may lag behind its events, at most.
LONGEST_LAG = 3.0

SCAN_LIMIT_REASON = "Bytes scanned limit was exceeded"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An AthenaError; fields that are None are absent. `transient`: a further run may succeed."""

    category: int | None
    type: int | None
    retryable: bool | None
    transient: bool


# Athena's `Retryable` decides. Without it category 1 does, but never for the types of syntax, metadata,
# permission and time-out errors.
FAILURES = (
    Failure(category=1, type=0, retryable=True, transient=True),
    Failure(category=2, type=1403, retryable=True, transient=True),
    Failure(category=3, type=401, retryable=True, transient=True),
    Failure(category=1, type=233, retryable=None, transient=True),
    Failure(category=1, type=1404, retryable=None, transient=True),
    Failure(category=1, type=None, retryable=None, transient=True),
    Failure(category=2, type=1306, retryable=False, transient=False),
    Failure(category=1, type=1003, retryable=False, transient=False),
    Failure(category=1, type=1502, retryable=False, transient=False),
    Failure(category=1, type=1006, retryable=None, transient=False),
    Failure(category=1, type=1401, retryable=None, transient=False),
    Failure(category=1, type=1501, retryable=None, transient=False),
    Failure(category=1, type=206, retryable=None, transient=False),
    Failure(category=2, type=0, retryable=None, transient=False),
    Failure(category=None, type=None, retryable=None, transient=False),
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a query does if nobody stops it. Times in seconds from its submission.

    `failure` belongs to the ends "failure", "transient failure" and "failed, then resumed".
    """

    runs_after: float
    requeued: bool
    ends_after: float
    end: End
    failure: Failure | None = None


@dataclass(frozen=True)
class Transition:
    """`visible` is when Athena's answers show the state, `time` when the query entered it (epoch seconds)."""

    time: float
    state: str
    visible: float


@dataclass(eq=False, kw_only=True)
class Query:
    """`started_by` is None for a query that somebody outside this stack started.

    `stops` are the requests to stop it before it ended, each with its time (epoch seconds).
    """

    id: str
    number: int
    request: Mapping[str, Any]
    started_by: Invocation | None
    plan: Plan
    submitted: float
    history: list[Transition] = field(default_factory=list)
    cancelled: bool = False
    stops: list[tuple[float, Invocation]] = field(default_factory=list)

    @property
    def state(self) -> str:
        return self.history[-1].state

    @property
    def subject(self) -> Any:
        """What it was started for (world.py)."""
        return self.started_by.subject if self.started_by else None

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def ended_at(self) -> float:
        """When it entered its present state."""
        return self.history[-1].time

    @property
    def is_claim(self) -> bool:
        return is_claim(self.request)

    @property
    def reason(self) -> str:
        """StateChangeReason of its present state."""
        if self.state == "CANCELLED":
            return SCAN_LIMIT_REASON if self.plan.end == "scan limit" and not self.cancelled else "stopped"
        return "it failed: " + self.request["QueryString"] if self.state == "FAILED" else ""

    def visible_at(self, now: float) -> Transition:
        """The transition that Athena's answers show."""
        return next(step for step in reversed(self.history) if step.visible <= now)

    def since(self, state: str, by: float) -> float | None:
        """When the query last entered the state, until the time `by`."""
        times = (step.time for step in self.history if step.state == state and step.time <= by)
        return max(times, default=None)


@dataclass
class NamedQuery:
    query_string: str
    database: str


Publish = Callable[[Query, str, str | None], None]


class Athena:
    """`publish(query, state, previous)` receives each transition, `foresee` one that is announced too early.

    `plan_query(request, subject)` draws plans. `busy` is the start and the end of a time without capacity,
    in epoch seconds. `answers_lag` is how many seconds its answers may lag behind, and `token_seconds` how
    long it remembers a client request token after its query ended.

    `active` holds the ids of queries that have not ended, `refusals` who was refused for lack of capacity,
    `claims` who claimed which token, each with its time, and `forgotten` the subjects of queries whose token
    was used again when Athena had forgotten it.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        choices: Choices,
        faults: Faults,
        lambdas: Lambdas,
        note: Note,
        publish: Publish,
        foresee: Publish,
        plan_query: Callable[[Mapping[str, Any], Any], Plan],
        named_queries: dict[str, NamedQuery],
        busy: tuple[float, float],
        answers_lag: float,
        token_seconds: float,
    ) -> None:
        self.queries: dict[str, Query] = {}
        self.named_queries = named_queries
        self.refusals: list[tuple[float, Invocation | None]] = []
        self.claims: list[tuple[float, Invocation | None, str]] = []
        self.forgotten: list[Any] = []
        self.active: set[str] = set()
        self._by_token: dict[str, Query] = {}
        self._clock = clock
        self._choices = choices
        self._faults = faults
        self._lambdas = lambdas
        self._note = note
        self._publish = publish
        self._foresee = foresee
        self._plan_query = plan_query
        self._busy = busy
        self._answers_lag = answers_lag
        self._token_seconds = token_seconds

    def start_query_execution(self, *, ClientRequestToken: str, **request: Any) -> dict[str, str]:
        if not 32 <= len(ClientRequestToken) <= 128:
            raise NotImplementedError("Athena takes client request tokens of 32 to 128 characters")

        def effect() -> dict[str, str]:
            if is_claim(request):
                self.claims.append((self._clock.now, self._lambdas.current, ClientRequestToken))
            known = self._remembered(ClientRequestToken)
            if known is not None:
                if _compared(known.request) != _compared(request):
                    raise refusal(
                        "StartQueryExecution",
                        "InvalidRequestException",
                        "Idempotent parameters do not match",
                        AthenaErrorCode="IDEMPOTENT_PARAMETER_MISMATCH",
                    )
                return {"QueryExecutionId": known.id}
            if self._busy[0] <= self._clock.now < self._busy[1]:
                self.refusals.append((self._clock.now, self._lambdas.current))
                raise refusal("StartQueryExecution", "TooManyRequestsException")
            if "REFUSED" in request["QueryString"]:
                raise refusal(
                    "StartQueryExecution",
                    "InvalidRequestException",
                    "line 1: " + request["QueryString"],
                    AthenaErrorCode="MALFORMED_QUERY",
                )
            if "DENIED" in request["QueryString"]:
                raise refusal("StartQueryExecution", "AccessDeniedException", "You are not authorized")
            query = self.submit(request, self._lambdas.current)
            self._by_token[ClientRequestToken] = query
            return {"QueryExecutionId": query.id}

        return self._lambdas.call("Athena", "StartQueryExecution", effect)

    def _remembered(self, token: str) -> Query | None:
        query = self._by_token.get(token)
        if query is not None and query.ended and self._clock.now > query.ended_at + self._token_seconds:
            self.forgotten.append(query.subject)
            return None
        return query

    def submit(self, request: Mapping[str, Any], started_by: Invocation | None) -> Query:
        """Accept a query."""
        number = len(self.queries) + 1
        now = self._clock.now
        query = Query(
            id=f"{number:08x}-0000-4000-8000-{number:012x}",
            number=number,
            request=request,
            started_by=started_by,
            plan=self._plan_query(request, started_by.subject if started_by else None),
            submitted=now,
            history=[Transition(now, "QUEUED", now)],
        )
        self.queries[query.id] = query
        self.active.add(query.id)
        self._note("athena", f"query {number} submitted, plan: {query.plan.end}")
        self._publish(query, "QUEUED", None)
        plan = query.plan
        self._clock.after(plan.runs_after, partial(self._enter, query, "RUNNING"))
        if plan.requeued:
            middle = (plan.runs_after + plan.ends_after) / 2
            self._clock.after(middle, partial(self._enter, query, "QUEUED"))
            self._clock.after((middle + plan.ends_after) / 2, partial(self._enter, query, "RUNNING"))
        self._clock.after(plan.ends_after, partial(self._end, query))
        return query

    def _end(self, query: Query) -> None:
        state = _STATE_AT_END[query.plan.end]
        if query.ended:
            return
        if query.plan.end == "failed, then resumed":
            self._enter(query, state)
            self._clock.after(self._choices.between(0.05, 20.0), partial(self._enter, query, "RUNNING"))
            self._clock.after(self._choices.between(20.0, 60.0), partial(self._enter, query, "SUCCEEDED"))
        elif self._faults.happens("event before its time"):
            self._foresee(query, state, query.state)
            self._clock.after(self._choices.between(0.05, 5.0), partial(self._enter, query, state))
        else:
            self._enter(query, state)

    def _enter(self, query: Query, state: str) -> None:
        resumes = query.state == "FAILED" and query.plan.end == "failed, then resumed" and not query.cancelled
        if (query.ended and not resumes) or query.state == state:
            return
        previous, now = query.state, self._clock.now
        visible = now + (self._choices.between(0.0, self._answers_lag) if self._answers_lag else 0.0)
        query.history.append(Transition(now, state, max(visible, query.history[-1].visible)))
        (self.active.discard if query.ended else self.active.add)(query.id)
        self._note("athena", f"query {query.number} is {state}")
        self._publish(query, state, previous)

    def stop_query_execution(self, *, QueryExecutionId: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            query = self._find("StopQueryExecution", QueryExecutionId)
            if not query.ended:
                if self._lambdas.current is not None:
                    query.stops.append((self._clock.now, self._lambdas.current))
                self._clock.after(self._choices.between(0.0, STOPPING_SECONDS), partial(self._cancel, query))
            return {}

        return self._lambdas.call("Athena", "StopQueryExecution", effect, QueryExecutionId)

    def _cancel(self, query: Query) -> None:
        if not query.ended:
            query.cancelled = True
            self._enter(query, "CANCELLED")

    def get_query_execution(self, *, QueryExecutionId: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            query = self._find("GetQueryExecution", QueryExecutionId)
            shown = query.visible_at(self._clock.now)
            self._note("athena", f"reports query {query.number} as {shown.state}")
            return {"QueryExecution": _describe(query, shown)}

        return self._lambdas.call("Athena", "GetQueryExecution", effect, QueryExecutionId)

    def batch_get_query_execution(self, *, QueryExecutionIds: list[str]) -> dict[str, Any]:
        if not 1 <= len(QueryExecutionIds) <= _MOST_IDS:
            raise NotImplementedError("Athena takes 1 to 50 ids")

        def effect() -> dict[str, Any]:
            queries = [self._find("BatchGetQueryExecution", query_id) for query_id in QueryExecutionIds]
            answered = len(queries)
            if self._faults.happens("batch answered in part"):
                answered //= 2
            now = self._clock.now
            return {
                "QueryExecutions": [_describe(query, query.visible_at(now)) for query in queries[:answered]],
                "UnprocessedQueryExecutionIds": [
                    {"QueryExecutionId": query.id, "ErrorCode": "THROTTLED", "ErrorMessage": "try again"}
                    for query in queries[answered:]
                ],
            }

        return self._lambdas.call("Athena", "BatchGetQueryExecution", effect)

    def get_named_query(self, *, NamedQueryId: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            named = self.named_queries.get(NamedQueryId)
            if named is None:
                raise refusal("GetNamedQuery", "InvalidRequestException", "no such named query")
            return {"NamedQuery": {"QueryString": named.query_string, "Database": named.database}}

        return self._lambdas.call("Athena", "GetNamedQuery", effect, NamedQueryId)

    def get_paginator(self, operation: str) -> "Pages":
        operations: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {"get_query_results": self._results}
        return Pages(operations[operation])

    def _results(
        self, *, QueryExecutionId: str, PaginationConfig: Mapping[str, int]
    ) -> Iterator[dict[str, Any]]:
        def effect() -> dict[str, Any]:
            query = self._find("GetQueryResults", QueryExecutionId)
            state = query.visible_at(self._clock.now).state
            if state != "SUCCEEDED":
                raise refusal("GetQueryResults", "InvalidRequestException", f"query is {state}")
            rows = [{"Data": [{"VarCharValue": value}]} for value in ("n", str(query.number))]
            return {
                "ResultSet": {
                    "Rows": rows[: PaginationConfig["PageSize"]],
                    "ResultSetMetadata": {"ColumnInfo": [{"Name": "n", "Type": "integer"}]},
                }
            }

        yield self._lambdas.call("Athena", "GetQueryResults", effect, QueryExecutionId)

    def _find(self, operation: str, query_id: str) -> Query:
        if query_id not in self.queries:
            raise refusal(operation, "InvalidRequestException", f"QueryExecution {query_id} was not found")
        return self.queries[query_id]


class Pages:
    """What get_paginator returns."""

    def __init__(self, pages: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self.paginate = pages


# BatchGetQueryExecution takes 50 ids (Athena API reference).
_MOST_IDS = 50

_STATE_AT_END: Mapping[End, str] = {
    "success": "SUCCEEDED",
    "failure": "FAILED",
    "transient failure": "FAILED",
    "cancelled by somebody": "CANCELLED",
    "scan limit": "CANCELLED",
    "failed, then resumed": "FAILED",
}


def is_claim(request: Mapping[str, Any]) -> bool:
    """Whether it is the harmless statement by which a function claims an unused client request token."""
    return str(request["QueryString"]).startswith("EXPLAIN SELECT 1")


def _compared(request: Mapping[str, Any]) -> tuple[Any, ...]:
    """What Athena compares of two requests with one token: ExecutionParameters and WorkGroup are not."""
    return request["QueryString"], tuple(sorted(request.get("QueryExecutionContext", {}).items()))


def scanned_bytes(query: Query) -> int:
    """A number of each query's own."""
    return 12_000_000 + query.number


def output_location(query: Query) -> str:
    return f"s3://results/{query.id}.csv"


def _describe(query: Query, shown: Transition) -> dict[str, Any]:
    """A QueryExecution as Athena's answers show it."""
    status: dict[str, Any] = {"State": shown.state, "SubmissionDateTime": _utc(query.submitted)}
    if shown.state in TERMINAL_STATES:
        status["CompletionDateTime"] = _utc(shown.time)
    if shown.state == "CANCELLED":
        status["StateChangeReason"] = query.reason
    if shown.state == "FAILED" and query.plan.failure is not None:
        status["StateChangeReason"] = "it failed: " + query.request["QueryString"]
        failure = query.plan.failure
        fields = {
            "ErrorCategory": failure.category,
            "ErrorType": failure.type,
            "Retryable": failure.retryable,
            "ErrorMessage": "it failed",
        }
        if failure.category is not None:
            status["AthenaError"] = {name: value for name, value in fields.items() if value is not None}
    text: str = query.request["QueryString"]
    kind = "DDL" if text.startswith("CREATE") else "DML"
    return {
        "QueryExecutionId": query.id,
        # Athena returns DDL as it rewrote it.
        "Query": text.replace("CREATE TABLE", "CREATE  TABLE") if kind == "DDL" else text,
        "StatementType": kind,
        "SubstatementType": text.partition(" ")[0],
        "ResultConfiguration": {"OutputLocation": output_location(query)},
        "Status": status,
        "Statistics": {"DataScannedInBytes": scanned_bytes(query), "EngineExecutionTimeInMillis": 100},
        "WorkGroup": "the-work-group",
    }


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
