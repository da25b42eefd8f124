"""Tables of Iceberg: what their metadata say is read, and it is what pyiceberg itself reads."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
import shutil
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.transforms import DayTransform
from pyiceberg.types import DoubleType, LongType, StringType
from tests.tables._iceberg_tables import as_version_3, bucket_io, catalog, commit_deletes, equality, positions, vectors

from holdall_store.errors import (
    FormatError,
    InvalidNameError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from holdall_store.tables import Table, col

if TYPE_CHECKING:
    from pyiceberg.table import Table as IcebergTable
    from tests.tables._lake import Lake

UTC = dt.UTC
THREE = pa.table({"x": pa.array([1, 2, 3], pa.int32()), "s": ["a", "b", None]})


def rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table in an order of their own."""
    found = table if isinstance(table, pa.Table) else table.to_arrow()
    return sorted(found.to_pylist(), key=repr)


def scanned(table: IcebergTable, **how: Any) -> list[dict[str, Any]]:
    """Return what pyiceberg reads."""
    return rows(table.scan(**how).to_arrow())


@pytest.fixture
def made(tmp_path: Path) -> IcebergTable:
    """Give a table of six rows in two files."""
    table = catalog(tmp_path / "lake").create_table("n.t", THREE.schema)
    table.append(THREE)
    table.append(THREE)
    return table


def test_every_type_and_partitions_of_it(tmp_path: Path) -> None:
    """All is read as pyiceberg reads it, and files are left out by the values of their partitions."""
    kind = pa.struct([("a", pa.int32()), ("b.c", pa.string())])
    data = pa.table(
        {
            "i": pa.array([1, -2, None], pa.int32()),
            "x": pa.array([1 << 40, -5, None], pa.int64()),
            "s": ["a/b", "é", None],
            "day": pa.array([dt.date(2020, 1, 1), dt.date(1969, 1, 2), None]),
            "at": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 456789, UTC), dt.datetime(1, 1, 1, tzinfo=UTC), None]),
            "ntz": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 456789), dt.datetime(1950, 1, 1), None]),
            "clock": pa.array([dt.time(1, 2, 3, 4), dt.time(23), None]),
            "dec": pa.array([decimal.Decimal("-1.50"), decimal.Decimal("99999999.99"), None], pa.decimal128(12, 2)),
            "f": pa.array([1.5, float("-inf"), None], pa.float32()),
            "g": pa.array([1.5, -0.0, None]),
            "b": pa.array([b"x", b"", None]),
            "fixed": pa.array([b"xy", b"ab", None], pa.binary(2)),
            "u": pa.array([uuid.UUID(int=5).bytes, uuid.UUID(int=7).bytes, None], pa.uuid()),
            "ok": [True, False, None],
            "st": pa.array([{"a": 1, "b.c": "x"}, {"a": None, "b.c": None}, None], kind),
            "l": pa.array([[1, None], [], None], pa.list_(pa.int64())),
            "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        }
    )
    made = catalog(tmp_path / "lake").create_table("n.t", data.schema)
    made.append(data)

    table = Table(tmp_path / "lake/n/t")

    assert table.to_arrow().to_pylist() == data.to_pylist()
    assert table.schema.remove_metadata().equals(data.schema.remove_metadata())
    for at, name in enumerate(("x", "s", "day", "at", "clock", "dec", "ok")):
        other = made.catalog.create_table(f"n.p{at}", data.schema)
        with other.update_spec() as spec:
            spec.add_identity(name)
        other.append(data)
        part = Table(other)
        assert rows(part) == rows(data), name
        for row in data.to_pylist():
            chosen = part.where(**{name: row[name]})
            assert chosen.select(name).to_arrow().to_pylist() == [{name: row[name]}]
            assert len(chosen.files()) == 1, (name, row[name])
            assert chosen.partitions() == [{name: row[name]}]


