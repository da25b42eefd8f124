"""Writing tables: what is written is read back, by us and by others, and what does not fit is refused before."""

from __future__ import annotations

import datetime as dt
import decimal
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from tests.tables._lake import write

from holdall_store.errors import (
    AlreadyExistsError,
    ColumnNotFoundError,
    FormatError,
    IntegrityError,
    InvalidNameError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from holdall_store.tables import Table, _files, _source_local, col

ROWS = pa.table({"day": ["a", "b", "a", None], "x": [1, 2, 3, 4], "s": ["p", "q", None, "r"]})


def rows_of(table: Any) -> list[dict[str, Any]]:
    """Return the rows in an order of their own."""
    found: list[dict[str, Any]] = table.to_arrow().to_pylist() if isinstance(table, Table) else table.to_pylist()
    return sorted(found, key=repr)


def files_in(folder: Path) -> list[str]:
    """Return the data files of a table, as everybody sees them."""
    found = [path for path in folder.rglob("*.parquet") if not path.relative_to(folder).parts[0].startswith("_")]
    return sorted(str(path.relative_to(folder)) for path in found)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A frame becomes a table; more is appended; an overwrite replaces all, and nothing of the old is left."""
    folder = tmp_path / "t"
    done = Table.write(folder, ROWS)
    assert Table(folder).to_arrow().equals(ROWS)
    assert (done.version, done.files, done.rows, done.replaced) == (0, 1, 4, 0)
    assert done.bytes == sum(path.stat().st_size for path in folder.glob("*.parquet"))

    assert Table.write(str(folder), ROWS.slice(1, 2)).version == 1
    assert rows_of(Table(folder)) == rows_of(pa.concat_tables([ROWS, ROWS.slice(1, 2)]))
    done = Table.write(folder, pa.table({"y": [1.5]}), mode="overwrite")
    assert (done.version, done.replaced) == (2, 2)
    assert Table(folder).to_arrow().to_pylist() == [{"y": 1.5}]
    assert len(files_in(folder)) == 1
    with pytest.raises(AlreadyExistsError, match="mode='append'") as caught:
        Table.write(folder, ROWS, mode="error")
    assert isinstance(caught.value, FileExistsError)
    assert Table.write(tmp_path / "new", ROWS, mode="error").version == 0


def test_partitions_are_folders_of_hives(tmp_path: Path) -> None:
    """Values become names of folders, quoted where that is needed, and come back as the values of their types."""
    frame = pa.table(
        {
            "x": range(7),
            "text": ["a/b", "50%", "a=b c", "", None, "__HIVE_DEFAULT_PARTITION__", "ü.é"],
            "number": pa.array([1, -2, None, 8, 9, 10, 11], pa.int16()),
            "day": pa.array([dt.date(2026, 11, d) for d in range(1, 7)] + [None], pa.date32()),
        }
    )
    Table.write(tmp_path, frame, partition_by=["text", "number", "day"])
    table = Table(tmp_path)

    assert table.schema.equals(frame.schema)
    assert rows_of(table) == rows_of(frame)
    assert table.where(text="a/b").to_arrow().column("x").to_pylist() == [0]
    assert table.where(text=None).to_arrow().column("x").to_pylist() == [4]
    assert [info.partition["number"] for info in table.where(col("day") > dt.date(2026, 11, 5)).files()] == [10]
    assert table.stats["day"].max == dt.date(2026, 11, 6)
    assert (tmp_path / "text=a%2Fb" / "number=1" / "day=2026-11-01").is_dir()
    assert len(list(tmp_path.glob("text=__HIVE_DEFAULT_PARTITION__/*/*/*.parquet"))) == 1
    assert pq.read_schema(next(tmp_path.rglob("*.parquet"))).names == ["x"]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.string(), ["08", "9", None]),
        (pa.uint64(), [2**64 - 1, 0, None]),
        (pa.int8(), [-5, 5, None]),
        (pa.float64(), [0.1, 1e300, -0.0, float("nan"), float("inf"), None]),
        (pa.float32(), [0.1, None]),
        (pa.bool_(), [True, False, None]),
        (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
        (pa.timestamp("us", tz="Europe/Berlin"), [dt.datetime(2026, 11, 1, 1, 2, 3, 4, tzinfo=dt.UTC), None]),
        (pa.timestamp("s"), [dt.datetime(1960, 1, 1, 0, 0, 1), None]),
        (pa.decimal128(9, 3), [decimal.Decimal("1.250"), None]),
        (pa.large_string(), ["x", None]),
        (pa.dictionary(pa.int32(), pa.string()), ["x", "y", "x", None]),
        (pa.dictionary(pa.int32(), pa.int64()), [3, None]),
        (pa.null(), [None, None]),
    ],
)
def test_every_type_of_partitions(tmp_path: Path, kind: pa.DataType, values: list[Any]) -> None:
    """Whatever a folder's name can tell comes back as the same value of the same type."""
    frame = pa.table({"p": pa.array(values, kind), "x": range(len(values))})
    Table.write(tmp_path, frame, partition_by="p")

    found = Table(tmp_path).to_arrow().sort_by("x")
    assert found.schema.equals(frame.schema)
    assert repr(found.column("p").to_pylist()) == repr(frame.column("p").to_pylist())
    assert Table(tmp_path).where(p=None).num_rows == values.count(None)
    if kind != pa.null() and not pa.types.is_dictionary(kind):
        assert Table(tmp_path).where(col("p").isin(values[:1])).num_rows == 1


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"\xff"]), pa.array([[1]]), pa.array([{"a": 1}]), pa.array([dt.time(1, 2)]),
        pa.array([dt.timedelta(1)]), pa.array(["x" * 300]),
    ],
)  # fmt: skip
def test_what_no_folder_can_tell(tmp_path: Path, column: pa.Array) -> None:
    """A partition column whose values would not come back is refused by name, before anything is written."""
    with pytest.raises((UnsupportedTypeError, InvalidNameError), match="'p'"):
        Table.write(tmp_path / "t", pa.table({"p": column, "x": [1]}), partition_by=["p"])
    assert files_in(tmp_path) == []


