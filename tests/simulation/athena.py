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

End = Literal["success", "user error", "transient failure", "cancelled by somebody", "failed, then on"]

STOPPING_SECONDS = 3.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a query is going to do if nobody stops it. Times in seconds from its submission."""

    runs_after: float
    requeued: bool
    ends_after: float
    end: End
    category: int = 2
    retryable: bool = False


@dataclass(eq=False, kw_only=True)
class Query:
    """`history` holds `(epoch seconds, state)`, `stopped_by` those who asked to stop it before it ended.

    `subject` is that of the invocation that started it; None for a query of somebody else.
    """

    id: str
    number: int
    request: Mapping[str, Any]
    subject: Any
    plan: Plan
    submitted: float
    state: str = "QUEUED"
    cancelled: bool = False
    history: list[tuple[float, str]] = field(default_factory=list)
    stopped_by: list[Invocation] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES

    def since(self, state: str, by: float) -> float | None:
        """When the query last entered the state, until the time `by`."""
        return max((time for time, entered in self.history if entered == state and time <= by), default=None)


Publish = Callable[[Query, str, str | None], None]


class Athena:
    """`publish(query, state, previous)` hears of each transition. `plan_query(subject)` draws plans."""

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
        plan_query: Callable[[Any], Plan],
        named_queries: Mapping[str, Mapping[str, str]],
        busy: tuple[float, float],
    ) -> None:
        self.queries: dict[str, Query] = {}
        self._by_token: dict[str, Query] = {}
        self._clock = clock
        self._choices = choices
        self._faults = faults
        self._lambdas = lambdas
        self._note = note
        self._publish = publish
        self._foresee = foresee
        self._plan_query = plan_query
        self._named_queries = named_queries
        self._busy = busy

    def start_query_execution(self, *, ClientRequestToken: str, **request: Any) -> dict[str, str]:
        if not 32 <= len(ClientRequestToken) <= 128:
            raise NotImplementedError("Athena takes client request tokens of 32 to 128 characters")

        def effect() -> dict[str, str]:
            known = self._by_token.get(ClientRequestToken)
            if known is not None:
                if known.request != request:
                    raise refusal("StartQueryExecution", "InvalidRequestException", "token was used before")
                return {"QueryExecutionId": known.id}
            if self._busy[0] <= self._clock.now < self._busy[1]:
                raise refusal("StartQueryExecution", "TooManyRequestsException")
            if "REFUSED" in request["QueryString"]:
                raise refusal(
                    "StartQueryExecution", "InvalidRequestException", "line 1: " + request["QueryString"]
                )
            invocation = self._lambdas.current
            query = self.submit(request, invocation.subject if invocation else None)
            self._by_token[ClientRequestToken] = query
            return {"QueryExecutionId": query.id}

        return self._lambdas.call("StartQueryExecution", effect)

    def submit(self, request: Mapping[str, Any], subject: Any) -> Query:
        """Take a query. `subject` None: somebody's query that has nothing to do with the machine."""
        number = len(self.queries) + 1
        query = Query(
            id=f"{number:08d}-query",
            number=number,
            request=request,
            subject=subject,
            plan=self._plan_query(subject),
            submitted=self._clock.now,
        )
        self.queries[query.id] = query
        query.history.append((self._clock.now, "QUEUED"))
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
        if query.plan.end == "failed, then on" and not query.ended:
            self._enter(query, state)
            self._clock.after(self._choices.between(0.05, 20.0), partial(self._enter, query, "RUNNING"))
            self._clock.after(self._choices.between(20.0, 60.0), partial(self._enter, query, "SUCCEEDED"))
        elif self._faults.happens("event before its time") and not query.ended:
            self._foresee(query, state, query.state)
            self._clock.after(self._choices.between(0.05, 5.0), partial(self._enter, query, state))
        else:
            self._enter(query, state)

    def _enter(self, query: Query, state: str) -> None:
        resumes = query.state == "FAILED" and query.plan.end == "failed, then on" and not query.cancelled
        if (query.ended and not resumes) or query.state == state:
            return
        previous, query.state = query.state, state
        query.history.append((self._clock.now, state))
        self._note("athena", f"query {query.number} is {state}")
        self._publish(query, state, previous)

    def stop_query_execution(self, *, QueryExecutionId: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            query = self._find("StopQueryExecution", QueryExecutionId)
            if not query.ended:
                if self._lambdas.current is not None:
                    query.stopped_by.append(self._lambdas.current)
                self._clock.after(self._choices.between(0.0, STOPPING_SECONDS), partial(self._cancel, query))
            return {}

        return self._lambdas.call("StopQueryExecution", effect, QueryExecutionId)

    def _cancel(self, query: Query) -> None:
        if not query.ended:
            query.cancelled = True
            self._enter(query, "CANCELLED")

    def get_query_execution(self, *, QueryExecutionId: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            query = self._find("GetQueryExecution", QueryExecutionId)
            self._note("athena", f"says query {query.number} is {query.state}")
            return {"QueryExecution": describe(query)}

        return self._lambdas.call("GetQueryExecution", effect, QueryExecutionId)

    def batch_get_query_execution(self, *, QueryExecutionIds: list[str]) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            queries = (self._find("BatchGetQueryExecution", query_id) for query_id in QueryExecutionIds)
            return {"QueryExecutions": [describe(query) for query in queries]}

        return self._lambdas.call("BatchGetQueryExecution", effect)

    def get_named_query(self, *, NamedQueryId: str) -> dict[str, Any]:
        def effect() -> dict[str, Any]:
            if NamedQueryId not in self._named_queries:
                raise refusal("GetNamedQuery", "InvalidRequestException", "no such named query")
            return {"NamedQuery": dict(self._named_queries[NamedQueryId])}

        return self._lambdas.call("GetNamedQuery", effect, NamedQueryId)

    def get_paginator(self, operation: str) -> "_Pages":
        operations: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
            "list_query_executions": self._list,
            "get_query_results": self._results,
        }
        return _Pages(operations[operation])

    def _list(self, *, WorkGroup: str, PaginationConfig: Mapping[str, int]) -> Iterator[dict[str, Any]]:
        def effect(start: int) -> dict[str, Any]:
            newest_first = list(reversed(self.queries))
            return {"QueryExecutionIds": newest_first[start : start + PaginationConfig["PageSize"]]}

        start = 0
        while True:
            page = self._lambdas.call("ListQueryExecutions", partial(effect, start), WorkGroup)
            yield page
            start += PaginationConfig["PageSize"]
            if start >= len(self.queries):
                return

    def _results(
        self, *, QueryExecutionId: str, PaginationConfig: Mapping[str, int]
    ) -> Iterator[dict[str, Any]]:
        def effect() -> dict[str, Any]:
            query = self._find("GetQueryResults", QueryExecutionId)
            if query.state != "SUCCEEDED":
                raise refusal("GetQueryResults", "InvalidRequestException", f"query is {query.state}")
            rows = [{"Data": [{"VarCharValue": value}]} for value in ("n", "1")]
            return {
                "ResultSet": {
                    "Rows": rows[: PaginationConfig["PageSize"]],
                    "ResultSetMetadata": {"ColumnInfo": [{"Name": "n", "Type": "integer"}]},
                }
            }

        yield self._lambdas.call("GetQueryResults", effect, QueryExecutionId)

    def _find(self, operation: str, query_id: str) -> Query:
        if query_id not in self.queries:
            raise refusal(operation, "InvalidRequestException", f"QueryExecution {query_id} was not found")
        return self.queries[query_id]


class _Pages:
    def __init__(self, pages: Callable[..., Iterator[dict[str, Any]]]) -> None:
        self.paginate = pages


_STATE_AT_END: Mapping[End, str] = {
    "success": "SUCCEEDED",
    "user error": "FAILED",
    "transient failure": "FAILED",
    "cancelled by somebody": "CANCELLED",
    "failed, then on": "FAILED",
}


def describe(query: Query) -> dict[str, Any]:
    """A QueryExecution as GetQueryExecution shows it."""
    status: dict[str, Any] = {"State": query.state, "SubmissionDateTime": _utc(query.submitted)}
    if query.ended:
        status["CompletionDateTime"] = _utc(query.history[-1][0])
    if query.state == "FAILED":
        status["StateChangeReason"] = "it failed: " + query.request["QueryString"]
        status["AthenaError"] = {
            "ErrorCategory": query.plan.category,
            "ErrorType": 1403,
            "Retryable": query.plan.retryable,
            "ErrorMessage": "it failed",
        }
    return {
        "QueryExecutionId": query.id,
        "Query": query.request["QueryString"],
        "StatementType": "DML",
        "ResultConfiguration": {"OutputLocation": f"s3://results/{query.id}.csv"},
        "Status": status,
        "Statistics": {"DataScannedInBytes": 12_345_678, "EngineExecutionTimeInMillis": 100},
        "WorkGroup": "the-work-group",
    }


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
