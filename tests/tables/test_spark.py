"""Tables as frames of Spark's: it finds the rows that we find."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.tables._engines import CONDITIONS, SELECTIONS, make_grown, make_lake, rows_of
from tests.tables._lake import Lake, write

from holdall_store.errors import IntegrityError, MissingDependencyError, UnsupportedTypeError
from holdall_store.storage.buckets import make_config
from holdall_store.tables import Table, col
from holdall_store.tables._bound import bind
from holdall_store.tables._partitions import parse_folders
from holdall_store.tables._resolve import TableFile
from holdall_store.tables._source import Found
from holdall_store.tables._spark import hive_root, s3a_options
from holdall_store.tables._sql import SparkSql
from holdall_store.tables._translate import condition_in

sql = pytest.importorskip("pyspark.sql")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Spark, once for all of this: it takes seconds."""
    home = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.memory": "512m",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.session.timeZone": "Asia/Kolkata",
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.local.dir": str(home / "local"),
        "spark.log.level": "OFF",
        "spark.sql.codegen.wholeStage": "false",
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }
    builder = sql.SparkSession.builder.master("local[1]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    made = builder.getOrCreate()
    yield made
    gateway = made.sparkContext._gateway
    made.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(30)
    sql.SparkSession._instantiatedSession = None
    made.sparkContext.__class__._gateway = None
    made.sparkContext.__class__._jvm = None


def same(table: Table, session: Any) -> None:
    """Compare what Spark finds with what we find."""
    found = table.to_spark(session).toArrow()

    assert rows_of(found, table.schema) == rows_of(table.to_arrow(), table.schema)


def check_it_finds_the_same_rows(session: Any, tmp_path: Path) -> None:
    """Whatever is wanted."""
    table = Table(make_lake(tmp_path))
    for case in ("all", "fields", "no partition", "no rows", "a condition on a struct in part"):
        same(SELECTIONS[case](table), session)


def check_conditions_are_true_for_the_same_rows(session: Any, tmp_path: Path) -> None:
    """Each condition in Spark's words; all in one query, for each query costs a second."""
    table = Table(make_lake(tmp_path))
    words = [condition_in(SparkSql(), bind(each, table.schema, ""), table.schema) for each in CONDITIONS.values()]
    found = table.to_spark(session).selectExpr("id", *(f"{each} AS c{at}" for at, each in enumerate(words))).toArrow()

    for at, (name, condition) in enumerate(CONDITIONS.items()):
        mine = table.where(condition).select("id").to_arrow()["id"].to_pylist()
        theirs = found.filter(found[f"c{at}"])["id"].to_pylist()
        assert (name, sorted(theirs)) == (name, sorted(mine))


def check_filters_of_files_leave_out_no_rows(session: Any, tmp_path: Path) -> None:
    """What Spark leaves out by the statistics and dictionaries of files would not have been found."""
    table = Table(make_lake(tmp_path))
    names = ["equal to zero", "one of zero and others", "greater than, with NaN", "texts", "a time", "a decimal"]
    frames = [
        table.where(CONDITIONS[name]).select("id").to_spark(session).selectExpr(f"'{name}' AS name", "id")
        for name in names
    ]
    found = functools.reduce(lambda one, other: one.union(other), frames).toArrow().to_pylist()

    for name in names:
        mine = table.where(CONDITIONS[name]).select("id").to_arrow()["id"].to_pylist()
        assert (name, sorted(row["id"] for row in found if row["name"] == name)) == (name, sorted(mine))


def check_columns_that_came_went_and_widened(session: Any, tmp_path: Path) -> None:
    """Each column is asked for in the widest of its types, and is null where a file has none."""
    same(Table(make_grown(tmp_path)).where(col("x") != 3).select("new", "x", "old"), session)


def check_folders_that_spark_reads_otherwise(session: Any, tmp_path: Path) -> None:
    """Values by place, or that Spark would decode in another way, are given to it."""
    for folder in ("2026/é=1", "2027/US"):
        write(tmp_path / "by place" / folder / "a.parquet", pa.table({"x": [int(folder[3])], "year": [1]}))
    write(tmp_path / "by name" / "p=%C3%A9%20" / "a b#%2F.parquet", pa.table({"x": [1]}))
    write(tmp_path / "by name" / "p=" / "a.parquet", pa.table({"x": [2]}))

    same(Table(tmp_path / "by place", partitioning=["year", "country"]), session)
    same(Table(tmp_path / "by name").where(col("x") < 5), session)


def check_types_that_spark_has(session: Any, tmp_path: Path) -> None:
    """Unsigned numbers take the next larger type; what it would not read as it is, is refused by name."""
    table = pa.table(
        {
            "u": pa.array([2**64 - 1, None], pa.uint64()),
            "v": pa.array([2**32 - 1, 255], pa.uint32()),
            "d": pa.array(["a", None]).dictionary_encode(),
            "s": pa.array([5, -5], pa.timestamp("s")),
            "old": pa.array([-14_000_000_000_000_000, None], pa.timestamp("us", "UTC")),
            "n": pa.array([1, None], pa.timestamp("ns")),
            "w": pa.array([{"t": None}, None], pa.struct([("t", pa.time64("us"))])),
        }
    )
    write(tmp_path / "a.parquet", table)
    write(tmp_path / "b.parquet", pa.table({"x": [1], "X": [2]}))
    mine = Table(tmp_path / "a.parquet")

    same(mine.select("u", "v", "d", "s", "old").where(u=2**64 - 1), session)
    with pytest.raises(UnsupportedTypeError, match=r"'n', which is timestamp\[ns\]"):
        mine.select("n").to_spark(session)
    with pytest.raises(UnsupportedTypeError, match=r"'w\.t', which is time64\[us\]"):
        mine.where(col("w.t").is_null()).select("u").to_spark(session)
    with pytest.raises(UnsupportedTypeError, match="'x' from 'X'"):
        Table(tmp_path / "b.parquet").to_spark(session)


def check_what_spark_is_not_given(session: Any, tmp_path: Path, lake: Lake) -> None:
    """Parts of files, patterns, replaced files, and buckets without the classes for them are refused, and say why."""
    table = Table(make_lake(tmp_path))
    assert table.head(3).to_spark(session).count() == 3
    with pytest.raises(UnsupportedTypeError, match="split"):
        table.split(9)[0].to_spark(session)
    write(tmp_path / "a[b].parquet", pa.table({"x": [1]}))
    with pytest.raises(UnsupportedTypeError, match=r"a\[b\]"):
        Table(tmp_path / "a[b].parquet").to_spark(session)
    table.verify()
    write(tmp_path / "place=US" / "day=1" / "a.parquet", pa.table({"x": [1]}))
    with pytest.raises(IntegrityError, match="place=US"):
        table.to_spark(session)
    lake.put("a.parquet", pa.table({"x": [1]}))
    with pytest.raises(MissingDependencyError, match="hadoop-aws"):
        lake.table("a.parquet").to_spark(session)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark runs in Java, which is not installed")
def test_spark(session: Any, tmp_path: Path, lake: Lake, subtests: pytest.Subtests) -> None:
    """All that a session is needed for. In one test, so that one worker starts Java, and not each of them."""
    checks: list[Callable[..., None]] = [
        check_it_finds_the_same_rows,
        check_conditions_are_true_for_the_same_rows,
        check_filters_of_files_leave_out_no_rows,
        check_columns_that_came_went_and_widened,
        check_folders_that_spark_reads_otherwise,
        check_types_that_spark_has,
    ]
    for check in checks:
        folder = tmp_path / check.__name__
        folder.mkdir()
        with subtests.test(check.__name__):
            check(session, folder)
    with subtests.test("what Spark is not given"):
        check_what_spark_is_not_given(session, tmp_path / "refused", lake)


def test_how_hadoop_reaches_a_bucket() -> None:
    """It gets the endpoint and the keys under its own names, for this bucket alone."""
    given = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9000"}
    options = s3a_options(make_config("s3://b", given))
    temporary = s3a_options(make_config("s3://b", {"key": "k", "secret": "s", "token": "t", "region": "eu-west-1"}))
    public = s3a_options(make_config("s3://b", {"anon": True}))

    assert options == {
        "fs.s3a.bucket.b.endpoint": "http://127.0.0.1:9000",
        "fs.s3a.bucket.b.endpoint.region": "us-east-1",
        "fs.s3a.bucket.b.path.style.access": "true",
        "fs.s3a.bucket.b.connection.ssl.enabled": "false",
        "fs.s3a.bucket.b.access.key": "k",
        "fs.s3a.bucket.b.secret.key": "s",
        "fs.s3a.bucket.b.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    }
    assert temporary["fs.s3a.bucket.b.session.token"] == "t"
    assert temporary["fs.s3a.bucket.b.aws.credentials.provider"].endswith(".TemporaryAWSCredentialsProvider")
    assert public["fs.s3a.bucket.b.aws.credentials.provider"].endswith(".AnonymousAWSCredentialsProvider")
    assert s3a_options(None) == {}


@pytest.mark.parametrize(
    ("keys", "names", "root"),
    [
        (["t/day=1/a.parquet", "t/day=2/b.parquet"], ("day",), "t/"),
        (["t/day=1/a.parquet", "u/day=2/b.parquet"], ("day",), None),
        (["x=1/t/day=1/a.parquet"], ("x", "day"), None),
        (["t/y=1/day=1/a.parquet"], ("day",), None),
        (["t/day=%C3%A9/a.parquet"], ("day",), None),
        (["t/day=/a.parquet"], ("day",), None),
        (["t/a.parquet"], (), None),
    ],
)
def test_below_which_folder_spark_finds_the_values(keys: list[str], names: tuple[str, ...], root: str | None) -> None:
    """It is told to look where it finds the same columns and values as we do, and nowhere else."""
    folders = parse_folders(keys, keys, None)
    values = [row[len(folders.names) - len(names) :] for row in folders.values]
    files = [TableFile(Found(key), row) for key, row in zip(keys, values, strict=True)]

    assert hive_root(files, names) == root


def test_there_is_no_spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that installs it is told."""
    write(tmp_path / "a.parquet", pa.table({"x": [1]}))
    monkeypatch.setitem(sys.modules, "pyspark.sql.types", None)

    with pytest.raises(ImportError, match=r"pip install 'holdall\[spark\]'"):
        Table(tmp_path).to_spark(None)


def test_nan_is_found_where_statistics_know_of_none(session: Any, tmp_path: Path) -> None:
    """A file in which all but NaN is the same number is looked through."""
    write(tmp_path / "a.parquet", pa.table({"f": [0.0, float("nan"), None]}))
    write(tmp_path / "b.parquet", pa.table({"f": [0.0, float("nan")]}))
    f = col("f")
    for condition, rows in ((f != 0.0, 2), (~(f <= 0.0), 2), (~f.isin([0.0]), 2), (f >= 0.0, 2)):
        table = Table(tmp_path).where(condition)
        assert table.to_spark(session).count() == table.num_rows == rows, condition
