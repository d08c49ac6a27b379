"""Compiles FROM: tables, subqueries, joins, UNNEST."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql import coercion, operators, types
from local.emulator.athena.sql.coercion import BIGINT
from local.emulator.athena.sql.scope import Relation, Scope, stored_fields
from local.emulator.athena.sql.shapes import Columns, Query, renamed
from local.emulator.athena.sql.types import Type, quoted
from local.emulator.athena.sql.values import Value

if TYPE_CHECKING:
    from local.emulator.athena.sql.queries import Queries


class Relations:
    """Compiles the FROM clauses of a statement's queries."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def source(self, select: exp.Select, scope: Scope) -> str:
        """FROM and its joins. The relations are added to the scope."""
        clause = select.args.get("from_")
        if clause is None:
            return ""
        sql = f" FROM {self._item(clause.this, scope)}"
        for join in [*(clause.this.args.get("joins") or []), *(select.args.get("joins") or [])]:
            sql += self._join(join, scope)
        return sql

    def _item(self, node: exp.Expr, scope: Scope) -> str:
        """One relation, which is added to the scope."""
        alias = node.args.get("alias")
        names = [one.name.lower() for one in (alias.args.get("columns") or [])] if alias else []
        name = alias.name.lower() if alias and alias.name else None
        match node:
            case exp.Table() if node.name:
                return self._table(node, name, names, scope)
            case exp.Unnest():
                return self._unnest(node, name, names, scope)
            case exp.Lateral():
                return f"LATERAL {self._subquery(node.this.this, name, names, scope, sees=scope)}"
            case exp.Subquery() if isinstance(node.this, exp.Table):
                return self._bracketed(node.this, scope)
            case exp.Subquery():
                return self._subquery(node, name, names, scope)
            case exp.Values():
                return self._subquery(node, name, names, scope)
        raise not_supported(type(node).__name__.upper())

    def _bracketed(self, node: exp.Table, scope: Scope) -> str:
        """A join in brackets."""
        sql = self._item(node, scope)
        return "(" + sql + "".join(self._join(join, scope) for join in node.args.get("joins") or []) + ")"

    def _table(self, node: exp.Table, name: str | None, names: list[str], scope: Scope) -> str:
        sql, columns, hidden = self._named(node)
        shown = [one for one in columns if one[0] not in hidden]
        columns = [
            *renamed(shown, names, self._queries.place(node)),
            *(one for one in columns if one[0] in hidden),
        ]
        relation = Relation(
            self._queries.alias(),
            stored_fields(columns, hidden),
            name or node.name.lower(),
            None if name else node.db.lower() or None,
        )
        scope.relations.append(relation)
        return self.aliased(sql, relation) + self._sample(node)

    @staticmethod
    def _sample(node: exp.Table) -> str:
        sample = node.args.get("sample")
        if sample is None:
            return ""
        method = (sample.args.get("method") or exp.var("")).name.lower()
        if method not in {"bernoulli", "system"}:
            raise not_supported(f"TABLESAMPLE {method}")
        return f" TABLESAMPLE {method} ({sample.args['percent'].name} PERCENT)"

    def named(self, node: exp.Table) -> tuple[str, Columns]:
        """The SQL and columns of a table, without hidden columns."""
        sql, columns, hidden = self._named(node)
        names = ", ".join(quoted(one.stored) for one in stored_fields(columns, hidden) if not one.hidden)
        return f"(SELECT {names} FROM ({sql}))", [one for one in columns if one[0] not in hidden]

    def _named(self, node: exp.Table) -> tuple[str, Columns, tuple[str, ...]]:
        """A common table expression or a table of the catalog."""
        cte = self._queries.ctes.get(node.name.lower()) if not node.db else None
        if cte is not None:
            return f"SELECT * FROM {cte[0]}", cte[1], ()
        return self._queries.tables.table(node)

    def _subquery(
        self, node: exp.Expr, name: str | None, names: list[str], scope: Scope, sees: Scope | None = None
    ) -> str:
        inner = node.this if isinstance(node, exp.Subquery) and not node.args.get("with_") else node
        if isinstance(node, exp.Subquery) and any(node.args.get(one) for one in ("order", "limit", "offset")):
            inner = node
        found = self._queries.query(inner, sees or scope.outer)
        relation = self.derived(found, name, names)
        scope.relations.append(relation)
        return self.aliased(found.sql, relation)

    def derived(self, query: Query, name: str | None, names: list[str]) -> Relation:
        """A query as a relation."""
        return Relation(
            self._queries.alias(), stored_fields(renamed(query.columns, names, "line 1:1: ")), name
        )

    @staticmethod
    def aliased(sql: str, relation: Relation) -> str:
        return f"({sql}) AS {relation.alias}({', '.join(quoted(one.stored) for one in relation.fields)})"

    def _unnest(self, node: exp.Unnest, name: str | None, names: list[str], scope: Scope) -> str:
        """Several arrays side by side. A map has two columns, an array of rows one for each field.

        In the Athena user guide, the only array has one column if one name is given.
        """
        columns: Columns = []
        lists, items = [], []
        for number, one in enumerate(node.expressions):
            found = self._queries.expressions.value(one, scope)
            sql, kinds = self._unnested(found, one)
            if found.type.name == "array" and len(names) == len(node.expressions) == 1:
                kinds = None
            lists.append(f"unnest({sql}) AS u{number}")
            if kinds is None:
                items.append(f"u{number}")
                columns.append((None, found.type.args[0]))
            else:
                items += [f"u{number}.{quoted(field)}" for field, _ in kinds]
                columns += [(None, kind) for _, kind in kinds]
        if offset := node.args.get("offset"):
            if isinstance(offset, exp.Identifier):
                names = [*names, offset.name.lower()]
            sizes = ", ".join(
                f"coalesce(len({self._unnested(self._queries.expressions.value(one, scope), one)[0]}), 0)"
                for one in node.expressions
            )
            lists.append(f"unnest(range(1, greatest({sizes}) + 1)) AS n")
            items.append("n")
            columns.append((None, BIGINT))
        sql = f"SELECT {', '.join(items)} FROM (SELECT {', '.join(lists)})"
        relation = self.derived(Query(sql, columns), name, names)
        lateral = "LATERAL " if scope.relations else ""
        scope.relations.append(relation)
        return lateral + self.aliased(sql, relation)

    def _unnested(self, value: Value, node: exp.Expr) -> tuple[str, list[tuple[str, Type]] | None]:
        """A list, and the fields of its elements if they are rows."""
        if value.type.name == "map":
            return f"map_entries({value.sql})", list(zip(("key", "value"), value.type.args, strict=True))
        if value.type.name != "array":
            place = self._queries.place(node)
            raise Failure(f"TYPE_MISMATCH: {place}Cannot unnest type: {value.type}")
        element = value.type.args[0]
        return value.sql, types.fields(element) if element.name == "row" else None

    def _join(self, join: exp.Join, scope: Scope) -> str:
        side, kind = str(join.args.get("side") or ""), str(join.args.get("kind") or "")
        left = list(scope.relations)
        item = self._item(join.this, scope)
        right = scope.relations[len(left) :]
        if join.args.get("using"):
            return self._using(join, item, left, right, scope)
        condition = join.args.get("on")
        if condition is None:
            if kind != "CROSS" and (side or kind):
                raise Failure(f"SYNTAX_ERROR: {self._queries.place(join)}a join needs a condition")
            return f" CROSS JOIN {item}"
        on = self._queries.expressions.condition(condition, scope, "JOIN ON").sql
        return f" {side or 'INNER'} JOIN {item} ON {on}"

    def _using(
        self, join: exp.Join, item: str, left: list[Relation], right: list[Relation], scope: Scope
    ) -> str:
        side = str(join.args.get("side") or "")
        conditions = []
        for column in join.args["using"]:
            name, place = column.name.lower(), self._queries.place(join)
            one = Scope(None, left, merged=scope.merged).resolve([name], place)
            other = Scope(None, right).resolve([name], place)
            conditions.append(operators.comparison(one, "=", other, place).sql)
            kind = coercion.common(one.type, other.type) or one.type
            pair = [one.cast(kind).sql, other.cast(kind).sql]
            merged = {"RIGHT": pair[1], "FULL": f"coalesce({', '.join(pair)})"}.get(side, pair[0])
            scope.merged[name] = Value(merged, kind)
        return f" {side or 'INNER'} JOIN {item} ON {' AND '.join(conditions)}"
