"""Types that widen: whatever a commit makes of a column, all of its values can be read then."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from holdall_store.errors import FormatError
from holdall_store.tables import Table, _write

DECIMAL = pa.array([decimal.Decimal("1.5")], pa.decimal128(2, 1))
FAR = dt.datetime(9000, 1, 1)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        (pa.array([2**63 - 1]), DECIMAL, pa.decimal128(20, 1)),
        (pa.array([2**64 - 1], pa.uint64()), DECIMAL, pa.decimal128(21, 1)),
        (pa.array([-(2**31)], pa.int32()), DECIMAL, pa.decimal128(11, 1)),
        (pa.array([7]), pa.array([decimal.Decimal(1)], pa.decimal128(38, 25)), pa.decimal256(44, 25)),
        (
            pa.array([[2**62]], pa.list_(pa.int64())),
            pa.array([[DECIMAL[0].as_py()]], pa.list_(DECIMAL.type)),
            pa.list_(pa.decimal128(20, 1)),
        ),
        (pa.array([2**53]), pa.array([0.5]), pa.float64()),
        (pa.array([7], pa.uint64()), pa.array([-1]), pa.int64()),
    ],
)
def test_both_have_room(tmp_path: Path, one: pa.Array, other: pa.Array, kind: pa.DataType) -> None:
    """What is merged can be read, in either order, and so can plain files of both types."""
    for name, first, second in (("a", one, other), ("b", other, one)):
        Table.write(tmp_path / name, pa.table({"x": first}))
        Table.write(tmp_path / name, pa.table({"x": second}), merge_schema=True)
        found = Table(tmp_path / name).to_arrow()
        assert found.schema.field("x").type == kind
        assert sorted(found["x"].to_pylist()) == sorted([*one.to_pylist(), *other.to_pylist()])

    (tmp_path / "c").mkdir()
    pq.write_table(pa.table({"x": one}), tmp_path / "c" / "1.parquet")
    pq.write_table(pa.table({"x": other}), tmp_path / "c" / "2.parquet")
    assert Table(tmp_path / "c").to_arrow()["x"].to_pylist() == [*one.to_pylist(), *other.to_pylist()]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([2**53 + 1]), pa.array([0.5])),
        (pa.array([2**63 + 1], pa.uint64()), pa.array([1])),
        (pa.array([FAR], pa.timestamp("ms")), pa.array([1], pa.timestamp("ns"))),
        (pa.array([{"y": 2**53 + 1}]), pa.array([{"y": 0.5}])),
        (DECIMAL, pa.array([0.1])),
    ],
)
def test_no_commit_makes_a_table_unreadable(tmp_path: Path, one: pa.Array, other: pa.Array) -> None:
    """Where values that are there have no room in the wider type, nothing is committed and the table is as it was."""
    Table.write(tmp_path, pa.table({"x": one}))
    with pytest.raises(FormatError, match="'x'.*overwrite the table"):
        Table.write(tmp_path, pa.table({"x": other}), merge_schema=True)
    assert Table(tmp_path).version == 0
    assert Table(tmp_path).to_arrow()["x"].to_pylist() == one.to_pylist()
    with pytest.raises(FormatError, match="'x'"):
        Table.write(tmp_path / "b", pa.table({"x": other}))
        Table.write(tmp_path / "b", pa.table({"x": one}), merge_schema=True)


@pytest.mark.parametrize("widened_first", [True, False])
def test_what_came_meanwhile_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widened_first: bool) -> None:
    """Of two writers at once, one that widens and one with a value that has no room, one is refused."""
    Table.write(tmp_path, pa.table({"x": [1]}))
    big, half = pa.table({"x": [2**53 + 1]}), pa.table({"x": [0.5]})
    mine, theirs = (big, half) if widened_first else (half, big)
    commit = _write.__dict__["commit"]

    def late(*args: Any) -> Any:
        monkeypatch.setattr(_write, "commit", commit)
        Table.write(tmp_path, theirs, merge_schema=True)
        return commit(*args)

    monkeypatch.setattr(_write, "commit", late)
    with pytest.raises(FormatError, match="'x'.*write again"):
        Table.write(tmp_path, mine, merge_schema=True)
    assert sorted(Table(tmp_path).to_arrow()["x"].to_pylist()) == sorted([1, *theirs["x"].to_pylist()])
