"""Aggregate and window functions.

In a line, $distinct and $order are modifiers inside the brackets, $nulls is IGNORE NULLS, and $over is FILTER and
OVER after the call.
"""

from collections.abc import Callable

from local.emulator.athena.sql.coercion import MAX_DECIMAL
from local.emulator.athena.sql.signatures import read, special
from local.emulator.athena.sql.types import Type
from local.emulator.athena.sql.values import Value

_AGGREGATES = """
approx_distinct(T) -> bigint = count(DISTINCT $0)$over
approx_distinct(T, double) -> bigint = count(DISTINCT $0)$over
approx_percentile(bigint, double) -> bigint = quantile_disc($0, $1)$over
approx_percentile(double, double) -> double = quantile_disc($0, $1)$over
arbitrary(T) -> T = any_value($0)$over
array_agg(T) -> array(T) = array_agg($distinct$0$order)$over
avg(double) -> double = avg($distinct$0)$over
avg(real) -> real = CAST(avg($distinct$0)$over AS FLOAT)
bitwise_and_agg(bigint) -> bigint = bit_and($0)$over
bitwise_or_agg(bigint) -> bigint = bit_or($0)$over
bool_and(boolean) -> boolean = bool_and($0)$over
bool_or(boolean) -> boolean = bool_or($0)$over
corr(double, double) -> double = corr($0, $1)$over
count() -> bigint = count(*)$over
count(T) -> bigint = count($distinct$0)$over
count_if(boolean) -> bigint = count(CASE WHEN $0 THEN 1 END)$over
covar_pop(double, double) -> double = covar_pop($0, $1)$over
covar_samp(double, double) -> double = covar_samp($0, $1)$over
geometric_mean(double) -> double = exp(avg(ln($0))$over)
histogram(T) -> map(T, bigint) = histogram($0)$over
map_agg(K, V) -> map(K, V) = map_from_entries(list({'key': $0, 'value': $1}$order)$over)
max(C) -> C = max($0)$over
max_by(T, C) -> T = arg_max_null($0, $1)$over
min(C) -> C = min($0)$over
min_by(T, C) -> T = arg_min_null($0, $1)$over
regr_intercept(double, double) -> double = regr_intercept($0, $1)$over
regr_slope(double, double) -> double = regr_slope($0, $1)$over
stddev(double) -> double = stddev_samp($0)$over
stddev_pop(double) -> double = stddev_pop($0)$over
sum(bigint) -> bigint = CAST(sum($distinct$0)$over AS BIGINT)
sum(real) -> real = CAST(sum($distinct$0)$over AS FLOAT)
sum(double) -> double = sum($distinct$0)$over
var_pop(double) -> double = var_pop($0)$over
variance(double) -> double = var_samp($0)$over
"""

_WINDOW_FUNCTIONS = """
cume_dist() -> double = cume_dist()$over
dense_rank() -> bigint = dense_rank()$over
first_value(T) -> T = first_value($0$nulls)$over
lag(T) -> T = lag($0$nulls)$over
lag(T, bigint) -> T = lag($0, $1$nulls)$over
lag(T, bigint, T) -> T = lag($0, $1, $2$nulls)$over
last_value(T) -> T = last_value($0$nulls)$over
lead(T) -> T = lead($0$nulls)$over
lead(T, bigint) -> T = lead($0, $1$nulls)$over
lead(T, bigint, T) -> T = lead($0, $1, $2$nulls)$over
nth_value(T, bigint) -> T = nth_value($0, $1$nulls)$over
ntile(bigint) -> bigint = ntile($0)$over
percent_rank() -> double = percent_rank()$over
rank() -> bigint = rank()$over
row_number() -> bigint = row_number()$over
"""


def rounded_quotient(dividend: str, divisor: str) -> str:
    """Divide integers and round half away from zero, as Trino does for decimals."""
    magnitude = f"((abs({dividend}) + abs({divisor}) // 2) // abs({divisor}))"
    return f"(CASE WHEN ({dividend} < 0) <> ({divisor} < 0) THEN -{magnitude} ELSE {magnitude} END)"


def unscaled(value: str, scale: int) -> str:
    """The digits of a decimal as an integer."""
    if not scale:
        return f"CAST({value} AS HUGEINT)"
    factor = f"CAST(1{'0' * scale} AS DECIMAL({scale + 1}, 0))"
    return f"CAST(CAST({value} AS DECIMAL({MAX_DECIMAL - scale - 1}, {scale})) * {factor} AS HUGEINT)"


def scaled(digits: str, kind: Type) -> str:
    """The decimal with the digits of an integer."""
    scale = kind.scale
    if not scale:
        return f"CAST({digits} AS {kind.duckdb})"
    unit = f"CAST(0.{'0' * (scale - 1)}1 AS DECIMAL({scale}, {scale}))"
    return f"CAST(CAST({digits} AS DECIMAL({MAX_DECIMAL - scale}, 0)) * {unit} AS {kind.duckdb})"


def _sum_of_decimals(value: Value, call: Callable[[str], str]) -> Value:
    kind = Type("decimal", (MAX_DECIMAL, value.type.scale))
    return Value(f"CAST({call(f'sum($distinct{value.sql})$over')} AS {kind.duckdb})", kind)


def _average_of_decimals(value: Value, call: Callable[[str], str]) -> Value:
    """The scale is that of the argument."""
    total = unscaled(call(f"sum($distinct{value.sql})$over"), value.type.scale)
    count = call(f"count($distinct{value.sql})$over")
    quotient = rounded_quotient(total, f"nullif({count}, 0)")
    return Value(scaled(quotient, value.type), value.type)


SIGNATURES = [
    *read(_AGGREGATES),
    special("sum(D) -> D", _sum_of_decimals),
    special("avg(D) -> D", _average_of_decimals),
]
WINDOW_SIGNATURES = read(_WINDOW_FUNCTIONS)
ALIASES = {
    "any_value": "arbitrary",
    "every": "bool_and",
    "stddev_samp": "stddev",
    "var_samp": "variance",
}