def test_files_are_left_out_by_what_the_metadata_say_of_them(tmp_path: Path) -> None:
    """No footer is read of a file whose bounds do not come near, for every type that has an order."""
    made = catalog(tmp_path / "lake").create_table(
        "n.t", pa.schema([("k", pa.int32()), ("t", pa.timestamp("us")), ("s", pa.string()), ("d", pa.decimal128(9, 2))])
    )
    for first in (0, 100, 200):
        numbers = range(first, first + 100)
        data = pa.table(
            {
                "k": pa.array(numbers, pa.int32()),
                "t": [dt.datetime(2020, 1, 1) + dt.timedelta(hours=n) for n in numbers],
                "s": [f"{n:04d}" * 10 for n in numbers],
                "d": pa.array([decimal.Decimal(n) / 4 for n in numbers], pa.decimal128(9, 2)),
            }
        )
        made.append(data)
    table = Table(made)
    conditions = {
        col("k") < 100: 1,
        col("k") >= 150: 2,
        col("k").is_null(): 0,
        col("t") > "2020-01-10": 1,
        col("s").starts_with("0150"): 1,
        col("d") <= decimal.Decimal("24.99"): 1,
        col("k") != 5: 3,
    }

    assert {condition: len(table.where(condition).files()) for condition in conditions} == conditions
    shutil.rmtree(tmp_path / "lake/n/t/data")
    assert table.where(k=1000).to_arrow().num_rows == 0


def test_columns_by_their_numbers(made: IcebergTable) -> None:
    """Columns that were renamed, dropped and added anew, moved and widened are those that their numbers say."""
    with made.update_schema() as update:
        update.rename_column("x", "was_x")
        update.update_column("x", LongType())
        update.delete_column("s")
    with made.update_schema() as update:
        update.add_column("x", StringType())
        update.add_column("s", DoubleType())
        update.move_first("s")
    made.append(pa.table({"s": [1.5], "was_x": [1 << 40], "x": ["new"]}))

    table = Table(made)

    assert table.schema.names == ["s", "was_x", "x"]
    assert rows(table) == scanned(made)
    assert table.where(x="new").to_arrow().column("was_x").to_pylist() == [1 << 40]
    assert table.where(col("was_x") <= 2).select("s", "x").to_arrow().to_pylist() == [{"s": None, "x": None}] * 4
    assert rows(table.where(col("s").is_null() & (col("was_x") == 3))) == [{"s": None, "was_x": 3, "x": None}] * 2
    assert (table.stats["was_x"].min, table.stats["was_x"].max, table.stats["x"].null_count) == (1, 1 << 40, 6)
    assert table.to_pandas(categories=["x"])["x"].cat.categories.tolist() == ["new"]
    with pytest.raises(UnsupportedTypeError, match="called otherwise"):
        table.dataset()


def test_fields_by_their_numbers(tmp_path: Path) -> None:
    """So are fields in structs, in lists of them, and in maps."""
    inner = pa.struct([("a", pa.int32()), ("b", pa.string())])
    data = pa.table(
        {
            "st": pa.array([{"a": 1, "b": "x"}, None], inner),
            "l": pa.array([[{"a": 2, "b": "y"}, None], None], pa.list_(inner)),
            "m": pa.array([[("k", {"a": 3, "b": "z"})], None], pa.map_(pa.string(), inner)),
        }
    )
    made = catalog(tmp_path / "lake").create_table("n.t", data.schema)
    made.append(data)
    with made.update_schema() as update:
        for path in ("st", "l.element", "m.value"):
            update.rename_column(f"{path}.a", "a_was")
            update.delete_column(f"{path}.b")
    with made.update_schema() as update:
        for path in ("st", "l", "m"):
            update.add_column((path, "b"), LongType())

    found = Table(made)

    assert found.to_arrow().to_pylist() == [
        {"st": {"a_was": 1, "b": None}, "l": [{"a_was": 2, "b": None}, None], "m": [("k", {"a_was": 3, "b": None})]},
        {"st": None, "l": [], "m": []},  # as pyiceberg writes them
    ]
    assert found.select("st.a_was").to_arrow().to_pylist() == [{"st": {"a_was": 1}}, {"st": None}]
    assert found.select("st.b").to_arrow().to_pylist() == [{"st": {"b": None}}, {"st": None}]
    assert found.where(col("st.a_was") == 1).num_rows == 1


