"""Random tables, written by several writers, read as pyarrow and polars read them: whatever is asked of them."""

from __future__ import annotations

import datetime as dt
import decimal
import importlib
import io
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tables._lake import parquet

from holdall_store.storage import open_storage
from holdall_store.tables import Column, Expression, Table, _footer, _scan, _units, col
from holdall_store.tables._arrow_filter import to_arrow
from holdall_store.tables._bound import bind

_names = itertools.count()

TEXTS = st.text("abcé\U0001f600", max_size=4)
DAYS = st.dates(dt.date(1960, 1, 1), dt.date(2040, 1, 1))
TIMES = st.datetimes(dt.datetime(1960, 1, 1), dt.datetime(2040, 1, 1)).map(lambda when: when.replace(microsecond=0))
WHOLE = st.integers(-3, 3)
PLAIN: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): WHOLE,
    pa.int32(): WHOLE,
    pa.int64(): WHOLE | st.integers(-(2**63), 2**63 - 1),
    pa.uint16(): st.integers(0, 4),
    pa.float64(): st.sampled_from([-1.5, -0.0, 0.0, 0.5, 2.0, 1e300]),
    pa.string(): TEXTS,
    pa.bool_(): st.booleans(),
    pa.date32(): DAYS,
    pa.timestamp("us"): TIMES,
}
"""Types that every writer and reader here has, with values to compare with."""

SPECIAL: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.float64(): st.sampled_from([float("nan"), -1.0, 0.0, 1.0, float("inf")]),
    pa.float32(): st.sampled_from([float("nan"), -1.0, 0.0, 0.5]),
    pa.uint64(): st.integers(0, 2**63 - 1),
    pa.binary(): st.binary(max_size=3),
    pa.large_string(): TEXTS,
    pa.decimal128(9, 2): st.decimals(-99, 99, places=2, allow_nan=False),
    pa.timestamp("s"): TIMES,
    pa.timestamp("ms", "UTC"): TIMES.map(lambda when: when.replace(tzinfo=dt.UTC)),
    pa.timestamp("ns"): TIMES,
    pa.time64("us"): st.times().map(lambda when: when.replace(tzinfo=None)),
    pa.duration("ms"): st.integers(-5, 5).map(lambda n: dt.timedelta(milliseconds=n)),
    pa.dictionary(pa.int32(), pa.string()): TEXTS,
}
NESTED: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.list_(pa.int32()): st.lists(st.none() | WHOLE, max_size=3),
    pa.struct([("a", pa.int64()), ("b", pa.string())]): st.fixed_dictionaries(
        {"a": st.none() | WHOLE, "b": st.none() | TEXTS}
    ),
    pa.map_(pa.string(), pa.int32()): st.dictionaries(TEXTS, WHOLE, max_size=2).map(lambda found: list(found.items())),
    pa.list_(pa.struct([("x", pa.float64())])): st.lists(
        st.fixed_dictionaries({"x": st.none() | st.just(0.5)}), max_size=2
    ),
}


@st.composite
def tables(draw: st.DrawFn, kinds: dict[pa.DataType, st.SearchStrategy[Any]]) -> pa.Table:
    """Make a table of some columns and rows, ordered in part, so that statistics can rule row groups out."""
    types = draw(st.lists(st.sampled_from(list(kinds)), min_size=1, max_size=4))
    rows = draw(st.integers(0, 30))
    columns = {}
    for at, kind in enumerate(types):
        values = draw(st.lists(st.none() | kinds[kind], min_size=rows, max_size=rows))
        if draw(st.booleans()) and not pa.types.is_nested(kind):
            values.sort(key=lambda value: (value is None, str(value)))
        columns[f"c{at}"] = pa.array(values, kind)
    return pa.table(columns)


@st.composite
def conditions(draw: st.DrawFn, table: pa.Table, kinds: dict[pa.DataType, st.SearchStrategy[Any]]) -> Expression:
    """Make a condition on the columns of a table."""
    name = draw(st.sampled_from([field.name for field in table.schema if field.type in kinds]))
    column = col(name)
    values = kinds[table.schema.field(name).type]
    comparisons = [Column.__eq__, Column.__ne__, Column.__lt__, Column.__le__, Column.__gt__, Column.__ge__]
    leaves = st.one_of(
        st.tuples(st.sampled_from(comparisons), values).map(lambda pair: pair[0](column, pair[1])),
        st.lists(st.none() | values, max_size=3).map(column.isin),
        st.just(column.is_null()),
        st.tuples(values, values).map(lambda pair: column.between(*pair)),
    )
    if pa.types.is_string(table.schema.field(name).type):
        leaves = leaves | TEXTS.map(column.starts_with)
    leaf: Expression = draw(leaves)
    if draw(st.booleans()):
        leaf = ~leaf
    if draw(st.integers(0, 2)) == 0:
        other = draw(conditions(table, kinds))
        leaf = leaf & other if draw(st.booleans()) else leaf | other
    return leaf


