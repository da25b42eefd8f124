"""Files of one table that do not agree: columns that were added, dropped, reordered, widened; and types of all kinds."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tables._lake import Lake, write

from holdall_store.errors import FormatError, InvalidNameError
from holdall_store.tables import Table, _snapshot, col


def lay(folder: Path, *tables: pa.Table) -> Table:
    """Write tables as files of one."""
    for at, table in enumerate(tables):
        write(folder / f"{at}.parquet", table)
    return Table(folder)


def test_columns_come_and_go(tmp_path: Path) -> None:
    """Each column of any file is one of the table, null where a file does not have it, wherever it stands there."""
    table = lay(tmp_path, pa.table({"a": [1], "b": ["x"]}), pa.table({"c": [0.5], "a": [2]}))

    assert table.schema.names == ["a", "b", "c"]
    assert table.to_arrow().to_pylist() == [{"a": 1, "b": "x", "c": None}, {"a": 2, "b": None, "c": 0.5}]
    assert table.where(b=None).to_arrow().to_pylist() == [{"a": 2, "b": None, "c": 0.5}]
    assert table.where(~(col("b") == "x")).num_rows == 0
    assert table.stats["b"].null_count == 1


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (pa.int8(), pa.int64()),
        (pa.uint16(), pa.int32()),
        (pa.float32(), pa.float64()),
        (pa.int32(), pa.float64()),
        (pa.string(), pa.large_string()),
        (pa.timestamp("ms"), pa.timestamp("ns")),
        (pa.decimal128(5, 2), pa.decimal128(9, 3)),
        (pa.null(), pa.int32()),
        (pa.dictionary(pa.int32(), pa.string()), pa.string()),
    ],
)
def test_columns_widen(tmp_path: Path, narrow: pa.DataType, wide: pa.DataType) -> None:
    """A column has the widest type of all files, whichever comes first, and its statistics still rule files out."""
    values: dict[Any, list[Any]] = {
        pa.string(): ["a", "b"],
        pa.timestamp("ms"): [dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1)],
        pa.decimal128(5, 2): [decimal.Decimal("1.25"), decimal.Decimal("7.00")],
    }
    low, high = values.get(narrow, ["a", "b"] if pa.types.is_dictionary(narrow) else [1, 2])
    first = None if pa.types.is_null(narrow) else low
    table = lay(tmp_path, pa.table({"x": pa.array([first], narrow)}), pa.table({"x": pa.array([high], wide)}))

    assert table.schema.types == [wide]
    assert table.to_arrow().column("x").to_pylist() == [first, high]
    assert table.where(col("x") > low).to_arrow().column("x").to_pylist() == [high]
    backwards = Table([tmp_path / "1.parquet", tmp_path / "0.parquet"])
    assert backwards.schema.types == [wide]
    assert backwards.where(x=high).to_arrow().column("x").to_pylist() == [high]


def test_structs_change_inside(tmp_path: Path) -> None:
    """Fields of structs come, go and widen as columns do, in lists, too."""
    table = lay(
        tmp_path,
        pa.table({"s": [{"a": 1, "b": "x"}], "l": [[{"x": 1}]]}),
        pa.table({"s": [{"c": 2.5, "a": 2}, None], "l": [[{"y": "t", "x": 2}], None]}),
    )

    assert table.to_arrow().to_pylist() == [
        {"s": {"a": 1, "b": "x", "c": None}, "l": [{"x": 1, "y": None}]},
        {"s": {"a": 2, "b": None, "c": 2.5}, "l": [{"x": 2, "y": "t"}]},
        {"s": None, "l": None},
    ]
    assert table.select("s.c").to_arrow().to_pylist() == [{"s": {"c": None}}, {"s": {"c": 2.5}}, {"s": None}]
    assert table.where(col("s.a") > 1).select("s.b", "s.a").to_arrow().to_pylist() == [{"s": {"b": None, "a": 2}}]
    assert table.where(col("s.c").is_null()).select("s.a").to_arrow().to_pylist() == [{"s": {"a": 1}}, {"s": None}]


def test_types_that_do_not_fit(tmp_path: Path) -> None:
    """Texts here and numbers there are an error that names both files, unless a schema decides."""
    table = lay(tmp_path, pa.table({"x": [1]}), pa.table({"x": ["2"]}))

    with pytest.raises(FormatError, match=r"'x' is int64 in .*0\.parquet and string in .*1\.parquet"):
        _ = table.schema
    as_text = Table(tmp_path, schema=pa.schema([("x", pa.string())]))
    assert as_text.to_arrow().column("x").to_pylist() == ["1", "2"]


def test_values_that_do_not_fit(tmp_path: Path) -> None:
    """A value that has no room in the type asked for is an error that names the file and the column, not another value."""
    write(tmp_path / "a.parquet", pa.table({"x": [1, 300]}))

    with pytest.raises(FormatError, match=r"a\.parquet: the column 'x' is int64"):
        Table(tmp_path, schema=pa.schema([("x", pa.int8())])).to_arrow()


def test_a_schema_of_the_caller_s(tmp_path: Path) -> None:
    """It says which columns there are, in which order and type; conditions know no others."""
    write(tmp_path / "a.parquet", pa.table({"x": [1], "y": ["t"], "z": [None]}))
    table = Table(tmp_path, schema=pa.schema([("new", pa.int8()), ("y", pa.large_string())]))

    assert table.to_arrow().to_pylist() == [{"new": None, "y": "t"}]
    assert table.schema == pa.schema([("new", pa.int8()), ("y", pa.large_string())])
    with pytest.raises(InvalidNameError, match="schema="):
        Table(tmp_path, schema={"x": int})


def test_the_schema_of_many_files(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of some; a column that only others have is an error, not left out, and the ways out work."""
    monkeypatch.setattr(_snapshot, "SCHEMA_FILES", 4)
    for at in range(20):
        lake.put(f"t/{at:02}.parquet", pa.table({"x": [at], **({"rare": [1]} if at == 3 else {})}))

    assert lake.table("t").schema.names == ["x"]
    with pytest.raises(FormatError, match=r"t/03\.parquet has a column 'rare'"):
        lake.table("t").to_arrow()
    assert lake.table("t").select("x").to_arrow().num_rows == 20
    assert lake.table("t", schema="all").schema.names == ["x", "rare"]
    assert lake.table("t", schema="all").where(rare=1).to_arrow().to_pylist() == [{"x": 3, "rare": 1}]


