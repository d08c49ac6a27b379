"""Resolves names to columns."""

from __future__ import annotations

from dataclasses import dataclass, field

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql.types import Type, fields, quoted
from local.emulator.athena.sql.values import Value


@dataclass(frozen=True)
class Field:
    """A column of a relation: its name in Athena, if it has one, and in DuckDB."""

    name: str | None
    type: Type
    stored: str
    hidden: bool = False


@dataclass(frozen=True)
class Relation:
    """What FROM names. `alias` is its name in DuckDB, `name` and `database` are what a query calls it."""

    alias: str
    fields: list[Field]
    name: str | None = None
    database: str | None = None

    def value(self, one: Field) -> Value:
        return Value(f"{self.alias}.{quoted(one.stored)}", one.type)


def stored_fields(columns: list[tuple[str | None, Type]], hidden: tuple[str, ...] = ()) -> list[Field]:
    """Fields with unique names in DuckDB."""
    seen: set[str] = set()
    found = []
    for number, (name, kind) in enumerate(columns):
        stored = name if name and name not in seen else f"_col{number}"
        while stored in seen:
            stored += "_"
        seen.add(stored)
        found.append(Field(name, kind, stored, hidden=name in hidden))
    return found


@dataclass
class Scope:
    """The relations of a query, the outer queries' scope, and lambda parameters.

    `merged` are the columns of JOIN … USING, which belong to no relation.
    """

    outer: Scope | None = None
    relations: list[Relation] = field(default_factory=list)
    parameters: dict[str, Value] = field(default_factory=dict)
    merged: dict[str, Value] = field(default_factory=dict)

    def with_parameters(self, parameters: dict[str, Value]) -> Scope:
        return Scope(self.outer, self.relations, {**self.parameters, **parameters}, self.merged)

    def resolve(self, parts: list[str], place: str) -> Value:
        """Resolve a name of one or more parts: a relation, a column, and fields of a row."""
        scope: Scope | None = self
        while scope is not None:
            if found := scope._own(parts, place):
                return found
            scope = scope.outer
        raise Failure(f"COLUMN_NOT_FOUND: {place}Column '{'.'.join(parts)}' cannot be resolved")

    def _own(self, parts: list[str], place: str) -> Value | None:
        if parts[0] in self.parameters:
            return field_of(self.parameters[parts[0]], parts[1:], place)
        for qualifiers in (2, 1):
            relation = self._relation(parts[:qualifiers]) if len(parts) > qualifiers else None
            if relation is not None:
                found = [one for one in relation.fields if one.name == parts[qualifiers]]
                if found:
                    return field_of(_checked(relation, found, parts, place), parts[qualifiers + 1 :], place)
        if parts[0] in self.merged:
            return field_of(self.merged[parts[0]], parts[1:], place)
        matches = [(one, [two]) for one in self.relations for two in one.fields if two.name == parts[0]]
        if len(matches) > 1:
            raise Failure(f"AMBIGUOUS_NAME: {place}Column '{parts[0]}' is ambiguous")
        if matches:
            return field_of(_checked(*matches[0], parts, place), parts[1:], place)
        return None

    def _relation(self, qualifier: list[str]) -> Relation | None:
        for one in self.relations:
            if one.name == qualifier[-1] and (len(qualifier) == 1 or one.database == qualifier[0]):
                return one
        return None

    def starred(self, qualifier: str | None, place: str) -> list[tuple[str | None, Value]]:
        """Expand * or qualifier.*."""
        if qualifier is None:
            merged: list[tuple[str | None, Value]] = list(self.merged.items())
            return merged + [
                (two.name, one.value(two))
                for one in self.relations
                for two in one.fields
                if not two.hidden and two.name not in self.merged
            ]
        relation = self._relation([qualifier])
        if relation is None:
            raise Failure(f"TABLE_NOT_FOUND: {place}Unable to resolve reference {qualifier}")
        return [(one.name, relation.value(one)) for one in relation.fields if not one.hidden]


def _checked(relation: Relation, found: list[Field], parts: list[str], place: str) -> Value:
    if len(found) > 1:
        raise Failure(f"AMBIGUOUS_NAME: {place}Column '{'.'.join(parts)}' is ambiguous")
    if found[0].type.name == "char":
        raise not_supported(f"a column of type {found[0].type}")
    return relation.value(found[0])


def field_of(value: Value, path: list[str], place: str) -> Value:
    """A field of a row; nested rows take a longer path."""
    for name in path:
        named = {one: kind for one, kind in value.type.args if one} if value.type.name == "row" else {}
        if name not in named:
            raise Failure(f"COLUMN_NOT_FOUND: {place}Column '{name}' cannot be resolved")
        stored = next(
            one for one, (given, _) in zip(fields(value.type), value.type.args, strict=True) if given == name
        )
        value = Value(f"struct_extract({value.sql}, '{stored[0]}')", named[name])
    return value