def by_pyarrow(draw: st.DrawFn, table: pa.Table) -> bytes:
    """Write as pyarrow does, with settings of all kinds."""
    return parquet(
        table,
        row_group_size=draw(st.integers(1, 20)),
        compression=draw(st.sampled_from(["snappy", "zstd", "none"])),
        use_dictionary=draw(st.booleans()),
        write_statistics=draw(st.booleans()),
        data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
        data_page_size=draw(st.sampled_from([64, 1 << 20])),
        store_schema=draw(st.booleans()) or any(pa.types.is_duration(kind) for kind in table.schema.types),
    )


def by_polars(draw: st.DrawFn, table: pa.Table) -> bytes:
    """Write as polars does: its texts say that they are views."""
    buffer = io.BytesIO()
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(buffer, row_group_size=draw(st.integers(1, 20)), statistics=draw(st.booleans()))
    return buffer.getvalue()


@st.composite
def lakes(draw: st.DrawFn, kinds: dict[pa.DataType, st.SearchStrategy[Any]]) -> tuple[pa.Table, dict[str, bytes]]:
    """Make a table, and the files that it lies in."""
    table = draw(tables(kinds))
    writers = (
        [by_pyarrow]
        if any(map(pa.types.is_nested, table.schema.types)) or kinds is SPECIAL
        else [by_pyarrow, by_polars]
    )
    cuts = sorted(draw(st.lists(st.integers(0, table.num_rows), max_size=2)))
    files = {}
    parts = []
    for at, (begin, end) in enumerate(itertools.pairwise([0, *cuts, table.num_rows])):
        day = draw(st.sampled_from(["1", "2"]))
        files[f"day={day}/part-{at}.parquet"] = draw(st.sampled_from(writers))(draw, table.slice(begin, end - begin))
        parts.append((f"day={day}/part-{at}.parquet", table.slice(begin, end - begin), int(day)))
    parts.sort(key=lambda part: part[0])
    whole = pa.concat_tables(
        part.append_column("day", pa.array([day] * part.num_rows, pa.int64())) for _, part, day in parts
    )
    return whole, files


def in_memory(files: dict[str, bytes]) -> str:
    """Put files where they have to be fetched, and return the URL."""
    url = f"memory://agreement-{next(_names)}"
    storage = open_storage(url)
    for key, data in files.items():
        storage.create(key, [data])
    return url


def on_disk(folder: str, files: dict[str, bytes]) -> str:
    """Write files below a folder."""
    for key, data in files.items():
        path = Path(folder, key)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return folder


def rows_of(table: pa.Table) -> list[Any]:
    """Return rows so that equal ones are equal: NaN, too."""
    return [repr(row) for row in table.to_pylist()]


def filtered(table: pa.Table, condition: Expression | None) -> pa.Table:
    """Return the rows of a table in memory for which a condition is true, by pyarrow."""
    if condition is None:
        return table
    return table.filter(to_arrow(bind(condition, table.schema, "the table"), table.schema))


KINDS = {"plain": PLAIN, "special": SPECIAL, "nested": {**NESTED, pa.int64(): WHOLE}}


WAYS: dict[str, dict[str, int]] = {
    "usual": {},
    "ranges": {"SMALL_BYTES": 0, "UNIT_BYTES": 1},
    "late": {"SMALL_BYTES": 0, "UNIT_BYTES": 200, "LATE_FACTOR": 0, "LATE_BYTES_MIN": 1, "LATE_BYTES": 100},
}
"""Small files come whole, and large ones in ranges, in one round or two; here all are small."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the bounds by which a way of reading is chosen."""
    for name, value in WAYS[request.param].items():
        for module in (_footer, _scan, _units):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    return str(request.param)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.usefixtures("way")
