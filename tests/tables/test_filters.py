"""Bloom filters: what they leave out, what they cost, and that they never hide a row."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables._lake import Lake, parquet

from holdall_store.storage import open_storage
from holdall_store.tables import Table, _filters, _footer, _scan, col
from holdall_store.tables._bloom import BLOCK_BYTES, bits_of, hash_of, may_contain
from holdall_store.tables._bound import BoundLeaf
from holdall_store.tables._prune import Bounds, fact, outcomes
from holdall_store.tables._source import TAIL_BYTES

ROWS, GROUPS = 160_000, 8
_names = itertools.count()


@pytest.fixture(autouse=True)
def no_verdicts() -> None:
    """Forget what filters said in other tests."""
    _filters._verdicts.clear()


def name_of(key: int) -> str:
    """Return a text; those of odd numbers are between the others, and nowhere."""
    return f"a rather long name that is number {key} of them all"


ABSENT = [name_of((1 << 40) + odd) for odd in (100_001, 100_003, 100_005)]


def scattered() -> pa.Table:
    """Return a table of distinct keys in no order, all of them even: statistics say nothing of any row group."""
    random = np.random.default_rng(7)
    keys = random.permutation(ROWS) * 2 + (1 << 40)
    return pa.table(
        {
            "k": keys,
            "name": [name_of(key) for key in keys],
            "x": random.random(ROWS),
            "y": random.random(ROWS),
        }
    )


TABLE = scattered()
OPTIONS: dict[str, Any] = {
    "row_group_size": ROWS // GROUPS,
    "use_dictionary": False,
    "compression": "none",
    "bloom_filter_options": {"k": {"ndv": ROWS // GROUPS, "fpp": 0.01}, "name": {"ndv": ROWS // GROUPS, "fpp": 0.01}},
}
DATA = parquet(TABLE, **OPTIONS)
FILTERS = [pq.read_metadata(io.BytesIO(DATA)).row_group(at).column(1) for at in range(GROUPS)]


def test_filters_leave_row_groups_out(lake: Lake) -> None:
    """One round of filters, which `explain` counts, leaves the row group that has the row, and perhaps one by mistake."""
    lake.put_bytes("t.parquet", DATA)
    name = TABLE["name"][70_000].as_py()
    chosen = lake.table("t.parquet").where(name=name)
    plan = chosen.explain()
    asked = lake.asked()

    assert asked[0][2] == TAIL_BYTES
    assert plan.filter_requests == len(asked) - 1 <= GROUPS
    filters = sum(chunk.bloom_filter_length for chunk in FILTERS)
    assert filters <= plan.filter_bytes == sum(length for _, _, length in asked[1:]) <= filters * 1.05
    assert plan.row_groups_read == GROUPS - plan.filtered_row_groups <= 2
    assert f"{plan.filter_bytes:,} bytes left {plan.filtered_row_groups} row groups out" in str(plan)
    assert chosen.to_arrow().equals(TABLE.slice(70_000, 1))
    asked = lake.asked()  # what the filters said is remembered
    assert (len(asked), sum(length for _, _, length in asked)) == (plan.requests, plan.bytes)
    assert plan.bytes < len(DATA) / GROUPS * plan.row_groups_read * 1.05


def test_what_is_not_there_costs_the_filters_alone(lake: Lake) -> None:
    """Where no row group can have the value, nothing but filters is fetched; a negation is then true for all rows."""
    lake.put_bytes("t.parquet", DATA)
    names = ABSENT[:2]
    absent = lake.table("t.parquet").where(col("name").isin(names))

    assert absent.num_rows == 0
    asked = [length for _, _, length in lake.asked()[1:]]
    filters = sum(chunk.bloom_filter_length for chunk in FILTERS)
    assert filters <= sum(asked) <= filters * 1.05
    assert absent.to_arrow().num_rows == 0
    assert lake.asked() == []
    assert lake.table("t.parquet").where(~col("name").isin(names)).explain().filter_bytes == 0


def test_a_file_replaced_since_is_asked_anew(lake: Lake) -> None:
    """What filters said holds for the version of the file that they were in."""
    lake.put_bytes("t.parquet", DATA)
    (name,) = ABSENT[:1]
    assert lake.table("t.parquet").where(name=name).num_rows == 0
    other = TABLE.set_column(1, "name", pa.array([*TABLE["name"].to_pylist()[:-1], name]))
    assert lake.put("t.parquet", other, **OPTIONS) == len(DATA)

    assert lake.table("t.parquet").where(name=name).num_rows == 1


@pytest.mark.parametrize(
    "condition",
    [
        col("name").starts_with(ABSENT[0]),
        col("name") > "b",
        col("name") == "a",
        (col("name") == ABSENT[0]) | (col("x") > 0.5),
        col("name").is_null(),
        col("x") == 0.5,
        col("k") == 1.5,
        col("name").isin([name_of((1 << 40) + 2 * at + 1) for at in range(_filters.VALUES_MAX + 1)]),
    ],
)
def test_filters_that_cannot_help_are_not_fetched(lake: Lake, condition: Any) -> None:
    """Conditions that statistics decide, that have no equality, or that another part can make true, cost no filters."""
    lake.put_bytes("t.parquet", DATA)

    assert lake.table("t.parquet").where(condition).explain().filter_bytes == 0


def test_first_rows_and_statistics_take_no_filters(lake: Lake) -> None:
    """`head` and `stats` are as they were: they do not wait for filters."""
    lake.put_bytes("t.parquet", DATA)
    name = TABLE["name"][3].as_py()
    chosen = lake.table("t.parquet").where(name=name)

    assert chosen.stats["k"].min is not None
    assert [length for _, _, length in lake.asked()] == [TAIL_BYTES]
    assert chosen.head(1).explain().filter_bytes == 0
    assert chosen.head(1).to_arrow().equals(TABLE.slice(3, 1))
    begins = {chunk.bloom_filter_offset for chunk in FILTERS}
    ranges = [request.headers.get("range", "") for request in lake.server.log]
    assert not any(f"bytes={begin}-" in each for begin in begins for each in ranges)


def test_heavy_filters_are_left(lake: Lake) -> None:
    """A filter that weighs a quarter of what it could save, or more, is not fetched; nor are some for few bytes."""
    lake.put_bytes("t.parquet", DATA)
    key = TABLE["k"][5].as_py()

    # A filter of 32 KB stands for 160 KB of keys, and one of 128 KB for no more.
    assert lake.table("t.parquet").where(k=key).select("k").explain().filter_bytes > 0
    heavy = {**OPTIONS, "bloom_filter_options": {"k": {"ndv": ROWS // GROUPS, "fpp": 1e-6}}}
    lake.put("heavy.parquet", TABLE, **heavy)
    assert lake.table("heavy.parquet").where(k=key).select("k").explain().filter_bytes == 0
    lake.put("few.parquet", TABLE.slice(0, ROWS // GROUPS), **OPTIONS)
    few = lake.table("few.parquet").where(k=TABLE["k"][5].as_py() + 1).select("k").explain()
    assert few.bytes < _filters.GAIN_BYTES_MIN
    assert few.filter_bytes == 0


def test_local_files_have_filters_too(tmp_path: Path) -> None:
    """A file that is mapped is asked in the same way, with no request."""
    path = tmp_path / "t.parquet"
    path.write_bytes(DATA)
    name = TABLE["name"][70_000].as_py()
    chosen = Table(str(path)).where(name=name)
    plan = chosen.explain()

    assert (plan.requests, plan.filter_requests) == (0, 0)
    assert plan.filter_bytes > 0
    assert plan.filtered_row_groups >= GROUPS - 2
    assert chosen.to_arrow().equals(TABLE.slice(70_000, 1))


@pytest.mark.parametrize("damage", ["header", "zeros", "size", "words"])
def test_damaged_filters_hide_nothing(tmp_path: Path, damage: str) -> None:
    """A filter that makes no sense is not heeded: the column itself is looked at."""
    data = bytearray(DATA)
    for chunk in FILTERS:
        begin, end = chunk.bloom_filter_offset, chunk.bloom_filter_offset + chunk.bloom_filter_length
        blocks = end - len(bits_of(memoryview(DATA)[begin:end]))
        if damage == "header":
            data[begin:blocks] = b"\xff" * (blocks - begin)
        elif damage == "zeros":
            data[blocks:end] = bytes(end - blocks)
        elif damage == "size":
            data[begin + 1] ^= 2
        else:
            for at in range(blocks, end, BLOCK_BYTES):
                data[at : at + 28] = bytes(28)
    path = tmp_path / "t.parquet"
    path.write_bytes(data)
    name = TABLE["name"][70_000].as_py()

    assert Table(str(path)).where(name=name).to_arrow().equals(TABLE.slice(70_000, 1))


def test_what_is_absent_is_absent_in_its_type() -> None:
    """That a whole number is not there says nothing of a number with a point, which equals others, too."""
    bounds = Bounds(0, 9, "none", absent=frozenset({fact(1)}))
    whole, pointed = (BoundLeaf("==", ("v",), None, (value,)) for value in (1, 1.0))

    assert outcomes(whole, lambda _: bounds) == {False}
    assert outcomes(pointed, lambda _: bounds) == {True, False}
    assert outcomes(BoundLeaf("in", ("v",), None, (1, 1.0)), lambda _: bounds) == {True, False}
    assert outcomes(BoundLeaf("!=", ("v",), None, (1,)), lambda _: bounds) == {True}


@pytest.mark.usefixtures("eager")
def test_nothing_is_remembered_of_files_without_versions() -> None:
    """Where a storage tells no versions, filters are asked every time."""
    storage = open_storage("memory://filters")
    name = f"{next(_names)}.parquet"
    storage.create(name, [DATA])
    chosen = Table(f"memory://filters/{name}").where(name=ABSENT[0])

    assert chosen.explain().filtered_row_groups >= GROUPS - 1
    assert chosen.num_rows == 0
    assert not _filters._verdicts
    storage.delete([name])


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_foreign_bytes_are_no_filter(data: bytes) -> None:
    """Whatever the bytes are, they are a filter or raise `ValueError`."""
    try:
        bits = bits_of(memoryview(data))
    except ValueError:
        return
    assert len(bits) % BLOCK_BYTES == 0
    assert may_contain(bits, hash_of(data)) in (True, False)


DAY = dt.date(2026, 1, 1)
WHEN = dt.datetime(2026, 1, 1)
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
WHOLE = st.integers(-(2**31), 2**31 - 1)
TEXTS = st.text("abé\U0001f600", max_size=5)
TIMES = st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2040, 1, 1)).map(lambda when: when.replace(microsecond=0))
KINDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): st.integers(-128, 127),
    pa.int32(): WHOLE,
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.uint64(): st.integers(0, 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats() | st.sampled_from([-0.0, 0.0, 0.1, 2.0**53]),
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.binary(): st.binary(max_size=4),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.decimal128(9, 2): st.decimals(-999, 999, places=2, allow_nan=False),
    pa.decimal128(25, 3): st.decimals(-(10**20), 10**20, places=3, allow_nan=False),
    pa.date32(): st.dates(dt.date(1960, 1, 1), dt.date(2040, 1, 1)),
    pa.timestamp("s"): TIMES,
    pa.timestamp("ms", "UTC"): TIMES.map(lambda when: when.replace(tzinfo=dt.UTC)),
    pa.timestamp("us"): TIMES,
    pa.timestamp("ns"): TIMES,
    pa.time32("ms"): st.times().map(lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000)),
    pa.time64("us"): st.times(),
    pa.duration("us"): st.integers(-5, 5).map(lambda n: dt.timedelta(milliseconds=n)),
    pa.dictionary(pa.int32(), pa.string()): TEXTS,
    pa.struct([("a", pa.string())]): TEXTS.map(lambda text: {"a": text}),
}
"""Types that have filters, and values of them."""

Draw = Callable[[st.SearchStrategy[Any]], Any]


def by_pyarrow(draw: Draw, table: pa.Table) -> bytes:
    """Write as pyarrow does, whatever version of the format; with integers for decimals, too."""
    path = "v.a" if pa.types.is_struct(table.schema.field("v").type) else "v"
    return parquet(
        table,
        row_group_size=draw(st.integers(1, 6)),
        use_dictionary=draw(st.booleans()),
        version=draw(st.sampled_from(["1.0", "2.6"])),
        store_decimal_as_integer=draw(st.booleans()),
        store_schema=draw(st.booleans()) or pa.types.is_duration(table.schema.field("v").type),
        bloom_filter_options={path: {"ndv": 20, "fpp": 0.001}},
    )


def by_duckdb(_: Draw, table: pa.Table) -> bytes:
    """Write as DuckDB does, which makes filters of what it keeps in dictionaries."""
    path = Path(_scratch) / f"{next(_names)}.parquet"
    with duckdb.connect() as connection:
        connection.register("given", table)
        connection.sql(f"COPY (SELECT * FROM given) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path.read_bytes()


def by_rust(_: Draw, table: pa.Table) -> bytes:
    """Write as the implementation in Rust does, by way of Delta."""
    import deltalake

    filters = deltalake.BloomFilterProperties(True, fpp=0.001, ndv=20)
    properties = deltalake.WriterProperties(
        max_row_group_size=4, default_column_properties=deltalake.ColumnProperties(bloom_filter_properties=filters)
    )
    folder = Path(_scratch) / str(next(_names))
    deltalake.write_deltalake(str(folder), table, writer_properties=properties)
    (path,) = folder.glob("*.parquet")
    return path.read_bytes()


_scratch = ""


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ask every filter there is, however small the file and heavy the filter."""
    for module in (_footer, _scan):
        monkeypatch.setattr(module, "SMALL_BYTES", 0)
    monkeypatch.setattr(_filters, "WORTH", 0)
    monkeypatch.setattr(_filters, "GAIN_BYTES_MIN", 0)
    monkeypatch.setitem(globals(), "_scratch", str(tmp_path))


