"""Tables as artifacts: references to the exact files, and not their data."""

from __future__ import annotations

import copy
import datetime as dt
import json
import pickle
from pathlib import Path
from typing import Any

import deltalake
import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serializers._helpers import Buffers
from tests.tables._iceberg_tables import catalog
from tests.tables._lake import Lake, numbers, write

import holdall
from holdall_store.errors import FormatError, HoldallError, IntegrityError, UnsupportedTypeError
from holdall_store.serializers import decode, encode
from holdall_store.tables import Table, _footer, col

OLD, NEW = numbers(100, 2, seed=1), numbers(100, 2, seed=2)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save into a store of the test's own."""
    monkeypatch.setenv("HOLDALL_STORE", str(tmp_path / "store"))


def again(table: Any) -> Any:
    """Return what was made of an object by encoding and decoding it, without trust."""
    encoded = encode(table)
    assert not encoded.runs_code
    return decode(json.loads(msgspec.json.encode(encoded.node)), Buffers(encoded), trust=False)


def test_a_table_is_saved_as_a_reference(tmp_path: Path) -> None:
    """What is loaded has the same rows, whatever came since; the store has none of them, and no pickle."""
    write(tmp_path / "lake" / "day=1" / "a.parquet", OLD)
    write(tmp_path / "lake" / "day=2" / "b.parquet", NEW)
    table = Table(tmp_path / "lake").where(col("k") < 10, day=[2, 3]).select("k", "day").head(5)
    with holdall.run("train") as run:
        run.save(train=table, both={"t": table, "n": 1})
    write(tmp_path / "lake" / "day=2" / "0.parquet", OLD)

    found = holdall.load("train/train")

    assert isinstance(found, holdall.Table)
    assert found.to_arrow().equals(table.to_arrow())
    assert holdall.load("train/both")["t"].to_arrow().num_rows == 5
    assert holdall.load("train/train", columns=["day"]).to_arrow().equals(table.select("day").to_arrow())
    artifact = holdall.Flow("train").latest_run["train"]
    assert artifact.table().to_arrow().equals(table.to_arrow())
    assert (artifact.type, artifact.runs_code) == ("holdall_store.tables.Table", False)
    assert artifact.size < 3000 < (tmp_path / "lake/day=2/b.parquet").stat().st_size


def test_a_table_with_views_is_saved_as_one(tmp_path: Path) -> None:
    """`holdall.Table`, which has views for notebooks, is saved as what it is, and comes back so; nothing is pickled."""
    table = holdall.Table(write(tmp_path / "a.parquet", OLD)).select("k")
    artifact = holdall.save(table, "train/t")

    assert (artifact.type, artifact.runs_code) == ("holdall.Table", False)
    assert type(holdall.load("train/t")) is type(artifact.table()) is holdall.Table
    assert holdall.load("train/t").to_arrow().equals(table.to_arrow())


def test_files_that_changed_since_raise(tmp_path: Path) -> None:
    """A loaded table gives the rows that were there when it was saved, or an error that names the file."""
    path = write(tmp_path / "a.parquet", OLD)
    holdall.save(Table(tmp_path / "a.parquet"), "train/t")
    _footer._cache.clear()
    assert holdall.load("train/t").to_arrow().equals(OLD)
    path.unlink()
    write(path, NEW)

    with pytest.raises(IntegrityError, match=r"a\.parquet was replaced"):
        holdall.load("train/t").to_arrow()


def test_the_data_are_saved_where_they_are_given(tmp_path: Path) -> None:
    """What to_arrow() and its like give is saved as data, and stays when the files are gone."""
    path = write(tmp_path / "a.parquet", OLD)
    holdall.save(Table(path).where(col("k") < 3).to_arrow(), "train/t")
    path.unlink()

    assert holdall.load("train/t").equals(OLD.slice(0, 3))