def test_every_type_of_columns(tmp_path: Path) -> None:
    """Every type that Parquet can hold comes back, also those that it holds as others."""
    moment = dt.datetime(2026, 11, 1, 1, 2, 3)
    columns = {
        "seconds": pa.array([moment, None], pa.timestamp("s")),
        "nano": pa.array([moment, None], pa.timestamp("ns", tz="UTC")),
        "time": pa.array([dt.time(1, 2, 3), None], pa.time32("s")),
        "date64": pa.array([dt.date(2026, 11, 1), None], pa.date64()),
        "length": pa.array([dt.timedelta(seconds=3), None], pa.duration("s")),
        "half": pa.array(np.array([1.5, 2], np.float16)),
        "words": pa.array(["b", None]).dictionary_encode(),
        "numbers": pa.array([5, None]).dictionary_encode(),
        "ordered": pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int32()), ["lo", "hi"], ordered=True),
        "nothing": pa.nulls(2),
        "lists": pa.array([[1, None], None], pa.list_(pa.int8())),
        "fixed": pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        "struct": pa.array([{"a": {"b": 1}, "c": "x"}, None]),
        "money": pa.array([decimal.Decimal("1.25"), None], pa.decimal256(60, 2)),
        "bytes": pa.array([b"\0\xff", None], pa.large_binary()),
        "flag": pa.array([True, None]),
        "big": pa.array([2**64 - 1, None], pa.uint64()),
        "view": pa.array(["x", None], pa.string_view()),
        "with.dot": pa.array([1, None]),
    }
    frame = pa.table(columns)
    Table.write(tmp_path, frame)
    Table.write(tmp_path, frame)

    found = Table(tmp_path).to_arrow()
    expected = frame.set_column(frame.schema.get_field_index("view"), "view", pa.array(["x", None], pa.string()))
    assert found.schema.remove_metadata().equals(expected.schema)
    assert found.equals(pa.concat_tables([expected, expected]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([pa.MonthDayNano([1, 2, 3])]),
        pa.array([{}], pa.struct([])),
        pa.RunEndEncodedArray.from_arrays([1], [7]),
        pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]),
        pa.StructArray.from_arrays([pa.array([7]).dictionary_encode()], ["a"]),
    ],
)
def test_what_parquet_cannot_hold(tmp_path: Path, column: Any) -> None:
    """A column that would be lost, or come back as another, is refused by its name, and nothing is written."""
    with pytest.raises(UnsupportedTypeError, match="'bad column'"):
        Table.write(tmp_path / "t", pa.table({"x": [1], "bad column": column}))
    assert not (tmp_path / "t").exists()