def check_agreement(data: bytes, values: list[Any], probes: list[Any], path: str) -> None:
    """Compare what filters leave with what reading every row group gives."""
    storage = open_storage("memory://filters")
    name = f"{next(_names)}.parquet"
    storage.create(name, [data])
    table = Table(f"memory://filters/{name}")
    conditions = [col(path) == probe for probe in [*probes, *values] if probe is not None]
    conditions += [col(path) != probe for probe in probes] + [col(path).isin(probes), ~col(path).isin([None, *probes])]
    conditions += [(col(path) == one) | (col(path) == other) for one, other in itertools.pairwise(probes)]
    for condition in conditions:
        found = table.where(condition)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_scan, "look_at_filters", lambda *_: None)
            wanted = found.to_arrow()
        assert found.to_arrow().equals(wanted) or str(found.to_arrow()) == str(wanted), condition  # NaN
    storage.delete([name])


WRITERS = {
    "pyarrow": (by_pyarrow, list(KINDS), 60),
    "duckdb": (
        by_duckdb,
        [
            pa.int8(), pa.int32(), pa.int64(), pa.uint32(), pa.uint64(), pa.float64(), pa.string(), pa.binary(),
            pa.decimal128(9, 2), pa.decimal128(25, 3), pa.date32(), pa.timestamp("us"), pa.timestamp("ns"), pa.time64("us"),
        ],
        15,
    ),
    "rust": (
        by_rust,
        [
            pa.int8(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary(),
            pa.decimal128(9, 2), pa.decimal128(25, 3), pa.date32(), pa.timestamp("us"),
        ],
        10,
    ),
}  # fmt: skip


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("writer", WRITERS)
def test_no_filter_hides_a_row(writer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the type and the writer, rows are the same with filters and without."""
    write, kinds, examples = WRITERS[writer]
    excluded: list[int] = []
    ask = _filters._absent

    def counted(data: memoryview, wanted: Any) -> Any:
        found = ask(data, wanted)
        excluded.append(len(found))
        return found

    monkeypatch.setattr(_filters, "_absent", counted)

    @given(st.data())
    @settings(max_examples=examples)
    def look(data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(kinds))
        values = data.draw(st.lists(st.none() | KINDS[kind], min_size=1, max_size=12))
        probes = data.draw(st.lists(KINDS[kind], min_size=1, max_size=3))
        array = pa.array(values, kind)
        if writer == "duckdb":
            array = pa.concat_arrays([array] * 4)  # or it would have no dictionary
        written = write(data.draw, pa.table({"v": array}))
        path = "v"
        if pa.types.is_struct(kind):
            path = "v.a"
            values, probes = [value and value["a"] for value in values], [probe["a"] for probe in probes]
        check_agreement(written, values, probes, path)

    look()
    assert any(excluded)  # or the writer made no filters


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(
    ("kind", "values", "other"),
    [
        (pa.int64(), [1, 5, 1 << 40], 3),
        (pa.uint32(), [1, 5, 1 << 31], 3),
        (pa.float64(), [0.5, 2.0, 7.5], 3.0),
        (pa.float32(), [0.5, 2.0, 7.5], 3.0),
        (pa.string(), ["a", "é", "z"], "b"),
        (pa.binary(2), [b"aa", b"bb", b"zz"], b"cc"),
        (
            pa.decimal128(9, 2),
            [decimal.Decimal("1.25"), decimal.Decimal(-3), decimal.Decimal(9)],
            decimal.Decimal("4.5"),
        ),
        (
            pa.decimal128(25, 3),
            [decimal.Decimal("1.25"), decimal.Decimal(-3), decimal.Decimal(9)],
            decimal.Decimal(4),
        ),
        (pa.date32(), [DAY, DAY + dt.timedelta(9)], DAY + dt.timedelta(3)),
        (pa.timestamp("s"), [WHEN, WHEN + dt.timedelta(9)], WHEN + dt.timedelta(3)),
        (pa.timestamp("ns"), [WHEN, WHEN + dt.timedelta(9)], WHEN + dt.timedelta(3)),
        (pa.timestamp("ms", "UTC"), [NOON, NOON + dt.timedelta(9)], NOON + dt.timedelta(3)),
        (pa.time64("us"), [dt.time(1), dt.time(9)], dt.time(3)),
        (pa.duration("us"), [dt.timedelta(1), dt.timedelta(9)], dt.timedelta(3)),
    ],
)
def test_filters_work_for_every_type(tmp_path: Path, kind: pa.DataType, values: list[Any], other: Any) -> None:
    """What lies between the bounds of a row group and is not in it is told by the filter, of whatever type it is."""
    path = tmp_path / "t.parquet"
    path.write_bytes(
        parquet(pa.table({"v": pa.array(values, kind)}), bloom_filter_options={"v": {"ndv": 100, "fpp": 0.0001}})
    )
    table = Table(str(path))

    assert table.where(col("v") == other).explain().filtered_row_groups == 1
    assert [table.where(col("v") == value).num_rows for value in values] == [1] * len(values)


@pytest.mark.usefixtures("eager")
def test_columns_that_are_converted_are_asked_only_where_that_is_exact(tmp_path: Path) -> None:
    """Whole numbers that are widened are found by their value; numbers that lose digits on the way are not asked for."""
    for at, kind in enumerate([pa.int32(), pa.int64()]):
        data = parquet(pa.table({"v": pa.array([1, 9], kind)}), bloom_filter_options={"v": {"ndv": 100, "fpp": 0.0001}})
        (tmp_path / f"{at}.parquet").write_bytes(data)
    whole = Table(str(tmp_path))
    assert whole.schema.field("v").type == pa.int64()
    assert whole.where(v=9).num_rows == 2
    assert whole.where(v=5).explain().filtered_row_groups == 2

    narrow = tmp_path / "narrow"
    narrow.mkdir()
    values = pa.array([0.0, 0.1, 1.0], pa.float64())
    data = parquet(pa.table({"v": values}), bloom_filter_options={"v": {"ndv": 100, "fpp": 0.0001}})
    (narrow / "a.parquet").write_bytes(data)
    rounded = float(np.float32(0.1))
    table = Table(str(narrow), schema=pa.schema([("v", pa.float32())]))
    assert table.where(v=rounded).num_rows == 1
