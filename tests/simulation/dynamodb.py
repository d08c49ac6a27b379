"""DynamoDB, as far as the task table uses it: UpdateItem and GetItem on items keyed `Id`."""

# ruff: noqa: N803 — arguments are named as botocore names them

import copy
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.simulation.lambdas import Lambdas, refusal

_UPDATE = re.compile(r"(?:SET (?P<set>.+?))?\s*(?:REMOVE (?P<remove>.+))?")
_EQUALS = re.compile(r"(\S+) = (\S+)")


class DynamoDb:
    def __init__(self, lambdas: Lambdas) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self._lambdas = lambdas

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
        key = Key["Id"]["S"]

        def effect() -> dict[str, Any]:
            item = dict(self.items.get(key, {"Id": {"S": key}}))
            if ConditionExpression is not None:
                name, value = _equality(ConditionExpression)
                if item.get(names.get(name, name)) != values[value]:
                    raise refusal("UpdateItem", "ConditionalCheckFailedException")
            puts, drops = _update(UpdateExpression)
            for name, value in puts:
                item[names.get(name, name)] = values[value]
            for name in drops:
                item.pop(names.get(name, name), None)
            shown = {"NONE": None, "ALL_NEW": item, "ALL_OLD": self.items.get(key)}[ReturnValues]
            self.items[key] = item
            return {} if shown is None else {"Attributes": copy.copy(shown)}

        return self._lambdas.call("UpdateItem", effect, f"{TableName} {key[-24:]}")

    def get_item(self, *, TableName: str, Key: Mapping[str, Any], ConsistentRead: bool) -> dict[str, Any]:
        if not ConsistentRead:
            raise NotImplementedError("the model has no stale reads, and the design relies on none")
        key = Key["Id"]["S"]

        def effect() -> dict[str, Any]:
            return {"Item": copy.copy(self.items[key])} if key in self.items else {}

        return self._lambdas.call("GetItem", effect, f"{TableName} {key[-24:]}")


@cache
def _update(expression: str) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """`(name, value placeholder)` of each SET, and the name of each REMOVE."""
    parts = _UPDATE.fullmatch(expression)
    if parts is None:
        raise NotImplementedError(expression)
    puts = tuple(_equality(part) for part in parts["set"].split(", ")) if parts["set"] else ()
    drops = tuple(parts["remove"].split(", ")) if parts["remove"] else ()
    return puts, drops


@cache
def _equality(text: str) -> tuple[str, str]:
    parts = _EQUALS.fullmatch(text)
    if parts is None:
        raise NotImplementedError(text)
    return parts[1], parts[2]
