"""Values as Parquet writes them plainly, which is what bloom filters hash: only where that is exact, whatever was converted."""

from __future__ import annotations

import decimal
import json
import struct
from typing import Any, Final

from holdall_store.tables._values import unit_factor

__all__ = ["nanoseconds_of", "plain_value"]

_DAY: Final = 86_400 * 10**9
_UNITS: Final = {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}

_FLOATS: Final = {"FLOAT": ("<f", 1 << 24), "DOUBLE": ("<d", 1 << 53)}
"""How they are written, and up to where all whole numbers are exact in them."""

_WIDTHS: Final = {"INT32": 4, "INT64": 8}


def plain_value(ordinal: Any, table: Any, file: Any, column: Any) -> bytes | None:
    """Return a value as it would be written into `column` of a file, or ``None`` where more than these bytes can equal it.

    `table` and `file` are the types of Arrow that the column has in the table and in the file.
    """
    import pyarrow as pa

    types, physical = pa.types, column.physical_type
    if types.is_temporal(table):
        return _time(ordinal, file, column) if table == file else None
    if types.is_integer(table) and types.is_integer(file):
        return _whole(ordinal, physical, file) if type(ordinal) is int else None
    if types.is_floating(table) and types.is_floating(file):
        return _float(ordinal, physical) if file.bit_width <= table.bit_width else None
    if types.is_decimal(table) and types.is_decimal(file):
        return _decimal(ordinal, physical, file.scale, column.length) if isinstance(ordinal, decimal.Decimal) else None
    if physical == "BYTE_ARRAY" and _is_text(table) and _is_text(file) and isinstance(ordinal, str):
        return ordinal.encode()
    if physical == "BYTE_ARRAY" and _is_bytes(table) and _is_bytes(file) and isinstance(ordinal, bytes):
        return ordinal
    if types.is_fixed_size_binary(table) and table == file and isinstance(ordinal, bytes):
        return ordinal if physical == "FIXED_LEN_BYTE_ARRAY" and len(ordinal) == column.length else None
    return None


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _packed(value: int, physical: str) -> bytes | None:
    """Return a number of 32 or 64 bits, whose sign is one of them."""
    width = _WIDTHS.get(physical)
    if width is None or not -(1 << (8 * width - 1)) <= value < 1 << (8 * width):
        return None
    return (value % (1 << (8 * width))).to_bytes(width, "little")


def _whole(value: int, physical: str, file: Any) -> bytes | None:
    import pyarrow as pa

    bits = file.bit_width
    least, end = (0, 1 << bits) if pa.types.is_unsigned_integer(file) else (-(1 << (bits - 1)), 1 << (bits - 1))
    return _packed(value, physical) if least <= value < end else None


def _float(value: Any, physical: str) -> bytes | None:
    """Return a number with a point: not zero, which has two signs, and not NaN, which has many forms."""
    if physical not in _FLOATS or type(value) not in (int, float) or value == 0 or value != value:
        return None
    form, exact = _FLOATS[physical]
    if isinstance(value, int) and abs(value) > exact:
        return None
    try:
        packed = struct.pack(form, value)
    except OverflowError:
        return None
    return packed if struct.unpack(form, packed)[0] == value else None


def _decimal(value: decimal.Decimal, physical: str, scale: int, length: int) -> bytes | None:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return None
    whole, rest = int("".join(map(str, digits)) or "0"), 0
    shift = exponent + scale
    if shift >= 0:
        whole *= 10**shift
    else:
        whole, rest = divmod(whole, 10**-shift)
    if rest:
        return None
    whole = -whole if sign else whole
    if physical != "FIXED_LEN_BYTE_ARRAY":
        return _packed(whole, physical)
    try:
        written: bytes = whole.to_bytes(length, "big", signed=True)
    except OverflowError:
        return None
    return written


def _time(nanoseconds: Any, file: Any, column: Any) -> bytes | None:
    factor = nanoseconds_of(column.logical_type, file)
    if type(nanoseconds) is not int or not factor or nanoseconds % factor:
        return None
    return _packed(nanoseconds // factor, column.physical_type)


def nanoseconds_of(logical_type: Any, kind: Any) -> int:
    """Return how many nanoseconds the unit of a column's raw numbers has, or 0 if that is not known."""
    import pyarrow as pa

    logical = json.loads(logical_type.to_json())
    if logical.get("Type") == "Date":
        return _DAY
    if logical.get("Type") in ("Timestamp", "Time"):
        return unit_factor(_UNITS[logical["timeUnit"]]) if logical.get("timeUnit") in _UNITS else 0
    return unit_factor(kind.unit) if pa.types.is_duration(kind) else 0
