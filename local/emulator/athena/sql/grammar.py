"""The parts of sqlglot's tree that are compiled. All others are refused, so nothing is ignored silently."""

from sqlglot import exp

from local.emulator.athena.errors import not_supported

_EVERYWHERE = {"this", "expression", "expressions"}
_QUERY = {"with_", "order", "limit", "offset"}
_READ: dict[type[exp.Expr], set[str]] = {
    exp.Column: {"table", "db", "catalog"},
    exp.Identifier: {"quoted"},
    exp.Div: {"typed", "safe"},
    exp.DPipe: {"safe"},
    exp.Is: {"negate"},
    exp.Like: {"negate"},
    exp.Between: {"low", "high"},
    exp.In: {"query"},
    exp.Array: {"bracket_notation", "value_constructor"},
    exp.Case: {"ifs", "default"},
    exp.If: {"true", "false"},
    exp.Cast: {"to"},
    exp.TryCast: {"to", "safe"},
    exp.AtTimeZone: {"zone"},
    exp.Trim: {"position"},
    exp.StrPosition: {"substr"},
    exp.Substring: {"start", "length"},
    exp.Normalize: {"form"},
    exp.Window: {"partition_by", "order", "spec", "alias", "over"},
    exp.WindowSpec: {"kind", "start", "start_side", "end", "end_side"},
    exp.GroupConcat: {"separator", "on_overflow"},
    exp.OverflowTruncateBehavior: {"with_count"},
    exp.Literal: {"is_string"},
    exp.Interval: {"unit"},
    exp.ParseJSON: {"is_literal"},
    exp.Select: _QUERY | {"distinct", "from_", "joins", "where", "group", "having", "windows"},
    exp.Union: _QUERY | {"distinct"},
    exp.Intersect: _QUERY | {"distinct"},
    exp.Except: _QUERY | {"distinct"},
    exp.Subquery: _QUERY | {"alias"},
    exp.Values: {"alias", "order", "limit", "offset"},
    exp.Table: {"alias", "db", "catalog", "joins", "sample"},
    exp.Alias: {"alias"},
    exp.Join: {"on", "side", "kind", "using"},
    exp.Unnest: {"alias", "offset"},
    exp.Lateral: {"alias"},
    exp.With: {"recursive"},
    exp.CTE: {"alias"},
    exp.TableAlias: {"columns"},
    exp.Ordered: {"desc", "nulls_first"},
    exp.Group: {"grouping_sets", "cube", "rollup"},
    exp.Fetch: {"direction", "count", "limit_options"},
    exp.LimitOptions: {"rows"},
    exp.TableSample: {"method", "percent"},
}
_NAMES = {"match": "MATCH_RECOGNIZE", "version": "FOR TIMESTAMP AS OF", "qualify": "QUALIFY"}


def check(tree: exp.Expr) -> None:
    """Raise Failure for a tree with parts that are not compiled."""
    for node in tree.walk(prune=lambda one: isinstance(one, exp.DataType)):
        if isinstance(node, exp.DataType):
            continue
        read = _EVERYWHERE | _READ.get(type(node), set())
        for name, given in node.args.items():
            if given and name not in read:
                raise not_supported(_NAMES.get(name, f"{type(node).__name__} with {name}"))
