"""Versions: what a table was at a number or a time, and when that goes."""

from __future__ import annotations

import datetime as dt
import pickle
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.tables._lake import write

from holdall_store.errors import InvalidNameError, StorageError, TableNotFoundError
from holdall_store.tables import Table, _vacuum
from holdall_store.tables._resolve import check_sources
from holdall_store.tables._write import Options, write_table

DAY = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
DEFAULTS: dict[str, Any] = {
    "partition_by": None, "sort_by": (), "compression": "zstd", "file_bytes": 1 << 20, "row_group_bytes": 1 << 20,
    "merge_schema": False, "keep_replaced": False,
}  # fmt: skip


class Clock:
    """A clock that tells what it is told to, and tokens that are numbers."""

    count = 0

    def __init__(self, *times: dt.datetime) -> None:
        self.times = list(times)

    def now(self) -> dt.datetime:
        """Return the next time; the last one stays."""
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]

    def token(self, length: int) -> str:
        """Return what nobody else has."""
        Clock.count += 1
        return "".join("abcdefghij"[int(digit)] for digit in f"{Clock.count:0{length}d}")


def put(folder: Path, x: int, *times: dt.datetime, mode: str = "append", **options: Any) -> Any:
    """Write one row at a time."""
    return write_table(
        folder, pa.table({"x": [x]}), Options.check(mode, **{**DEFAULTS, **options}), None, Clock(*times)
    )


def values(folder: Path, as_of: Any = None) -> list[int]:
    """Return the rows."""
    found: list[int] = sorted(Table(folder, as_of=as_of).to_arrow().column("x").to_pylist())
    return found


def test_a_version_is_named_by_its_number_or_a_time(tmp_path: Path) -> None:
    """A number is that of the commit, a time means the last commit before it; a text is understood, and UTC is the zone."""
    for number in range(5):
        put(tmp_path, number, DAY + dt.timedelta(hours=number))

    assert [values(tmp_path, number) for number in range(5)] == [list(range(number + 1)) for number in range(5)]
    for as_of in (
        DAY + dt.timedelta(hours=2),
        DAY + dt.timedelta(hours=2, minutes=59),
        "2026-11-01T14:30",
        "2026-11-01T15:30+01:00",
        dt.datetime(2026, 11, 1, 14, 30),
        pd.Timestamp("2026-11-01T14:30", tz="UTC"),
    ):
        assert values(tmp_path, as_of) == [0, 1, 2]
    assert values(tmp_path, "2027-01-01") == [0, 1, 2, 3, 4]
    table = Table(tmp_path, as_of=1)
    assert (table.version, Table(tmp_path).version) == (1, 4)
    assert "as of 1" in repr(table)
    put(tmp_path, 9, DAY + dt.timedelta(hours=9))
    assert pickle.loads(pickle.dumps(table)).to_arrow().num_rows == 2


@pytest.mark.parametrize(
    ("as_of", "error", "message"),
    [
        (2, TableNotFoundError, "no version 2: it has those from 0 to 1"),
        ("2026-11-01T11:59", TableNotFoundError, "its first one is of 2026-11-01T12:00"),
        (-1, InvalidNameError, "as_of=-1"),
        (True, InvalidNameError, "as_of=True"),
        ("soon", InvalidNameError, "as_of='soon'"),
        (1.5, InvalidNameError, "as_of=1.5"),
    ],
)
def test_versions_that_are_none(tmp_path: Path, as_of: Any, error: type[Exception], message: str) -> None:
    """What never was is said with what there is."""
    put(tmp_path, 1, DAY)
    put(tmp_path, 2, DAY)

    with pytest.raises(error, match=message):
        Table(tmp_path, as_of=as_of).to_arrow()


def test_what_has_no_versions(tmp_path: Path) -> None:
    """Files that nobody committed, single files and lists have no earlier state."""
    path = write(tmp_path / "u" / "a.parquet", pa.table({"x": [1]}))
    for source in (path, path.parent, f"{path.parent}/*.parquet"):
        with pytest.raises(InvalidNameError, match="has no log"):
            Table(source, as_of=0).to_arrow()
    with pytest.raises(InvalidNameError, match="list of files"):
        Table([path, path], as_of=0)


