"""Where the files of a table are: files, folders, globs, lists, partitions; and what is said where they are not."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.tables._lake import Lake, parquet, write

from holdall_store.errors import (
    ColumnNotFoundError,
    FormatError,
    InvalidNameError,
    TableNotFoundError,
    UnsupportedTypeError,
)
from holdall_store.tables import Table, col

ROW = pa.table({"x": [1]})


def row(x: int) -> pa.Table:
    """Return a table of one row."""
    return pa.table({"x": [x]})


def values(table: Table) -> list[Any]:
    """Return the column ``x``."""
    found: list[Any] = table.to_arrow().column("x").to_pylist()
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a folder with files, hidden ones among them."""
    for at, name in enumerate(["b/2.parquet", "a.parquet", "b/10.parquet", "c/d/e.parquet"]):
        write(tmp_path / name, row(at))
    for name in ("_SUCCESS", ".a.parquet.crc", "_temporary/0.parquet", "b/.hidden/0.parquet"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"not read")
    return tmp_path


def test_a_folder_is_all_its_files_in_the_order_of_their_names(tree: Path) -> None:
    """What ``_`` or ``.`` hides is left out, at any depth."""
    assert values(Table(tree)) == [1, 2, 0, 3]
    assert values(Table(str(tree) + "/")) == [1, 2, 0, 3]
    assert values(Table(tree.as_uri())) == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("*.parquet", [1]), ("**/*.parquet", [1, 2, 0, 3]), ("b/?.parquet", [0]), ("[!a]/*", [2, 0]), ("*/**/e.*", [3])],
)
def test_globs(tree: Path, pattern: str, found: list[int]) -> None:
    """One star stays in a folder, two cross folders."""
    assert values(Table(f"{tree}/{pattern}")) == found


def test_a_name_with_brackets_is_a_name_if_there_is_one(tmp_path: Path) -> None:
    """A file that is there as it is written is meant before any pattern."""
    write(tmp_path / "a[1].parquet", row(7))

    assert values(Table(tmp_path / "a[1].parquet")) == [7]


