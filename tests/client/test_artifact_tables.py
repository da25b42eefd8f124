"""Frame artifacts as tables: with the verbs of tables, and only the columns that are needed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdall
from holdall import ColumnNotFoundError, UnsupportedTypeError, col
from holdall_store.storage import MemoryStorage
from holdall_store.testing import CountingStorage

ROWS = 20_000
MAKERS: dict[str, Callable[[Any], Any]] = {
    "pandas": lambda data: pd.DataFrame(data),
    "polars": lambda data: pl.DataFrame(data),
    "arrow": lambda data: pa.table(data),
    "batch": lambda data: pa.RecordBatch.from_pydict(data),
}


@pytest.fixture
def storage() -> CountingStorage:
    """Give a store in memory that counts what is asked of it."""
    return CountingStorage(MemoryStorage("tables"))


def save(storage: CountingStorage, **objects: object) -> dict[str, holdall.Artifact]:
    """Save objects, and return their handles as a client that knows nothing yet finds them."""
    with holdall.run("churn", client=holdall.Client(storage, namespace="user:ana")) as run:
        run.save(objects)
    found = holdall.Client(storage, namespace="user:ana").run("churn")
    storage.reset()
    return {artifact.name: artifact for artifact in found}


def data() -> dict[str, Any]:
    """Return columns that do not compress."""
    rng = np.random.default_rng(0)
    return {
        "k": np.arange(ROWS),
        "text": [f"t{n % 7}" for n in range(ROWS)],
        **{f"c{n}": rng.random(ROWS) for n in range(8)},
    }


@pytest.mark.parametrize("kind", MAKERS)
def test_the_verbs_of_tables(storage: CountingStorage, kind: str) -> None:
    """A frame is asked as a table of files is."""
    artifact = save(storage, train=MAKERS[kind](data()))["train"]
    frame = pd.DataFrame(data())

    table = artifact.table()

    assert isinstance(table, holdall.Table)
    assert table.num_rows == len(table) == ROWS
    assert table.schema.names == list(frame.columns)
    chosen = table.where(col("k") >= 100, text=["t1", "t2"]).select("c3", "text")
    expected = frame[(frame.k >= 100) & frame.text.isin(["t1", "t2"])][["c3", "text"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(chosen.to_pandas(), expected, check_dtype=False)
    assert chosen.num_rows == len(expected)
    assert chosen.head(3).to_arrow().num_rows == chosen.head(3).num_rows == 3
    assert sum(batch.num_rows for batch in chosen.batches(10_000)) == len(expected)
    assert chosen.to_polars().columns == ["c3", "text"]
    assert pa.table(chosen).num_rows == len(expected)
    shares = chosen.split(3)
    assert sum(part.num_rows for part in shares) == len(expected)
    assert pa.concat_tables([part.to_arrow() for part in shares]).equals(chosen.to_arrow())
    assert (table.stats["k"].min, table.stats["k"].max, table.stats["k"].null_count) == (0, ROWS - 1, 0)
    assert ([info.url for info in table.files()], table.partitions()) == ([artifact.reference], [])
    with pytest.raises(UnsupportedTypeError, match="DuckDB is given files"):
        chosen.to_duckdb()
    table.verify()
    assert table.dataset().count_rows() == ROWS
    categories = chosen.to_pandas(categories=["text"])["text"]
    assert sorted(categories.cat.categories) == ["t1", "t2"]
    assert repr(chosen).startswith(f"Table('{artifact.reference}', where=")
    assert chosen.explain().bytes < table.explain().bytes
    assert chosen.explain().columns == ("c3", "text")


@pytest.mark.parametrize("kind", MAKERS)
def test_only_the_columns_that_are_needed(storage: CountingStorage, kind: str) -> None:
    """Making a table reads no column, and a selection reads its own and those of its conditions, once."""
    artifact = save(storage, train=MAKERS[kind](data()))["train"]
    storage.reset()

    table = artifact.table()
    assert table.num_rows == ROWS
    assert storage.bytes["get"] < 100_000
    table.select("c1").where(col("c2") > 0.5).to_arrow()

    assert 2 * ROWS * 8 <= storage.bytes["get"] < 4 * ROWS * 8  # of 10 columns


def test_a_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of an artifact pickles as a reference, and its shares, too."""
    monkeypatch.setenv("HOLDALL_STORE", str(tmp_path / "store"))
    holdall.save(pd.DataFrame(data()), "churn/train")
    table = holdall.Flow("churn").latest_run["train"].table().select("k")
    table.to_arrow()

    pickled = [pickle.dumps(part) for part in table.split(4)]

    assert all(len(part) < 10_000 for part in pickled)
    assert [pickle.loads(part).num_rows for part in pickled] == [ROWS // 4] * 4
    assert pickle.loads(pickled[1]).to_pandas()["k"][0] == ROWS // 4
    parts = table.to_dask(npartitions=4)
    assert parts.npartitions == 4
    assert parts["k"].sum().compute() == sum(range(ROWS))
    with pytest.raises(holdall.InvalidNameError, match="takes none"):
        table.with_storage_options({"key": "k"})


def test_frames_of_pandas(storage: CountingStorage) -> None:
    """Indexes come along, labels that are no texts are understood as such, and dtypes stay."""
    index = pd.Index(["x", "y", "z"], name="who")
    frame = pd.DataFrame({1: [1.5, None, 2], "c": pd.Categorical(["a", "b", "a"]), "s": ["p", None, "q"]}, index=index)
    table = save(storage, train=frame)["train"].table()

    assert table.schema.names == ["1", "c", "s", "who"]
    found = table.to_pandas()
    assert found.index.equals(index)
    assert found["c"].dtype == frame["c"].dtype
    assert table.where(who="y").select("1").to_arrow().to_pylist() == [{"1": None}]
    assert table.select("who", "c").where(c="a").to_arrow().to_pylist() == [
        {"who": "x", "c": "a"},
        {"who": "z", "c": "a"},
    ]
    plain = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    pd.testing.assert_frame_equal(save(storage, train=plain)["train"].table().to_pandas(), plain)


def test_fields_of_structs(storage: CountingStorage) -> None:
    """Dots lead into structs."""
    inner = pa.table({"u": [{"id": 1, "name": "a"}, None], "a.b": [3, 4]})
    for value in (inner, pl.DataFrame(inner)):
        table = save(storage, train=value)["train"].table()
        assert table.select("u.id").to_arrow().to_pylist() == [{"u": {"id": 1}}, {"u": None}]
        assert table.where(col("u.name") == "a").select("a.b").to_arrow().to_pylist() == [{"a.b": 3}]


def test_what_is_no_table(storage: CountingStorage, tmp_path: Path) -> None:
    """It is told what it is, and what to do instead."""
    (tmp_path / "f.txt").write_text("x")
    run = save(storage, array=np.arange(5), mixed=pd.DataFrame({"a": [1], "b": [[object]]}), twice=_twice(), d={"a": 1})

    for name in ("array", "d"):
        with pytest.raises(UnsupportedTypeError, match=rf"{name}@.* is an? .*no table.*load\(\)"):
            run[name].table()
    with pytest.raises(UnsupportedTypeError, match="two columns called 'a'"):
        run["twice"].table()


def _twice() -> pd.DataFrame:
    return pd.DataFrame([[1, 2]], columns=["a", "a"])


def test_wrong_columns_and_values(storage: CountingStorage) -> None:
    """The nearest name is offered, and columns that Arrow has no type for are named when they are needed."""
    frame = pd.DataFrame({"amount": [1, 2], "odd": [complex(1), complex(2)]})
    table = save(storage, train=frame)["train"].table()

    with pytest.raises(ColumnNotFoundError, match="Did you mean 'amount'"):
        table.select("amuont").to_arrow()
    with pytest.raises(ColumnNotFoundError, match="Did you mean 'amount'"):
        table.where(amuont=1).num_rows  # noqa: B018
    assert table.select("amount").to_arrow().num_rows == 2
    with pytest.raises(UnsupportedTypeError, match="Arrow has no type for"):
        table.to_arrow()
    with pytest.raises(UnsupportedTypeError, match="a view of another artifact"):
        save(storage, again=table)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.integers(-3, 3), st.none() | st.sampled_from("abc")), max_size=12),
    st.integers(-3, 3),
    st.none() | st.integers(0, 5),
    st.sampled_from(["pandas", "polars", "arrow"]),
)
def test_any_selection(rows: list[tuple[Any, Any]], value: int, head: int | None, kind: str) -> None:
    """Rows are those that Python itself finds, for any frame and condition."""
    schema = pa.schema([("k", pa.int64()), ("s", pa.string())])
    whole = pa.table({"k": [k for k, _ in rows], "s": [s for _, s in rows]}, schema=schema)
    values = {"pandas": whole.to_pandas(types_mapper=pd.ArrowDtype), "polars": pl.DataFrame(whole), "arrow": whole}
    table = save(CountingStorage(MemoryStorage("any")), train=values[kind])["train"].table()

    chosen = table.where((col("k") > value) | col("s").isin(["a", None]))
    expected = [
        row for row in whole.to_pylist() if (row["k"] is not None and row["k"] > value) or row["s"] in ("a", None)
    ]
    if head is not None:
        chosen, expected = chosen.head(head), expected[:head]
    assert chosen.to_arrow().to_pylist() == expected
    assert chosen.num_rows == len(expected)
