"""Values that conditions compare with: understood as the column's type has them, with no digit lost."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any, Final

__all__ = ["equal_to", "exact", "ordinal", "unit_factor"]

_FACTORS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
INT64_MAX: Final = (1 << 63) - 1
_DAY: Final = 86_400 * 10**9


def exact(operator: str, value: Any, kind: Any) -> tuple[str, Any]:
    """Return a comparison with a column of type `kind` as one with a value of that type, which is true for the same rows.

    Where none has it, the value is whether the comparison is true for every value. Arrow would bring both sides to a
    common type, and raise for the first value in the column that has no room there. A Python float is rounded to the
    type of a column of floating numbers, as a literal is.
    """
    import pyarrow as pa

    if operator == "prefix":
        return operator, scalar_of(value, kind)
    if pa.types.is_integer(kind) and isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool):
        return _counted(operator, value, 1, kind)
    if pa.types.is_floating(kind) and isinstance(value, int | float) and not isinstance(value, bool):
        return _floating(operator, value, kind)
    scalar = scalar_of(value, kind)
    if not scalar.is_valid:
        raise TypeError("and a null is compared with is_null")
    unit = _unit(kind)
    if unit:
        _check_family(scalar.type, kind)
        return _counted(operator, ordinal(scalar), unit, kind)
    return operator, scalar


def _check_family(one: Any, other: Any) -> None:
    """Raise where Arrow does not compare two types of times at all, as those with a zone and those without."""
    import pyarrow as pa
    import pyarrow.compute as pc

    functions: Any = pc  # made when Arrow is loaded: no type checker knows them
    functions.equal(pa.nulls(1, one), pa.nulls(1, other))


def _counted(operator: str, value: Any, unit: int, kind: Any) -> tuple[str, Any]:
    """Return a comparison with a column that counts whole `unit`s."""
    if value != value:
        return operator, operator == "!="
    least, most = _range(kind)
    if isinstance(value, float) and math.isinf(value):
        whole, rest = (most + 1 if value > 0 else least - 1), False
    else:
        whole = value // unit if isinstance(value, int) else math.floor(value)
        rest = whole * unit != value
    if not least <= whole <= most:
        return operator, operator == "!=" or operator[0] == ("<" if whole > most else ">")
    if rest and operator in ("==", "!="):
        return operator, operator == "!="
    if rest:
        operator = "<=" if operator[0] == "<" else ">"
    return operator, _from_number(int(whole), kind)


def _floating(operator: str, value: Any, kind: Any) -> tuple[str, Any]:
    import pyarrow as pa

    try:
        scalar = pa.scalar(float(value), pa.float64()).cast(kind, safe=False)
        rounded = scalar.as_py()
    except OverflowError:
        rounded = math.inf if value > 0 else -math.inf
        scalar = pa.scalar(rounded, pa.float64()).cast(kind)
    if rounded == value or (isinstance(value, float) and not math.isinf(rounded)):
        return operator, scalar
    if operator in ("==", "!="):
        return operator, pa.scalar(math.nan, pa.float64()).cast(kind)  # which equals nothing
    if operator[0] == "<":
        return ("<" if rounded > value else "<="), scalar
    return (">" if rounded < value else ">="), scalar


def equal_to(value: Any, kind: Any) -> Any:
    """Return the value of type `kind` that equals another, or ``None`` where there is none."""
    import pyarrow as pa

    operator, found = exact("==", value, kind)
    assert operator == "=="
    if isinstance(found, bool) or found.type == kind:
        if isinstance(found, bool):
            return None
        is_nothing = pa.types.is_floating(kind) and math.isnan(found.as_py()) and value == value
        return None if is_nothing else found
    try:
        return found.cast(kind)
    except pa.ArrowInvalid:
        return None


def scalar_of(value: Any, kind: Any) -> Any:
    """Return a value as Arrow compares it with a column of type `kind`."""
    import pyarrow as pa

    types = pa.types
    textual = types.is_string(kind) or types.is_large_string(kind)
    if isinstance(value, str) and not textual:
        if types.is_timestamp(kind) and kind.tz is not None:
            parsed = datetime.datetime.fromisoformat(value)
            value = parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.UTC)
            return pa.scalar(value, pa.timestamp("us", tz="UTC")).cast(kind)
        if types.is_time(kind):
            return pa.scalar(datetime.time.fromisoformat(value))
        return pa.scalar(value, pa.string()).cast(kind)
    if textual and isinstance(value, datetime.date):
        return pa.scalar(value.isoformat(), kind)
    if textual and isinstance(value, int) and not isinstance(value, bool):
        raise TypeError(f"and {value!r:.80} is a number: give a text")
    if types.is_timestamp(kind) and type(value) is datetime.date:
        value = datetime.datetime.combine(value, datetime.time())
        return pa.scalar(value.replace(tzinfo=datetime.UTC) if kind.tz else value, pa.timestamp("us", tz=kind.tz))
    if isinstance(value, datetime.datetime | datetime.timedelta):
        return _time(value, kind)
    if type(value).__module__.startswith("numpy"):
        return pa.array([value])[0]
    if textual or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.scalar(value, kind)
    if isinstance(value, int) and value > INT64_MAX:
        return pa.scalar(value, pa.uint64())
    if types.is_boolean(kind) != isinstance(value, bool):
        raise TypeError(f"and {value!r:.80} is a {type(value).__name__}")
    if types.is_decimal(kind) and isinstance(value, int) and not isinstance(value, bool):
        return pa.scalar(decimal.Decimal(value))
    return pa.scalar(value)


def _time(value: Any, kind: Any) -> Any:
    """Return a time or duration; pandas' own have nanoseconds, which Arrow would cut off a single one."""
    import pyarrow as pa

    counted = getattr(value, "asm8", None)
    zone = getattr(value, "tzinfo", None)
    scalar = pa.scalar(value) if counted is None else pa.array([counted])[0]
    if zone is None:
        return scalar
    unit = scalar.type.unit
    at = scalar if counted is None else pa.scalar(scalar.value, pa.timestamp(unit, tz="UTC"))
    return at.cast(pa.timestamp(unit, tz=kind.tz)) if pa.types.is_timestamp(kind) and kind.tz else at


def _range(kind: Any) -> tuple[int, int]:
    import pyarrow as pa

    if pa.types.is_unsigned_integer(kind):
        return 0, (1 << kind.bit_width) - 1
    return -(1 << kind.bit_width - 1), (1 << kind.bit_width - 1) - 1


def _from_number(number: int, kind: Any) -> Any:
    """Return the value of an integer type, or of one of times, that is stored as a number."""
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return pa.scalar(number, kind)
    return pa.array([number], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)[0]


def unit_factor(unit: str) -> int:
    """Return how many nanoseconds a unit has."""
    return _FACTORS[unit]


def _unit(kind: Any) -> int:
    """Return how many nanoseconds a type of times counts in, or 0 for all other types."""
    import pyarrow as pa

    types = pa.types
    if types.is_timestamp(kind) or types.is_duration(kind) or types.is_time(kind):
        return _FACTORS[kind.unit]
    return _DAY if types.is_date32(kind) else 10**6 if types.is_date64(kind) else 0


def ordinal(scalar: Any) -> Any:
    """Return a value as statistics are compared: times as nanoseconds; ``None`` for types in no order we know."""
    unit = _unit(scalar.type)
    if unit:
        return scalar.value * unit
    value = scalar.as_py()
    return value if isinstance(value, bool | int | float | str | bytes | decimal.Decimal) else None