def test_a_table_over_time(made: IcebergTable) -> None:
    """A number is a snapshot and a time is what was current then, with the columns of then."""
    first, second = (snapshot.snapshot_id for snapshot in made.metadata.snapshots)
    between = dt.datetime.fromtimestamp(made.metadata.snapshot_log[0].timestamp_ms / 1000, UTC)
    time.sleep(0.002)
    with made.update_schema() as update:
        update.rename_column("x", "y")
    made.overwrite(pa.table({"y": pa.array([9], pa.int32()), "s": ["z"]}))

    for as_of in (first, between, between.isoformat(), between.replace(tzinfo=None)):
        table = Table(made, as_of=as_of)
        assert rows(table) == rows(THREE), as_of
        assert rows(pickle.loads(pickle.dumps(table))) == rows(THREE)
    assert rows(Table(made, as_of=second)) == rows(pa.concat_tables([THREE, THREE]))
    assert rows(Table(made)) == [{"y": 9, "s": "z"}]
    assert f"as of {first}" in repr(Table(made, as_of=first))
    with pytest.raises(TableNotFoundError, match=r"has no snapshot 12\. Its last are: .*\d+"):
        Table(made, as_of=12).num_rows  # noqa: B018
    with pytest.raises(TableNotFoundError, match="as of 1999-01-01.*its first known is of 20"):
        Table(made, as_of="1999-01-01").num_rows  # noqa: B018


def test_the_ways_to_name_a_table(made: IcebergTable, tmp_path: Path) -> None:
    """Its folder, a file of metadata, its URL, or the table of pyiceberg, which stays as it is shown."""
    folder = tmp_path / "lake/n/t"
    location = made.metadata_location
    ways = [
        Table(folder),
        Table(str(folder) + "/"),
        Table(location),
        Table(location.removeprefix("file://")),
        Table(made),
    ]
    unread = pickle.dumps(Table(made))
    for table in [*ways, Table(folder, format="iceberg")]:
        assert rows(table) == scanned(made)
    made.append(THREE)
    for table in [*ways, pickle.loads(unread), Table(location)]:
        assert table.num_rows == 6
    assert Table(folder).num_rows == 9


def test_the_newest_metadata(made: IcebergTable, tmp_path: Path) -> None:
    """A hint goes before the largest number; where two files have that, nobody can say which of them counts."""
    folder = tmp_path / "lake/n/t/metadata"
    first, last = (sorted(folder.glob("*.metadata.json"))[at] for at in (1, -1))
    for hint in (str(int(first.name.partition("-")[0])), first.name):
        (folder / "version-hint.text").write_text(hint)
        assert Table(folder.parent).num_rows == 3
    (folder / "version-hint.text").unlink()
    shutil.copy(last, folder / last.name.replace("-", "-other", 1))
    with pytest.raises(FormatError, match="2 files of metadata with the number 2"):
        Table(folder.parent).num_rows  # noqa: B018


def test_deleted_positions(made: IcebergTable) -> None:
    """Rows that files of positions delete are in no result; later ones add to earlier ones, and older ones do not count."""
    first, second = sorted(task.file.file_path for task in made.scan().plan_files())
    made = commit_deletes(made, positions(made, "d1.parquet", {first: [0], second: [2]}))
    made.append(THREE)
    made = commit_deletes(made, positions(made, "d2.parquet", {second: [1, 2]}))

    table = Table(made)

    assert rows(table) == scanned(made)
    assert table.num_rows == 6
    assert table.where(x=2).num_rows == table.where(x=2).to_arrow().num_rows == 2
    assert table.head(2).to_arrow().num_rows == 2
    assert rows(pickle.loads(pickle.dumps(table))) == rows(table)
    assert [table.where(col("x").is_null()).files(), len(table.where(col("s").is_null()).files())] == [[], 3]
    with pytest.raises(UnsupportedTypeError, match="deleted rows"):
        table.dataset()