def test_a_version_whose_files_are_gone(tmp_path: Path) -> None:
    """What an overwrite deleted cannot be read any more: it is said, with the file, before anything is read."""
    put(tmp_path, 1, DAY)
    name = next(tmp_path.glob("*.parquet")).name
    put(tmp_path, 2, DAY, mode="overwrite")

    with pytest.raises(TableNotFoundError, match=rf"Version 0 of .* {name} is deleted or replaced.*keep_replaced"):
        Table(tmp_path, as_of=0).to_arrow()
    assert values(tmp_path, 1) == [2]


def test_times_ascend_whatever_clocks_say(tmp_path: Path) -> None:
    """A writer whose clock is behind commits after those that were before it, and is found there."""
    put(tmp_path, 0, DAY)
    put(tmp_path, 1, DAY - dt.timedelta(days=3))
    done = put(tmp_path, 2, DAY - dt.timedelta(days=30))

    assert done.time == "2026-11-01T12:00:00.000002+00:00"
    assert values(tmp_path, DAY) == [0]
    assert values(tmp_path, DAY + dt.timedelta(seconds=1)) == [0, 1, 2]


def test_what_no_version_needs_is_removed(tmp_path: Path) -> None:
    """Versions since a time stay, older ones go, and what an unfinished write left; what is under way is left alone."""
    write(tmp_path / "theirs.parquet", pa.table({"x": [0]}))
    for number in range(1, 4):
        put(tmp_path, number, DAY + dt.timedelta(days=number), mode="overwrite", keep_replaced=True)
    names = sorted(path.name for path in tmp_path.glob("holdall-*"))
    old, fresh = names[0].replace("-00000", "-00009"), names[2].replace("-00000", "-00009")
    for name in (old, fresh):
        (tmp_path / name).write_bytes(b"not finished")
    write(tmp_path / "new.parquet", pa.table({"x": [8]}))
    assert [values(tmp_path, number) for number in range(3)] == [[1], [2], [3]]

    (address,) = check_sources(tmp_path)
    week = dt.timedelta(days=7)
    # The version that was there at the time is the oldest that stays.
    assert _vacuum.vacuum(address, week, None, DAY + week + dt.timedelta(days=2, hours=1)) == 3
    there = sorted(path.name for path in tmp_path.glob("*.parquet"))
    assert there == sorted([*names[1:], fresh, "new.parquet"])
    assert [values(tmp_path, number) for number in (1, 2)] == [[2], [3]]
    assert values(tmp_path) == [3, 8]
    with pytest.raises(TableNotFoundError, match="Version 0"):
        values(tmp_path, 0)
    assert Table.vacuum(tmp_path, older_than=dt.timedelta(days=36_500)) == 0
    put(tmp_path, 9, DAY + dt.timedelta(days=99))
    assert values(tmp_path) == [3, 8, 9]


def test_vacuum_refuses_what_means_nothing(tmp_path: Path) -> None:
    """A folder without a log has no leftovers that could be told, and a time is a timedelta."""
    write(tmp_path / "a.parquet", pa.table({"x": [1]}))
    with pytest.raises(TableNotFoundError, match="nothing to be removed"):
        Table.vacuum(tmp_path)
    with pytest.raises(InvalidNameError, match="older_than=7"):
        Table.vacuum(tmp_path, older_than=7)  # type: ignore[arg-type]
    assert (tmp_path / "a.parquet").exists()


def test_a_write_that_takes_too_long_is_not_committed(tmp_path: Path) -> None:
    """Its files could have been removed as leftovers: it is refused, and removes them."""
    with pytest.raises(StorageError, match="longer than 6 days"):
        put(tmp_path, 1, DAY, DAY, DAY + dt.timedelta(days=7))
    assert list(tmp_path.rglob("*.parquet")) == []