def batches() -> Any:
    """Yield record batches, one by one."""
    yield from ROWS.to_batches(max_chunksize=1)


FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: ROWS.to_pandas(),
    "polars": lambda: pl.DataFrame(ROWS),
    "table": lambda: ROWS,
    "batch": lambda: ROWS.combine_chunks().to_batches()[0],
    "reader": lambda: ROWS.to_reader(max_chunksize=2),
    "dataset": lambda: pads.dataset(ROWS),
    "batches": batches,
    "list of frames": lambda: [ROWS.slice(0, 2).to_pandas(), ROWS.slice(2).to_pandas()],
    "list of polars": lambda: [pl.DataFrame(ROWS)],
}


@pytest.mark.parametrize("kind", FRAMES)
def test_whatever_holds_rows_can_be_written(tmp_path: Path, kind: str) -> None:
    """Frames, streams and iterables of batches give the same rows in their order."""
    Table.write(tmp_path, FRAMES[kind]())

    assert Table(tmp_path).to_arrow().to_pylist() == ROWS.to_pylist()


def test_a_table_is_written_from_another(tmp_path: Path) -> None:
    """A selection of a table becomes one, also in the place of the table itself."""
    Table.write(tmp_path / "a", ROWS, partition_by="day")
    Table.write(tmp_path / "b", Table(tmp_path / "a").where(day="a").select("x", "day"), partition_by="day")
    assert rows_of(Table(tmp_path / "b")) == [{"x": 1, "day": "a"}, {"x": 3, "day": "a"}]

    Table.write(tmp_path / "a", Table(tmp_path / "a").where(col("x") > 1), mode="overwrite")
    assert rows_of(Table(tmp_path / "a")) == rows_of(ROWS.slice(1))


@pytest.mark.parametrize(
    "frame", [None, 3, "rows", {"x": [1]}, [], [1], [[1]], pl.DataFrame(ROWS).lazy(), pa.table({"a\0b": [1]}), pa.table({}), pd.DataFrame({"x": [1, "a"]}),
              pd.DataFrame([[1, 2]], columns=["x", "x"]), [ROWS, ROWS.select(["x"])], [pa.table({"x": [1]}), pa.table({"x": ["a"]})]],
)  # fmt: skip
def test_what_holds_no_rows(tmp_path: Path, frame: Any) -> None:
    """What is no frame, or none that a table can hold, is refused with a word on what would do."""
    with pytest.raises(UnsupportedTypeError):
        Table.write(tmp_path / "t", frame)
    assert files_in(tmp_path) == []


def test_an_index_of_pandas_is_kept(tmp_path: Path) -> None:
    """An index that only counts the rows is none; any other comes back with to_pandas."""
    frame = pd.DataFrame({"x": [1, 2], "c": pd.Categorical(["a", "b"])}, index=pd.Index(["p", "q"], name="key"))
    Table.write(tmp_path / "a", frame)
    Table.write(tmp_path / "a", frame)
    found = Table(tmp_path / "a").to_pandas()
    pd.testing.assert_frame_equal(
        found.astype({"c": "object"}), pd.concat([frame, frame]).astype({"c": "object"}), check_index_type=False
    )
    assert Table(tmp_path / "a").schema.names == ["x", "c", "key"]

    Table.write(tmp_path / "b", pd.DataFrame({"x": [1, 2]}, index=pd.RangeIndex(5, 7)))
    assert Table(tmp_path / "b").schema.names == ["x"]
    assert list(Table(tmp_path / "b").to_pandas().index) == [5, 6]


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (pa.table({"dya": ["a"], "x": [1], "s": ["p"]}), ColumnNotFoundError, r"Did you mean 'day'\?.*merge_schema"),
        (pa.table({"day": ["a"], "x": [1]}), ColumnNotFoundError, r"no column 's'.*merge_schema"),
        (pa.table({"day": ["a"], "x": ["1"], "s": ["p"]}), FormatError, "'x' is string in the frame and int64"),
        (pa.table({"day": ["a"], "x": [1.5], "s": ["p"]}), FormatError, "merge_schema=True to widen"),
        (pa.table({"day": ["a"], "x": pa.array([2**63], pa.uint64()), "s": ["p"]}), FormatError, "'x'"),
    ],
)
def test_a_schema_that_does_not_fit(tmp_path: Path, frame: pa.Table, error: type[Exception], message: str) -> None:
    """Another name or type is an error that says which, and the way out; nothing is written."""
    Table.write(tmp_path, ROWS)
    before = files_in(tmp_path)

    with pytest.raises(error, match=message):
        Table.write(tmp_path, frame)
    assert files_in(tmp_path) == before
    assert rows_of(Table(tmp_path)) == rows_of(ROWS)


