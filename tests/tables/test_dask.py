"""Tables as frames of Dask's: its workers read the parts, as we read the whole."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from tests.tables._engines import CASES, make_grown, make_lake, rows_of
from tests.tables._lake import Lake, write

from holdall_store.errors import IntegrityError, InvalidNameError
from holdall_store.tables import Table, col
from holdall_store.tables._shards import Shard

pytest.importorskip("dask.dataframe")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a table in folders."""
    return make_lake(tmp_path_factory.mktemp("lake"))


def same(table: Table, parts: int | None = None) -> None:
    """Compare what Dask finds with what we find, and its types with those that it announces."""
    frame = table.to_dask(parts)
    found = frame.compute(scheduler="synchronous")

    assert list(found.dtypes) == list(frame.dtypes)
    theirs = pa.Table.from_pandas(found, preserve_index=False)
    assert rows_of(theirs, table.schema) == rows_of(table.to_arrow(), table.schema)


@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_same_rows(folder: Path, case: str) -> None:
    """Whatever is asked."""
    same(CASES[case](Table(folder)), 4)


def test_partitions_are_parts(folder: Path, tmp_path: Path) -> None:
    """There is one of about 128 MiB, or as many as are asked for, if there are so many row groups."""
    table = Table(folder)

    assert table.to_dask().npartitions == 1
    assert table.to_dask(3).npartitions == 3
    assert table.to_dask(100).npartitions == 9
    assert table.where(day=1).to_dask(100).npartitions == 3
    assert table.where(day=5).to_dask(3).npartitions == 1
    same(Table(make_grown(tmp_path)), 2)


def test_only_columns_that_dask_needs_are_read(lake: Lake) -> None:
    """A sum of one column fetches that column; what was selected of a struct stays as it is."""
    lake.put("a.parquet", pa.table({"x": range(300_000), "y": [n / 7 for n in range(300_000)]}), compression="none")
    frame = lake.table("a.parquet").to_dask()
    lake.asked()

    assert frame["x"].sum().compute(scheduler="synchronous") == sum(range(300_000))
    assert sum(length for _, _, length in lake.asked()) < 1.1 * 2_600_000

    lake.put("b.parquet", pa.table({"a": [{"b": 1, "c": 2}], "k": [3]}))
    part = lake.table("b.parquet").select("a.b", "k").to_dask()["a"].compute(scheduler="synchronous")
    assert part.tolist() == [{"b": 1}]


def test_types_do_not_depend_on_nulls(tmp_path: Path) -> None:
    """A partition with nulls has the types of one without: those of Arrow, or pandas' own with nulls."""
    write(tmp_path / "1.parquet", pa.table({"x": [1, 2], "b": [True, False]}))
    write(tmp_path / "2.parquet", pa.table({"x": [None, 3], "b": pa.array([None, None], pa.bool_())}))
    frame = Table(tmp_path).to_dask(2, dtype_backend="numpy_nullable")

    assert [str(kind) for kind in frame.dtypes] == ["Int64", "boolean"]
    assert frame.compute(scheduler="synchronous").dtypes.tolist() == frame.dtypes.tolist()
    with pytest.raises(InvalidNameError, match="between partitions with nulls and without"):
        Table(tmp_path).to_dask(dtype_backend=None)  # type: ignore[arg-type]


def test_a_head_is_the_first_rows(folder: Path) -> None:
    """They are in one partition, and exactly those that come first."""
    table = Table(folder).select("k").head(8)
    frame = table.to_dask(4)

    assert frame.npartitions == 1
    assert (
        frame["k"].compute(scheduler="synchronous").tolist() == table.to_pandas(dtype_backend="pyarrow")["k"].tolist()
    )


def test_a_part_goes_alone_and_with_its_credentials(lake: Lake) -> None:
    """A worker gets the files of its part, no others, and the credentials that were given; they are not shown."""
    for at in range(40):
        lake.put(f"events/{at:02}.parquet", pa.table({"x": [at]}))
    table = lake.table("events/")
    parts = Shard(table, lake.options).split(20)
    sent = pickle.dumps(parts[3])
    arrived = pickle.loads(sent)

    assert sent.count(b".parquet") == 2
    assert lake.options["secret"] not in repr(arrived)
    assert arrived.open().to_arrow().to_pydict() == {"x": [6, 7]}
    alone = pickle.loads(pickle.dumps(table.split(20)[3]))
    assert alone.with_storage_options(lake.options).to_arrow() == arrived.open().to_arrow()
    assert repr(alone) == repr(table)
    assert lake.options["secret"].encode() not in pickle.dumps(alone)


def test_parts_are_pinned(tmp_path: Path) -> None:
    """A file that was replaced since raises where it is read."""
    write(tmp_path / "a.parquet", pa.table({"x": [1]}))
    frame = Table(tmp_path).where(col("x") > 0).to_dask()
    write(tmp_path / "a.parquet", pa.table({"x": [1, 2]}))

    with pytest.raises(IntegrityError, match=r"a\.parquet"):
        frame.compute(scheduler="synchronous")


def test_there_is_no_dask(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    monkeypatch.setitem(sys.modules, "dask.dataframe", None)

    with pytest.raises(ImportError, match=r"pip install 'holdall\[dask\]'"):
        Table(folder).to_dask()