OPERANDS: list[Any] = [
    1, -1.5, "a", b"b", True, dt.date(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.time(1), dt.timedelta(1),
    np.datetime64("2020-01-01T00:00:00.000000001"),
]  # fmt: skip


def test_every_condition_comes_back(tmp_path: Path) -> None:
    """Conditions are saved as a tree of plain values."""
    table = Table(write(tmp_path / "a.parquet", OLD))
    for value in OPERANDS:
        condition = (col("k") == value) | ~(col("c0").isin([value, None]) & col("c1").is_null())
        assert repr(again(table.where(condition))) == repr(table.where(condition))
    compared = table.where((col("k") < col("c0")) & col("c1").starts_with("x"))
    assert repr(again(compared)) == repr(compared)
    assert again(table.where(col("k").between(3, 5))).num_rows == 3

    class Odd:
        """Is no plain value."""

    with pytest.raises(UnsupportedTypeError, match="no plain value"):
        encode(table.where(col("k") == Odd()))


def test_shares_schemas_and_unread_tables(tmp_path: Path) -> None:
    """Shares of a table come back as they were cut; a schema that was given, and one that nobody looked at, too."""
    write(tmp_path / "lake" / "a.parquet", OLD, row_group_size=10)
    write(tmp_path / "lake" / "b.parquet", NEW, row_group_size=10)
    shares = Table(tmp_path / "lake").split(3)

    assert [again(share).to_arrow().equals(share.to_arrow()) for share in shares] == [True] * 3
    given = Table(tmp_path / "lake", schema=pa.schema([("k", pa.int64()), ("more", pa.string())]))
    assert again(given).schema.equals(given.schema)
    assert again(Table([tmp_path / "lake/a.parquet", tmp_path / "lake/b.parquet"])).num_rows == 200


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_tables_with_logs(tmp_path: Path, kind: str) -> None:
    """The version, or the file of metadata, is saved: a loaded table shows the state that was saved."""
    data = pa.table({"x": [1, 2], "p": ["a", None]})
    if kind == "delta":
        place = str(tmp_path / "t")
        deltalake.write_deltalake(place, data, partition_by=["p"])
    else:
        made = catalog(tmp_path / "lake").create_table("n.t", data.schema)
        made.append(data)
        place = str(tmp_path / "lake/n/t")
    saved = {"all": Table(place), "some": Table(place).where(p="a"), "cut": Table(place).split(2)[0]}
    expected = {name: table.to_arrow() for name, table in saved.items()}
    with holdall.run("train") as run:
        run.save(**saved)
    if kind == "delta":
        deltalake.write_deltalake(place, data, mode="append")
    else:
        made.append(data)

    for name, rows in expected.items():
        assert holdall.load(f"train/{name}").to_arrow().equals(rows), name
    assert Table(place).num_rows == 4
    assert again(Table(place, as_of=0 if kind == "delta" else made.metadata.snapshots[0].snapshot_id)).num_rows == 2


def test_a_log_that_was_written_anew_raises(tmp_path: Path) -> None:
    """A version that names other files than it did is another table."""
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [1]}))
    holdall.save(Table(tmp_path / "t"), "train/t")
    (tmp_path / "t").rename(tmp_path / "old")
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [2]}))

    with pytest.raises(IntegrityError, match="names other files"):
        holdall.load("train/t").to_arrow()


def test_no_secret_is_saved(lake: Lake) -> None:
    """Of the options, those that are secrets stay out of the store, and ETags are saved."""
    lake.put("a.parquet", OLD)
    encoded = encode(lake.table("a.parquet"))
    text = msgspec.json.encode(encoded.node).decode()

    assert "a-secret-of-the-tests" not in text
    assert lake.server.url in text
    assert again(lake.table("a.parquet")).schema.names == OLD.schema.names
    lake.asked()
    found = again(lake.table("a.parquet"))
    lake.put("a.parquet", NEW)
    _footer._cache.clear()
    with pytest.raises(HoldallError):
        found.to_arrow()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give the node of a table with all that can be in one."""
    folder = tmp_path_factory.mktemp("hostile")
    write(folder / "p=1" / "a.parquet", OLD, row_group_size=10)
    table = Table(folder).where((col("k") > 1) & ~col("k").isin([5]) & (col("k") < col("c0"))).select("k").split(2)[0]
    encoded = encode(table.head(3))
    assert not encoded.buffers
    found: dict[str, Any] = json.loads(msgspec.json.encode(encoded.node))
    return found


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(found for key, value in items for found in _places(value, (*path, key)))]


junk = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=3), st.just([]), st.just({}), st.just([[]])
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_in_a_node(node: dict[str, Any], data: st.DataObject) -> None:
    """It is a table that can be asked, or an error of ours: never a crash."""
    path = data.draw(st.sampled_from(_places(node)[1:]))
    changed = copy.deepcopy(node)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = data.draw(junk)
    try:
        found = decode(changed, lambda numbers: [memoryview(b"")] * len(list(numbers)), trust=False)
        if isinstance(found, Table):
            assert repr(found)
            assert pickle.dumps(found)
            found.to_arrow()
    except HoldallError:
        pass


def test_a_node_that_was_stored(tmp_path: Path) -> None:
    """A node as it is in stores is read by every later version."""
    path = write(tmp_path / "day=1" / "a.parquet", OLD)
    stored = {
        "$": "holdall_store.Table",
        "format": "parquet",
        "source": [str(tmp_path)],
        "options": {},
        "files": {"keys": [str(path)], "sizes": [path.stat().st_size], "versions": [str(path.stat().st_mtime_ns)]},
        "partitions": ["day"],
        "numbers": [True],
        "values": [[1]],
        "schema": {
            "$": "pyarrow.Schema",
            "schema": {"fields": [{"name": "k", "type": "int64"}, {"name": "day", "type": "int64"}]},
        },
        "where": {
            "or": [{"column": "k", "is": "in", "value": [3, 5]}, {"not": {"column": "k", "is": ">", "value": 1}}]
        },
        "select": ["day", "k"],
        "head": 3,
    }

    found = decode(stored, lambda numbers: [], trust=False)

    assert found.to_arrow().to_pylist() == [{"day": 1, "k": 0}, {"day": 1, "k": 1}, {"day": 1, "k": 3}]


def test_a_format_from_the_future(node: dict[str, Any]) -> None:
    """A format that is not known is refused by its name."""
    with pytest.raises(FormatError, match="hudi"):
        decode({**node, "format": "hudi"}, lambda numbers: [], trust=False)