def test_what_has_room_fits(tmp_path: Path) -> None:
    """Narrower numbers, other layouts of texts, and columns of nulls are taken as they are, in any order of columns."""
    Table.write(tmp_path, ROWS)
    Table.write(
        tmp_path,
        pa.table(
            {
                "s": pa.nulls(1),
                "x": pa.array([7], pa.int8()),
                "day": pa.array(["b"], pa.large_string()).dictionary_encode(),
            }
        ),
    )

    assert Table(tmp_path).schema.equals(ROWS.schema)
    assert {"day": "b", "x": 7, "s": None} in rows_of(Table(tmp_path))
    with pytest.raises(FormatError, match="'x' is double in the frame and int64"):
        Table.write(tmp_path, ROWS.set_column(1, "x", pa.array([1e300] * 4)))


def test_a_schema_is_merged_on_request(tmp_path: Path) -> None:
    """With merge_schema new columns come, those that lack are null, and types widen as they do for reading."""
    Table.write(tmp_path, pa.table({"x": pa.array([1], pa.int32()), "y": ["a"]}))
    Table.write(tmp_path, pa.table({"x": [2.5], "z": [True]}), merge_schema=True)

    table = Table(tmp_path)
    assert table.schema.equals(pa.schema({"x": pa.float64(), "y": pa.string(), "z": pa.bool_()}))
    assert rows_of(table) == [{"x": 1.0, "y": "a", "z": None}, {"x": 2.5, "y": None, "z": True}]
    assert Table(tmp_path, as_of=0).schema.names == ["x", "y"]
    Table.write(tmp_path, pa.table({"x": [3], "y": ["b"], "z": [False]}))
    with pytest.raises(FormatError, match="no type has room"):
        Table.write(tmp_path, pa.table({"x": ["text"]}), merge_schema=True)


def test_a_partitioned_table_stays_so(tmp_path: Path) -> None:
    """An append takes the partitions of the table, and may not have others; an overwrite chooses anew."""
    Table.write(tmp_path, ROWS, partition_by=["day"])
    Table.write(tmp_path, ROWS)
    assert rows_of(Table(tmp_path)) == sorted(rows_of(ROWS) * 2, key=repr)
    assert all(name.startswith("day=") for name in files_in(tmp_path))
    with pytest.raises(InvalidNameError, match="partitioned by day, and not by s"):
        Table.write(tmp_path, ROWS, partition_by=["s"])

    Table.write(tmp_path, ROWS, partition_by=["s"], mode="overwrite")
    assert rows_of(Table(tmp_path)) == rows_of(ROWS)
    assert all(name.startswith("s=") for name in files_in(tmp_path))


