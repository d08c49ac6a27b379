"""Formats values as Athena's results do."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from local.emulator.athena.sql.types import Type, fields


def text(value: Any, kind: Type) -> str:  # noqa: C901, PLR0911 - one line for each type
    """A value as text, by its type."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float():
            return _floating(value, kind)
        case datetime() | time():
            return _instant(value, kind)
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case bytes():
            return value.hex(" ")
        case timedelta():
            return _duration(value)
        case dict() if kind.name == "row":
            return (
                "{"
                + ", ".join(
                    _field(pair, value, number)
                    for number, pair in enumerate(zip(kind.args, fields(kind), strict=True))
                )
                + "}"
            )
        case dict() if kind.name == "map":
            key, element = kind.args
            return (
                "{" + ", ".join(f"{text(one, key)}={text(two, element)}" for one, two in value.items()) + "}"
            )
        case list() | tuple() if kind.name == "array":
            return "[" + ", ".join(text(one, kind.args[0]) for one in value) + "]"
    return str(value)


def _field(pair: Any, row: dict[str, Any], number: int) -> str:
    (name, kind), (stored, _) = pair
    return f"{name or f'field{number}'}={text(row[stored], kind)}"


def _floating(value: float, kind: Type) -> str:
    """In Java's format: 1.0E7 from ten million on, and below a thousandth."""
    if value != value:  # noqa: PLR0124 - only NaN differs from itself
        return "NaN"
    if value in {float("inf"), float("-inf")}:
        return "Infinity" if value > 0 else "-Infinity"
    digits = _shortest(value) if kind.name == "real" else repr(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:  # noqa: PLR2004 - Double.toString
        plain = f"{Decimal(digits):f}"
        return plain if "." in plain else plain + ".0"
    mantissa, _, exponent = f"{Decimal(digits).normalize():E}".partition("E")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent)}"


def _shortest(value: float) -> str:
    """The shortest text for this number in 32 bits."""
    import struct  # noqa: PLC0415

    for digits in range(1, 10):
        shown = f"{value:.{digits}g}"
        if struct.pack("f", float(shown)) == struct.pack("f", value):
            return shown
    return repr(value)


def _duration(value: timedelta) -> str:
    """Days, hours, minutes, seconds and milliseconds."""
    milliseconds = value // timedelta(milliseconds=1)
    seconds, fraction = divmod(abs(milliseconds), 1000)
    minutes, hours = seconds // 60, seconds // 3600
    sign = "-" if milliseconds < 0 else ""
    return f"{sign}{hours // 24} {hours % 24:02d}:{minutes % 60:02d}:{seconds % 60:02d}.{fraction:03d}"


def _instant(value: datetime | time, kind: Type) -> str:
    """With as many digits of a second as its type has; an instant in its zone, which it names."""
    zone = ""
    if isinstance(value, datetime) and value.tzinfo:
        value, zone = value.astimezone(ZoneInfo(kind.zone)), f" {kind.zone}"
    digits = int(kind.args[0]) if kind.args else 3
    shown = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else f"{value:%H:%M:%S}"
    fraction = f".{value.microsecond:06d}"[: digits + 1] if digits else ""
    return shown + fraction + zone
