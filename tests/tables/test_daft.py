"""Tables as frames of Daft's: it finds the rows that we find."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.tables._engines import CASES, make_grown, make_lake, rows_of
from tests.tables._lake import Lake, write

from holdall_store.errors import UnsupportedTypeError
from holdall_store.tables import Table, col

pytest.importorskip("daft")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a table in folders."""
    return make_lake(tmp_path_factory.mktemp("lake"))


def same(table: Table) -> None:
    """Compare what Daft finds with what we find."""
    assert rows_of(table.to_daft().to_arrow(), table.schema) == rows_of(table.to_arrow(), table.schema)


@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_same_rows(folder: Path, case: str) -> None:
    """Whatever is asked."""
    same(CASES[case](Table(folder)))


def test_columns_that_came_went_and_widened(tmp_path: Path) -> None:
    """Daft takes the first file's types for all, and presses others into them: it is told ours."""
    grown = Table(make_grown(tmp_path / "grown"))

    same(grown)
    same(grown.where(col("x") > 2).select("new", "x"))


def test_head_and_parts(folder: Path) -> None:
    """A head is a limit, and a part made by split has its own row groups."""
    table = Table(folder)
    parts = table.split(5)

    assert table.head(4).to_daft().count_rows() == 4
    for part in parts:
        same(part)


def test_types_that_files_do_not_tell(tmp_path: Path) -> None:
    """Durations, zones, nanoseconds, texts with few values and large numbers come as they are in Arrow."""
    table = pa.table(
        {
            "t": pa.array([10**18 + 1, None], pa.timestamp("ns", "UTC")),
            "n": pa.array([1, None], pa.timestamp("ns")),
            "d": pa.array(["a", None]).dictionary_encode(),
            "w": pa.array([5, None], pa.duration("ms")),
            "u": pa.array([2**64 - 1, None], pa.uint64()),
        }
    )
    write(tmp_path / "a.parquet", table)
    mine = Table(tmp_path)

    same(mine)
    same(mine.where(col("t") > "2001-09-09T01:46:40Z"))
    same(mine.where(u=2**64 - 1, d="a"))
    with pytest.raises(UnsupportedTypeError, match="duration"):
        mine.where(col("w") == np.timedelta64(5, "ms")).to_daft()


def test_names_are_names(tmp_path: Path) -> None:
    """Quotes, dots and commas in the names of columns, fields and folders mean nothing; what is a pattern is refused."""
    kind = pa.struct([('b"c', pa.int64()), ("d'e", pa.string())])
    value = pa.array([{'b"c': 1, "d'e": "x"}, None], kind)
    write(tmp_path / "some" / 'p"q=a%2Fb' / "it's #1.parquet", pa.table({'x "y", z': value, "select.from": [1, 2]}))
    write(tmp_path / "a[b].parquet", pa.table({"x": [1]}))
    table = Table(tmp_path / "some")

    same(table)
    same(table.select('x "y", z.b"c', "select.from", 'p"q').where(col("select.from") < 2, **{'p"q': "a/b"}))
    with pytest.raises(UnsupportedTypeError, match=r"a\[b\]"):
        Table(tmp_path / "a[b].parquet").to_daft()


def test_from_a_bucket(lake: Lake) -> None:
    """With the credentials and the endpoint that the table has."""
    lake.put("events/day=1/a.parquet", pa.table({"x": range(1000), "y": [n / 3 for n in range(1000)]}))
    lake.put("events/day=2/a.parquet", pa.table({"x": [1], "y": [None]}))

    same(lake.table("events/").select("x", "day").where(col("x") >= 990))


def test_there_is_no_daft(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    monkeypatch.setitem(sys.modules, "daft", None)

    with pytest.raises(ImportError, match=r"pip install 'holdall\[daft\]'"):
        Table(folder).to_daft()