TYPES: dict[pa.DataType, list[Any]] = {
    pa.timestamp("s"): [dt.datetime(1969, 1, 1), dt.datetime(2026, 11, 1)],
    pa.timestamp("ms", "Europe/Berlin"): [
        dt.datetime(1969, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
    ],
    pa.timestamp("us"): [dt.datetime(1969, 1, 1, microsecond=5), dt.datetime(2026, 11, 1)],
    pa.timestamp("ns", "UTC"): [dt.datetime(1969, 1, 1, tzinfo=dt.UTC), dt.datetime(2026, 11, 1, tzinfo=dt.UTC)],
    pa.date32(): [dt.date(1969, 1, 1), dt.date(2026, 11, 1)],
    pa.date64(): [dt.date(1969, 1, 1), dt.date(2026, 11, 1)],
    pa.time32("ms"): [dt.time(1), dt.time(2)],
    pa.time64("ns"): [dt.time(1), dt.time(2)],
    pa.duration("us"): [dt.timedelta(seconds=-1), dt.timedelta(seconds=1)],
    pa.decimal128(38, 10): [decimal.Decimal("-1.5"), decimal.Decimal("2.25")],
    pa.decimal256(60, 2): [decimal.Decimal("-1.5"), decimal.Decimal("2.25")],
    pa.uint64(): [3, 2**64 - 1],
    pa.bool_(): [False, True],
    pa.binary(): [b"", b"\xff\x00"],
    pa.binary(2): [b"aa", b"\xff\x00"],
    pa.large_binary(): [b"a", b"b"],
}


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_types_of_all_kinds(tmp_path: Path, kind: pa.DataType) -> None:
    """Values come back as they were, conditions find them, and statistics tell the bounds and rule the others out."""
    low, high = TYPES[kind]
    table = pa.table({"x": pa.array([low, None, high], kind)})
    write(tmp_path / "a.parquet", table, row_group_size=1)
    found = Table(tmp_path)

    assert found.to_arrow().equals(pq.ParquetFile(tmp_path / "a.parquet").read())  # seconds are milliseconds there
    assert found.to_arrow().to_pylist() == table.to_pylist()
    assert found.where(x=high).to_arrow().to_pylist() == table.slice(2).to_pylist()
    assert found.where(col("x") < high).to_arrow().to_pylist() == table.slice(0, 1).to_pylist()
    assert found.where(x=[low, None]).to_arrow().to_pylist() == table.slice(0, 2).to_pylist()
    assert found.where(x=high).explain().row_groups_read == 1
    assert found.stats["x"].null_count == 1
    if not pa.types.is_duration(kind):
        assert (found.stats["x"].min, found.stats["x"].max) == (table["x"][0].as_py(), table["x"][2].as_py())


def test_times_as_texts(tmp_path: Path) -> None:
    """Times can be written as texts; without a zone they mean UTC where the column has one."""
    kinds = {"d": pa.date32(), "t": pa.timestamp("us"), "z": pa.timestamp("us", "UTC"), "h": pa.time64("us")}
    row = {
        "d": dt.date(2026, 11, 1),
        "t": dt.datetime(2026, 11, 1, 12),
        "z": dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC),
        "h": dt.time(9),
    }
    write(tmp_path / "a.parquet", pa.table({name: pa.array([row[name]], kind) for name, kind in kinds.items()}))
    table = Table(tmp_path)

    assert table.where(d="2026-11-01", t="2026-11-01T12:00:00", z="2026-11-01 12:00", h="09:00:00").num_rows == 1
    assert table.where(col("z") == "2026-11-01T13:00:00+01:00").num_rows == 1
    assert table.where(col("t").between(dt.date(2026, 11, 1), dt.date(2026, 11, 2))).num_rows == 1
