"""Athena's implicit type coercion."""

from local.emulator.athena.sql.types import Type

UNKNOWN = Type("unknown")
BOOLEAN = Type("boolean")
INTEGER = Type("integer")
BIGINT = Type("bigint")
DOUBLE = Type("double")
VARCHAR = Type("varchar")

MAX_DECIMAL = 38
_INTEGER_DIGITS = {"tinyint": 3, "smallint": 5, "integer": 10, "bigint": 19}
INTEGERS = tuple(_INTEGER_DIGITS)
NUMBERS = (*INTEGERS, "decimal", "real", "double")
_MOMENTS = ("date", "timestamp", "timestamp with time zone")
ORDERABLE = (
    *NUMBERS,
    *_MOMENTS,
    "boolean",
    "varchar",
    "varbinary",
    "time",
    "uuid",
    "interval day to second",
    "interval year to month",
)


def as_decimal(kind: Type) -> Type:
    """An integer type as the decimal that holds all its values."""
    return Type("decimal", (_INTEGER_DIGITS[kind.name], 0)) if kind.name in _INTEGER_DIGITS else kind


def coercible(given: Type, wanted: Type) -> bool:
    """Whether a value of one type is accepted for the other without a cast."""
    return given == wanted or common(given, wanted) == wanted


def common(one: Type, other: Type) -> Type | None:
    """The common type of both, None if there is none."""
    if one == other:
        return one
    if UNKNOWN in (one, other):
        return other if one == UNKNOWN else one
    if one.name == other.name:
        return _same_name(one, other)
    names = {one.name, other.name}
    if names <= set(NUMBERS):
        return _number(one, other)
    if names <= set(_MOMENTS):
        return _moment(one, other)
    return None


def _same_name(one: Type, other: Type) -> Type | None:
    match one.name:
        case "varchar":
            lengths = [*one.args, *other.args]
            return Type("varchar", (max(lengths),) if len(lengths) == 2 else ())  # noqa: PLR2004 - both
        case "decimal":
            scale = max(one.scale, other.scale)
            whole = max(one.precision - one.scale, other.precision - other.scale)
            return Type("decimal", (min(MAX_DECIMAL, whole + scale), scale))
        case "timestamp" | "timestamp with time zone" | "time":
            return max(one, other, key=lambda kind: kind.args)
        case "array" | "map":
            args = [common(*pair) for pair in zip(one.args, other.args, strict=True)]
            return None if None in args else Type(one.name, tuple(args))
        case "row" if len(one.args) == len(other.args):
            fields = [
                (name if name == named else None, common(kind, kinded))
                for (name, kind), (named, kinded) in zip(one.args, other.args, strict=True)
            ]
            return None if None in [kind for _, kind in fields] else Type("row", tuple(fields))
    return None


def _number(one: Type, other: Type) -> Type | None:
    for name in ("double", "real"):
        if name in {one.name, other.name}:
            return Type(name)
    if "decimal" in {one.name, other.name}:
        return common(as_decimal(one), as_decimal(other))
    return max(one, other, key=lambda kind: _INTEGER_DIGITS[kind.name])


def _moment(one: Type, other: Type) -> Type:
    wider = max(one, other, key=lambda kind: _MOMENTS.index(kind.name))
    precision = max((int(kind.args[0]) for kind in (one, other) if kind.args), default=3)
    return Type(wider.name, (precision,), zone=wider.zone)
