"""DynamoDB, as far as the task table uses it: UpdateItem, GetItem and BatchGetItem on items keyed `Id`."""

# ruff: noqa: N803 — arguments are named as botocore names them

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from functions.task_table import EXPIRES_AT, KEY
from tests.simulation.clock import Clock
from tests.simulation.faults import Faults
from tests.simulation.lambdas import Invocation, Lambdas, refusal

Item = dict[str, Any]

# BatchGetItem takes 100 keys (API reference).
_MOST_KEYS = 100

_UPDATE = re.compile(r"(?:SET (?P<set>.+?))?\s*(?:REMOVE (?P<remove>.+))?")
_ASSIGNMENT = re.compile(r"(\S+) = (?:if_not_exists\(\1, (\S+)\)|([^\s,]+))(?:, |$)")
_EQUALS = re.compile(r"(\S+) = (\S+)")


@dataclass(frozen=True)
class Write:
    """`at` is in epoch seconds; `item` is the whole item after the write."""

    at: float
    invocation: Invocation | None
    key: str
    item: Item


class DynamoDb:
    """`writes` holds every write. `expiry_lag` is how long an expired item stays readable: AWS promises two
    days at most. `read_lag` is how far an eventually consistent read may be behind. Both are in seconds.
    """

    def __init__(
        self, *, clock: Clock, faults: Faults, lambdas: Lambdas, expiry_lag: float, read_lag: float
    ) -> None:
        self.writes: list[Write] = []
        self._newest: dict[str, Write] = {}
        self._clock = clock
        self._faults = faults
        self._lambdas = lambdas
        self._expiry_lag = expiry_lag
        self._read_lag = read_lag

    def items(self) -> Mapping[str, Item]:
        """Every item as it was last written, by its key."""
        return {key: write.item for key, write in self._newest.items()}

    def update_item(
        self,
        *,
        TableName: str,
        Key: Mapping[str, Any],
        UpdateExpression: str,
        ExpressionAttributeValues: Mapping[str, Any],
        ExpressionAttributeNames: Mapping[str, str] | None = None,
        ConditionExpression: str | None = None,
        ReturnValues: str = "NONE",
    ) -> dict[str, Any]:
        names, values = ExpressionAttributeNames or {}, ExpressionAttributeValues
        key = Key[KEY]["S"]

        def effect() -> dict[str, Any]:
            known = self._find(key)
            item = dict(known or {KEY: {"S": key}})
            if ConditionExpression is not None:
                name, value = _equality(ConditionExpression)
                if item.get(names.get(name, name)) != values[value]:
                    raise refusal("UpdateItem", "ConditionalCheckFailedException")
            puts, drops = _update(UpdateExpression)
            for name, value, once in puts:
                attribute = names.get(name, name)
                if not (once and attribute in item):
                    item[attribute] = values[value]
            for name in drops:
                item.pop(names.get(name, name), None)
            write = Write(self._clock.now, self._lambdas.current, key, item)
            self.writes.append(write)
            self._newest[key] = write
            shown = {"NONE": None, "ALL_NEW": item, "ALL_OLD": known}[ReturnValues]
            return {} if shown is None else {"Attributes": dict(shown)}

        return self._lambdas.call("DynamoDB", "UpdateItem", effect, f"{TableName} {key[-24:]}")

    def get_item(self, *, TableName: str, Key: Mapping[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        if not ConsistentRead:
            raise NotImplementedError("a stale read of a single item, which the design does not rely on")
        key = Key[KEY]["S"]

        def effect() -> dict[str, Any]:
            item = self._find(key)
            return {} if item is None else {"Item": dict(item)}

        return self._lambdas.call("DynamoDB", "GetItem", effect, f"{TableName} {key[-24:]}")

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        ((table, request),) = RequestItems.items()
        if set(request) != {"Keys"}:
            raise NotImplementedError(f"BatchGetItem with {sorted(request)}")
        keys = request["Keys"]
        if not 1 <= len(keys) <= _MOST_KEYS:
            raise refusal("BatchGetItem", "ValidationException", "1 to 100 keys")

        def effect() -> dict[str, Any]:
            answered = keys
            if self._faults.happens("batch answered in part"):
                answered = keys[: len(keys) // 2]
            found = (self._find_stale(key[KEY]["S"]) for key in answered)
            rest = keys[len(answered) :]
            return {
                "Responses": {table: [dict(item) for item in found if item is not None]},
                "UnprocessedKeys": {table: {"Keys": rest}} if rest else {},
            }

        return self._lambdas.call("DynamoDB", "BatchGetItem", effect, f"{table} {len(keys)} keys")

    def _find(self, key: str) -> Item | None:
        return self._unexpired(self._newest.get(key))

    def _find_stale(self, key: str) -> Item | None:
        """What an eventually consistent read returns: here always the oldest that it may."""
        then = self._clock.now - self._read_lag
        return self._unexpired(
            next((each for each in reversed(self.writes) if each.key == key and each.at <= then), None)
        )

    def _unexpired(self, write: Write | None) -> Item | None:
        if write is None or self._clock.now > int(write.item[EXPIRES_AT]["N"]) + self._expiry_lag:
            return None
        return write.item


@cache
def _update(expression: str) -> tuple[tuple[tuple[str, str, bool], ...], tuple[str, ...]]:
    """`(name, value placeholder, only if it does not exist)` of each SET, and the name of each REMOVE."""
    parts = _UPDATE.fullmatch(expression)
    if parts is None:
        raise NotImplementedError(expression)
    assignments = list(_ASSIGNMENT.finditer(parts["set"] or ""))
    if "".join(each[0] for each in assignments) != (parts["set"] or ""):
        raise NotImplementedError(expression)
    puts = tuple((each[1], each[2] or each[3], each[2] is not None) for each in assignments)
    drops = tuple(parts["remove"].split(", ")) if parts["remove"] else ()
    return puts, drops


@cache
def _equality(text: str) -> tuple[str, str]:
    parts = _EQUALS.fullmatch(text)
    if parts is None:
        raise NotImplementedError(text)
    return parts[1], parts[2]