def test_vectors_and_defaults_of_version_3(made: IcebergTable) -> None:
    """Rows that vectors delete are in no result, and columns have their defaults in files from before them."""
    first, second = sorted(task.file.file_path for task in made.scan().plan_files())
    with made.update_schema() as update:
        update.add_column("price", LongType())
        update.add_column("currency", StringType())
    new = pa.table({"x": pa.array([7], pa.int32()), "s": ["n"], "price": [None], "currency": ["US"]})
    made.append(new.cast(pa.schema([*THREE.schema, ("price", pa.int64()), ("currency", pa.string())])))
    made = commit_deletes(made, vectors(made, "v.puffin", {first: [0, 2], second: [1]}))
    location = as_version_3(made, {"price": 42, "currency": "EU"})

    table = Table(location)

    old = {"price": 42, "currency": "EU"}
    assert rows(table) == sorted(
        [
            {"x": 2, "s": "b", **old},
            {"x": 1, "s": "a", **old},
            {"x": 3, "s": None, **old},
            {"x": 7, "s": "n", "price": None, "currency": "US"},
        ],
        key=repr,
    )
    assert table.num_rows == 4
    assert table.where(price=42).num_rows == 3
    assert table.where(price=41).explain().rows_at_most == 0
    assert table.where(currency="US").to_arrow().column("x").to_pylist() == [7]
    assert table.to_pandas(categories=["currency"])["currency"].tolist().count("EU") == 3


@pytest.mark.parametrize("damage", ["checksum", "magic", "beyond"])
def test_damaged_vectors(made: IcebergTable, tmp_path: Path, damage: str) -> None:
    """A vector that is not what was written raises with its name: no row is guessed."""
    path = next(task.file.file_path for task in made.scan().plan_files())
    made = commit_deletes(made, vectors(made, "v.puffin", {path: [1 if damage != "beyond" else 5000]}))
    file = tmp_path / "lake/n/t/data/v.puffin"
    data = bytearray(file.read_bytes())
    if damage != "beyond":
        data[{"checksum": 30, "magic": 9}[damage]] ^= 1
    file.write_bytes(data)

    with pytest.raises(FormatError, match=r"v\.puffin|is deleted, and it has 3"):
        Table(made).num_rows  # noqa: B018


def test_deleted_values_are_refused(made: IcebergTable) -> None:
    """Nothing is read of a table whose rows are deleted by their values: what it would give is not the table."""
    made = commit_deletes(made, equality(made, "e.parquet", pa.table({"x": pa.array([1], pa.int32())})))

    with pytest.raises(UnsupportedTypeError, match="equality deletes"):
        Table(made).num_rows  # noqa: B018


def test_files_that_others_wrote(tmp_path: Path) -> None:
    """Files without numbers are read by the mapping of names, and columns that are only in folders by the partition."""
    schema = pa.schema([("x", pa.int64()), ("at", pa.timestamp("us")), ("day", pa.string())])
    made = catalog(tmp_path / "lake").create_table("n.t", schema, properties={"format-version": "2"})
    with made.update_spec() as spec:
        spec.add_identity("day")
    path = tmp_path / "old" / "day=a%2Fb" / "f.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"at": [dt.datetime(2020, 1, 1, 5)], "x": [1], "day": ["a/b"]}), path)
    made.add_files([f"file://{path}"])
    _rewrite(path, pa.table({"at": [dt.datetime(2020, 1, 1, 5)], "x": [1]}))
    with made.update_spec() as spec:
        spec.remove_field("day")
        spec.add_field("at", DayTransform(), "at_day")
    other = tmp_path / "old" / "g.parquet"
    pq.write_table(pa.table({"day": ["c"], "at": [dt.datetime(2021, 1, 1, 5)], "x": [2]}), other)
    made.add_files([f"file://{other}"])

    table = Table(made)

    assert pq.read_schema(path).names == ["at", "x"]
    assert rows(table) == [
        {"x": 1, "at": dt.datetime(2020, 1, 1, 5), "day": "a/b"},
        {"x": 2, "at": dt.datetime(2021, 1, 1, 5), "day": "c"},
    ]
    assert table.partitions() == [{"day": "a/b"}]
    assert [len(table.where(day=day).files()) for day in ("a/b", "c", "d")] == [1, 1, 0]