@given(data=st.data())
@settings(max_examples=20)
def test_what_is_read_is_what_was_written(name: str, data: st.DataObject) -> None:
    """Any selection, condition and limit give the rows that the table in memory has, from a disk and from afar."""
    kinds = KINDS[name]
    whole, files = data.draw(lakes(kinds))
    comparable = {kind: values for kind, values in kinds.items() if not pa.types.is_nested(kind)}
    condition = None
    if any(kind in comparable for kind in whole.schema.types[:-1]) and data.draw(st.booleans()):
        condition = data.draw(conditions(whole.drop_columns("day"), comparable))
    if data.draw(st.booleans()):
        day = col("day") == data.draw(st.sampled_from([1, 2, 3]))
        condition = day if condition is None else condition & day
    columns = data.draw(st.none() | st.lists(st.sampled_from(whole.schema.names), min_size=1, unique=True))
    limit = data.draw(st.none() | st.integers(0, 20))
    expected = filtered(whole, condition).select(columns or whole.schema.names)
    expected = expected if limit is None else expected.slice(0, limit)
    with tempfile.TemporaryDirectory() as folder:
        for source in (in_memory(files), on_disk(folder, files)):
            table = Table(source)
            table = table if condition is None else table.where(condition)
            table = table if columns is None else table.select(*columns)
            table = table if limit is None else table.head(limit)
            found = table.to_arrow()

            assert found.schema.names == expected.schema.names
            assert rows_of(found) == rows_of(expected)
            assert table.num_rows == expected.num_rows
            assert table.schema == found.schema
            assert sorted(rows_of(table.to_arrow(ordered=False))) == sorted(rows_of(expected)) or limit is not None


DUCKDB = duckdb.connect()


def in_order(table: pa.Table, schema: pa.Schema) -> list[Any]:
    """Return the rows of an engine's answer, in our types, so that equal ones are equal whatever their order."""
    return sorted(rows_of(table.cast(schema)))


@given(data=st.data())
@settings(max_examples=40)
def test_duckdb_reads_what_we_read(data: st.DataObject) -> None:
    """Any selection, condition and partition gives the rows that DuckDB finds in the same files; a limit some of them."""
    whole, files = data.draw(lakes(KINDS[data.draw(st.sampled_from(["plain", "special"]))]))
    kinds = {kind: values for kind, values in {**PLAIN, **SPECIAL}.items() if not pa.types.is_duration(kind)}
    condition = None
    if any(kind in kinds for kind in whole.schema.types[:-1]) and data.draw(st.booleans()):
        condition = data.draw(conditions(whole.drop_columns("day"), kinds))
    if data.draw(st.booleans()):
        day = col("day") == data.draw(st.sampled_from([1, 2, 3]))
        condition = day if condition is None else condition | day
    columns = data.draw(st.none() | st.lists(st.sampled_from(whole.schema.names), min_size=1, unique=True))
    limit = data.draw(st.none() | st.integers(0, 20))
    with tempfile.TemporaryDirectory() as folder:
        table = Table(on_disk(folder, files))
        table = table if condition is None else table.where(condition)
        table = table if columns is None else table.select(*columns)
        mine = in_order(table.to_arrow(), table.schema)
        relation = (table if limit is None else table.head(limit)).to_duckdb(DUCKDB)
        theirs = in_order(without_intervals(relation, table.schema), table.schema)

    if limit is None:
        assert theirs == mine
    else:
        assert len(theirs) == min(limit, len(mine))
        assert not Counter(theirs) - Counter(mine)


def without_intervals(relation: Any, schema: pa.Schema) -> pa.Table:
    """Return an answer of DuckDB's; its intervals, which Arrow does not turn into durations, by their milliseconds."""
    named = [f'"{name}"' for name in schema.names]
    words = [
        f"CAST(epoch_ms({name}) AS BIGINT) AS {name}" if pa.types.is_duration(field.type) else name
        for name, field in zip(named, schema, strict=True)
    ]
    found: pa.Table = relation.project(", ".join(words)).to_arrow_table()
    return found


