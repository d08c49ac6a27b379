"""Function calls: overload resolution, FILTER, OVER, DISTINCT and ORDER BY."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from local.emulator.athena.errors import Failure, not_supported
from local.emulator.athena.sql import coercion, functions, operators, signatures
from local.emulator.athena.sql.casts import cast
from local.emulator.athena.sql.coercion import VARCHAR
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value, literal

if TYPE_CHECKING:
    from local.emulator.athena.sql.expressions import Expressions
    from local.emulator.athena.sql.scope import Scope
    from local.emulator.athena.sql.signatures import Call, Signature

_FIELD = re.compile(r"\$(\d|all|chain|distinct|order|nulls|over)(\.\w+)?")


@dataclass(frozen=True)
class Modifiers:
    """DuckDB's SQL around the arguments of an aggregate or window function."""

    distinct: str = ""
    order: str = ""
    nulls: str = ""
    over: str = ""

    def fill(self, template: str) -> str:
        for name in ("distinct", "order", "nulls", "over"):
            template = template.replace(f"${name}", getattr(self, name))
        return template


class Calls:
    """Compiles the function calls of a statement."""

    def __init__(self, expressions: Expressions) -> None:
        self._expressions = expressions
        self._special = {
            "coalesce": self._coalesce,
            "nullif": self._nullif,
            "try": self._try,
            "row": self._row,
            "typeof": self._typeof,
            "greatest": self._extreme,
            "least": self._extreme,
            "mod": self._mod,
            "grouping": self._grouping,
            "date": self._date,
        }

    def value(self, node: exp.Expr, scope: Scope) -> Value:
        """A call with its modifiers."""
        modifiers = Modifiers()
        if isinstance(node, exp.Window):
            modifiers = replace(modifiers, over=self._over(node, scope))
            node = node.this
        if isinstance(node, exp.IgnoreNulls | exp.RespectNulls):
            modifiers = replace(modifiers, nulls=" IGNORE NULLS" if isinstance(node, exp.IgnoreNulls) else "")
            node = node.this
        if isinstance(node, exp.Filter):
            condition = self._expressions.condition(node.expression.this, scope, "FILTER").sql
            modifiers = replace(modifiers, over=f" FILTER (WHERE {condition}){modifiers.over}")
            node = node.this
        if isinstance(node, exp.GroupConcat):
            return self._listagg(node, modifiers, scope)
        if not isinstance(node, exp.Anonymous):
            raise not_supported(type(node).__name__.upper())
        name = node.name.lower()
        if name in self._special:
            return self._special[name](node, scope)
        arguments, modifiers = self._arguments(node, modifiers, scope)
        return self.named(name, arguments, node, scope, modifiers)

    def named(
        self,
        name: str,
        arguments: list[exp.Expr],
        node: exp.Expr,
        scope: Scope,
        modifiers: Modifiers | None = None,
    ) -> Value:
        """Call a function by its name."""
        known = self._known(name, node, modifiers)
        given = [
            None if isinstance(one, exp.Lambda) else self._expressions.value(one, scope) for one in arguments
        ]
        kinds = [None if one is None else one.type for one in given]
        fitting = [call for one in known if (call := signatures.fit(one, kinds))]
        if not fitting:
            raise self._unexpected(name, kinds, known, node)
        call = min(fitting, key=lambda one: one.cost)
        return self._applied(call, arguments, given, scope, node, modifiers or Modifiers())

    def _known(self, name: str, node: exp.Expr, modifiers: Modifiers | None) -> list[Signature]:
        windowed = modifiers is not None and "OVER" in modifiers.over
        known = functions.SCALARS.get(name, []) + functions.AGGREGATES.get(name, [])
        if windowed:
            known = functions.AGGREGATES.get(name, []) + functions.WINDOW_FUNCTIONS.get(name, [])
        if known:
            return known
        if name in functions.WINDOW_FUNCTIONS:
            raise Failure(
                f"MISSING_OVER: {self._expressions.place(node)}Window function {name} requires an OVER clause"
            )
        if name in functions.REFUSED:
            raise not_supported(f"the function {name}")
        raise Failure(f"FUNCTION_NOT_FOUND: {self._expressions.place(node)}Function '{name}' not registered")

    def _unexpected(
        self, name: str, kinds: list[Type | None], known: list[Signature], node: exp.Expr
    ) -> Failure:
        if len(kinds) in functions.REFUSED_ARGUMENTS.get(name, ()):
            return not_supported(f"the function {name} with {len(kinds)} arguments")
        given = ", ".join("<lambda>" if one is None else str(one) for one in kinds)
        expected = ", ".join(f"{name}({', '.join(map(str, one.arguments))})" for one in known)
        message = f"Unexpected parameters ({given}) for function {name}. Expected: {expected}"
        return Failure(f"TYPE_MISMATCH: {self._expressions.place(node)}{message}")

    def _applied(
        self,
        call: Call,
        arguments: list[exp.Expr],
        given: list[Value | None],
        scope: Scope,
        node: exp.Expr,
        modifiers: Modifiers,
    ) -> Value:
        found: list[Any] = []
        for argument, one, wanted in zip(arguments, given, call.arguments, strict=True):
            if one is not None:
                found.append(one.cast(wanted))
                continue
            kinds = [signatures.substituted(kind, call.bound) for kind in wanted.args[:-1]]
            compiled = self._expressions.lambda_(argument, kinds, scope)  # type: ignore[arg-type] # a lambda has no value
            with_lambda = signatures.bind_lambda(call, wanted, compiled.body.type)
            if with_lambda is None:
                raise self._unexpected(call.signature.name, [None], [call.signature], node)
            call = with_lambda
            found.append(compiled)
        if wrong := signatures.wrong_unit(call, found):
            raise Failure(f"INVALID_FUNCTION_ARGUMENT: {wrong}")
        return _filled(call, found, modifiers)

    def _arguments(
        self, node: exp.Anonymous, modifiers: Modifiers, scope: Scope
    ) -> tuple[list[exp.Expr], Modifiers]:
        """Separate DISTINCT and ORDER BY from the arguments."""
        arguments = [one for one in node.expressions if not isinstance(one, exp.Star)]
        if arguments and isinstance(arguments[-1], exp.Order):
            order = self.order(arguments[-1], scope)
            arguments = [*arguments[:-1], arguments[-1].this]
            modifiers = replace(modifiers, order=f" {order}")
        if arguments and isinstance(arguments[0], exp.Distinct):
            arguments = list(arguments[0].expressions)
            modifiers = replace(modifiers, distinct="DISTINCT ")
        return arguments, modifiers

    def order(self, node: exp.Order, scope: Scope) -> str:
        return "ORDER BY " + ", ".join(
            self.ordered(one, self._expressions.value(one.this, scope).sql) for one in node.expressions
        )

    @staticmethod
    def ordered(node: exp.Expr, sql: str) -> str:
        """NULL is last unless the query has NULLS FIRST."""
        nulls = "FIRST" if node.args.get("nulls_first") else "LAST"
        return f"{sql} {'DESC' if node.args.get('desc') else 'ASC'} NULLS {nulls}"

    def _over(self, node: exp.Window, scope: Scope) -> str:
        if node.args.get("alias"):
            return f" OVER {node.args['alias'].name}"
        return f" OVER ({self.window(node, scope)})"

    def window(self, node: exp.Window, scope: Scope) -> str:
        """The specification in the brackets of OVER."""
        parts = []
        if node.args.get("partition_by"):
            keys = [self._expressions.value(one, scope).sql for one in node.args["partition_by"]]
            parts.append(f"PARTITION BY {', '.join(keys)}")
        if node.args.get("order"):
            parts.append(self.order(node.args["order"], scope))
        if spec := node.args.get("spec"):
            bounds = [self._bound(spec, side, scope) for side in ("start", "end")]
            parts.append(f"{spec.args['kind']} BETWEEN {bounds[0]} AND {bounds[1]}")
        return " ".join(parts)

    def _bound(self, spec: exp.Expr, side: str, scope: Scope) -> str:
        bound = spec.args.get(side)
        if bound is None:
            return "CURRENT ROW"
        written = bound if isinstance(bound, str) else self._expressions.value(bound, scope).sql
        return f"{written} {spec.args.get(f'{side}_side') or ''}".strip()

    # Functions with syntax or types of their own

    def _coalesce(self, node: exp.Anonymous, scope: Scope) -> Value:
        values, kind = self._expressions.together(node.expressions, scope, "COALESCE operands")
        return Value(f"coalesce({', '.join(one.sql for one in values)})", kind)

    def _nullif(self, node: exp.Anonymous, scope: Scope) -> Value:
        first, second = (self._expressions.value(one, scope) for one in node.expressions)
        same = operators.comparison(first, "=", second, self._expressions.place(node)).sql
        return Value(f"CASE WHEN {same} THEN NULL ELSE {first.sql} END", first.type)

    def _try(self, node: exp.Anonymous, scope: Scope) -> Value:
        found = self._expressions.value(node.expressions[0], scope)
        return Value(f"TRY({found.sql})", found.type)

    def _row(self, node: exp.Anonymous, scope: Scope) -> Value:
        return self._expressions.row([self._expressions.value(one, scope) for one in node.expressions])

    def _typeof(self, node: exp.Anonymous, scope: Scope) -> Value:
        kind = self._expressions.value(node.expressions[0], scope).type
        return Value(literal(str(kind)), VARCHAR, str(kind))

    def _extreme(self, node: exp.Anonymous, scope: Scope) -> Value:
        """NULL if any argument is."""
        values, kind = self._expressions.together(node.expressions, scope, "arguments")
        if kind.name not in {*coercion.ORDERABLE, "unknown"}:
            raise not_supported(f"{node.name} of {kind}")
        nothing = " OR ".join(f"{one.sql} IS NULL" for one in values)
        listed = ", ".join(one.sql for one in values)
        return Value(f"CASE WHEN {nothing} THEN NULL ELSE {node.name.lower()}({listed}) END", kind)

    def _date(self, node: exp.Anonymous, scope: Scope) -> Value:
        """CAST(x AS date)."""
        found = self._expressions.value(node.expressions[0], scope)
        return cast(found, Type("date"), self._expressions.place(node), trying=False)

    def _mod(self, node: exp.Anonymous, scope: Scope) -> Value:
        left, right = (self._expressions.value(one, scope) for one in node.expressions)
        return operators.arithmetic(left, "%", right, self._expressions.place(node))

    def _grouping(self, node: exp.Anonymous, scope: Scope) -> Value:
        columns = [self._expressions.value(one, scope).sql for one in node.expressions]
        return Value(f"CAST(grouping({', '.join(columns)}) AS INTEGER)", coercion.INTEGER)

    def _listagg(self, node: exp.GroupConcat, modifiers: Modifiers, scope: Scope) -> Value:
        """ON OVERFLOW is not supported: DuckDB has no limit of length."""
        if node.args.get("on_overflow") is not None:
            raise not_supported("listagg … ON OVERFLOW")
        order, what = "", node.this
        if isinstance(what, exp.Order):
            order, what = f" {self.order(what, scope)}", what.this
        distinct = ""
        if isinstance(what, exp.Distinct):
            distinct, what = "DISTINCT ", what.expressions[0]
        found = self._expressions.value(what, scope)
        if found.type.name != "varchar":
            raise self._unexpected("listagg", [found.type], [], node)
        separator = node.args.get("separator")
        between = self._expressions.value(separator, scope).sql if separator is not None else "''"
        return Value(f"string_agg({distinct}{found.sql}, {between}{order}){modifiers.over}", VARCHAR)


def _filled(call: Call, arguments: list[Any], modifiers: Modifiers) -> Value:
    """Insert the arguments into the signature's SQL."""
    body, result = call.signature.body, call.result
    if not isinstance(body, str):
        aggregate = call.signature.name in functions.AGGREGATES
        made = body(*arguments, modifiers.fill) if aggregate else body(*arguments)
        if isinstance(made, Value):
            return made
        return Value(made, _in_zone_of(result, arguments))

    def field(match: re.Match[str]) -> str:
        what, attribute = match[1], match[2]
        if what == "all":
            return ", ".join(map(str, arguments))
        if what == "chain":
            return " || ".join(map(str, arguments))
        if not what.isdecimal():
            return str(getattr(modifiers, what))
        argument = arguments[int(what)]
        return str(argument) if attribute is None else str(getattr(argument, attribute[1:]))

    return Value(_FIELD.sub(field, body), _in_zone_of(result, arguments))


def _in_zone_of(result: Type, arguments: list[Any]) -> Type:
    """A timestamp with time zone keeps the zone of its argument."""
    if result.name != "timestamp with time zone":
        return result
    zones = [one.zone for one in arguments if isinstance(one, Value) and one.type.name == result.name]
    return replace(result, zone=zones[0]) if zones else result
