"""What tables are handed to engines with, and what they have to give back: the rows that we find ourselves."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from tests.tables._lake import write

from holdall_store.tables import Expression, Table, col

NAN: Final = float("nan")
UTC: Final = dt.UTC


def part(begin: int, *, day: int) -> pa.Table:
    """Return some rows with all that engines have different ideas of."""
    at = range(begin, begin + 6)
    floats = [NAN, None, -0.0, 1.5, 1e300, float("-inf")]
    return pa.table(
        {
            "id": pa.array(at, pa.int32()),
            "k": pa.array([None if n % 5 == 4 else n for n in at], pa.int64()),
            "f": pa.array(floats, pa.float64()),
            "g": pa.array([1.5, NAN, 0.0, None, NAN, 7.0], pa.float32()),
            "s": pa.array(["it's", None, 'a "b"', "back\\slash", "é%_\U0001f600", ""], pa.string()),
            "b": pa.array([True, False, None, True, False, None]),
            "raw": pa.array([b"\x00\xff", b"", None, b"'", b"x", b"y"], pa.binary()),
            "on": pa.array([dt.date(1960, 1, 1 + n % 28) for n in at[:5]] + [None], pa.date32()),
            "t": pa.array([dt.datetime(2026, 1, day, 1, 2, 3, n) for n in at[:5]] + [None], pa.timestamp("us")),
            "z": pa.array([dt.datetime(1969, 1, day, n % 24, tzinfo=UTC) for n in at], pa.timestamp("us", "UTC")),
            "n": pa.array([decimal.Decimal(n) / 4 if n % 3 else None for n in at], pa.decimal128(9, 2)),
            "a": pa.array(
                [{"x": n, "y": {"z": f"z{n}"}} if n % 4 else {"x": None, "y": None} for n in at[:5]] + [None],
                pa.struct([("x", pa.int64()), ("y", pa.struct([("z", pa.string())]))]),
            ),
            "l": pa.array([[1, None], [], None, [2], [3, 4], [5]], pa.list_(pa.int32())),
            "m": pa.array([[("a", 1)], [], None, [("b", None)], [], []], pa.map_(pa.string(), pa.int32())),
        }
    )


def make_lake(folder: Path) -> Path:
    """Write a table of some partitions, one of them null, whose files have several row groups."""
    for day, place in ((1, "US"), (2, "C%20A"), (3, "__HIVE_DEFAULT_PARTITION__")):
        write(folder / f"place={place}" / f"day={day}" / "a.parquet", part(day * 10, day=day), row_group_size=2)
    return folder


def make_grown(folder: Path) -> Path:
    """Write files of one table whose columns came, went, widened and moved."""
    write(folder / "1.parquet", pa.table({"x": pa.array([1, None], pa.int32()), "old": ["a", "b"]}))
    write(folder / "2.parquet", pa.table({"new": [0.5, NAN], "x": pa.array([2**40, 3], pa.int64())}))
    return folder


def day(at: int) -> dt.datetime:
    return dt.datetime(2026, 1, at)


SELECTIONS: Final[dict[str, Callable[[Table], Table]]] = {
    "all": lambda table: table,
    "columns": lambda table: table.select("s", "day", "k"),
    "a partition alone": lambda table: table.select("place"),
    "fields": lambda table: table.select("a.y.z", "k", "a.x"),
    "a partition": lambda table: table.where(place="C A").select("k", "place"),
    "no partition": lambda table: table.where(place=None),
    "no rows": lambda table: table.where(day=9),
    "a condition on others": lambda table: table.where(col("k") <= 21, s=["it's", ""]).select("m"),
    "a condition on a struct in part": lambda table: table.where(col("a.x") > 11).select("a.y"),
}
"""What is wanted of a table."""

CONDITIONS: Final[dict[str, Expression]] = {
    "a number": col("k") > 12,
    "not a number": ~(col("k") == 12),
    "greater than, with NaN": col("f") > 1,
    "not greater than, with NaN": ~(col("f") >= 1),
    "less than, with NaN": col("f") < 1,
    "not equal, with NaN": col("f") != 1.5,
    "equal to zero": col("f") == 0.0,
    "at least zero": col("f") >= 0.0,
    "more than negative zero": col("g") > -0.0,
    "one of zero and others": col("f").isin([0.0, 7.0]),
    "equal to NaN": col("f") == NAN,
    "not equal to NaN": col("f") != NAN,
    "not less than NaN": ~(col("g") < NAN),
    "one of some, and NaN": col("f").isin([NAN, 1.5]),
    "none of some, and NaN": ~col("f").isin([NAN, 1.5]),
    "one of some, and null": col("k").isin([11, None]),
    "none of some": ~col("k").isin([11, 12]),
    "one of none": col("k").isin([]),
    "two columns": col("f") >= col("g"),
    "not two columns": ~(col("f") > col("g")),
    "two unequal columns": col("f") != col("g"),
    "a null": col("s").is_null() | col("n").is_null(),
    "texts": col("s").isin(["back\\slash", "it's", 'a "b"']),
    "the beginning": col("s").starts_with("é%"),
    "no such beginning": ~col("s").starts_with("back\\"),
    "bytes": col("raw") >= b"'",
    "a truth": col("b") == True,  # noqa: E712 - a condition
    "a date": col("on") >= "1960-01-12",
    "a time": col("t").between(dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 3)),
    "a time to the digit": col("t") == dt.datetime(2026, 1, 1, 1, 2, 3, 12),
    "a time in a zone": col("z") > "1969-01-02T00:00:00+00:00",
    "a decimal": col("n") > decimal.Decimal("3.25"),
    "a decimal and a number": col("n") > 3.3,
    "a field": (col("a.x") > 11) | (col("a.y.z") == "z11"),
    "a partition or a column": (col("day") == 1) | (col("k") > 30),
    "all and none": ~(((col("f") > 1) | (col("k") < 12)) & ~(col("s") == "")),
}
"""Conditions, each with a reason of its own to come out otherwise."""


def _with(condition: Expression) -> Callable[[Table], Table]:
    return lambda table: table.where(condition).select("id", "f", "day")


CASES: Final = {**SELECTIONS, **{name: _with(condition) for name, condition in CONDITIONS.items()}}


def rows_of(table: pa.Table, schema: pa.Schema) -> list[str]:
    """Return the rows of an answer in our types, in an order of their own, so that equal ones are equal: NaN, too."""
    return sorted(repr(row) for row in _as(table, schema).to_pylist())


def _as(table: pa.Table, schema: pa.Schema) -> pa.Table:
    assert table.schema.names == schema.names
    return pa.Table.from_arrays(
        [_cast(table[name].combine_chunks(), schema.field(name).type) for name in schema.names], schema=schema
    )


def _cast(column: Any, kind: pa.DataType) -> Any:
    return column.cast(kind.value_type).cast(kind) if pa.types.is_dictionary(kind) else column.cast(kind)