def test_partitions_are_overwritten(tmp_path: Path) -> None:
    """Only the partitions that the frame has rows of are replaced, whoever wrote them and however their folders are spelled."""
    write(tmp_path / "day=b%61" / "other.parquet", pa.table({"x": [50]}))
    write(tmp_path / "day=c" / "other.parquet", pa.table({"x": [60]}))
    Table.write(tmp_path, pa.table({"x": [1, 2], "day": ["a", "ba"]}))
    done = Table.write(tmp_path, pa.table({"x": [3], "day": ["ba"]}), mode="overwrite_partitions")

    assert done.replaced == 2
    assert rows_of(Table(tmp_path)) == [{"x": 1, "day": "a"}, {"x": 3, "day": "ba"}, {"x": 60, "day": "c"}]
    assert not (tmp_path / "day=b%61" / "other.parquet").exists()
    Table.write(tmp_path / "plain", ROWS)
    with pytest.raises(InvalidNameError, match="partition_by"):
        Table.write(tmp_path / "plain", ROWS, mode="overwrite_partitions")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "apend"}, r"Did you mean 'append'\?"), ({"mode": None}, "mode="), ({"partition_by": ["dya"]}, r"'day'\?"),
        ({"partition_by": 3}, "partition_by=3"), ({"partition_by": ["x", "x"]}, "twice"), ({"partition_by": [1]}, "partition_by"),
        ({"partition_by": ["day", "x", "s"]}, "one at least"), ({"sort_by": ["X"]}, r"'x'\?"), ({"sort_by": 3}, "sort_by=3"),
        ({"sort_by": [("x", "down")]}, "descending"), ({"compression": "zst"}, r"'zstd'\?"), ({"file_bytes": 0}, "file_bytes"),
        ({"row_group_bytes": True}, "row_group_bytes"), ({"storage_options": {"key": "k"}}, "storage_options"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    """What is misspelled is said with the nearest that would do, before anything is made."""
    with pytest.raises((InvalidNameError, ColumnNotFoundError), match=message):
        Table.write(tmp_path / "t", ROWS, **options)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("url", [None, ["a"], "", "t/*.parquet", "s3://", "nosuch://x/y"])
def test_places_that_are_none(url: Any) -> None:
    """A table is written to one folder, which has a name."""
    with pytest.raises(InvalidNameError):
        Table.write(url, ROWS)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """Where a file lies no table can be."""
    path = write(tmp_path / "a.parquet", ROWS)
    for place in (path, path / "below"):
        with pytest.raises(InvalidNameError, match=r"a\.parquet.* a table is a folder"):
            Table.write(place, ROWS)
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "0.json").touch()
    with pytest.raises(FormatError, match="Delta"):
        Table.write(tmp_path, ROWS)


def test_empty_frames(tmp_path: Path) -> None:
    """A frame without rows makes a table without rows, whose columns are known, with partitions and without."""
    empty = ROWS.slice(0, 0)
    for number, names in enumerate(([], ["day"])):
        folder = tmp_path / str(number)
        Table.write(folder, empty, partition_by=names)
        assert Table(folder).to_arrow().equals(empty)
        assert (Table(folder).num_rows, Table(folder).where(x=1).head(3).to_pandas().shape) == (0, (0, 3))
        Table.write(folder, ROWS)
        assert rows_of(Table(folder)) == rows_of(ROWS)
        Table.write(folder, empty, mode="overwrite")
        assert Table(folder).to_arrow().equals(empty)
        assert Table(folder).partitions() == []
    assert pq.read_table(tmp_path / "0").schema.names == ROWS.schema.names


def test_rows_are_sorted_on_request(tmp_path: Path) -> None:
    """A frame is sorted as a whole before it becomes files, a stream file by file; statistics then leave most out."""
    random = np.random.default_rng(7)
    frame = pa.table({"k": random.permutation(20_000), "v": random.random(20_000), "p": [n % 2 for n in range(20_000)]})
    Table.write(tmp_path / "a", frame, sort_by="k", file_bytes=1, row_group_bytes=40_000)
    table = Table(tmp_path / "a")
    assert table.to_arrow().equals(frame.sort_by("k"))
    assert len(table.files()) > 5
    assert table.where(col("k") < 100).explain().files_read == 1
    Table.write(tmp_path / "b", frame.to_reader(max_chunksize=1000), sort_by=[("k", "descending")], partition_by="p")
    for info in Table(tmp_path / "b").files():
        keys = pq.read_table(info.url, partitioning=None).column("k").to_pylist()
        assert keys == sorted(keys, reverse=True)
        (order,) = pq.ParquetFile(info.url).metadata.row_group(0).sorting_columns
        assert (order.column_index, order.descending) == (0, True)
    assert rows_of(Table(tmp_path / "b")) == rows_of(frame)
    with pytest.raises(UnsupportedTypeError, match="sorted by l"):
        Table.write(tmp_path / "c", pa.table({"l": [[1], [2]]}), sort_by="l")


