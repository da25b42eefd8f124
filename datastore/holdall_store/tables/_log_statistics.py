"""What the log of a table says of the values in its files: enough to leave files out before their footers are read."""

from __future__ import annotations

import decimal
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from holdall_store.tables._bound import plain
from holdall_store.tables._prune import CONSTANT_NULL, UNKNOWN, Bounds
from holdall_store.tables._values import ordinal, unit_factor

__all__ = ["ArrowStatistics", "BinaryStatistics", "FileStatistics", "LogStatistics"]

_DAY: Final = 86_400 * 10**9

CUT_NANOSECONDS: Final = 10**6
"""Delta's writers cut times to the millisecond below: the largest may be so much later than the log says."""


class LogStatistics(ABC):
    """Bounds of the columns of all files of a table, by the number of the file."""

    @abstractmethod
    def bounds(self, file: int, name: str) -> Bounds:
        """Return what is known of a column: `UNKNOWN` where the log says nothing of use."""


class ArrowStatistics(LogStatistics):
    """Statistics as columns of Arrow: structs of the least and the largest values and of counts of nulls.

    ``names`` are how columns are called in them. Where rows are deleted, a count is of all rows, and so still tells none and all.
    """

    def __init__(self, parts: Mapping[str, Any], rows: Any, names: Mapping[str, str]) -> None:
        self._parts = dict(parts)
        self._rows = rows
        self._names = dict(names)

    def bounds(self, file: int, name: str) -> Bounds:
        import pyarrow as pa

        stored = self._names.get(name)
        if stored is None:
            return UNKNOWN
        low, high = (self._value(which, stored, file) for which in ("min", "max"))
        count = self._value("null_count", stored, file)
        rows = self._rows[file].as_py()
        nulls = "some"
        if count is not None and count.is_valid and rows:
            nulls = {0: "none", rows: "all"}.get(count.as_py(), "some")
        if nulls == "all":
            return CONSTANT_NULL
        if low is None or high is None or not low.is_valid or not high.is_valid or pa.types.is_nested(low.type):
            return Bounds(None, None, nulls, nan=True)  # type: ignore[arg-type]
        begin, end = ordinal(low), ordinal(high)
        if begin is None or end is None or begin != begin or end != end:
            return Bounds(None, None, nulls, nan=True)  # type: ignore[arg-type]
        if pa.types.is_timestamp(high.type):
            end += CUT_NANOSECONDS
        return Bounds(begin, end, nulls, nan=pa.types.is_floating(low.type))  # type: ignore[arg-type]

    def _value(self, which: str, name: str, file: int) -> Any:
        column = self._parts.get(which)
        if column is None or column.type.get_field_index(name) < 0:
            return None
        whole = column[file]
        return whole[name] if whole.is_valid else None


class FileStatistics(NamedTuple):
    """Bounds of one file as Iceberg keeps them: bytes by the number of the column, with counts of nulls and of values."""

    lower: Mapping[int, bytes]
    upper: Mapping[int, bytes]
    nulls: Mapping[int, int]
    values: Mapping[int, int]


class BinaryStatistics(LogStatistics):
    """Statistics as bytes; ``columns`` maps the names of columns to their numbers and types."""

    def __init__(self, files: Sequence[FileStatistics], columns: Mapping[str, tuple[int, Any]]) -> None:
        self._files = list(files)
        self._columns = dict(columns)

    def bounds(self, file: int, name: str) -> Bounds:
        import pyarrow as pa

        if name not in self._columns:
            return UNKNOWN
        number, kind = self._columns[name]
        known = self._files[file]
        nulls = "some"
        count, values = known.nulls.get(number), known.values.get(number)
        if count is not None and values:
            nulls = {0: "none", values: "all"}.get(count, "some")
        if nulls == "all":
            return CONSTANT_NULL
        nan = pa.types.is_floating(kind)
        low, high = (_decoded(part.get(number), kind) for part in (known.lower, known.upper))
        if low is None or high is None or low != low or high != high:
            low = high = None
        return Bounds(low, high, nulls, nan)  # type: ignore[arg-type]


def _decoded(data: bytes | None, kind: Any) -> Any:
    """Return a bound as conditions compare it, or ``None`` where it cannot be read. Types may have grown since."""
    import pyarrow as pa

    types = pa.types
    kind = plain(kind)
    if data is None:
        return None
    try:
        if types.is_string(kind):
            return data.decode()
        if types.is_binary(kind) or types.is_fixed_size_binary(kind):
            return bytes(data)
        if types.is_boolean(kind):
            return data != b"\0"
        if types.is_decimal(kind):
            return decimal.Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-kind.scale, _EXACT)
        if types.is_floating(kind):
            return struct.unpack("<f" if len(data) == 4 else "<d", data)[0]
    except (UnicodeDecodeError, struct.error, decimal.DecimalException):
        return None
    number = int.from_bytes(data, "little", signed=True)
    if types.is_integer(kind):
        return number
    if types.is_date32(kind):
        return number * _DAY
    if types.is_timestamp(kind) and len(data) == 8:
        return number * unit_factor(kind.unit)
    if types.is_time64(kind):
        return number * unit_factor(kind.unit)
    return None


_EXACT: Final = decimal.Context(prec=76)
"""As many digits as decimals of Arrow have at most."""
