"""Tables as relations of DuckDB's: it finds the rows that we find."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.tables._engines import CASES, make_grown, make_lake, rows_of
from tests.tables._lake import Lake, parquet, write

from holdall_store.errors import IntegrityError, UnsupportedTypeError
from holdall_store.storage import open_storage
from holdall_store.tables import Table, _duckdb, col

duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a table in folders."""
    return make_lake(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def connection() -> Any:
    """Give a database in memory."""
    with duckdb.connect() as made:
        yield made


def elsewhere() -> Table:
    """Return a table that only this process reaches."""
    open_storage("memory://elsewhere").create("a.parquet", [parquet(pa.table({"x": [1]}))])
    return Table("memory://elsewhere/a.parquet")


def same(table: Table, connection: Any) -> None:
    """Compare what DuckDB finds with what we find."""
    found = table.to_duckdb(connection).to_arrow_table()

    assert rows_of(found, table.schema) == rows_of(table.to_arrow(), table.schema)


@pytest.mark.parametrize("native", [True, False], ids=["its own reader", "datasets"])
@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_same_rows(
    folder: Path, connection: Any, case: str, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked, with DuckDB's own reader and through Arrow's datasets."""
    if not native:
        monkeypatch.setattr(_duckdb, "_is_native", lambda given: False)
    same(CASES[case](Table(folder)), connection)


def test_its_own_reader_is_used_where_it_gives_the_same(folder: Path, connection: Any, tmp_path: Path) -> None:
    """So it is for plain types on a disk; not for what it would read as something else, nor names that are patterns."""
    write(tmp_path / "ns.parquet", pa.table({"n": pa.array([1, None], pa.timestamp("ns"))}))
    write(tmp_path / "a[b].parquet", pa.table({"x": [1]}))
    write(tmp_path / "name.parquet", pa.table({"filename": ["mine"]}))
    grown = make_grown(tmp_path / "grown")

    def plan(table: Table) -> str:
        same(table, connection)
        return str(table.to_duckdb(connection).explain()).lower()

    assert "parquet" in plan(Table(folder))
    assert "parquet" in plan(Table(folder).select("k").where(day=1))
    for other in (tmp_path / "ns.parquet", tmp_path / "a[b].parquet", tmp_path / "name.parquet", grown):
        assert "parquet" not in plan(Table(other))


def test_head_and_parts(folder: Path, connection: Any) -> None:
    """A head is a limit, and a part made by split has its own row groups."""
    table = Table(folder)

    assert table.head(4).to_duckdb(connection).count("*").fetchall() == [(4,)]
    assert table.where(k=12).head(4).to_duckdb(connection).count("*").fetchall() == [(1,)]
    parts = table.split(5)
    for part in parts:
        same(part, connection)
    assert sum(part.num_rows for part in parts) == table.num_rows


def test_types_that_files_do_not_tell(connection: Any, tmp_path: Path) -> None:
    """Durations, zones with nanoseconds, halves, and texts with few values come as they are in Arrow."""
    table = pa.table(
        {
            "t": pa.array([10**18 + 1, None], pa.timestamp("ns", "UTC")),
            "c": pa.array([10**9 + 1, None], pa.time64("ns")),
            "s": pa.array([5, None], pa.timestamp("s")),
            "d": pa.array(["a", None]).dictionary_encode(),
            "u": pa.array([2**64 - 1, None], pa.uint64()),
        }
    )
    write(tmp_path / "a.parquet", table)
    mine = Table(tmp_path)

    same(mine, connection)
    same(mine.where(col("t") > "2001-09-09T01:46:40Z"), connection)
    same(mine.where(u=2**64 - 1, d="a"), connection)


def test_the_usual_connection(folder: Path) -> None:
    """Without a connection it is the one of ``duckdb.sql``, which finds the relation by its name."""
    events = Table(folder).where(day=1).to_duckdb()

    assert duckdb.sql("select count(*), max(k) from events").fetchall() == [(6, 15)]
    assert events.columns == Table(folder).schema.names


def test_names_are_names(connection: Any, tmp_path: Path) -> None:
    """Quotes, dots and commas in the names of columns, fields and folders mean nothing."""
    kind = pa.struct([('b"c', pa.int64()), ("d'e", pa.string())])
    value = pa.array([{'b"c': 1, "d'e": "x"}, None], kind)
    write(tmp_path / 'p"q=a%2Fb' / "it's.parquet", pa.table({'x "y", z': value, "select.from": [1, 2]}))
    table = Table(tmp_path)

    same(table, connection)
    same(table.select('x "y", z.b"c', "select.from", 'p"q').where(col("select.from") < 2, **{'p"q': "a/b"}), connection)


def test_what_it_cannot_tell_apart(connection: Any, tmp_path: Path) -> None:
    """Names that differ by capitals only are refused, and so are numbers that are too long."""
    write(tmp_path / "a.parquet", pa.table({"x": [1], "X": [2]}))
    write(tmp_path / "b.parquet", pa.table({"long": pa.array([1], pa.decimal256(60, 0)), "x": [1]}))

    with pytest.raises(UnsupportedTypeError, match=r"'x' from 'X'"):
        Table(tmp_path / "a.parquet").to_duckdb(connection)
    with pytest.raises(UnsupportedTypeError, match=r"'long'.*decimal256"):
        Table(tmp_path / "b.parquet").to_duckdb(connection)
    same(Table(tmp_path / "b.parquet").select("x"), connection)
    with pytest.raises(UnsupportedTypeError, match="memory://"):
        elsewhere().to_duckdb(connection)


def test_a_file_that_was_replaced(connection: Any, tmp_path: Path) -> None:
    """It is noticed when the table is handed over, and by `verify` after DuckDB has read."""
    write(tmp_path / "a.parquet", pa.table({"x": [1]}))
    table = Table(tmp_path)
    relation = table.to_duckdb(connection)
    table.verify()
    write(tmp_path / "a.parquet", pa.table({"x": [1, 2]}))

    assert relation.count("*").fetchall() == [(2,)]
    with pytest.raises(IntegrityError, match=r"a\.parquet"):
        table.verify()
    with pytest.raises(IntegrityError, match=r"a\.parquet"):
        table.to_duckdb(connection)


def test_from_a_bucket(lake: Lake, connection: Any) -> None:
    """Only the columns that are wanted travel, with the credentials that the table has."""
    lake.put(
        "events/day=1/a.parquet",
        pa.table({"x": range(50_000), "y": [n / 3 for n in range(50_000)]}),
        compression="none",
    )
    lake.put("events/day=2/a.parquet", pa.table({"x": [1], "y": [None]}))
    table = lake.table("events/").select("x", "day").where(col("x") >= 49_000)
    assert table.schema.names == ["x", "day"]
    relation = table.to_duckdb(connection)
    lake.asked()

    assert rows_of(relation.to_arrow_table(), table.schema) == rows_of(table.to_arrow(), table.schema)
    assert sum(length for _, _, length in lake.asked() if length > 0) < 2 * 300_000


def test_there_is_no_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    import sys

    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(ImportError, match=r"pip install 'holdall\[duckdb\]'"):
        Table(folder).to_duckdb()


def test_a_table_with_a_log(connection: Any, tmp_path: Path) -> None:
    """Of a Delta table DuckDB reads the files that count, with the types of its partitions."""
    deltalake = pytest.importorskip("deltalake")
    rows = pa.table({"x": [1, 2, 3], "on": pa.array([dt.date(2026, 1, 1), dt.date(2026, 1, 2), None])})
    deltalake.write_deltalake(str(tmp_path), rows, partition_by=["on"])
    deltalake.DeltaTable(str(tmp_path)).delete("x = 1")

    same(Table(tmp_path), connection)
    same(Table(tmp_path).where(on="2026-01-02"), connection)
