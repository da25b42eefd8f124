"""Tables of Delta: what their log says is read, and it is what deltalake itself reads."""

from __future__ import annotations

import datetime as dt
import decimal
import os
import pickle
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables._delta_log import DeltaLog, mapped, structure
from tests.tables._lake import Lake, parquet, write

from holdall_store.errors import (
    FormatError,
    IntegrityError,
    InvalidNameError,
    MissingDependencyError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from holdall_store.tables import Table, col

UTC = dt.UTC


def rows(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table in an order of their own: a log says nothing of it."""
    found = table.to_arrow() if isinstance(table, Table) else table
    return sorted(found.to_pylist(), key=repr)


def engine_rows(table: deltalake.DeltaTable) -> list[dict[str, Any]]:
    """Return what the engine of deltalake reads, which heeds deleted rows and mapped columns."""
    query = deltalake.QueryBuilder().register("t", table).execute("select * from t")
    return sorted(pa.table(query.read_all()).to_pylist(), key=repr)


def everything() -> pa.Table:
    """Return a row of every type, and of nulls."""
    kind = pa.struct([("a", pa.int64()), ("b.c", pa.string())])
    return pa.table(
        {
            "x": pa.array([1, 2, None], pa.int64()),
            "i": pa.array([1, -2, None], pa.int32()),
            "s": ["a", "é", None],
            "day": pa.array([dt.date(2020, 1, 1), dt.date(1969, 1, 2), None]),
            "at": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 456789, UTC), dt.datetime(1, 1, 1, tzinfo=UTC), None]),
            "ntz": pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 456789), None, None]),
            "dec": pa.array([decimal.Decimal("1.50"), decimal.Decimal("99999999.99"), None], pa.decimal128(12, 2)),
            "f": pa.array([1.5, float("inf"), None]),
            "b": pa.array([b"x", b"", None]),
            "ok": [True, False, None],
            "st": pa.array([{"a": 1, "b.c": "x"}, {"a": None, "b.c": None}, None], kind),
            "l": pa.array([[1, None], [], None], pa.list_(pa.int64())),
            "m": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        }
    )


@pytest.mark.parametrize("by", [[], ["day", "s"], ["ok", "dec"], ["at", "i"]])
def test_every_type_and_partitions_of_it(tmp_path: Path, by: list[str]) -> None:
    """All is read as deltalake reads it; the values of partitions come from the log in the type of their column."""
    deltalake.write_deltalake(tmp_path / "t", everything(), partition_by=by)
    deltalake.write_deltalake(tmp_path / "t", everything().slice(1), mode="append")
    expected = deltalake.DeltaTable(tmp_path / "t").to_pyarrow_table()

    table = Table(tmp_path / "t")

    assert rows(table) == rows(expected)
    assert table.schema.equals(expected.schema)
    assert table.num_rows == 5
    assert rows(table.select("st.a", *by)) == rows(_with(expected, by))
    for name in by:
        for value in expected.column(name).unique().to_pylist():
            wanted = [row for row in rows(expected) if row[name] == value]
            chosen = table.where(**{name: value})
            assert rows(chosen) == wanted, (name, value)
            assert len(chosen.files()) <= 2
            assert {part[name] for part in chosen.partitions()} == {value}


def _with(table: pa.Table, by: list[str]) -> pa.Table:
    """Return the columns of partitions, and of the struct one field."""
    structs = [None if row is None else {"a": row["a"]} for row in table.column("st").to_pylist()]
    made = pa.table({"st": pa.array(structs, pa.struct([("a", pa.int64())]))})
    for name in by:
        made = made.append_column(name, table.column(name))
    return made


def test_files_are_left_out_by_what_the_log_says_of_them(tmp_path: Path) -> None:
    """No footer is read of a file whose values, as the log has them, do not come near."""
    for first in (0, 100, 200):
        data = pa.table({"k": range(first, first + 100), "at": [dt.datetime(2020, 1, 1, 0, 0, 0, 900 + first)] * 100})
        deltalake.write_deltalake(tmp_path / "t", data, mode="append")
    table = Table(tmp_path / "t")

    assert [len(table.where(c).files()) for c in (col("k") < 100, col("k") >= 150, col("k").is_null())] == [1, 2, 0]
    # The log has times to the millisecond, and so says less than the truth.
    exact = dt.datetime(2020, 1, 1, 0, 0, 0, 900)
    assert table.where(at=exact).num_rows == 100
    for path in (tmp_path / "t").glob("*.parquet"):
        path.unlink()
    assert table.where(k=1000).to_arrow().num_rows == 0


def test_a_table_over_time(tmp_path: Path) -> None:
    """A number is a version and a time is what was there then, for texts, too; it stays in pickles and in messages."""
    place = tmp_path / "t"
    for version, x in enumerate(([1], [2], [3])):
        deltalake.write_deltalake(place, pa.table({"x": x}), mode="overwrite" if version == 2 else "append")
        moment = 1_700_000_000 + version * 60
        os.utime(place / "_delta_log" / f"{version:020d}.json", (moment, moment))
    at = dt.datetime.fromtimestamp(1_700_000_070, UTC)

    assert [rows(Table(place, as_of=version)) for version in range(3)] == [[{"x": 1}], [{"x": 1}, {"x": 2}], [{"x": 3}]]
    for as_of in (at, at.isoformat(), at.replace(tzinfo=None), at.replace(tzinfo=None).isoformat()):
        table = Table(place, as_of=as_of)
        assert rows(table) == [{"x": 1}, {"x": 2}], as_of
        assert "2023-11-14" in repr(table)
    kept = pickle.loads(pickle.dumps(table))
    deltalake.write_deltalake(place, pa.table({"x": [9]}), mode="append")
    assert rows(kept) == [{"x": 1}, {"x": 2}]

    with pytest.raises(TableNotFoundError, match=r"has no version 9: its newest is 3"):
        Table(place, as_of=9).num_rows  # noqa: B018
    with pytest.raises(TableNotFoundError, match=r"not there as of 1999"):
        Table(place, as_of="1999-01-01").num_rows  # noqa: B018
    for wrong in ("yesterday", -1, True, 1.5):
        with pytest.raises(InvalidNameError, match="as_of="):
            Table(place, as_of=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError, match="has no log"):
        Table(write(tmp_path / "f.parquet", pa.table({"x": [1]})), as_of=1).num_rows  # noqa: B018


def test_an_open_table_of_deltalake(tmp_path: Path) -> None:
    """It is read as it is shown: at its version, whatever came later, also from a pickle that was not read before."""
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [1]}))
    opened = deltalake.DeltaTable(tmp_path / "t")
    table = Table(opened)
    data = pickle.dumps(Table(opened))
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [2]}), mode="append")

    assert rows(table) == rows(pickle.loads(data)) == [{"x": 1}]
    assert len(rows(Table(opened, as_of=1))) == 2
    with pytest.raises(InvalidNameError, match="Delta"):
        Table(opened, format="iceberg")


def test_columns_that_came_and_grew(tmp_path: Path) -> None:
    """Files from before a column have nulls in it; where a type grew, older files are widened."""
    log = DeltaLog(
        tmp_path / "t",
        structure(_field("x", "long"), _field("y", "double"), _field("d", "timestamp_ntz")),
        features=["typeWidening", "timestampNtz"],
    )
    old = pa.table({"x": pa.array([1], pa.int32()), "d": [dt.date(2020, 1, 1)]})
    new = pa.table({"y": pa.array([1.5], pa.float32()), "x": [1 << 40], "d": [dt.datetime(2021, 1, 1)]})
    log.commit(log.file("old.parquet", old), log.file("new.parquet", new))

    table = Table(tmp_path / "t")

    assert table.to_arrow().to_pylist() == [
        {"x": 1 << 40, "y": 1.5, "d": dt.datetime(2021, 1, 1)},
        {"x": 1, "y": None, "d": dt.datetime(2020, 1, 1)},
    ]
    assert table.where(col("y").is_null()).to_arrow().column("x").to_pylist() == [1]
    assert table.where(d="2020-01-01").num_rows == 1


def _field(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "nullable": True, "metadata": {}}


@pytest.mark.parametrize("mapping", ["name", "id"])
def test_mapped_columns(tmp_path: Path, mapping: str) -> None:
    """Columns are found by the names or the numbers that they have in the files, in structs, lists and maps, too."""
    inner, item = (
        structure(mapped("a", "long", first, f"p-{first}"), mapped("b", "string", first + 1, f"p-{first + 1}"))
        for first in (11, 21)
    )
    schema = structure(
        mapped("renamed", "long", 1, "p-1"),
        mapped("s", inner, 2, "p-2"),
        mapped("l", {"type": "array", "elementType": item, "containsNull": True}, 3, "p-3"),
        mapped("day", "date", 4, "p-4"),
        mapped("gone", "string", 6, "p-6"),
    )
    log = DeltaLog(tmp_path / "t", schema, mapping=mapping, partitions=["day"])
    number = b"PARQUET:field_id"

    def field(name: str, kind: Any, key: int) -> pa.Field:
        return pa.field(name if mapping == "name" else f"other-{key}", kind, metadata={number: str(key)})

    def struct_of(first: int) -> pa.DataType:
        """Return a struct in another order than the table's, with a field that was dropped."""
        kinds = {first + 1: pa.string(), first: pa.int64(), first + 2: pa.int8()}
        return pa.struct([field(f"p-{key}", kind, key) for key, kind in kinds.items()])

    def given(kind: pa.DataType) -> list[dict[str, Any] | None]:
        return [{each.name: value for each, value in zip(kind, ("x", 7, 0), strict=True)}, None]

    struct, items = struct_of(11), struct_of(21)
    fields = [
        field("p-3", pa.list_(pa.field("element", items)), 3),
        field("p-5", pa.string(), 5),  # dropped, and a column of its old name was added since
        field("p-2", struct, 2),
        field("p-1", pa.int64(), 1),
    ]
    fields[1] = fields[1].with_name("gone" if mapping == "name" else "p-6")
    data = pa.Table.from_arrays(
        [
            pa.array([given(items), None], fields[0].type),
            pa.array(["old", "old"]),
            pa.array(given(struct), struct),
            pa.array([1, 2]),
        ],
        schema=pa.schema(fields),
    )
    log.commit(log.file("a b.parquet", data, partitionValues={"p-4": "2020-01-05"}))

    table = Table(tmp_path / "t")

    day = dt.date(2020, 1, 5)
    assert table.to_arrow().to_pylist() == [
        {"renamed": 1, "s": {"a": 7, "b": "x"}, "l": [{"a": 7, "b": "x"}, None], "day": day, "gone": None},
        {"renamed": 2, "s": None, "l": None, "day": day, "gone": None},
    ]
    if mapping == "name":
        assert rows(table) == engine_rows(deltalake.DeltaTable(tmp_path / "t"))
    assert table.select("s.b").to_arrow().to_pylist() == [{"s": {"b": "x"}}, {"s": None}]
    assert table.where(col("s.a") == 7).select("renamed").to_arrow().to_pylist() == [{"renamed": 1}]
    assert table.where(renamed=2, day=day).num_rows == 1
    assert table.stats["renamed"].max == 2
    assert table.to_pandas(categories=["gone"])["gone"].isna().all()
    with pytest.raises(UnsupportedTypeError, match="called otherwise"):
        table.dataset()


def test_deleted_rows(tmp_path: Path) -> None:
    """Rows of a vector are in no result: not in columns, numbers, heads, shares or conditions."""
    log = DeltaLog(tmp_path / "t", structure(_field("x", "long")), features=["deletionVectors"])
    gone = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 29, 31}
    some = log.file("a b.parquet", pa.table({"x": range(32)}), row_group_size=10, deletionVector=log.vector(gone))
    log.commit(some, log.file("c.parquet", pa.table({"x": range(100, 103)})))

    table = Table(tmp_path / "t")

    left = [x for x in range(32) if x not in gone] + [100, 101, 102]
    assert sorted(row["x"] for row in engine_rows(deltalake.DeltaTable(tmp_path / "t"))) == left
    assert table.to_arrow().column("x").to_pylist() == left
    assert table.num_rows == len(left) == table.explain().rows_at_most
    assert table.explain().row_groups_read == 4
    for n in (0, 1, 7, 18, 19, 22, 30):
        assert table.head(n).to_arrow().column("x").to_pylist() == left[:n]
        assert table.head(n).num_rows == min(n, len(left))
    conditions: list[tuple[Any, Callable[[int], bool]]] = [
        (col("x") >= 29, lambda x: x >= 29),
        (col("x") < 12, lambda x: x < 12),
        (col("x") != 30, lambda x: x != 30),
        (col("x").isin([11, 12]), lambda x: x in (11, 12)),
    ]
    for condition, holds in conditions:
        expected = [x for x in left if holds(x)]
        assert table.where(condition).to_arrow().column("x").to_pylist() == expected
        assert table.where(condition).num_rows == len(expected)
    shares = [pickle.loads(pickle.dumps(part)) for part in table.split(3, by="rows")]
    assert [x for part in shares for x in part.to_arrow().column("x").to_pylist()] == left
    assert sum(part.num_rows for part in shares) == len(left)
    assert table.stats["x"].null_count is None
    with pytest.raises(UnsupportedTypeError, match="deleted rows"):
        table.dataset()
    for hand_over in (table.to_duckdb, table.to_daft, lambda: table.to_spark(None)):
        with pytest.raises(UnsupportedTypeError, match=r"(DuckDB|Daft|Spark) would read .* deleted rows"):
            hand_over()
    assert table.to_dask(3).compute(scheduler="synchronous")["x"].tolist() == left


def test_features_that_are_not_heeded(tmp_path: Path) -> None:
    """What a table asks of its readers and is unknown is refused by its name, before any row is read."""
    log = DeltaLog(tmp_path / "t", structure(_field("x", "long")), features=["deletionVectors", "fromTheFuture"])
    log.commit(log.file("a.parquet", pa.table({"x": [1]})))

    with pytest.raises((UnsupportedTypeError, FormatError), match="fromTheFuture"):
        Table(tmp_path / "t").num_rows  # noqa: B018


def test_what_is_no_table_of_delta(tmp_path: Path) -> None:
    """A wrong place, a damaged log, options that a log has already: each says what is wrong."""
    with pytest.raises(TableNotFoundError, match="no table of Delta"):
        Table(tmp_path / "none", format="delta").num_rows  # noqa: B018
    (tmp_path / "bad" / "_delta_log").mkdir(parents=True)
    (tmp_path / "bad" / "_delta_log" / f"{0:020d}.json").write_text("{no json")
    with pytest.raises(FormatError, match="log of .*bad"):
        Table(tmp_path / "bad").num_rows  # noqa: B018
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [1]}))
    with pytest.raises(InvalidNameError, match="leave partitioning= away"):
        Table(tmp_path / "t", partitioning="hive").num_rows  # noqa: B018
    with pytest.raises(InvalidNameError, match="leave schema= away"):
        Table(tmp_path / "t", schema="all").num_rows  # noqa: B018
    with pytest.raises(InvalidNameError, match="no list"):
        Table([tmp_path / "t"], format="delta")
    next((tmp_path / "t").glob("*.parquet")).unlink()
    with pytest.raises(IntegrityError, match="it is gone"):
        Table(tmp_path / "t").to_arrow()


