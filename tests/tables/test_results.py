"""What a table gives: Arrow, frames, batches, shards, datasets; and what it refuses."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tables._lake import Lake, numbers, parquet, write

from holdall_store.errors import ColumnNotFoundError, InvalidNameError, UnsupportedTypeError
from holdall_store.storage import open_storage
from holdall_store.tables import Table, _scan, _units, col
from holdall_store.tables._split import shares

TABLE = pa.table(
    {
        "k": range(1_000),
        "s": [f"text {at % 5}" for at in range(1_000)],
        "n": [None if at % 3 == 0 else at for at in range(1_000)],
        "b": [at % 2 == 0 for at in range(1_000)],
    }
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Make a table of two files."""
    write(tmp_path / "a.parquet", TABLE.slice(0, 600), row_group_size=100)
    write(tmp_path / "b.parquet", TABLE.slice(600), row_group_size=100)
    return Table(tmp_path)


def test_frames_are_those_of_pandas(table: Table) -> None:
    """A frame is what pandas itself makes of the same rows, type by type, whichever backend is asked for."""
    pd.testing.assert_frame_equal(table.to_pandas(), TABLE.to_pandas())
    arrow = table.to_pandas(dtype_backend="pyarrow")
    assert set(map(str, arrow.dtypes)) == {"int64[pyarrow]", "string[pyarrow]", "bool[pyarrow]"}
    nullable = table.to_pandas(dtype_backend="numpy_nullable")
    assert [str(kind) for kind in nullable.dtypes] == ["Int64", "string", "Int64", "boolean"]
    assert nullable["n"].isna().sum() == arrow["n"].isna().sum() == 334
    assert table.where(col("k") < 0).to_pandas().shape == (0, 4)
    with pytest.raises(InvalidNameError, match="Did you mean 'pyarrow'"):
        table.to_pandas(dtype_backend="pyarow")  # type: ignore[arg-type]


def test_categories_and_index(table: Table) -> None:
    """Columns of texts become categories, also where conditions look at them; columns become the index."""
    frame = table.where(s=["text 1", "text 3"]).to_pandas(categories=["s"], index=["k", "b"])

    assert sorted(frame["s"].cat.categories) == ["text 1", "text 3"] or set(frame["s"].astype(str)) == {
        "text 1",
        "text 3",
    }
    assert frame.index.names == ["k", "b"]
    assert table.to_pandas(categories=["s"])["s"].astype(str).tolist() == TABLE["s"].to_pylist()
    with pytest.raises(InvalidNameError, match="categories"):
        table.to_pandas(categories=["k"])
    with pytest.raises(ColumnNotFoundError, match="'k'"):
        table.select("s").to_pandas(index="k")
    with pytest.raises(ColumnNotFoundError, match="'s'"):
        table.to_pandas(categories=["S"])


def test_the_index_that_pandas_wrote(tmp_path: Path) -> None:
    """A frame that pandas wrote comes back with its index, unless that is not selected or not wanted."""
    frame = pd.DataFrame({"x": [1, 2, 3]}, index=pd.Index(["a", "b", "c"], name="key"))
    frame.to_parquet(tmp_path / "a.parquet")
    table = Table(tmp_path / "a.parquet")

    pd.testing.assert_frame_equal(table.to_pandas(), frame)
    pd.testing.assert_frame_equal(table.where(col("x") > 1).to_pandas(), frame.iloc[1:])
    assert table.select("x").to_pandas().index.tolist() == [0, 1, 2]
    assert table.to_pandas(index=False).columns.tolist() == ["x", "key"]
    assert table.to_pandas(index="x").columns.tolist() == ["key"]


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_frames_share_arrow_s_memory(tmp_path: Path, place: str) -> None:
    """Numbers without nulls are not copied into the frame, and each column is one piece, wherever the file is."""
    data = parquet(numbers(5_000, 3), row_group_size=700)
    if place == "disk":
        (tmp_path / "a.parquet").write_bytes(data)
        table = Table(tmp_path / "a.parquet")
    else:
        open_storage("memory://pieces").create("a.parquet", [data])
        table = Table("memory://pieces/a.parquet")

    frame = table.to_pandas()

    assert all(not frame[name].to_numpy().flags.owndata for name in frame)
    frame["k"] += 1  # and yet it can be changed
    assert frame["k"].tolist() == list(range(1, 5_001))


