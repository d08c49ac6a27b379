"""The task table: where executor, checker and canceller meet, whichever comes first.

Two kinds of item, each keyed `Id`:

* a query's item, `Id` = query id: the executor adds `TaskToken` and what settling needs, the checker adds the
  terminal `State` it heard of. Whoever writes second reads both halves and settles.
* an execution's item, `Id` = execution ARN: the executor adds the queries that it starts, the canceller adds
  that the execution is gone. Whoever writes second reads both halves and stops the query.

Each of these writes is one unconditional UpdateItem that returns the merged item, and DynamoDB orders the
writes to one item. So there is no read before a write, no lock, and every write may be repeated.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Items as DynamoDB's own API writes them: the resource API would cost a cold start more than it saves here.
Attributes = Mapping[str, Any]

_STARTED = "Started/"
_ANNOUNCED = "Announced/"
_GONE = "Gone/"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry into "Start query". A Lambda retry stays within it; an attempt or a redrive is a new one.

    `id` is also Athena's ClientRequestToken (32-128 characters), so one entry starts one query. `entered` is
    in epoch seconds.
    """

    id: str
    redrive_count: int
    attempt: int
    entered: float

    @classmethod
    def read(cls, execution_id: str, start: Mapping[str, Any]) -> "Entry":
        """From the state machine's `Start`: `{EnteredTime, RedriveCount, RunAgain: {Attempt, RedriveCount}}`.

        `RunAgain` is empty on the first attempt, and out of date after a redrive: attempts are counted anew.
        """
        entered, redrive_count = start["EnteredTime"], int(start["RedriveCount"])
        again = start["RunAgain"]
        return cls(
            id=hashlib.sha256(f"{execution_id} {entered} {redrive_count}".encode()).hexdigest(),
            redrive_count=redrive_count,
            attempt=int(again["Attempt"]) if again.get("RedriveCount") == redrive_count else 1,
            entered=datetime.fromisoformat(entered).timestamp(),
        )


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What settling a query needs to know of the execution that waits. `deadline` is in epoch seconds."""

    execution_id: str
    redrive_count: int
    attempt: int
    max_attempts: int
    idempotent: bool
    preview_rows: int
    deadline: float | None


@dataclass(frozen=True, kw_only=True)
class QueryItem:
    """`task_token` is None while no task waits, `recorded_state` until an event has told of the end.

    `terms` is None until the executor has registered the query.
    """

    query_id: str
    task_token: str | None
    terms: Terms | None
    recorded_state: str | None
    deadline_passed: bool


@dataclass(frozen=True, kw_only=True)
class StartedQuery:
    entry_id: str
    redrive_count: int
    query_id: str


@dataclass(frozen=True, kw_only=True)
class AnnouncedStart:
    """A start that was announced and not confirmed yet. Times are in epoch seconds.

    `at` is when it was announced last: an executor that died may have announced it before, since `entered`.
    """

    entry_id: str
    redrive_count: int
    entered: float
    at: float
    statement_digest: str


@dataclass(frozen=True, kw_only=True)
class ExecutionItem:
    """`gone` is the redrive count under which the execution last ended without success, or -1."""

    started: tuple[StartedQuery, ...]
    announced: tuple[AnnouncedStart, ...]
    gone: int

    def query_of(self, entry_id: str) -> str | None:
        """The query that this entry into "Start query" started."""
        return next((query.query_id for query in self.started if query.entry_id == entry_id), None)

    def announces(self, entry_id: str) -> bool:
        """Whether somebody was about to start a query for this entry, and has not told what came of it."""
        return any(start.entry_id == entry_id for start in self.announced)


@dataclass(frozen=True)
class TaskTable:
    """The table called `name`. An item may go `ttl_seconds` after it was last written."""

    client: "DynamoDBClient"
    name: str
    ttl_seconds: int

    def announce_start(
        self, execution_id: str, entry: Entry, statement_digest: str, now: float
    ) -> ExecutionItem:
        """Say that a query is about to be started, so that a crash before `register_start` leaves a trace.

        Return the item as it was before: an earlier announcement of the same entry says that a query may run.
        """
        announced = _announcement(entry, statement_digest, now)
        return _execution_item(
            self._merge(execution_id, now, put={_ANNOUNCED + entry.id: announced}, answer="ALL_OLD")
        )

    def register_start(self, execution_id: str, entry: Entry, query_id: str, now: float) -> ExecutionItem:
        """Record which query the entry started."""
        started = {
            "M": {
                "RedriveCount": _number(entry.redrive_count),
                "Entered": _number(entry.entered),
                "QueryId": {"S": query_id},
            }
        }
        return _execution_item(
            self._merge(execution_id, now, put={_STARTED + entry.id: started}, drop=[_ANNOUNCED + entry.id])
        )

    def withdraw_start(self, execution_id: str, entry: Entry, statement_digest: str, at: float) -> None:
        """Nothing was started after the announcement of the time `at`. One made since by another stays."""
        self._remove(execution_id, _ANNOUNCED + entry.id, _announcement(entry, statement_digest, at))

    def mark_ended(self, execution_id: str, redrive_count: int, now: float) -> ExecutionItem:
        """Record that the execution ended without success under this redrive count."""
        # An attribute for each count: the events of two ends can arrive in either order.
        return _execution_item(
            self._merge(execution_id, now, put={f"{_GONE}{redrive_count}": {"BOOL": True}})
        )

    def find_execution(self, execution_id: str) -> ExecutionItem:
        return _execution_item(self._get(execution_id))

    def find_query(self, query_id: str) -> QueryItem:
        return _query_item(query_id, self._get(query_id))

    def store_token(self, query_id: str, task_token: str, terms: Terms, now: float) -> QueryItem:
        """The executor's half: a task waits for the query. A newer token replaces an older one."""
        half: dict[str, Any] = {
            "TaskToken": {"S": task_token},
            "ExecutionId": {"S": terms.execution_id},
            "RedriveCount": _number(terms.redrive_count),
            "Attempt": _number(terms.attempt),
            "MaxAttempts": _number(terms.max_attempts),
            "Idempotent": {"BOOL": terms.idempotent},
            "PreviewRows": _number(terms.preview_rows),
        }
        if terms.deadline is not None:
            half["Deadline"] = _number(terms.deadline)
        return _query_item(query_id, self._merge(query_id, now, put=half))

    def record_state(self, query_id: str, state: str, now: float) -> QueryItem:
        """The checker's half: the query has ended in `state`."""
        return _query_item(query_id, self._merge(query_id, now, put={"State": {"S": state}}))

    def record_deadline(self, query_id: str, now: float) -> QueryItem:
        """The query is about to be stopped because its deadline has passed."""
        return _query_item(query_id, self._merge(query_id, now, put={"DeadlinePassed": {"BOOL": True}}))

    def remove_token(self, query_id: str, task_token: str) -> None:
        """Mark the task as no longer waiting, unless a newer token has taken this one's place."""
        self._remove(query_id, "TaskToken", {"S": task_token})

    def _remove(self, key: str, attribute: str, value: Attributes) -> None:
        """Remove an attribute that still has this value."""
        try:
            self.client.update_item(
                TableName=self.name,
                Key={"Id": {"S": key}},
                UpdateExpression="REMOVE #n",
                ConditionExpression="#n = :value",
                ExpressionAttributeNames={"#n": attribute},
                ExpressionAttributeValues={":value": value},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise

    def _merge(
        self,
        key: str,
        now: float,
        *,
        put: Attributes,
        drop: Sequence[str] = (),
        answer: Literal["ALL_NEW", "ALL_OLD"] = "ALL_NEW",
    ) -> Attributes:
        """Merge attributes into an item, which may not exist yet; return the whole item after or before."""
        put = {"ExpiresAt": _number(int(now) + self.ttl_seconds), **put}
        names = {f"#n{i}": name for i, name in enumerate([*put, *drop])}
        places = list(names)
        expression = "SET " + ", ".join(f"{place} = :v{i}" for i, place in enumerate(places[: len(put)]))
        if drop:
            expression += " REMOVE " + ", ".join(places[len(put) :])
        return self.client.update_item(
            TableName=self.name,
            Key={"Id": {"S": key}},
            UpdateExpression=expression,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={f":v{i}": value for i, value in enumerate(put.values())},
            ReturnValues=answer,
        ).get("Attributes", {})

    def _get(self, key: str) -> Attributes:
        answer = self.client.get_item(TableName=self.name, Key={"Id": {"S": key}}, ConsistentRead=True)
        return answer.get("Item", {})


def _announcement(entry: Entry, statement_digest: str, at: float) -> Attributes:
    return {
        "M": {
            "RedriveCount": _number(entry.redrive_count),
            "Entered": _number(entry.entered),
            "At": _number(round(at, 3)),
            "StatementDigest": {"S": statement_digest},
        }
    }


def _number(value: float) -> dict[str, str]:
    return {"N": str(value)}


def _query_item(query_id: str, item: Attributes) -> QueryItem:
    return QueryItem(
        query_id=query_id,
        task_token=item.get("TaskToken", {}).get("S"),
        terms=Terms(
            execution_id=item["ExecutionId"]["S"],
            redrive_count=int(item["RedriveCount"]["N"]),
            attempt=int(item["Attempt"]["N"]),
            max_attempts=int(item["MaxAttempts"]["N"]),
            idempotent=item["Idempotent"]["BOOL"],
            preview_rows=int(item["PreviewRows"]["N"]),
            deadline=float(item["Deadline"]["N"]) if "Deadline" in item else None,
        )
        if "ExecutionId" in item
        else None,
        recorded_state=item.get("State", {}).get("S"),
        deadline_passed=item.get("DeadlinePassed", {}).get("BOOL", False),
    )


def _execution_item(item: Attributes) -> ExecutionItem:
    return ExecutionItem(
        started=tuple(
            StartedQuery(
                entry_id=name.removeprefix(_STARTED),
                redrive_count=int(value["M"]["RedriveCount"]["N"]),
                query_id=value["M"]["QueryId"]["S"],
            )
            for name, value in item.items()
            if name.startswith(_STARTED)
        ),
        announced=tuple(
            AnnouncedStart(
                entry_id=name.removeprefix(_ANNOUNCED),
                redrive_count=int(value["M"]["RedriveCount"]["N"]),
                entered=float(value["M"]["Entered"]["N"]),
                at=float(value["M"]["At"]["N"]),
                statement_digest=value["M"]["StatementDigest"]["S"],
            )
            for name, value in item.items()
            if name.startswith(_ANNOUNCED)
        ),
        gone=max((int(name.removeprefix(_GONE)) for name in item if name.startswith(_GONE)), default=-1),
    )