def test_an_empty_table(tmp_path: Path) -> None:
    """A table without files has a schema and no rows."""
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [1], "s": ["a"]}))
    deltalake.DeltaTable(tmp_path / "t").delete()
    table = Table(tmp_path / "t")

    assert (table.num_rows, table.schema.names, table.files(), table.to_arrow().num_rows) == (0, ["x", "s"], [], 0)
    assert list(table.batches()) == []
    assert [part.num_rows for part in table.split(2)] == [0, 0]


def test_a_table_in_a_bucket(lake: Lake, tmp_path: Path) -> None:
    """The log is read with the table's own options, and of the data only what is wanted; secrets are shown nowhere."""
    deltalake.write_deltalake(tmp_path / "t", everything(), partition_by=["day"])
    deltalake.write_deltalake(tmp_path / "t", everything(), mode="append")
    for path in (tmp_path / "t").rglob("*"):
        if path.is_file():
            lake.put_bytes(f"lake/t/{path.relative_to(tmp_path / 't')}", path.read_bytes())
    expected = deltalake.DeltaTable(tmp_path / "t").to_pyarrow_table()

    table = lake.table("lake/t")

    assert rows(table) == rows(expected)
    lake.asked()
    assert lake.table("lake/t", format="delta").where(day="2020-01-01").num_rows == 2
    asked = lake.asked()
    assert len([key for verb, key, _ in asked if key.endswith(".parquet")]) <= 2
    for shown in (repr(table), str(table.explain()), pickle.dumps(table).decode("latin-1"), str(vars(table))):
        assert "a-secret-of-the-tests" not in shown
    options = {
        "AWS_ENDPOINT_URL": lake.server.url,
        "AWS_ACCESS_KEY_ID": "access",
        "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    assert rows(Table(deltalake.DeltaTable("s3://bucket/lake/t", storage_options=options))) == rows(expected)


def test_credentials_of_the_environment(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none are given, the log is read with those that the files are read with; none at all is an error of ours."""
    deltalake.write_deltalake(tmp_path / "t", pa.table({"x": [1]}))
    for path in (tmp_path / "t").rglob("*"):
        if path.is_file():
            lake.put_bytes(f"t/{path.relative_to(tmp_path / 't')}", path.read_bytes())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "access")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-tests")
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    table = Table("s3://bucket/t", format="delta", storage_options={"endpoint_url": lake.server.url})

    assert rows(table) == [{"x": 1}]
    assert rows(pickle.loads(pickle.dumps(Table("s3://bucket/t", storage_options=lake.options)))) == [{"x": 1}]
    options = {"endpoint_url": lake.server.url, "anon": True}
    assert rows(Table("s3://bucket/t", format="delta", storage_options=options)) == [{"x": 1}]


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said when a table needs it, and not before."""
    for library, log in (("deltalake", "delta"), ("pyiceberg.table", "iceberg")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(MissingDependencyError, match=rf"pip install 'holdall\[{log}\]'"):
            Table(tmp_path, format=log).num_rows  # type: ignore[arg-type]  # noqa: B018
    assert Table(write(tmp_path / "f.parquet", pa.table({"x": [1]}))).num_rows == 1


@pytest.mark.parametrize("deleted", [[], [0, 1, 4, 60_001], list(range(50_000, 60_000))])
def test_large_files_in_a_bucket(lake: Lake, tmp_path: Path, deleted: list[int]) -> None:
    """Heads of large row groups, and columns that wait for a condition, heed names and deleted rows as all else does."""
    schema = structure(
        mapped("key", "long", 1, "p-1"),
        mapped("text", "string", 2, "p-2"),
        *(mapped(f"v{n}", "double", n + 3, f"p-{n + 3}") for n in range(6)),
    )
    log = DeltaLog(tmp_path / "t", schema, mapping="name", features=["deletionVectors"])
    random = np.random.default_rng(0)
    stored = {f"p-{n + 3}": random.random(120_000) for n in reversed(range(6))}
    data = pa.table(
        {**stored, "old": [0] * 120_000, "p-2": [f"t{n % 5}" for n in range(120_000)], "p-1": range(120_000)}
    )
    more = {"deletionVector": log.vector(deleted)} if deleted else {}
    log.commit(log.file("a.parquet", data, row_group_size=60_000, **more))
    for path in (tmp_path / "t").rglob("*"):
        if path.is_file():
            lake.put_bytes(f"t/{path.relative_to(tmp_path / 't')}", path.read_bytes())
    names = {"key": "p-1", "text": "p-2", **{f"v{n}": f"p-{n + 3}" for n in range(6)}}
    kept = np.setdiff1d(np.arange(120_000), deleted)
    expected = data.select(list(names.values())).rename_columns(list(names)).take(pa.array(kept))

    table = lake.table("t")

    assert table.num_rows == len(kept)
    assert table.head(7).to_arrow().equals(expected.slice(0, 7))
    lake.asked()
    some = ["v0", "key", "v5"]
    assert table.select(*some).head(3).to_arrow().equals(expected.select(some).slice(0, 3))
    if not deleted:
        assert sum(length for _, key, length in lake.asked() if key.endswith(".parquet")) < 700_000  # of 1.4 MB
    chosen = table.where(key=[3, 4, 55_000, 119_999])
    assert chosen.explain().late_bytes > 0
    wanted = [key for key in (3, 4, 55_000, 119_999) if key not in deleted]
    assert chosen.to_arrow().equals(expected.filter(pc.is_in(expected.column("key"), value_set=pa.array(wanted))))
    assert chosen.num_rows == len(wanted)
    assert table.where(col("key") < 2).to_arrow().num_rows == len({0, 1} - set(deleted))
    assert table.to_pandas(categories=["text"])["text"].tolist() == expected.column("text").to_pylist()


def test_times_of_the_old_kind(tmp_path: Path) -> None:
    """Times as Spark writes them come back as they were, those that nanoseconds cannot say, too."""
    times = [dt.datetime(1500, 1, 1, tzinfo=UTC), dt.datetime(2020, 1, 1, 1, 2, 3, 456789, UTC), None]
    log = DeltaLog(tmp_path / "t", structure(_field("at", "timestamp"), _field("l", _listed("timestamp"))))
    data = pa.table({"at": pa.array(times, pa.timestamp("us", "UTC")), "l": [[times[0]], [], None]})
    (tmp_path / "t" / "a.parquet").write_bytes(parquet(data, use_deprecated_int96_timestamps=True))
    log.commit(log.file("a.parquet", data))

    found = Table(tmp_path / "t")

    assert found.to_arrow().column("at").to_pylist() == times
    assert found.to_arrow().column("l").to_pylist() == [[times[0]], [], None]
    assert found.where(at=times[0]).num_rows == 1


def _listed(kind: str) -> dict[str, Any]:
    return {"type": "array", "elementType": kind, "containsNull": True}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("overwrite"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("widen"), st.integers(0, 2)),
        st.tuples(st.just("update"), st.integers(0, 9)),
    ),
    max_size=4,
)


@settings(max_examples=12, deadline=None)
@given(steps, st.booleans())
def test_any_history(made: list[tuple[str, Any]], partitioned: bool) -> None:
    """After any series of changes, each version is read as deltalake reads it."""
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "t")
        first = pa.table({"k": pa.array([1, 5, None], pa.int64()), "p": ["a/b", "c d", None]})
        deltalake.write_deltalake(place, first, partition_by=["p"] if partitioned else [])
        extra: list[str] = []
        for what, value in made:
            if what == "delete":
                deltalake.DeltaTable(place).delete(f"k = {value}")
            elif what == "update":
                deltalake.DeltaTable(place).update({"k": "k + 1"}, predicate=f"k > {value}")
            elif what == "widen":
                extra = sorted({*extra, f"n{value}"})
                data = pa.table({"k": [1], "p": ["new"], **{name: [1.5] for name in extra}})
                deltalake.write_deltalake(place, data, mode="append", schema_mode="merge")
            else:
                data = pa.table({"k": value, "p": [f"p{k % 3}" for k in value]})
                how: Any = what
                deltalake.write_deltalake(place, data, mode=how, schema_mode="merge")
        newest = deltalake.DeltaTable(place).version()
        for version in {0, newest // 2, newest}:
            expected = deltalake.DeltaTable(place, version=version).to_pyarrow_table()
            table = Table(place, as_of=version)
            assert table.schema.equals(expected.schema)
            assert rows(table) == rows(expected)
            assert table.num_rows == expected.num_rows
            assert rows(table.where(col("k") >= 5)) == [row for row in rows(expected) if (row["k"] or 0) >= 5]
            assert rows(table.where(p=["c d", "new"])) == [row for row in rows(expected) if row["p"] in ("c d", "new")]