PEAK = """
import sys, pandas, pyarrow.parquet, pyarrow.dataset
from holdall_store.tables import Table

def status(name):
    with open("/proc/self/status") as lines:
        return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])

table = Table(sys.argv[1])
table.head(5).to_pandas()
with open("/proc/self/clear_refs", "w") as peak:
    peak.write("5")  # what getrusage tells began with the memory of the process that started this one
before = status("VmRSS")
frame = table.to_pandas()
print((status("VmHWM") - before) / frame.memory_usage(index=False).sum())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the peak since a moment")
def test_peak_memory_of_a_frame(tmp_path: Path) -> None:
    """The most that is held is not much more than twice the frame, and no less than the frame."""
    write(tmp_path / "a.parquet", numbers(1_000_000, 15), row_group_size=100_000)

    done = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True)

    assert 0.9 <= float(done.stdout) <= 2.4


def test_other_frames(table: Table) -> None:
    """polars, and whatever reads Arrow's stream, get the same rows."""
    assert table.to_polars().rows() == pl.DataFrame(TABLE).rows()
    assert pl.DataFrame(table.select("k", "s")).equals(pl.DataFrame(TABLE.select(["k", "s"])))
    assert pa.table(table).equals(TABLE)
    reader = pa.RecordBatchReader.from_stream(table.head(3), schema=TABLE.schema)
    assert reader.read_all().num_rows == 3


@pytest.mark.parametrize("size", [1, 500, 5_000, 1 << 30])
def test_batches_are_about_as_large_as_asked_for(table: Table, size: int) -> None:
    """Batches have the rows in order, and none is much larger than asked for, except for a single row."""
    batches = list(table.batches(bytes=size))

    assert pa.Table.from_batches(batches).equals(TABLE)
    assert all(batch.num_rows == 1 or batch.nbytes <= size * 1.5 + 64 for batch in batches)
    assert [batch.num_rows for batch in table.select("k").head(0).batches()] == []


def test_batches_that_nobody_wants_any_more(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the iterator ends the reading: not every piece is decoded."""
    monkeypatch.setattr(_units, "UNIT_BYTES", 1)
    decoded: list[Any] = []
    original = _units.GroupUnit.decode
    monkeypatch.setattr(_units.GroupUnit, "decode", lambda self: decoded.append(self) or original(self))
    batches = table.batches()

    assert next(batches).num_rows == 100
    batches.close()  # type: ignore[attr-defined]
    assert len(decoded) <= _scan.DECODERS + 2


def test_memory_of_batches_is_bounded(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for ahead of a batch that is looked at is bounded, whatever the size of the table."""
    monkeypatch.setattr(_scan, "BYTES_AHEAD", 1 << 20)
    size = lake.put("big.parquet", numbers(400_000, 8), row_group_size=4_000)
    table = lake.table("big.parquet")
    _ = table.num_rows
    lake.asked()
    batches = table.batches(bytes=1 << 20)

    next(batches)
    asked = sum(length for _, _, length in lake.asked())
    assert asked < size / 2
    assert (
        sum(batch.num_rows for batch in batches) == 400_000 - 4_000 * (_units.UNIT_BYTES // (size // 100) + 1) or asked
    )


@pytest.mark.parametrize("by", ["bytes", "rows"])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 40])
def test_shards_share_the_rows_out(table: Table, by: Any, n: int) -> None:
    """Shards have all rows between them, in order, each in about equal part, and pickle."""
    shards = [pickle.loads(pickle.dumps(shard)) for shard in table.where(col("k") >= 150).split(n, by=by)]
    counts = [shard.num_rows for shard in shards]

    assert len(shards) == n
    assert pa.concat_tables([shard.to_arrow() for shard in shards]).equals(TABLE.slice(150))
    assert max(counts) - min(counts) <= 200
    assert all(shard.schema == TABLE.schema for shard in shards)
    assert sum(len(shard.split(2)) for shard in shards) == 2 * n


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(1, 10))
def test_shares_are_fair(weights: list[int], n: int) -> None:
    """Every item is in one share, in order, and no share has more than its part and one item."""
    found = shares(weights, n)

    assert len(found) == n
    assert [at for share in found for at in share] == list(range(len(weights)))
    assert all(sum(weights[at] for at in share) <= sum(weights) / n + max(weights, default=0) for share in found)