def _rewrite(path: Path, table: pa.Table) -> None:
    """Write a file anew with the size that it had."""
    size = path.stat().st_size
    for pad in range(size):
        with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({"pad": "p" * pad})
        if path.stat().st_size == size:
            return
    raise AssertionError(f"{path} cannot be written with {size} bytes.")


def test_files_without_numbers_and_mapping(made: IcebergTable, tmp_path: Path) -> None:
    """Nobody can say what their columns are: that is an error which names one."""
    path = tmp_path / "plain.parquet"
    pq.write_table(THREE, path)
    made.add_files([f"file://{path}"])
    assert create_mapping_from_schema(made.schema())
    with made.transaction() as changes:
        changes.remove_properties("schema.name-mapping.default")

    with pytest.raises(FormatError, match=r"plain\.parquet has no numbers"):
        Table(made).to_arrow()


def test_version_1(tmp_path: Path) -> None:
    """Tables of the first version of the format are read alike."""
    made = catalog(tmp_path / "lake").create_table("n.t", THREE.schema, properties={"format-version": "1"})
    made.append(THREE)

    assert made.metadata.format_version == 1
    assert rows(Table(tmp_path / "lake/n/t")) == rows(THREE)


def test_empty_and_wrong_tables(tmp_path: Path) -> None:
    """A table without snapshots has a schema and no rows; what is no table is told as such."""
    made = catalog(tmp_path / "lake").create_table("n.t", THREE.schema)
    table = Table(tmp_path / "lake/n/t")

    assert (table.num_rows, table.schema.names, table.files(), rows(table)) == (0, ["x", "s"], [], [])
    with pytest.raises(TableNotFoundError, match="no table of Iceberg"):
        Table(tmp_path / "none", format="iceberg").num_rows  # noqa: B018
    with pytest.raises(TableNotFoundError, match="There is no file"):
        Table(tmp_path / "none.metadata.json").num_rows  # noqa: B018
    (tmp_path / "bad.metadata.json").write_text("{}")
    with pytest.raises(FormatError, match="is no metadata"):
        Table(tmp_path / "bad.metadata.json").num_rows  # noqa: B018
    with pytest.raises(InvalidNameError, match="leave partitioning= away"):
        Table(made, partitioning="hive").num_rows  # noqa: B018