def test_files_and_row_groups_have_their_sizes(tmp_path: Path) -> None:
    """Many small batches share row groups, and these share files, of about the sizes that were asked for."""
    random = np.random.default_rng(1)
    frame = pa.table({"a": random.random(200_000), "b": random.random(200_000)})
    Table.write(tmp_path, frame.to_batches(max_chunksize=500), file_bytes=1 << 20, row_group_bytes=256 << 10)

    files = [pq.ParquetFile(info.url).metadata for info in Table(tmp_path).files()]
    assert 2 <= len(files) <= 4
    rows = [each.row_group(at).num_rows for each in files for at in range(each.num_row_groups)]
    assert sum(rows) == 200_000
    assert all(10_000 < each < 20_000 for each in rows[:-1])
    assert Table(tmp_path).to_arrow().equals(frame)


def test_others_read_what_was_written(tmp_path: Path) -> None:
    """A table is a tree of Hive's for pyarrow, DuckDB, polars and pandas, also after an overwrite."""
    folder = tmp_path / "t"
    Table.write(folder, ROWS, partition_by=["day"])
    Table.write(folder, ROWS.slice(0, 3), mode="overwrite", partition_by=["day"])
    Table.write(folder, ROWS.slice(3))

    expected = [(1, "a"), (2, "b"), (3, "a"), (4, None)]
    arrow = pads.dataset(
        folder, partitioning=pads.partitioning(pa.schema([("day", pa.string())]), flavor="hive")
    ).to_table()
    assert sorted(zip(arrow["x"].to_pylist(), arrow["day"].to_pylist(), strict=True)) == expected
    found = (
        duckdb.connect()
        .execute(f"select x, day from read_parquet('{folder}/**/*.parquet', hive_partitioning = true) order by x")
        .fetchall()
    )
    assert found == expected
    polars = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).select("x", "day").collect().sort("x")
    assert polars.rows() == expected
    assert sorted(pd.read_parquet(folder, partitioning=None)["x"]) == [1, 2, 3, 4]


def test_a_tree_of_others_needs_no_adoption(tmp_path: Path) -> None:
    """Files that others wrote are rows before and after our commits, until one replaces them; new ones come at once."""
    write(tmp_path / "n=1" / "part-0.parquet", pa.table({"x": [1]}))
    Table.write(tmp_path, pa.table({"x": [2], "n": [2]}))
    write(tmp_path / "n=3" / "part-0.parquet", pa.table({"x": [3]}))
    assert rows_of(Table(tmp_path)) == [{"x": 1, "n": 1}, {"x": 2, "n": 2}, {"x": 3, "n": 3}]
    with pytest.raises(InvalidNameError, match="partitioned by n"):
        Table.write(tmp_path, pa.table({"x": [2], "n": [2]}), partition_by=["x"])

    assert Table.write(tmp_path, pa.table({"x": [4], "n": [4]}), mode="overwrite", partition_by="n").replaced == 3
    assert rows_of(Table(tmp_path)) == [{"x": 4, "n": 4}]
    assert len(files_in(tmp_path)) == 1
    # The same name again, from others, is a file of its own.
    write(tmp_path / "n=1" / "part-0.parquet", pa.table({"x": [5]}))
    assert rows_of(Table(tmp_path)) == [{"x": 4, "n": 4}, {"x": 5, "n": 1}]


def test_replaced_files_can_be_kept(tmp_path: Path) -> None:
    """With keep_replaced what was replaced stays, unseen, whoever wrote it: older versions are read as they were."""
    write(tmp_path / "theirs.parquet", pa.table({"x": [1]}))
    Table.write(tmp_path, pa.table({"x": [2]}))
    Table.write(tmp_path, pa.table({"x": [3]}), mode="overwrite", keep_replaced=True)
    Table.write(tmp_path, pa.table({"x": [4]}))

    assert rows_of(Table(tmp_path)) == [{"x": 3}, {"x": 4}]
    assert rows_of(Table(tmp_path, as_of=0)) == [{"x": 1}, {"x": 2}]
    assert len(files_in(tmp_path)) == 4
    assert rows_of(Table(f"{tmp_path}/*.parquet")) == [{"x": 3}, {"x": 4}]
    assert rows_of(Table(f"{tmp_path}/*.parquet", as_of=1)) == [{"x": 3}]