@pytest.fixture(scope="module")
def lineitem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write lineitem of TPC-H, some thousand rows, with the generator of parquet-rs."""
    program = shutil.which("tpchgen-cli", path=str(Path(sys.executable).parent)) or shutil.which("tpchgen-cli")
    if program is None:
        pytest.skip("tpchgen-cli is not installed")
    folder = tmp_path_factory.mktemp("tpch")
    options = ["--tables", "lineitem", "-s", "0.001", "-o", str(folder), "--row-group-bytes", "100000", "--quiet"]
    subprocess.run([program, "parquet", *options], check=True, capture_output=True)
    return folder / "lineitem.parquet"


LINES = {
    "all": lambda table: table,
    "columns": lambda table: table.select("l_comment", "l_shipdate", "l_quantity"),
    "a range": lambda table: table.where(col("l_orderkey").between(2000, 3000)).select("l_orderkey", "l_partkey"),
    "a date": lambda table: table.where(col("l_shipdate") < "1993-01-01").select("l_shipdate", "l_tax"),
    "a decimal and texts": lambda table: table.where(col("l_discount") > 0.09, l_shipmode=["AIR", "RAIL"]),
    "a beginning": lambda table: table.where(~col("l_comment").starts_with("a")).select("l_comment"),
}


@pytest.mark.parametrize("case", LINES)
@pytest.mark.usefixtures("way")
def test_what_parquet_rs_wrote(lineitem: Path, case: str) -> None:
    """Files of parquet-rs, with views of texts, decimals and dates, are read as pyarrow and DuckDB read them."""
    table = LINES[case](Table(lineitem))
    found = table.to_arrow()
    theirs = table.to_duckdb(DUCKDB).to_arrow_table()
    plain = pq.ParquetFile(lineitem).read().cast(Table(lineitem).schema)
    mine = filtered(plain, table._condition).select(found.schema.names)

    assert found.num_rows > 100
    assert rows_of(found) == rows_of(mine)
    assert in_order(theirs, found.schema) == sorted(rows_of(found))
    assert table.head(7).to_arrow() == found.slice(0, 7)


@given(data=st.data())
@settings(max_examples=25)
def test_three_other_readers_agree(data: st.DataObject) -> None:
    """Pyarrow's datasets, polars and DuckDB, which read the same files, find the same rows."""
    whole, files = data.draw(lakes(PLAIN))
    condition = data.draw(conditions(whole.drop_columns("day"), PLAIN))
    with tempfile.TemporaryDirectory() as folder:
        on_disk(folder, files)
        found = Table(folder).where(condition).to_arrow()
        dataset = pads.dataset(folder, partitioning="hive", schema=whole.schema)
        theirs = dataset.to_table(filter=to_arrow(bind(condition, whole.schema, "the table"), whole.schema))
        frame = pl.scan_parquet(f"{folder}/**/*.parquet", hive_partitioning=True).filter(as_polars(condition)).collect()

        relation = Table(folder).where(condition).to_duckdb(DUCKDB).to_arrow_table()

    assert rows_of(found) == rows_of(theirs)
    assert in_order(relation, found.schema) == sorted(rows_of(found))
    assert frame.height == found.num_rows
    assert rows_of(frame.select(found.schema.names).to_arrow()) == rows_of(found)


def as_polars(condition: Any) -> pl.Expr:
    """Return a condition as polars has it."""
    if hasattr(condition, "inner"):
        return ~as_polars(condition.inner)
    if hasattr(condition, "parts"):
        parts = [as_polars(part) for part in condition.parts]
        every = type(condition).__name__ == "All"
        return pl.all_horizontal(parts) if every else pl.any_horizontal(parts)
    column, operand = pl.col(condition.name), condition.operand
    if condition.operator == "null":
        return column.is_null()
    if condition.operator == "prefix":
        return column.str.starts_with(operand)
    if condition.operator == "in":
        known = [value for value in operand if value is not None]
        found = column.is_in(known) & column.is_not_null() if known else pl.lit(value=False)
        found = found.fill_null(value=False)
        return found | column.is_null() if None in operand else found
    name = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}[condition.operator]
    compared: pl.Expr = getattr(column, name)(operand)
    return compared


@pytest.mark.parametrize("library", ["duckdb", "fastparquet"])
def test_what_other_writers_wrote(library: str, tmp_path: Path) -> None:
    """Files of DuckDB and fastparquet are read as pyarrow reads them."""
    table = pa.table(
        {
            "i": pa.array([None if at % 7 == 0 else at for at in range(3000)], pa.int64()),
            "s": [f"text {at % 11}" for at in range(3000)],
            "f": [at / 3 for at in range(3000)],
            "d": [dt.date(2026, 1, 1) + dt.timedelta(days=at % 30) for at in range(3000)],
            "n": [decimal.Decimal(at) / 4 for at in range(3000)],
        }
    )
    path = tmp_path / "other.parquet"
    if library == "duckdb":
        DUCKDB.register("given", table)
        DUCKDB.execute(f"copy given to '{path}' (format parquet, row_group_size 1000)")
    else:
        frame = table.drop_columns(["d", "n"]).to_pandas()
        importlib.import_module("fastparquet").write(str(path), frame, row_group_offsets=1000)
    expected = pq.ParquetFile(path).read()

    assert rows_of(Table(path).to_arrow()) == rows_of(expected)
    chosen = Table(path).where(col("i") > 2500, s="text 3").select("f", "i").to_arrow()
    mine = [row for row in expected.to_pylist() if (row["i"] or 0) > 2500 and row["s"] == "text 3"]
    assert chosen.to_pylist() == [{"f": row["f"], "i": row["i"]} for row in mine]