def test_a_table_in_a_bucket(lake: Lake) -> None:
    """Metadata and data are read with the table's own options, and only what is wanted; secrets are shown nowhere."""
    with tempfile.TemporaryDirectory() as folder, bucket_io(lake) as implementation:
        options = {
            "py-io-impl": implementation,
            "s3.endpoint": lake.server.url,
            "s3.access-key-id": "access",
            "s3.secret-access-key": "a-secret-of-the-tests",
            "s3.region": "us-east-1",
        }
        made = catalog(Path(folder), warehouse="s3://bucket/lake", **options).create_table("n.t", THREE.schema)
        for first in (0, 100):
            made.append(pa.table({"x": pa.array(range(first, first + 100), pa.int32()), "s": ["v"] * 100}))

        expected = scanned(made)
        assert rows(lake.table("lake/n/t")) == expected
        assert rows(Table(made)) == expected
        lake.asked()
        table = Table(made.metadata_location, storage_options=lake.options)
        assert table.where(x=150).num_rows == 1
        asked = lake.asked()
        assert len([key for verb, key, _ in asked if key.endswith(".parquet")]) == 1
        assert not [verb for verb, key, _ in asked if verb != "GET" or not key]
        for shown in (repr(table), pickle.dumps(table).decode("latin-1"), pickle.dumps(Table(made)).decode("latin-1")):
            assert "a-secret-of-the-tests" not in shown
        with pytest.raises(FormatError, match="files elsewhere"):
            local = Path(folder) / "copy.metadata.json"
            local.write_bytes(lake.server.content(made.metadata_location.removeprefix("s3://bucket/")) or b"")
            Table(local).num_rows  # noqa: B018


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(0, 4095), st.booleans()),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 9),
)
def test_any_deleted_positions(made: list[tuple[list[int], int, bool]], value: int) -> None:
    """Whatever rows files of positions and vectors delete, results, counts, heads and shares are of the others."""
    with tempfile.TemporaryDirectory() as folder:
        table = catalog(Path(folder) / "lake").create_table("n.t", pa.schema([("x", pa.int64())]))
        for step, (numbers, bits, as_vectors) in enumerate(made):
            table.append(pa.table({"x": numbers}))
            gone = {
                task.file.file_path: [row for row in range(task.file.record_count) if bits >> row & 1]
                for task in table.scan().plan_files()
            }
            table = commit_deletes(table, (vectors if as_vectors else positions)(table, f"d{step}", gone))
        expected = scanned(table)

        found = Table(table)

        assert rows(found) == expected
        assert found.num_rows == len(expected)
        assert rows(found.where(col("x") > value)) == [row for row in expected if row["x"] > value]
        assert found.head(value).to_arrow().num_rows == min(value, len(expected))
        shares = [pickle.loads(pickle.dumps(part)) for part in found.split(3)]
        assert rows(pa.concat_tables([share.to_arrow() for share in shares])) == expected


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("overwrite"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("rename"), st.integers(0, 2)),
        st.tuples(st.just("drop"), st.integers(0, 2)),
        st.tuples(st.just("add"), st.integers(0, 2)),
        st.tuples(st.just("partition"), st.just(0)),
    ),
    max_size=5,
)


@settings(max_examples=8, deadline=None)
@given(steps)
def test_any_history(made: list[tuple[str, Any]]) -> None:
    """After any series of changes, each snapshot is read as pyiceberg reads it."""
    with tempfile.TemporaryDirectory() as folder:
        table = catalog(Path(folder) / "lake").create_table("n.t", pa.schema([("k", pa.int64()), ("p", pa.string())]))
        table.append(pa.table({"k": [1, 5, None], "p": ["a/b", "c d", None]}))
        for step, (what, value) in enumerate(made):
            _change(table, step, what, value)
        for snapshot in {snapshot.snapshot_id for snapshot in table.metadata.snapshots[-3:]} | {None}:
            found = Table(table, as_of=snapshot)
            expected = table.scan(snapshot_id=snapshot).to_arrow()
            assert found.schema.names == expected.schema.names
            assert rows(found) == rows(expected)
            assert found.num_rows == expected.num_rows
            for name in found.schema.names:
                value = "c d" if name == "p" else 5 if pa.types.is_integer(found.schema.field(name).type) else "5"
                assert rows(found.where(**{name: value})) == [row for row in rows(expected) if row[name] == value]


def _change(table: IcebergTable, step: int, what: str, value: Any) -> None:
    names = [name for name in table.schema().column_names if name != "p"]
    if what in ("append", "overwrite"):
        kinds = table.schema().as_arrow()
        columns = {name: [None] * len(value) for name in names} | {"p": [f"p{k % 3}" for k in value]}
        columns[names[-1]] = [k if pa.types.is_integer(kinds.field(names[-1]).type) else f"{k}" for k in value]
        data = pa.table({name: columns[name] for name in kinds.names}, schema=kinds)
        table.append(data) if what == "append" else table.overwrite(data)
    elif what == "delete":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where no row has it
            table.delete(f"p == 'p{value % 3}'")
    elif what == "partition":
        with table.update_spec() as spec:
            if len(table.spec().fields):
                spec.remove_field("p")
            else:
                spec.add_identity("p")
    else:
        with table.update_schema() as update:
            if what == "rename":
                update.rename_column(names[value % len(names)], f"r{step}")
            elif what == "add":
                update.add_column("k1" if "k1" not in names else f"a{step}", [LongType(), StringType()][value % 2])
            elif len(names) > 1:
                update.delete_column(names[value % len(names)])