def test_what_a_write_left_behind_is_no_data(tmp_path: Path) -> None:
    """A file of ours that no commit names does not count; a folder with nothing else says so."""
    Table.write(tmp_path / "t", ROWS)
    (name,) = files_in(tmp_path / "t")
    stray = name.replace("-00000.", "-00001.")
    os.link(tmp_path / "t" / name, tmp_path / "t" / stray)
    assert rows_of(Table(tmp_path / "t")) == rows_of(ROWS)

    write(tmp_path / "u" / name, ROWS)
    with pytest.raises(TableNotFoundError, match="did not come to its end.*_holdall"):
        Table(tmp_path / "u").to_arrow()
    assert rows_of(Table(f"{tmp_path}/u/*.parquet")) == rows_of(ROWS)
    Table.write(tmp_path / "u", ROWS.slice(1))
    assert rows_of(Table(tmp_path / "u")) == rows_of(ROWS.slice(1))


def test_files_that_are_gone_are_missed(tmp_path: Path) -> None:
    """A file that the log names and somebody deleted is an error that names it, never fewer rows."""
    Table.write(tmp_path, ROWS)
    Table.write(tmp_path, ROWS)
    name = files_in(tmp_path)[0]
    (tmp_path / name).unlink()

    with pytest.raises(IntegrityError, match=name):
        Table(tmp_path).to_arrow()
    Table.write(tmp_path, ROWS, mode="overwrite")
    assert rows_of(Table(tmp_path)) == rows_of(ROWS)


def test_a_table_can_be_copied(tmp_path: Path) -> None:
    """Nothing in a table names its place."""
    import shutil

    Table.write(tmp_path / "a", ROWS, partition_by="day")
    Table.write(tmp_path / "a", ROWS)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    Table.write(tmp_path / "b", ROWS)

    assert len(Table(tmp_path / "a")) == 8
    assert len(Table(tmp_path / "b")) == 12


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    """A log that is not what was written is an error that names the record, for readers and writers."""
    Table.write(tmp_path, ROWS)
    path = tmp_path / "_holdall" / "00000000"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"rows":4', b'"rows":5'))

    with pytest.raises(IntegrityError, match="00000000"):
        Table(tmp_path).to_arrow()
    with pytest.raises(IntegrityError, match="00000000"):
        Table.write(tmp_path, ROWS)


def test_engines_get_the_partitions_in_their_types(tmp_path: Path) -> None:
    """What is handed to an engine has the live files alone, and the types that the log tells."""
    frame = pa.table({"day": pa.array([dt.date(2026, 11, 1), None]), "s": ["08", None], "x": [1, 2]})
    Table.write(tmp_path, frame.slice(1), partition_by=["day", "s"])
    Table.write(tmp_path, frame, mode="overwrite", partition_by=["day", "s"], keep_replaced=True)
    table = Table(tmp_path)

    for found in (
        table.to_duckdb().to_arrow_table(),
        table.to_daft().to_arrow(),
        table.dataset().to_table(),
    ):
        assert sorted(found.to_pylist(), key=repr) == rows_of(frame)
        assert found.schema.field("day").type == pa.date32()


def test_memory_is_bounded_by_ending_files_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in many partitions at once is written when it is too much, the largest first; no row is lost, and none moved."""
    monkeypatch.setattr(_files, "HELD_BYTES", 30_000)
    monkeypatch.setattr(_files, "SORTED_BYTES", 8_000)
    frame = pa.table(
        {"p": [n % 7 for n in range(21_000)], "x": range(21_000), "y": [n * 31 % 17 for n in range(21_000)]}
    )
    held = []
    finish = _files._finish

    def watched(file: Any, layout: Any) -> Any:
        held.append(file.held_bytes)
        return finish(file, layout)

    monkeypatch.setattr(_files, "_finish", watched)
    Table.write(tmp_path / "a", frame.to_batches(max_chunksize=700), partition_by="p")
    assert len(held) > 7
    assert max(held) <= 30_000
    found = Table(tmp_path / "a").to_arrow()
    for part in range(7):
        assert found.filter(pc.field("p") == part).column("x").to_pylist() == list(range(part, 21_000, 7))

    Table.write(tmp_path / "b", frame.to_batches(max_chunksize=700), partition_by="p", sort_by="y")
    assert rows_of(Table(tmp_path / "b")) == rows_of(frame)
    for info in Table(tmp_path / "b").files():
        y = pq.read_table(info.url, partitioning=None).column("y").to_pylist()
        assert y == sorted(y)


def test_a_record_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that another builds on is looked for where a listing did not show it; if it is gone, that is said."""
    for _ in range(3):
        Table.write(tmp_path, ROWS)
    walk = _source_local._walk
    monkeypatch.setattr(
        _source_local, "_walk", lambda folder: (each for each in walk(folder) if not each.key.endswith("/00000000"))
    )
    assert Table(tmp_path).num_rows == 12
    (tmp_path / "_holdall" / "00000000").unlink()
    with pytest.raises(IntegrityError, match="00000000 is gone"):
        Table(tmp_path).to_arrow()


