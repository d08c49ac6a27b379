"""The task table: where executor, checker and canceller meet, whichever comes first.

Two kinds of item, each keyed `Id`:

* a query's item, `Id` = query id: the executor adds `TaskToken` and what settling needs, the checker adds the
  terminal `State` of the event it received. Whoever writes second reads both halves and settles.
* an execution's item, `Id` = execution ARN: the executor adds the queries that it starts, the canceller adds
  that the execution has ended. Whoever writes second reads both halves and stops the query.

Each of these writes is one UpdateItem that returns the whole item, and DynamoDB orders the writes to one
item. So there is no read before a write, no lock, and every write may be repeated.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Items in the format of the low-level API: the resource API would make cold starts slower.
Attributes = Mapping[str, Any]

KEY = "Id"
EXPIRES_AT = "ExpiresAt"

# Attributes of a query's item.
TASK_TOKEN = "TaskToken"  # noqa: S105 - an attribute's name
STATE = "State"
DEADLINE_PASSED = "DeadlinePassed/"  # and the redrive count
STOP_REQUESTED = "StopRequested"

# Attributes of an execution's item: a prefix, followed by an entry's id or by a redrive count.
STARTED = "Started/"
ANNOUNCED = "Announced/"
STATEMENT = "Statement/"
ADOPTS = "Adopts/"
ENDED = "Gone/"
CLEANED_UP = "CleanedUp/"

# An execution's item holds at most this many started queries: attempts and redrives are unbounded, the size
# of an item is not.
MOST_STARTED = 50

# One write drops at most this many attributes: an expression has at most 4 KB (DynamoDB developer guide,
# "Constraints"), and each redrive that starts nothing leaves two marks.
_MOST_DROPPED = 100

# BatchGetItem takes 100 keys (DynamoDB API reference).
_BATCH = 100


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry into "Start query". A retry stays within it; another attempt or a redrive is a new one.

    `id` is also Athena's ClientRequestToken (32-128 characters), so one entry starts one query. `entered` is
    in epoch seconds, and not before the last redrive.
    """

    execution_id: str
    id: str
    redrive_count: int
    attempt: int
    entered: float

    @classmethod
    def read(cls, execution_id: str, start: Mapping[str, Any]) -> "Entry":
        """From the state machine's `Start`: `{EnteredTime, RedriveCount, RedriveTime, RunAgain}`.

        `RunAgain` is `{Attempt, RedriveCount}`; it is empty on the first attempt, and out of date after a
        redrive, which resets the attempts. `RedriveTime` is empty, or absent, before the first redrive. It
        may be later than `EnteredTime`: a redriven state may keep the time of its first entry.
        """
        entered, redrive_count = start["EnteredTime"], int(start["RedriveCount"])
        again = start["RunAgain"]
        times = filter(None, (entered, start.get("RedriveTime")))
        return cls(
            execution_id=execution_id,
            id=hashlib.sha256(f"{execution_id} {entered} {redrive_count}".encode()).hexdigest(),
            redrive_count=redrive_count,
            attempt=int(again["Attempt"]) if again.get("RedriveCount") == redrive_count else 1,
            entered=max(datetime.fromisoformat(time).timestamp() for time in times),
        )


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The SQL of a request and its context, as they were when the entry was announced.

    `query_string` is stored for a named query only, which may be edited in the meantime; otherwise it is in
    the input.
    """

    query_string: str
    database: str
    catalog: str
    named: bool

    def attributes(self) -> Attributes:
        text = {"QueryString": {"S": self.query_string}} if self.named else {}
        return {"M": {"Database": {"S": self.database}, "Catalog": {"S": self.catalog}, **text}}


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
    labels: Mapping[str, str]

    def attributes(self) -> Attributes:
        optional = {} if self.deadline is None else {"Deadline": _number(self.deadline)}
        return {
            "ExecutionId": {"S": self.execution_id},
            "RedriveCount": _number(self.redrive_count),
            "Attempt": _number(self.attempt),
            "MaxAttempts": _number(self.max_attempts),
            "Idempotent": {"BOOL": self.idempotent},
            "PreviewRows": _number(self.preview_rows),
            "Labels": {"M": {key: {"S": value} for key, value in self.labels.items()}},
            **optional,
        }

    @classmethod
    def read(cls, item: Attributes) -> "Terms | None":
        """None until the executor has registered the query."""
        if "ExecutionId" not in item:
            return None
        return cls(
            execution_id=item["ExecutionId"]["S"],
            redrive_count=int(item["RedriveCount"]["N"]),
            attempt=int(item["Attempt"]["N"]),
            max_attempts=int(item["MaxAttempts"]["N"]),
            idempotent=item["Idempotent"]["BOOL"],
            preview_rows=int(item["PreviewRows"]["N"]),
            deadline=float(item["Deadline"]["N"]) if "Deadline" in item else None,
            # Items of earlier releases have none.
            labels={key: value["S"] for key, value in item.get("Labels", {"M": {}})["M"].items()},
        )


@dataclass(frozen=True, kw_only=True)
class QueryItem:
    """`task_token` is None while no task waits, `recorded_state` until a completion event has arrived.

    `stopped_at_deadline` is when the executor stopped it, in epoch seconds. `stop_requested`: it is being
    stopped for a run of the execution that has ended, by the canceller or at that run's deadline.
    """

    query_id: str
    task_token: str | None
    terms: Terms | None
    recorded_state: str | None
    stopped_at_deadline: float | None
    stop_requested: bool

    @classmethod
    def read(cls, query_id: str, item: Attributes) -> "QueryItem":
        terms, stops = Terms.read(item), dict(_prefixed(item, DEADLINE_PASSED))
        own = stops.pop(str(terms.redrive_count), None) if terms else None
        return cls(
            query_id=query_id,
            task_token=item.get(TASK_TOKEN, {}).get("S"),
            terms=terms,
            recorded_state=item.get(STATE, {}).get("S"),
            # Earlier releases stored it without the redrive count.
            stopped_at_deadline=_moment(own or item.get(DEADLINE_PASSED.removesuffix("/"))),
            stop_requested=bool(stops and not own) or item.get(STOP_REQUESTED, {}).get("BOOL", False),
        )


@dataclass(frozen=True, kw_only=True)
class StartedQuery:
    """`entered` is that of its entry, in epoch seconds."""

    entry_id: str
    redrive_count: int
    entered: float
    query_id: str


@dataclass(frozen=True, kw_only=True)
class AnnouncedStart:
    """A start that was announced and is not confirmed; `statement` holds what must not change until it is.

    Announcements of earlier releases have no statement.
    """

    entry_id: str
    redrive_count: int
    entered: float
    statement: Attributes


@dataclass(frozen=True, kw_only=True)
class ExecutionItem:
    """`ended` is the redrive count under which the execution last ended without success, or -1. A redrive
    implies that the earlier runs have ended, even if the event of their end was lost.

    `cleaned_up` likewise: the last such end after which nothing was left running.
    """

    started: tuple[StartedQuery, ...]
    announced: tuple[AnnouncedStart, ...]
    ended: int
    cleaned_up: int
    names: tuple[str, ...] = ()

    @classmethod
    def read(cls, item: Attributes) -> "ExecutionItem":
        started = tuple(
            StartedQuery(
                entry_id=entry_id,
                redrive_count=int(value["M"]["RedriveCount"]["N"]),
                entered=float(value["M"]["Entered"]["N"]),
                query_id=value["M"]["QueryId"]["S"],
            )
            for entry_id, value in _prefixed(item, STARTED)
        )
        announced = tuple(
            AnnouncedStart(
                entry_id=entry_id,
                redrive_count=int(value["M"]["RedriveCount"]["N"]),
                entered=float(value["M"]["Entered"]["N"]),
                statement=item.get(STATEMENT + entry_id, {}).get("M", {}),
            )
            for entry_id, value in _prefixed(item, ANNOUNCED)
            # An executor that repeats a registered start and then dies leaves one with its own statement.
            if STARTED + entry_id not in item
        )
        marked = [int(count) for count, _ in _prefixed(item, ENDED)]
        redriven = [
            *(query.redrive_count - 1 for query in started),
            *(start.redrive_count - 1 for start in announced),
        ]
        return cls(
            started=started,
            announced=announced,
            ended=max((*marked, *redriven), default=-1),
            cleaned_up=max((int(count) for count, _ in _prefixed(item, CLEANED_UP)), default=-1),
            names=tuple(item),
        )

    def query_of(self, entry_id: str) -> str | None:
        """The query that this entry into "Start query" started."""
        return next((query.query_id for query in self.started if query.entry_id == entry_id), None)

    def announcement_of(self, entry_id: str) -> AnnouncedStart | None:
        """The announced start of this entry, whose result is unknown."""
        return next((start for start in self.announced if start.entry_id == entry_id), None)

    @property
    def newest_first(self) -> list[StartedQuery]:
        return sorted(self.started, key=lambda query: (query.redrive_count, query.entered), reverse=True)

    @property
    def newest_query(self) -> StartedQuery | None:
        return next(iter(self.newest_first), None)

    def queries_left_by(self, redrive_count: int) -> list[str]:
        """The queries of the runs up to this redrive; those that a later redrive adopted are not among
        them.
        """
        newest = {query.query_id: query.redrive_count for query in sorted(self.started, key=_redrive_count)}
        return [query_id for query_id, count in newest.items() if count <= redrive_count]

    def outdated(self, entry_id: str) -> list[str]:
        """Attributes that are obsolete once this entry is registered: the oldest starts beyond the limit, all
        ends but the last, and decisions of other entries. The next entry drops what is too much for one
        write.
        """
        others = sorted(
            (query for query in self.started if query.entry_id != entry_id),
            key=lambda query: (query.redrive_count, query.entered),
        )
        surplus = others[: max(0, len(others) + 1 - MOST_STARTED)]
        kept = {f"{ENDED}{self.ended}", f"{CLEANED_UP}{self.cleaned_up}", ADOPTS + entry_id}
        marks = [
            name for name in self.names if name.startswith((ENDED, CLEANED_UP, ADOPTS)) and name not in kept
        ]
        return [*(STARTED + query.entry_id for query in surplus), *marks][:_MOST_DROPPED]


@dataclass(frozen=True)
class TaskTable:
    """The table `name`. An item expires `ttl_seconds` after its last write."""

    client: "DynamoDBClient"
    name: str
    ttl_seconds: int

    def announce_start(self, entry: Entry, statement: Statement, now: float) -> ExecutionItem:
        """Record that a query is about to be started, so that a crash before `register_start` leaves a trace.

        Return the item as it was before: an earlier announcement of the same entry means that a query may
        exist. The statement of the entry's first announcement stays.
        """
        return ExecutionItem.read(
            self._merge(
                entry.execution_id,
                now,
                put={ANNOUNCED + entry.id: _announcement(entry, now)},
                put_once={STATEMENT + entry.id: statement.attributes()},
                answer="ALL_OLD",
            )
        )

    def register_start(
        self, entry: Entry, query_id: str, now: float, outdated: Sequence[str] = ()
    ) -> ExecutionItem:
        """Record which query the entry started, and drop the attributes `outdated`."""
        return self._register(entry.execution_id, entry, query_id, now, outdated)

    def register_announced(
        self, execution_id: str, start: AnnouncedStart, query_id: str, now: float
    ) -> ExecutionItem:
        """Record which query an announced start started."""
        return self._register(execution_id, start, query_id, now, ())

    def decide_adoption(self, entry: Entry, query_id: str | None, now: float) -> str | None:
        """Record which earlier query the entry adopts; None for none, so that it starts one.

        Return the decision that holds, which is the first: two executors may try the entry at the same time,
        and find the earlier queries in different states.
        """
        decision = {ADOPTS + entry.id: {"S": query_id or ""}}
        item = self._merge(entry.execution_id, now, put_once=decision)
        return ExecutionItem.read(item).query_of(entry.id) or item[ADOPTS + entry.id]["S"] or None

    def withdraw_start(self, entry: Entry, at: float) -> None:
        """Nothing was started after the announcement of the time `at`. One made since by another stays."""
        announced = {ANNOUNCED + entry.id: _announcement(entry, at)}
        self._remove(entry.execution_id, announced, also=[STATEMENT + entry.id])

    def drop_announcement(self, execution_id: str, entry_id: str, now: float) -> None:
        """Nothing was started for the entry, and nothing can be."""
        self._merge(execution_id, now, drop=[ANNOUNCED + entry_id, STATEMENT + entry_id])

    def mark_ended(self, execution_id: str, redrive_count: int, now: float) -> ExecutionItem:
        """Record that the execution ended without success under this redrive count."""
        # An attribute for each count: the events of two ends can arrive in either order.
        mark = {f"{ENDED}{redrive_count}": {"BOOL": True}}
        return ExecutionItem.read(self._merge(execution_id, now, put=mark))

    def mark_cleaned_up(self, execution_id: str, redrive_count: int, now: float) -> None:
        """Record that nothing is left running of the execution's runs up to this redrive count."""
        self._merge(execution_id, now, put={f"{CLEANED_UP}{redrive_count}": {"BOOL": True}})

    def find_execution(self, execution_id: str) -> ExecutionItem:
        return ExecutionItem.read(self._get(execution_id))

    def find_executions(self, execution_ids: Sequence[str]) -> dict[str, ExecutionItem]:
        """Each execution's item, empty if there is none. The reads are eventually consistent."""
        items = self._get_many(execution_ids)
        return {id_: ExecutionItem.read(items.get(id_, {})) for id_ in execution_ids}

    def find_query(self, query_id: str) -> QueryItem:
        return QueryItem.read(query_id, self._get(query_id))

    def find_queries(self, query_ids: Sequence[str]) -> dict[str, QueryItem]:
        """Each query's item, empty if there is none. The reads are eventually consistent."""
        items = self._get_many(query_ids)
        return {id_: QueryItem.read(id_, items.get(id_, {})) for id_ in query_ids}

    def store_token(self, query_id: str, task_token: str, terms: Terms | None, now: float) -> QueryItem:
        """The executor's half: a task waits for the query. A newer token replaces an older one.

        `terms` is None if the query is registered already.
        """
        half = {TASK_TOKEN: {"S": task_token}, **(terms.attributes() if terms else {})}
        return QueryItem.read(query_id, self._merge(query_id, now, put=half))

    def record_state(self, query_id: str, state: str, now: float) -> QueryItem:
        """The checker's half: the query has ended in `state`."""
        return QueryItem.read(query_id, self._merge(query_id, now, put={STATE: {"S": state}}))

    def record_deadline(self, query_id: str, redrive_count: int, now: float) -> None:
        """The query is about to be stopped because its deadline of this run has passed. The first time stays,
        since it may end at any time after that.
        """
        self._merge(query_id, now, put_once={f"{DEADLINE_PASSED}{redrive_count}": _number(round(now, 3))})

    def record_stop(self, query_id: str, now: float) -> None:
        """The query is about to be stopped because its execution has ended."""
        self._merge(query_id, now, put={STOP_REQUESTED: {"BOOL": True}})

    def remove_token(self, query_id: str, task_token: str) -> None:
        """Record that the task no longer waits, unless a newer token has taken this one's place."""
        self._remove(query_id, {TASK_TOKEN: {"S": task_token}})

    def _register(
        self,
        execution_id: str,
        start: Entry | AnnouncedStart,
        query_id: str,
        now: float,
        outdated: Sequence[str],
    ) -> ExecutionItem:
        entry_id = start.id if isinstance(start, Entry) else start.entry_id
        started = {
            "M": {
                "RedriveCount": _number(start.redrive_count),
                "Entered": _number(start.entered),
                "QueryId": {"S": query_id},
            }
        }
        drop = [ANNOUNCED + entry_id, STATEMENT + entry_id, ADOPTS + entry_id, *outdated]
        return ExecutionItem.read(
            self._merge(execution_id, now, put={STARTED + entry_id: started}, drop=drop)
        )

    def _remove(self, key: str, attribute: Attributes, also: Sequence[str] = ()) -> None:
        """Remove an attribute that still has this value, and with it those in `also`."""
        [(name, value)] = attribute.items()
        names = {f"#n{number}": each for number, each in enumerate([name, *also])}
        try:
            self.client.update_item(
                TableName=self.name,
                Key={KEY: {"S": key}},
                UpdateExpression="REMOVE " + ", ".join(names),
                ConditionExpression="#n0 = :value",
                ExpressionAttributeNames=names,
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
        put: Attributes | None = None,
        put_once: Attributes | None = None,
        drop: Sequence[str] = (),
        answer: Literal["ALL_NEW", "ALL_OLD"] = "ALL_NEW",
    ) -> Attributes:
        """Merge attributes into an item, which may not exist yet; return the whole item after or before.

        Those in `put_once` are not changed if they exist.
        """
        put, once = {EXPIRES_AT: _number(int(now) + self.ttl_seconds), **(put or {})}, put_once or {}
        names = {f"#n{number}": name for number, name in enumerate([*put, *once, *drop])}
        places = list(names)
        sets = [f"{place} = :v{number}" for number, place in enumerate(places[: len(put)])]
        for number, place in enumerate(places[len(put) : len(put) + len(once)], start=len(put)):
            sets.append(f"{place} = if_not_exists({place}, :v{number})")
        expression = "SET " + ", ".join(sets)
        if drop:
            expression += " REMOVE " + ", ".join(places[len(put) + len(once) :])
        values = {f":v{number}": value for number, value in enumerate([*put.values(), *once.values()])}
        return self.client.update_item(
            TableName=self.name,
            Key={KEY: {"S": key}},
            UpdateExpression=expression,
            ExpressionAttributeNames=names,
            ExpressionAttributeValues=values,
            ReturnValues=answer,
        ).get("Attributes", {})

    def _get(self, key: str) -> Attributes:
        answer = self.client.get_item(TableName=self.name, Key={KEY: {"S": key}}, ConsistentRead=True)
        return answer.get("Item", {})

    def _get_many(self, keys: Sequence[str]) -> dict[str, Attributes]:
        """The items by their keys. DynamoDB may leave some unprocessed; these are requested again."""
        items: dict[str, Attributes] = {}
        for start in range(0, len(keys), _BATCH):
            wanted: Any = [{KEY: {"S": key}} for key in keys[start : start + _BATCH]]
            while wanted:
                answer: Any = self.client.batch_get_item(RequestItems={self.name: {"Keys": wanted}})
                for item in answer["Responses"].get(self.name, []):
                    items[item[KEY]["S"]] = item
                wanted = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
        return items


def _prefixed(item: Attributes, prefix: str) -> Iterator[tuple[str, Any]]:
    """The attributes whose name starts with the prefix, without it."""
    return ((name.removeprefix(prefix), value) for name, value in item.items() if name.startswith(prefix))


def _announcement(entry: Entry, at: float) -> Attributes:
    return {
        "M": {
            "RedriveCount": _number(entry.redrive_count),
            "Entered": _number(entry.entered),
            "At": _number(round(at, 3)),
        }
    }


def _moment(attribute: Attributes | None) -> float | None:
    """Earlier releases stored true, without the time."""
    return float(attribute.get("N", 0)) if attribute else None


def _number(value: float) -> dict[str, str]:
    return {"N": str(value)}


def _redrive_count(query: StartedQuery) -> int:
    return query.redrive_count