def test_a_list_keeps_its_order(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files, folders and patterns can be listed; paths are relative to the working directory of that time."""
    monkeypatch.chdir(tree)
    table = Table(["c/d/e.parquet", Path("a.parquet"), "b"])
    monkeypatch.chdir("/")

    assert values(table) == [3, 1, 2, 0]


@pytest.mark.parametrize(
    "source",
    [[], 3, None, "", "a\0b", b"bytes", [3], {"a": 1}, "s3://", "s3://key:secret@bucket/x", "sftp://ana:secret@host/x"],
)
def test_what_is_no_source(source: Any) -> None:
    """Whatever is neither path nor URL is refused at once, without what may be a password."""
    with pytest.raises((InvalidNameError, UnsupportedTypeError)) as caught:
        Table(source)
    assert "secret" not in str(caught.value)


def test_files_of_two_places_are_refused(tmp_path: Path) -> None:
    """One table has one place."""
    with pytest.raises(InvalidNameError, match="one place"):
        Table(["s3://bucket/a.parquet", "s3://other/b.parquet"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "none.parquet", "no file"),
        (lambda folder: folder / "none", "no file"),
        (lambda folder: folder / "empty", "empty folder"),
        (lambda folder: folder / "hidden", "hidden"),
        (lambda folder: f"{folder}/*.parquet", "matches"),
    ],
)
def test_where_nothing_is(make: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    """A missing file, an empty folder, a pattern that fits nothing: each is said, with its name, and is a FileNotFoundError."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "_SUCCESS").touch()
    source = make(tmp_path)

    with pytest.raises(TableNotFoundError, match=message) as caught:
        Table(source).num_rows  # noqa: B018 - looking is what fails
    assert isinstance(caught.value, FileNotFoundError)
    assert os.path.basename(str(source)) in str(caught.value)


def test_where_nothing_is_in_a_bucket(lake: Lake) -> None:
    """The same, where the server is asked."""
    lake.put_bytes("marker/", b"")
    for key, message in (
        ("none.parquet", "no file"),
        ("none", "no file"),
        ("marker", "hidden|no file"),
        ("*.pq", "matches"),
    ):
        with pytest.raises(TableNotFoundError, match=message):
            lake.table(key).num_rows  # noqa: B018 - looking is what fails


@pytest.mark.parametrize(
    "key", ["t/a.parquet", "t", "t/", "t/*.parquet", "[t]/a.parquet", "strange", "with space/é+%.parquet"]
)
def test_a_bucket_has_files_folders_and_globs(lake: Lake, key: str) -> None:
    """A URL finds what a path would: also a file whose name does not look like one."""
    name = key if "strange" in key or "space" in key else "t/a.parquet"
    lake.put(name, row(3))

    assert values(lake.table(key)) == [3]


def test_other_storages(tmp_path: Path) -> None:
    """Any filesystem of fsspec's holds tables, too, alone or in a folder."""
    from holdall_store.storage import open_storage

    open_storage("memory://tables-other").create("folder/a.parquet", [parquet(row(5))])
    assert values(Table("memory://tables-other/folder")) == [5]
    assert values(Table("memory://tables-other/folder/a.parquet")) == [5]
    with pytest.raises(TableNotFoundError, match="nowhere"):
        Table("memory://tables-other/nowhere").num_rows  # noqa: B018 - looking is what fails
    (tmp_path / "served").mkdir()
    write(tmp_path / "served" / "a.parquet", row(6))
    assert values(Table(f"local://{tmp_path}/served/a.parquet")) == [6]


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """Make a tree of Hive's."""
    for at, (day, country) in enumerate(
        [("2026-11-01", "US"), ("2026-11-01", "C%20A"), ("2026-11-02", "__HIVE_DEFAULT_PARTITION__")]
    ):
        write(tmp_path / f"day={day}" / f"country={country}" / f"n={at + 8:02}" / "a.parquet", row(at))
    return tmp_path


@pytest.mark.parametrize("partitioning", [None, "hive"])
def test_hive_partitions(days: Path, partitioning: str | None) -> None:
    """The names of folders are columns: texts, nulls, and numbers where all are."""
    table = Table(days, partitioning=partitioning)

    assert table.schema.names == ["x", "day", "country", "n"]
    assert table.to_arrow().to_pylist() == [
        {"x": 1, "day": "2026-11-01", "country": "C A", "n": 9},
        {"x": 0, "day": "2026-11-01", "country": "US", "n": 8},
        {"x": 2, "day": "2026-11-02", "country": None, "n": 10},
    ]
    assert table.partitions()[0] == {"day": "2026-11-01", "country": "C A", "n": 9}
    assert values(table.where(day=dt.date(2026, 11, 1), country=["US", "GB"])) == [0]
    assert values(table.where(country=None)) == [2]
    assert values(table.where(n="08")) == [0]
    assert [info.partition["n"] for info in table.where(col("n") > 8).files()] == [9, 10]
    assert values(table.where(day="1999-01-01")) == []
    assert Table(days, partitioning=()).schema.names == ["x"]


def test_the_schema_may_give_partitions_a_type(days: Path) -> None:
    """A partition column in the schema has the type that it says."""
    schema = pa.schema([("day", pa.date32()), ("x", pa.int16()), ("n", pa.string())])
    table = Table(days, schema=schema).where(col("day") > dt.date(2026, 11, 1))

    assert table.select("x", "day", "n").to_arrow().to_pylist() == [{"x": 2, "day": dt.date(2026, 11, 2), "n": "10"}]


def test_partitions_by_position(tmp_path: Path) -> None:
    """A list of names is for folders that have only values."""
    write(tmp_path / "2026" / "US" / "a.parquet", row(1))
    write(tmp_path / "2027" / "CA" / "a.parquet", row(2))
    table = Table(tmp_path, partitioning=["year", "country"])

    assert table.where(year=2027).to_arrow().to_pylist() == [{"x": 2, "year": 2027, "country": "CA"}]
    with pytest.raises(FormatError, match="2 folders deep"):
        Table(tmp_path, partitioning=["a", "b", "c"]).num_rows  # noqa: B018 - looking is what fails


def test_what_the_folder_says_goes_first(tmp_path: Path) -> None:
    """Where a file has a column of the same name, the folder's value is the one that is given and looked for."""
    write(tmp_path / "x=5" / "a.parquet", pa.table({"x": [1], "y": [2]}))

    assert Table(tmp_path).where(x=5).to_arrow().to_pylist() == [{"x": 5, "y": 2}]
    assert Table(tmp_path).where(x=1).num_rows == 0


@pytest.mark.parametrize(
    ("paths", "partitioning", "stray"),
    [
        (["day=1/a.parquet", "b.parquet"], None, "b.parquet"),
        (["a.parquet", "day=1/b.parquet"], None, "a.parquet"),
        (["day=1/a.parquet", "b.parquet"], "hive", "b.parquet"),
        (["day=1/a.parquet", "dya=1/a.parquet"], None, "dya=1"),
        (["day=1/h=1/a.parquet", "day=1/a.parquet"], "hive", "day=1"),
        (["a.parquet"], "hive", "a.parquet"),
        (["day=1/day=2/a.parquet"], None, "twice|two folders"),
    ],
)
def test_files_outside_of_the_partitions(
    tmp_path: Path, paths: list[str], partitioning: str | None, stray: str
) -> None:
    """A file that lies elsewhere than the others has no values: it is named, and not read as if it had."""
    for path in paths:
        write(tmp_path / path, row(1))

    with pytest.raises(FormatError, match=stray):
        Table(tmp_path, partitioning=partitioning).to_arrow()


@pytest.mark.parametrize("partitioning", ["hvie", 3, ["a", "a"], ["a", 1], {"a": 1}])
def test_what_is_no_partitioning(partitioning: Any) -> None:
    """What means nothing is refused at once."""
    with pytest.raises(InvalidNameError, match="partitioning="):
        Table("x.parquet", partitioning=partitioning)


@pytest.mark.parametrize(("marker", "kind"), [("_delta_log/0.json", "Delta"), ("metadata/v1.metadata.json", "Iceberg")])
def test_the_files_of_a_log_are_not_simply_read(tmp_path: Path, marker: str, kind: str) -> None:
    """Where a log says which files count, all of them together would be wrong rows."""
    write(tmp_path / "data" / "a.parquet", row(1))
    (tmp_path / marker).parent.mkdir()
    (tmp_path / marker).write_text("{}")

    with pytest.raises(FormatError, match=kind):
        Table(tmp_path, format="parquet").num_rows  # noqa: B018 - looking is what fails
    with pytest.raises(FormatError, match=kind):
        Table([tmp_path, tmp_path / "data"]).num_rows  # noqa: B018
    with pytest.raises((FormatError, TableNotFoundError)):  # what is in the log here is none
        Table(tmp_path).num_rows  # noqa: B018
    assert values(Table([tmp_path / "data" / "a.parquet"])) == [1]


def test_the_nearest_name_is_offered(days: Path) -> None:
    """A column or partition that is not there is told with the one that was meant."""
    table = Table(days)

    for wrong in (
        lambda: table.select("X").schema,
        lambda: table.where(dya="1").to_arrow(),
        lambda: table.where(col("cuontry") == 1).num_rows,
    ):
        with pytest.raises(ColumnNotFoundError, match=r"Did you mean '(x|day|country)'\?") as caught:
            wrong()
        assert isinstance(caught.value, KeyError)
    with pytest.raises(InvalidNameError, match="parquet"):
        Table(days, format="paruqet")  # type: ignore[arg-type]