UNFIT: dict[str, Callable[[], Any]] = {
    "objects of polars": lambda: pl.DataFrame({"x": [1], "bad": pl.Series([object()], dtype=pl.Object)}),
    "wide integers": lambda: pl.DataFrame({"x": [1], "bad": pl.Series([1], dtype=pl.Int128)}),
    "list views": lambda: pa.table({"bad": pa.array([], pa.list_view(pa.int64()))}),
    "inner list views": lambda: pa.table({"bad": pa.array([], pa.struct([("x", pa.list_view(pa.int64()))]))}),
    "negative scale": lambda: pa.table({"bad": pa.array([decimal.Decimal(100)], pa.decimal128(5, -2))}),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_columns_that_nobody_could_read_back(tmp_path: Path, kind: str) -> None:
    """Addresses of objects, and types that Arrow or Parquet do not have, are refused by the column's name."""
    with pytest.raises(UnsupportedTypeError, match="The column 'bad' is "):
        Table.write(tmp_path / "t", UNFIT[kind]())
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("series", [pd.Series([1], name="x"), pl.Series("x", [1])])
def test_one_column_is_no_table(tmp_path: Path, series: Any) -> None:
    """A series has no named columns: the error tells how it gets one."""
    with pytest.raises(UnsupportedTypeError, match="to_frame"):
        Table.write(tmp_path / "t", series)


def test_a_partition_is_not_written_past_its_table(tmp_path: Path) -> None:
    """Rows in the folder of a partition would be nobody's: they go to the table."""
    Table.write(tmp_path / "t", ROWS, partition_by=["day", "s"])
    with pytest.raises(InvalidNameError, match="with the columns day, s"):
        Table.write(tmp_path / "t" / "day=a" / "s=p", pa.table({"x": [9]}))
    assert Table(tmp_path / "t").num_rows == 4
    Table.write(tmp_path / "of=none", ROWS)
    assert Table(tmp_path / "of=none").num_rows == 4


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (pa.array([0.0, 1.0, float("nan")]), pa.array([-0.0, float("nan")])),
        (pa.array([-0.0, 1.0], pa.float32()), pa.array([0.0], pa.float32())),
    ],
)
def test_equal_numbers_are_one_partition(tmp_path: Path, old: pa.Array, new: pa.Array) -> None:
    """Zero has two folders, with a sign and without, and is one partition to be overwritten."""
    Table.write(tmp_path, pa.table({"p": old, "x": [1] * len(old)}), partition_by="p")
    Table.write(tmp_path, pa.table({"p": new, "x": [2] * len(new)}), mode="overwrite_partitions")
    assert sorted(Table(tmp_path).to_arrow()["x"].to_pylist()) == [1] + [2] * len(new)


def test_words_that_are_nearly_right(tmp_path: Path) -> None:
    """A pair in place of a list of pairs, numbers of NumPy, and ages of the future are understood, or told apart."""
    Table.write(tmp_path, ROWS)
    with pytest.raises(ColumnNotFoundError, match=r"sort_by=\[\('x', 'descending'\)\]"):
        Table.write(tmp_path, ROWS, sort_by=("x", "descending"))
    assert Table(tmp_path, as_of=np.int64(0)).num_rows == 4  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError, match="a time to come"):
        Table.vacuum(tmp_path, older_than=dt.timedelta(-1))


def test_a_file_that_is_no_data_is_in_the_way(tmp_path: Path) -> None:
    """The error for a text in the folder tells what it may be called, and with that name it is in nobody's way."""
    write(tmp_path / "a.parquet", ROWS)
    (tmp_path / "README.md").write_text("About this table.")
    with pytest.raises(FormatError, match=r"README\.md is no Parquet file.*begins"):
        Table.write(tmp_path, ROWS)
    (tmp_path / "README.md").rename(tmp_path / "_README.md")
    Table.write(tmp_path, ROWS)
    assert Table(tmp_path).num_rows == 8
