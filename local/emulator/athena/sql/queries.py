"""Compiles queries: WITH, SELECT, set operations, VALUES."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql import coercion, places
from local.emulator.athena.sql.coercion import BIGINT, UNKNOWN
from local.emulator.athena.sql.expressions import Expressions
from local.emulator.athena.sql.relations import Relations
from local.emulator.athena.sql.scope import Scope, stored_fields
from local.emulator.athena.sql.shapes import Columns, Query, converted, renamed
from local.emulator.athena.sql.types import Type, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.emulator.athena.sql.values import Value


_GROUPINGS: dict[type[exp.Expr], str] = {
    exp.GroupingSets: "GROUPING SETS",
    exp.Rollup: "ROLLUP",
    exp.Cube: "CUBE",
}


class Tables(Protocol):
    """Looks up the tables of the catalog."""

    def table(self, node: exp.Table) -> tuple[str, Columns, tuple[str, ...]]:
        """DuckDB's SQL for a table or view, its columns, and the names of hidden columns."""


@dataclass
class Queries:
    """Compiles the queries of one statement. `ctes` are the common table expressions in scope."""

    text: str
    tables: Tables
    ctes: Mapping[str, tuple[str, Columns]] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.expressions = Expressions(self.text, self)
        self.relations = Relations(self)

    def alias(self) -> str:
        """A unique name for a relation in DuckDB."""
        return f"r{next(self._numbers)}"

    def place(self, node: exp.Expr) -> str:
        return places.position(self.text, places.start(node))

    def subquery(self, query: exp.Expr, outer: Scope) -> tuple[str, list[Type]]:
        found = self.query(query, outer)
        return found.sql, [kind for _, kind in found.columns]

    def query(self, node: exp.Expr, outer: Scope | None = None) -> Query:
        """Raise Failure for a query that Athena rejects or that is not supported locally."""
        known = self.ctes
        try:
            prefix = self._with(node, outer)
            found = self._body(node, outer)
        finally:
            self.ctes = known
        return Query(prefix + found.sql, found.columns)

    def _body(self, node: exp.Expr, outer: Scope | None) -> Query:
        match node:
            case exp.Select():
                return self._select(node, outer)
            case exp.SetOperation():
                return self._set_operation(node, outer)
            case exp.Values():
                return self._finished(node, self._values(node, outer), outer)
            case exp.Subquery() | exp.Paren():
                inner = self.query(node.this, outer)
                return self._finished(node, inner, outer)
            case exp.Table():
                sql, columns = self.relations.named(node)
                return Query(f"SELECT * FROM {sql}", columns)
        raise not_supported(type(node).__name__.upper())

    def _with(self, node: exp.Expr, outer: Scope | None) -> str:
        clause = node.args.get("with_")
        if clause is None:
            return ""
        parts = []
        for cte in clause.expressions:
            name = cte.alias.lower()
            given = [one.name.lower() for one in cte.args["alias"].args.get("columns") or []]
            alias = f"c_{self.alias()}"
            if clause.args.get("recursive") and isinstance(cte.this, exp.SetOperation):
                found = self._recursive(cte.this, name, alias, given, outer)
            else:
                found = self.query(cte.this, outer)
            columns = renamed(found.columns, given, self.place(cte))
            self.ctes = {**self.ctes, name: (alias, columns)}
            stored = ", ".join(quoted(one.stored) for one in stored_fields(columns))
            parts.append(f"{alias}({stored}) AS ({found.sql})")
        return f"WITH {'RECURSIVE ' if clause.args.get('recursive') else ''}{', '.join(parts)} "

    def _recursive(
        self, node: exp.SetOperation, name: str, alias: str, given: list[str], outer: Scope | None
    ) -> Query:
        """The first part determines the columns."""
        first = self.query(node.left, outer)
        columns = renamed(first.columns, given, self.place(node))
        known = self.ctes
        self.ctes = {**self.ctes, name: (alias, columns)}
        second = self.query(node.right, outer)
        self.ctes = known
        kinds = [kind for _, kind in columns]
        word = "UNION ALL" if node.args.get("distinct") is False else "UNION"
        return Query(f"{first.sql} {word} {converted(second, kinds, 'r')}", columns)

    def _select(self, node: exp.Select, outer: Scope | None) -> Query:
        scope = Scope(outer)
        source = self.relations.source(node, scope)
        items = self._items(node, scope)
        parts = [f"SELECT {'DISTINCT ' if self._distinct(node) else ''}{_listed(items)}{source}"]
        if clause := node.args.get("where"):
            parts.append(f"WHERE {self.expressions.condition(clause.this, scope, 'WHERE').sql}")
        if clause := node.args.get("group"):
            parts.append(f"GROUP BY {self._group(clause, items, scope)}")
        if clause := node.args.get("having"):
            parts.append(f"HAVING {self.expressions.condition(clause.this, scope, 'HAVING').sql}")
        if windows := node.args.get("windows"):
            named = [f"{one.this.name} AS ({self.expressions.calls.window(one, scope)})" for one in windows]
            parts.append(f"WINDOW {', '.join(named)}")
        if clause := node.args.get("order"):
            parts.append(f"ORDER BY {self._order(clause, items, scope, distinct=self._distinct(node))}")
        parts.append(self._limit(node, scope))
        return Query(" ".join(filter(None, parts)), [(name, one.type) for name, one in items])

    @staticmethod
    def _distinct(node: exp.Select) -> bool:
        clause = node.args.get("distinct")
        if clause is not None and clause.args.get("on") is not None:
            raise not_supported("DISTINCT ON")
        return clause is not None

    def _items(self, node: exp.Select, scope: Scope) -> list[tuple[str | None, Value]]:
        """The columns of the result, with * expanded."""
        items: list[tuple[str | None, Value]] = []
        for one in node.expressions:
            if isinstance(one, exp.Star):
                items += scope.starred(None, self.place(one))
            elif isinstance(one, exp.Column) and isinstance(one.this, exp.Star):
                items += scope.starred(one.table.lower(), self.place(one))
            elif isinstance(one, exp.Alias):
                items.append((one.alias.lower(), self.expressions.value(one.this, scope)))
            else:
                named = one.name.lower() if isinstance(one, exp.Column) else None
                named = one.expression.name.lower() if isinstance(one, exp.Dot) else named
                items.append((named, self.expressions.value(one, scope)))
        if not items:
            raise Failure(
                f"SYNTAX_ERROR: {self.place(node)}SELECT * not allowed in queries without FROM clause"
            )
        return items

    def _group(self, clause: exp.Group, items: list[tuple[str | None, Value]], scope: Scope) -> str:
        parts = [self._grouped(one, items, scope) for one in clause.expressions]
        for name, word in (("grouping_sets", "GROUPING SETS"), ("rollup", "ROLLUP"), ("cube", "CUBE")):
            parts += [
                f"{word} ({', '.join(self._grouped(two, items, scope) for two in one.expressions)})"
                for one in clause.args.get(name) or []
            ]
        if not parts:
            raise Failure(f"SYNTAX_ERROR: {self.place(clause)}mismatched input '<EOF>'")
        return ", ".join(parts)

    def _grouped(self, node: exp.Expr, items: list[tuple[str | None, Value]], scope: Scope) -> str:
        if word := _GROUPINGS.get(type(node)):
            return f"{word} ({', '.join(self._grouped(one, items, scope) for one in node.expressions)})"
        if isinstance(node, exp.Tuple):
            return f"({', '.join(self._grouped(one, items, scope) for one in node.expressions)})"
        if isinstance(node, exp.Paren):
            return f"({self._grouped(node.this, items, scope)})"
        if isinstance(node, exp.Literal) and node.is_int:
            return items[self._ordinal(node, len(items), "GROUP BY")][1].sql
        return self.expressions.value(node, scope).sql

    def _ordinal(self, node: exp.Expr, size: int, clause: str) -> int:
        number = int(node.name)
        if not 1 <= number <= size:
            message = f"{clause} position {number} is not in select list"
            raise Failure(f"INVALID_COLUMN_REFERENCE: {self.place(node)}{message}")
        return number - 1

    def _order(
        self,
        clause: exp.Order,
        items: list[tuple[str | None, Value]],
        scope: Scope,
        *,
        distinct: bool = False,
    ) -> str:
        """Sort by columns of the result or of the relations."""
        named = {name: one for name, one in items if name is not None}
        parts = []
        for one in clause.expressions:
            key = one.this
            if isinstance(key, exp.Literal) and key.is_int:
                sql = str(self._ordinal(key, len(items), "ORDER BY") + 1)
            else:
                sql = self.expressions.value(key, scope.with_parameters(named)).sql
                if distinct and sql not in {value.sql for _, value in items}:
                    message = "For SELECT DISTINCT, ORDER BY expressions must appear in select list"
                    raise Failure(f"EXPRESSION_NOT_IN_DISTINCT: {self.place(key)}{message}")
            parts.append(self.expressions.calls.ordered(one, sql))
        return ", ".join(parts)

    def _limit(self, node: exp.Expr, scope: Scope) -> str:
        parts = []
        limit = node.args.get("limit")
        if isinstance(limit, exp.Fetch):
            options = limit.args.get("limit_options")
            if options is not None and (options.args.get("with_ties") or options.args.get("percent")):
                raise not_supported("FETCH FIRST … WITH TIES")
            number = limit.args.get("count")
            parts.append(f"LIMIT {'1' if number is None else self._count(number, scope)}")
        elif limit is not None and limit.expression.name.upper() != "ALL":
            parts.append(f"LIMIT {self._count(limit.expression, scope)}")
        if offset := node.args.get("offset"):
            parts.append(f"OFFSET {self._count(offset.expression, scope)}")
        return " ".join(parts)

    def _count(self, node: exp.Expr, scope: Scope) -> str:
        return self.expressions.value(node, scope).cast(BIGINT).sql

    def _set_operation(self, node: exp.SetOperation, outer: Scope | None) -> Query:
        left, right = self.query(node.left, outer), self.query(node.right, outer)
        if len(left.columns) != len(right.columns):
            counts = f"{len(left.columns)}, {len(right.columns)}"
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}query has different number of fields: {counts}")
        kinds = []
        for number, ((_, one), (_, other)) in enumerate(zip(left.columns, right.columns, strict=True), 1):
            kind = coercion.common(one, other)
            if kind is None:
                message = f"column {number} in query has incompatible types: {one}, {other}"
                raise Failure(f"TYPE_MISMATCH: {self.place(node)}{message}")
            kinds.append(kind)
        word = {exp.Union: "UNION", exp.Intersect: "INTERSECT", exp.Except: "EXCEPT"}[type(node)]
        everything = " ALL" if node.args.get("distinct") is False else ""
        sql = f" {word}{everything} ".join(converted(one, kinds, self.alias()) for one in (left, right))
        columns: Columns = [(name, kind) for (name, _), kind in zip(left.columns, kinds, strict=True)]
        return self._finished(node, Query(sql, columns), outer)

    def _finished(self, node: exp.Expr, inner: Query, outer: Scope | None) -> Query:
        """Apply the ORDER BY and LIMIT after a set operation or brackets."""
        if not any(node.args.get(name) for name in ("order", "limit", "offset")):
            return inner
        relation = self.relations.derived(inner, None, [])
        scope = Scope(outer, [relation])
        items: list[tuple[str | None, Value]] = [(one.name, relation.value(one)) for one in relation.fields]
        sql = f"SELECT {_listed(items)} FROM {self.relations.aliased(inner.sql, relation)}"
        if clause := node.args.get("order"):
            sql += f" ORDER BY {self._order(clause, items, scope)}"
        return Query(f"{sql} {self._limit(node, scope)}", inner.columns)

    def _values(self, node: exp.Values, outer: Scope | None) -> Query:
        scope = Scope(outer)
        rows = [one.expressions if isinstance(one, exp.Tuple) else [one] for one in node.expressions]
        if len({len(row) for row in rows}) != 1:
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}Values rows have mismatched types")
        columns = [
            self.expressions.together([row[number] for row in rows], scope, "values of a column")
            for number in range(len(rows[0]))
        ]
        lines = [f"({', '.join(column[0][number].sql for column in columns)})" for number in range(len(rows))]
        return Query(f"VALUES {', '.join(lines)}", [(None, kind) for _, kind in columns])


def _listed(items: list[tuple[str | None, Value]]) -> str:
    return ", ".join(
        f"{one.sql if one.type != UNKNOWN else f'CAST({one.sql} AS INTEGER)'} AS {quoted(stored.stored)}"
        for (_, one), stored in zip(
            items, stored_fields([(name, one.type) for name, one in items]), strict=True
        )
    )
