"""Compiles expressions: Athena's types and DuckDB's SQL."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sqlglot import exp

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql import coercion, literals, operators, places, types
from local.emulator.athena.sql.calls import Calls
from local.emulator.athena.sql.casts import cast
from local.emulator.athena.sql.coercion import BIGINT, BOOLEAN, UNKNOWN
from local.emulator.athena.sql.functions import collections
from local.emulator.athena.sql.functions.moments import known_zone
from local.emulator.athena.sql.scope import Scope, field_of
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Lambda, Value, literal

if TYPE_CHECKING:
    from collections.abc import Callable


class Subqueries(Protocol):
    """What expressions need from the compiler of queries."""

    def subquery(self, query: exp.Expr, outer: Scope) -> tuple[str, list[Type]]:
        """A query's SQL and the types of its columns."""


class Expressions:
    """Compiles the expressions of one statement. `text` is the statement, for positions in errors."""

    def __init__(self, text: str, queries: Subqueries) -> None:
        self.text = text
        self.queries = queries
        self.calls = Calls(self)
        self._numbers = count(1)

    def value(self, node: exp.Expr, scope: Scope) -> Value:
        """Raise Failure for an expression that Athena rejects or that is not supported locally."""
        compiler = self._COMPILERS.get(type(node))
        if compiler is None:
            raise not_supported(type(node).__name__.upper())
        return compiler(self, node, scope)

    def condition(self, node: exp.Expr, scope: Scope, clause: str) -> Value:
        found = self.value(node, scope)
        if found.type not in {BOOLEAN, UNKNOWN}:
            message = f"{clause} clause must evaluate to a boolean: actual type {found.type}"
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}{message}")
        return found

    def place(self, node: exp.Expr) -> str:
        return places.position(self.text, places.start(node))

    def lambda_(self, node: exp.Lambda, kinds: list[Type], scope: Scope) -> Lambda:
        """Compile a lambda with parameters of these types."""
        names = [one.name.lower() for one in node.expressions]
        if len(names) != len(kinds):
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}Expected a lambda with {len(kinds)} arguments")
        parameters = {
            name: Value(f"__p{next(self._numbers)}_", kind) for name, kind in zip(names, kinds, strict=True)
        }
        body = self.value(node.this, scope.with_parameters(parameters))
        return Lambda(tuple(one.sql for one in parameters.values()), body)

    def together(self, nodes: list[exp.Expr], scope: Scope, what: str) -> tuple[list[Value], Type]:
        """Compile expressions that need a common type."""
        values = [self.value(one, scope) for one in nodes]
        kind = UNKNOWN
        for node, one in zip(nodes, values, strict=True):
            wider = coercion.common(kind, one.type)
            if wider is None:
                message = (
                    f"All {what} must be the same type or coercible to a common type: {kind} and {one.type}"
                )
                raise Failure(f"TYPE_MISMATCH: {self.place(node)}{message}")
            kind = wider
        return [one.cast(kind) for one in values], kind

    # Names

    def _column(self, node: exp.Column, scope: Scope) -> Value:
        parts = [one.name.lower() for one in node.parts]
        return scope.resolve(parts, self.place(node))

    def _identifier(self, node: exp.Identifier, scope: Scope) -> Value:
        """A parameter of a lambda."""
        return scope.resolve([node.name.lower()], self.place(node))

    def _dot(self, node: exp.Dot, scope: Scope) -> Value:
        return field_of(self.value(node.this, scope), [node.expression.name.lower()], self.place(node))

    # Operators

    def _paren(self, node: exp.Paren, scope: Scope) -> Value:
        return self.value(node.this, scope)

    def _arithmetic(self, node: exp.Binary, scope: Scope) -> Value:
        sign = operators.SIGNS[type(node)]
        return operators.arithmetic(
            self.value(node.left, scope), sign, self.value(node.right, scope), self.place(node)
        )

    def _negative(self, node: exp.Neg, scope: Scope) -> Value:
        found = self.value(node.this, scope)
        if found.type.name not in {*coercion.NUMBERS, "interval day to second", "interval year to month"}:
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}Cannot negate {found.type}")
        return Value(f"(-{found.sql})", found.type)

    def _comparison(self, node: exp.Binary, scope: Scope) -> Value:
        sign = operators.COMPARISONS[type(node)]
        left = self.value(node.left, scope)
        if isinstance(node.right, exp.All | exp.Any):
            return self._quantified(left, sign, node.right, scope)
        return operators.comparison(left, sign, self.value(node.right, scope), self.place(node))

    def _quantified(self, left: Value, sign: str, node: exp.Expr, scope: Scope) -> Value:
        sql, kinds = self.queries.subquery(_query_of(node.this), scope)
        kind = operators.comparable(left, sign, Value("", kinds[0]), self.place(node))
        word = "ALL" if isinstance(node, exp.All) else "ANY"
        inner = f"SELECT CAST(__v AS {kind.duckdb}) FROM ({sql}) AS __q(__v)"
        return Value(f"({left.cast(kind).sql} {sign} {word} ({inner}))", BOOLEAN)

    def _connector(self, node: exp.Connector, scope: Scope) -> Value:
        word = "AND" if isinstance(node, exp.And) else "OR"
        found = []
        # A long chain is nested to the left. A loop avoids recursion as deep as the chain.
        operands = [node.right]
        left = node.left
        while type(left) is type(node):
            operands.append(left.right)
            left = left.left
        for one in [left, *reversed(operands)]:
            value = self.value(one, scope)
            if value.type not in {BOOLEAN, UNKNOWN}:
                message = f"Logical expression term must evaluate to a boolean (actual: {value.type})"
                raise Failure(f"TYPE_MISMATCH: {self.place(one)}{message}")
            found.append(value.sql)
        return Value(f"({f' {word} '.join(found)})", BOOLEAN)

    def _not(self, node: exp.Not, scope: Scope) -> Value:
        return Value(f"(NOT {self.condition(node.this, scope, 'NOT').sql})", BOOLEAN)

    def _is(self, node: exp.Is, scope: Scope) -> Value:
        found = self.value(node.this, scope)
        if isinstance(node.expression, exp.Null):
            return Value(f"({found.sql} IS {'NOT ' if node.args.get('negate') else ''}NULL)", BOOLEAN)
        raise not_supported(f"IS {node.expression.sql().upper()}")

    def _between(self, node: exp.Between, scope: Scope) -> Value:
        found = self.value(node.this, scope)
        low, high = self.value(node.args["low"], scope), self.value(node.args["high"], scope)
        place = self.place(node)
        above = operators.comparison(found, ">=", low, place).sql
        below = operators.comparison(found, "<=", high, place).sql
        return Value(f"({above} AND {below})", BOOLEAN)

    def _in(self, node: exp.In, scope: Scope) -> Value:
        left = self.value(node.this, scope)
        place = self.place(node)
        if node.args.get("query") is not None:
            sql, kinds = self.queries.subquery(_query_of(node.args["query"]), scope)
            if len(kinds) != 1:
                raise Failure(
                    f"TYPE_MISMATCH: {place}Multiple columns returned by subquery are not yet supported"
                )
            kind = operators.comparable(left, "=", Value("", kinds[0]), place)
            inner = f"SELECT CAST(__v AS {kind.duckdb}) FROM ({sql}) AS __q(__v)"
            return Value(f"({left.cast(kind).sql} IN ({inner}))", BOOLEAN)
        values, kind = self.together(node.expressions, scope, "IN values")
        kind = operators.comparable(left, "=", Value("", kind), place)
        return Value(
            f"({left.cast(kind).sql} IN ({', '.join(one.cast(kind).sql for one in values)}))", BOOLEAN
        )

    def _like(self, node: exp.Like, scope: Scope, escape: str = "") -> Value:
        left, right = self.value(node.this, scope), self.value(node.expression, scope)
        if left.type.name != "varchar" or right.type.name not in {"varchar", "unknown"}:
            message = f"Left side of LIKE expression must evaluate to a varchar (actual: {left.type})"
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}{message}")
        word = "NOT LIKE" if node.args.get("negate") else "LIKE"
        return Value(f"({left.sql} {word} {right.sql}{escape})", BOOLEAN)

    def _escape(self, node: exp.Escape, scope: Scope) -> Value:
        return self._like(node.this, scope, f" ESCAPE {self.value(node.expression, scope).sql}")

    def _concatenation(self, node: exp.DPipe, scope: Scope) -> Value:
        return operators.concatenation(
            self.value(node.left, scope), self.value(node.right, scope), self.place(node)
        )

    def _subscript(self, node: exp.Bracket, scope: Scope) -> Value:
        container, index = self.value(node.this, scope), self.value(node.expressions[0], scope)
        if container.type.name == "map":
            key, kind = container.type.args
            if not coercion.coercible(index.type, key):
                raise Failure(
                    f"TYPE_MISMATCH: {self.place(node)}Cannot use {index.type} for subscript of a map"
                )
            return Value(collections.key(container, index.cast(key)), kind)
        if container.type.name == "array" and coercion.coercible(index.type, BIGINT):
            return Value(collections.subscript(container, index.cast(BIGINT)), container.type.args[0])
        raise Failure(
            f"TYPE_MISMATCH: {self.place(node)}Cannot use {index.type} for subscript of {container.type}"
        )

    # Special forms

    def _case(self, node: exp.Case, scope: Scope) -> Value:
        ifs = node.args["ifs"]
        results = [one.args["true"] for one in ifs]
        default = node.args.get("default")
        values, kind = self.together(
            [*results, *([default] if default is not None else [])], scope, "CASE results"
        )
        operand = None if node.this is None else self.value(node.this, scope)
        conditions = []
        for one in ifs:
            if operand is None:
                conditions.append(self.condition(one.this, scope, "CASE WHEN").sql)
            else:
                conditions.append(
                    operators.comparison(operand, "=", self.value(one.this, scope), self.place(one)).sql
                )
        whens = " ".join(
            f"WHEN {when} THEN {then.sql}" for when, then in zip(conditions, values, strict=False)
        )
        otherwise = f" ELSE {values[-1].sql}" if default is not None else ""
        return Value(f"CASE {whens}{otherwise} END", kind)

    def _if(self, node: exp.If, scope: Scope) -> Value:
        condition = self.condition(node.this, scope, "IF")
        results = [node.args["true"], *([node.args["false"]] if node.args.get("false") is not None else [])]
        values, kind = self.together(results, scope, "IF results")
        otherwise = f" ELSE {values[1].sql}" if len(values) > 1 else ""
        return Value(f"CASE WHEN {condition.sql} THEN {values[0].sql}{otherwise} END", kind)

    def _cast(self, node: exp.Cast, scope: Scope) -> Value:
        if literals.is_typed(node, self.text):
            return literals.typed(node, self.place(node))
        kind = literals.type_of(node.to)
        return cast(
            self.value(node.this, scope), kind, self.place(node), trying=isinstance(node, exp.TryCast)
        )

    def _at_time_zone(self, node: exp.AtTimeZone, scope: Scope) -> Value:
        instant = self.value(node.this, scope)
        zone = known_zone(self.value(node.args["zone"], scope))
        if instant.type.name not in {"timestamp", "timestamp with time zone"}:
            wanted = "Type of value must be a time or timestamp with or without time zone"
            raise Failure(f"TYPE_MISMATCH: {self.place(node)}{wanted} (actual {instant.type})")
        kind = Type("timestamp with time zone", instant.type.args, zone=zone)
        return Value(instant.cast(kind).sql, kind)

    def _extract(self, node: exp.Extract, scope: Scope) -> Value:
        return self.calls.named(node.name.lower(), [node.expression], node, scope)

    def _trim(self, node: exp.Trim, scope: Scope) -> Value:
        name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or ""), "trim")
        arguments = [node.this, *([node.expression] if node.expression is not None else [])]
        return self.calls.named(name, arguments, node, scope)

    def _position(self, node: exp.StrPosition, scope: Scope) -> Value:
        return self.calls.named("strpos", [node.this, node.args["substr"]], node, scope)

    def _substring(self, node: exp.Substring, scope: Scope) -> Value:
        arguments = [
            node.this,
            node.args["start"],
            *([node.args["length"]] if node.args.get("length") else []),
        ]
        return self.calls.named("substr", arguments, node, scope)

    def _normalize(self, node: exp.Normalize, scope: Scope) -> Value:
        if node.args.get("form"):
            raise not_supported("normalize to a form")
        return self.calls.named("normalize", [node.this], node, scope)

    def _array(self, node: exp.Array, scope: Scope) -> Value:
        values, kind = self.together(node.expressions, scope, "ARRAY elements")
        return Value(f"[{', '.join(one.sql for one in values)}]", Type("array", (kind,)))

    def _row(self, node: exp.Tuple, scope: Scope) -> Value:
        return self.row([self.value(one, scope) for one in node.expressions])

    def row(self, values: list[Value]) -> Value:
        kind = Type("row", tuple((None, one.type) for one in values))
        pairs = zip(types.fields(kind), values, strict=True)
        return Value("{" + ", ".join(f"{literal(name)}: {one.sql}" for (name, _), one in pairs) + "}", kind)

    def _scalar(self, node: exp.Subquery, scope: Scope) -> Value:
        sql, kinds = self.queries.subquery(_query_of(node), scope)
        if len(kinds) != 1:
            raise not_supported("a scalar subquery of several columns")
        return Value(f"({sql})", kinds[0])

    def _exists(self, node: exp.Exists, scope: Scope) -> Value:
        sql, _ = self.queries.subquery(_query_of(node.this), scope)
        return Value(f"EXISTS ({sql})", BOOLEAN)

    def _call(self, node: exp.Expr, scope: Scope) -> Value:
        return self.calls.value(node, scope)

    _COMPILERS: ClassVar[dict[type[exp.Expr], Callable[[Any, Any, Scope], Value]]] = {
        exp.Column: _column,
        exp.Identifier: _identifier,
        exp.Dot: _dot,
        exp.Paren: _paren,
        **dict.fromkeys(operators.SIGNS, _arithmetic),
        **dict.fromkeys(operators.COMPARISONS, _comparison),
        exp.Neg: _negative,
        exp.And: _connector,
        exp.Or: _connector,
        exp.Not: _not,
        exp.Is: _is,
        exp.Between: _between,
        exp.In: _in,
        exp.Like: _like,
        exp.Escape: _escape,
        exp.DPipe: _concatenation,
        exp.Bracket: _subscript,
        exp.Case: _case,
        exp.If: _if,
        exp.Cast: _cast,
        exp.TryCast: _cast,
        exp.AtTimeZone: _at_time_zone,
        exp.Extract: _extract,
        exp.Trim: _trim,
        exp.StrPosition: _position,
        exp.Substring: _substring,
        exp.Normalize: _normalize,
        exp.Array: _array,
        exp.Tuple: _row,
        exp.Subquery: _scalar,
        exp.Exists: _exists,
        **dict.fromkeys(
            (exp.Anonymous, exp.Window, exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.GroupConcat), _call
        ),
        **{kind: lambda _self, node, _scope: literals.value(node) for kind in literals.KINDS},
    }


def _query_of(node: exp.Expr) -> exp.Expr:
    while isinstance(node, exp.Subquery | exp.Paren) and not node.args.get("with_"):
        if isinstance(node, exp.Subquery) and any(
            node.args.get(name) for name in ("order", "limit", "offset", "alias")
        ):
            return node
        node = node.this
    return node