def test_datasets(table: Table, lake: Lake) -> None:
    """A dataset of pyarrow's has the same files, row groups and partitions."""
    found = table.where(col("k") < 250)
    assert found.dataset().to_table(filter=found.arrow_filter()).equals(TABLE.slice(0, 250))
    assert (
        sum(shard.dataset().to_table().num_rows for shard in table.split(3)) == 1_000
    )  # count_rows counts whole files
    lake.put("t/day=1/a.parquet", TABLE.slice(0, 10))
    lake.put("t/day=2/a.parquet", TABLE.slice(10, 10))
    dataset = lake.table("t").where(day=2).dataset()
    assert [fragment.path for fragment in dataset.get_fragments()] == ["bucket/t/day=2/a.parquet"]
    assert table.arrow_filter() is None


def test_a_table_tells_what_it_is(table: Table, tmp_path: Path) -> None:
    """Its repr is how it was made, and `explain` says what reading would take, before it is read."""
    chosen = table.where(col("k") > 850).select("k").head(7)

    assert repr(chosen) == f"Table({str(tmp_path)!r}, where=(col('k') > 850), select=['k'], head=7)"
    plan = chosen.explain()
    assert (plan.files, plan.files_read, plan.row_groups_read, plan.rows_at_most) == (2, 1, 2, 7)
    assert "row groups  2 of 4" in str(plan)
    assert len(table) == 1_000
    assert [info.url for info in table.files()] == [str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]
    assert table.partitions() == []
    stats = table.stats
    assert (stats["n"].min, stats["n"].max, stats["n"].null_count, stats["s"].max) == (1, 998, 334, "text 4")


def test_tables_never_change(table: Table) -> None:
    """What is derived leaves the table as it was."""
    table.where(col("k") > 5)
    table.select("k")
    table.head(1)

    assert table.to_arrow().equals(TABLE)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (lambda table: table.head(3).where(k=1), UnsupportedTypeError),
        (lambda table: table.head(3).split(2), UnsupportedTypeError),
        (lambda table: table.head(3).stats, UnsupportedTypeError),
        (lambda table: table.head(-1), InvalidNameError),
        (lambda table: table.head(1.5), InvalidNameError),
        (lambda table: table.select(), InvalidNameError),
        (lambda table: table.select(["k"]), InvalidNameError),
        (lambda table: table.select("k").select("s"), ColumnNotFoundError),
        (lambda table: table.split(0), InvalidNameError),
        (lambda table: table.split(2, by="files"), InvalidNameError),
        (lambda table: next(table.batches(bytes=0)), InvalidNameError),
    ],
)
def test_what_makes_no_sense_is_refused(table: Table, wrong: Callable[[Table], Any], error: type[Exception]) -> None:
    """Each mistake is told when it is made."""
    with pytest.raises(error):
        wrong(table)


def test_selections_follow_each_other(table: Table) -> None:
    """A selection from a selection is in its order; conditions may look at what is not selected."""
    assert table.select("s", "k", "s").select("k").where(s="text 1").head(2).to_arrow().to_pydict() == {"k": [1, 6]}


def test_a_table_needs_no_pyarrow_before_it_reads() -> None:
    """Making a table, and conditions on it, imports nothing heavy."""
    code = (
        "import sys, holdall; t = holdall.Table('s3://bucket/x').where(holdall.col('x') > 3, y=[1]).select('x').head();"
        "repr(t); print(sorted({'pyarrow', 'pandas', 'numpy', 'obstore', 'botocore', 'fsspec'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_selection_of_a_selection(tmp_path: Path) -> None:
    """Of a struct that was selected in part, only that part is selected again; what was left out is not there."""
    write(tmp_path / "a.parquet", pa.table({"a": [{"x": 1, "y": {"z": 2, "w": 3}}], "a.b": [4], "k": [5]}))
    table = Table(tmp_path).select("a.y.z", "a.b", "k")

    assert table.select("a").to_arrow().to_pylist() == [{"a": {"y": {"z": 2}}}]
    assert table.select("a.y", "a.b").select("a", "a.b").to_arrow().to_pylist() == [{"a": {"y": {"z": 2}}, "a.b": 4}]
    with pytest.raises(ColumnNotFoundError, match=r"no column 'a\.x'"):
        table.select("a.x")
