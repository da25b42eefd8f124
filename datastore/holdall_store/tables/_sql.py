"""SQL as DuckDB and Spark have it: conditions and selections as text."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables._translate import Language, Path
from holdall_store.tables._values import unit_factor

__all__ = ["DuckSql", "SparkSql", "Sql"]

_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - of times without a zone
_OPERATORS: Final = {"==": "=", "!=": "<>"}


class Sql(Language):
    """What both say in the same way. `names` are columns that are called otherwise there."""

    has_ordered_nan = True

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        self._names = dict(names or {})

    def name(self, name: str) -> str:
        """Return a quoted name."""
        raise NotImplementedError

    def text(self, value: str) -> str:
        """Return a quoted text."""
        raise NotImplementedError

    def field(self, value: str, name: str) -> str:
        """Return a field of a struct."""
        raise NotImplementedError

    def time(self, kind: Any, value: int) -> str:
        """Return a point in time, of a type and in the unit of Arrow's."""
        raise NotImplementedError

    def column(self, path: Path) -> str:
        found = self.name(self._names.get(path[0], path[0]))
        for name in path[1:]:
            found = self.field(found, name)
        return found

    def literal(self, scalar: Any) -> str:
        import pyarrow as pa

        kind, types = scalar.type, pa.types
        if types.is_timestamp(kind):
            return self.time(kind, scalar.value)
        if types.is_time(kind):
            clock = _iso(scalar.value * unit_factor(kind.unit)).partition(" ")[2]
            return f"CAST('{clock}' AS TIME{'' if len(clock) < len('00:00:00.000000000') else '_NS'})"
        value = scalar.as_py()
        if types.is_boolean(kind):
            return str(value).upper()
        if types.is_integer(kind):
            return str(value)
        if types.is_floating(kind):
            return f"CAST('{value!r}' AS DOUBLE)"
        if types.is_decimal128(kind):
            return f"CAST('{value}' AS DECIMAL({kind.precision}, {max(kind.scale, 0)}))"
        if types.is_date(kind):
            return f"CAST('{value.isoformat()}' AS DATE)"
        if isinstance(value, str) and "\0" not in value:
            return self.text(value)
        if isinstance(value, bytes):
            return f"unhex('{value.hex()}')"
        raise UnsupportedTypeError(f"A condition with {value!r:.80}, which is {kind}, cannot be said in SQL.")

    def compare(self, operator: str, left: str, right: str) -> str:
        return f"({left} {_OPERATORS.get(operator, operator)} {right})"

    def is_in(self, column: str, values: Sequence[str]) -> str:
        return f"coalesce({column} IN ({', '.join(values)}), FALSE)"

    def starts_with(self, column: str, prefix: str) -> str:
        return f"startswith({column}, {prefix})"

    def is_null(self, column: str) -> str:
        return f"({column} IS NULL)"

    def is_nan(self, column: str) -> str:
        return f"isnan({column})"

    def negate(self, condition: str) -> str:
        return f"(NOT {condition})"

    def both(self, left: str, right: str) -> str:
        return f"({left} AND {right})"

    def either(self, left: str, right: str) -> str:
        return f"({left} OR {right})"

    def choose(self, condition: str, then: str | None, otherwise: str | None) -> str:
        return f"CASE WHEN {condition} THEN {then or 'NULL'} ELSE {otherwise or 'NULL'} END"

    def constant(self, *, value: bool) -> str:
        return str(value).upper()


class DuckSql(Sql):
    """DuckDB's SQL."""

    def name(self, name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    def text(self, value: str) -> str:
        return "'" + value.replace("'", "''") + "'"

    def field(self, value: str, name: str) -> str:
        return f"struct_extract({value}, {self.text(name)})"

    def time(self, kind: Any, value: int) -> str:
        if kind.unit == "ns" and kind.tz is None:
            return f"make_timestamp_ns({value})"
        function = "make_timestamptz" if kind.tz else "make_timestamp"
        if kind.unit == "ns" and value % 1000:
            return f"CAST('{_iso(value)}+00' AS TIMESTAMPTZ_NS)"
        return f"{function}({value * unit_factor(kind.unit) // 1000})"

    def starts_with(self, column: str, prefix: str) -> str:
        return f"starts_with({column}, {prefix})"

    def struct(self, fields: Sequence[tuple[str, str]]) -> str:
        return f"struct_pack({', '.join(f'{self.name(name)} := {value}' for name, value in fields)})"


class SparkSql(Sql):
    """Spark's SQL."""

    def without_signed_zero(self, column: str) -> str:
        # Its filters of Parquet's dictionaries take -0.0 and 0.0 for two values. A sum is not looked up in these.
        return f"({column} + CAST(0 AS DOUBLE))"

    def name(self, name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    def text(self, value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def field(self, value: str, name: str) -> str:
        return f"{value}.{self.name(name)}"

    def time(self, kind: Any, value: int) -> str:
        nanoseconds = value * unit_factor(kind.unit)
        if nanoseconds % 1000:
            raise UnsupportedTypeError(
                f"Spark counts microseconds, and a condition compares with {_iso(nanoseconds)}: use a rounder time."
            )
        if kind.tz:
            return f"timestamp_micros({nanoseconds // 1000})"
        return f"CAST('{_iso(nanoseconds)}' AS TIMESTAMP_NTZ)"

    def struct(self, fields: Sequence[tuple[str, str]]) -> str:
        return f"named_struct({', '.join(f'{self.text(name)}, {value}' for name, value in fields)})"


def _iso(nanoseconds: int) -> str:
    """Return a time as ISO 8601 writes it, with all its digits."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{(_EPOCH + dt.timedelta(seconds=seconds)).isoformat(sep=' ')}.{rest:09d}".removesuffix("000")
