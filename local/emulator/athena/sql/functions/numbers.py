"""Mathematical functions, with NaN and infinity as in Java."""

from collections.abc import Callable

from local.emulator.athena.sql.coercion import MAX_DECIMAL
from local.emulator.athena.sql.signatures import read, special
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value, guarded

_NAN = "CAST('NaN' AS DOUBLE)"

_TABLE = """
abs(N) -> N = abs($0)
acos(double) -> double = CASE WHEN abs($0) > 1 THEN NAN ELSE acos($0) END
asin(double) -> double = CASE WHEN abs($0) > 1 THEN NAN ELSE asin($0) END
atan(double) -> double = atan($0)
atan2(double, double) -> double = atan2($0, $1)
bitwise_and(bigint, bigint) -> bigint = ($0 & $1)
bitwise_or(bigint, bigint) -> bigint = ($0 | $1)
bitwise_xor(bigint, bigint) -> bigint = xor($0, $1)
bitwise_not(bigint) -> bigint = (~ $0)
cos(double) -> double = cos($0)
cosh(double) -> double = cosh($0)
degrees(double) -> double = degrees($0)
e() -> double = exp(CAST(1 AS DOUBLE))
exp(double) -> double = exp($0)
infinity() -> double = CAST('Infinity' AS DOUBLE)
is_finite(double) -> boolean = isfinite($0)
is_infinite(double) -> boolean = isinf($0)
is_nan(double) -> boolean = isnan($0)
ln(double) -> double = CASE WHEN $0 < 0 THEN NAN WHEN $0 = 0 THEN CAST('-Infinity' AS DOUBLE) ELSE ln($0) END
log2(double) -> double = CASE WHEN $0 < 0 THEN NAN WHEN $0 = 0 THEN CAST('-Infinity' AS DOUBLE) ELSE log2($0) END
log10(double) -> double = CASE WHEN $0 < 0 THEN NAN WHEN $0 = 0 THEN CAST('-Infinity' AS DOUBLE) ELSE log10($0) END
nan() -> double = NAN
pi() -> double = pi()
power(double, double) -> double = pow($0, $1)
radians(double) -> double = radians($0)
random() -> double = random()
random(bigint) -> bigint = CAST(floor(random() * $0) AS BIGINT)
sign(double) -> double = CAST(sign($0) AS DOUBLE)
sin(double) -> double = sin($0)
sinh(double) -> double = sinh($0)
sqrt(double) -> double = CASE WHEN $0 < 0 THEN NAN ELSE sqrt($0) END
tan(double) -> double = tan($0)
tanh(double) -> double = tanh($0)
truncate(double) -> double = trunc($0)
round(double) -> double = round($0)
round(real) -> real = CAST(round($0) AS FLOAT)
round(double, integer) -> double = round($0, $1)
ceiling(double) -> double = ceil($0)
ceiling(real) -> real = CAST(ceil($0) AS FLOAT)
floor(double) -> double = floor($0)
floor(real) -> real = CAST(floor($0) AS FLOAT)
"""

_INTEGERS = "".join(
    f"""
sign({kind}) -> {kind} = CAST(sign($0) AS {kind})
round({kind}) -> {kind} = $0
ceiling({kind}) -> {kind} = $0
floor({kind}) -> {kind} = $0
"""
    for kind in ("tinyint", "smallint", "integer", "bigint")
)


def _whole(function: str) -> Callable[[Value], Value]:
    """A decimal rounded to an integer, which may need one more digit."""

    def body(value: Value) -> Value:
        precision, scale = value.type.precision, value.type.scale
        kind = Type("decimal", (min(MAX_DECIMAL, precision - scale + min(1, scale)), 0))
        return Value(f"CAST({function}({value.sql}) AS {kind.duckdb})", kind)

    return body


def _round_to(value: Value, digits: Value) -> Value:
    """The scale does not change: round(1.256, 2) is 1.260."""
    kind = Type("decimal", (min(MAX_DECIMAL, value.type.precision + 1), value.type.scale))
    return Value(f"CAST(round(CAST({value.sql} AS {kind.duckdb}), {digits.sql}) AS {kind.duckdb})", kind)


def _sign(value: Value) -> Value:
    return Value(f"CAST(sign({value.sql}) AS DECIMAL(1, 0))", Type("decimal", (1, 0)))


def _log(base: Value, value: Value) -> str:
    return f"(ln({value.sql}) / ln({base.sql}))"


def _bit_count(value: Value, bits: Value) -> str:
    """Only 64 bits are supported."""
    message = "'NOT_SUPPORTED: bit_count of other than 64 bits is not supported locally'"
    return guarded(f"{bits.sql} = 64", f"CAST(bit_count({value.sql}) AS BIGINT)", message)


SIGNATURES = [
    *read(_TABLE.replace("NAN", _NAN)),
    *read(_INTEGERS),
    special("round(D) -> D", _whole("round")),
    special("ceiling(D) -> D", _whole("ceil")),
    special("floor(D) -> D", _whole("floor")),
    special("truncate(D) -> D", _whole("trunc")),
    special("round(D, integer) -> D", _round_to),
    special("sign(D) -> D", _sign),
    special("log(double, double) -> double", _log),
    special("bit_count(bigint, bigint) -> bigint", _bit_count),
]
ALIASES = {"ceil": "ceiling", "pow": "power", "rand": "random"}
