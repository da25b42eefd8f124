"""``holdall table``: schema, rows, counts, statistics and plans of Parquet files, for people and for programs."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tables._lake import parquet, write

import holdall
from holdall._cli import main
from holdall._cli_table import condition_of
from holdall.store import InvalidNameError

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer


@pytest.fixture(autouse=True)
def folder(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work as ana, beside a table of two days."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    for day in (1, 2):
        write(workdir / "events" / f"day={day}" / "a.parquet", rows(day))
    return workdir


def rows(day: int) -> pa.Table:
    """Return some rows."""
    return pa.table(
        {
            "user": ["Ana", "", None, "Bo, B."],
            "x": pa.array([day * 10 + 1, day * 10 + 2, None, day * 10 + 4], pa.int32()),
            "f": [float("nan"), 0.5, None, 1e9],
            "on": [dt.date(2026, 1, n) for n in range(1, 5)],
            "a": [{"b": 1, "c": None}, None, {"b": 3, "c": "é"}, {"b": 4, "c": "z"}],
        }
    )


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a view of the table, and return what it writes."""
    assert main(["table", *arguments]) == 0
    found = capsys.readouterr()
    return found.out


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    """Each column has a line; those of folders say so."""
    lines = [line.split() for line in out(capsys, "schema", "events").splitlines()]

    assert lines[0] == ["COLUMN", "TYPE", "KIND"]
    assert lines[2] == ["x", "int32"]
    assert lines[-1] == ["day", "int64", "partition"]
    assert json.loads(out(capsys, "schema", "events", "--select", "x,day", "--json")) == [
        {"name": "x", "type": "int32", "partition": False},
        {"name": "day", "type": "int64", "partition": True},
    ]


def test_head(capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are aligned, nulls and empty texts told apart; JSON has all of them, and every value."""
    lines = out(capsys, "head", "events", "--limit", "4", "--select", "user,x").splitlines()
    found = json.loads(out(capsys, "head", "events", "--limit", "1", "--json"))

    assert lines == ["USER       X", "Ana       11", "''        12", "null    null", "Bo, B.    14"]
    assert found == [{"user": "Ana", "x": 11, "f": "nan", "on": "2026-01-01", "a": {"b": 1, "c": None}, "day": 1}]
    assert len(json.loads(out(capsys, "head", "events", "--limit", "0", "--json"))) == 8
    assert main(["table", "head", "events", "--where", "x = 99"]) == 0
    assert capsys.readouterr().err == "There are no such rows.\n"


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ([], 8),
        (["x > 12"], 4),
        (["x>12", "day=2"], 3),
        (["user = Ana"], 2),
        (["user = 'Bo, B.'"], 2),
        (["user in Ana, 'Bo, B.'"], 4),
        (['user in ("Bo, B.", nobody)'], 2),
        (["user not in Ana"], 4),
        (["user != ''"], 4),
        (["user is null"], 2),
        (["user IS NOT NULL"], 6),
        (["user starts with 'Bo, '"], 2),
        (["on >= 2026-01-03", "day <> 1"], 2),
        (["a.b <= 3"], 4),
        (['"a.c" = é'], 2),
    ],
)
def test_count_and_conditions(conditions: list[str], count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Every condition has to be true; values are those that the columns have."""
    arguments = [part for condition in conditions for part in ("--where", condition)]

    assert out(capsys, "count", "events", *arguments) == f"{count}\n"
    assert json.loads(out(capsys, "count", "events", "--json", *arguments)) == {"rows": count}


@pytest.mark.parametrize("text", ["x", "", "> 3", "x ~ 3", "x =", "x is null or y", "x is 3", "in US", "import os"])
def test_what_is_no_condition(text: str) -> None:
    """It is refused with the forms that there are, and nothing in it is ever run."""
    with pytest.raises(InvalidNameError, match="--where"):
        condition_of(text)


def test_stats_and_explain(capsys: pytest.CaptureFixture[str]) -> None:
    """Bounds and nulls come from footers; a plan tells what a reading takes."""
    lines = [line.split() for line in out(capsys, "stats", "events", "--select", "x,day").splitlines()]
    plan = json.loads(out(capsys, "explain", "events", "--where", "day = 1", "--select", "x", "--json"))

    assert lines == [
        ["COLUMN", "TYPE", "LEAST", "GREATEST", "NULLS"],
        ["x", "int32", "11", "24", "2"],
        ["day", "int64", "1", "2", "0"],
    ]
    found = json.loads(out(capsys, "stats", "events", "--select", "on", "--json"))
    assert found == [{"name": "on", "type": "date32[day]", "min": "2026-01-01", "max": "2026-01-04", "null_count": 0}]
    assert (plan["files_read"], plan["rows_at_most"], plan["columns"]) == (1, 4, ["x"])
    assert "files       2 of 2" in out(capsys, "explain", "events")


def test_a_bucket(commands_bucket: BucketServer, capsys: pytest.CaptureFixture[str]) -> None:
    """URLs are reached as the environment says, or the options."""
    commands_bucket.store("t/day=3/a.parquet", parquet(rows(3)))

    assert out(capsys, "count", "s3://bucket/t", "--where", "x > 31") == "2\n"
    assert out(capsys, "count", "s3://bucket/t/**/*.parquet", "--endpoint-url", commands_bucket.url) == "4\n"
    assert out(capsys, "schema", "s3://bucket/t", "--partitioning", "none", "--select", "x").split()[-2:] == [
        "x",
        "int32",
    ]


def test_a_frame_of_a_store(capsys: pytest.CaptureFixture[str]) -> None:
    """A reference is understood where there is no file of that name, with its namespace, alias or run."""
    with holdall.run("churn") as run:
        run.save(train=rows(5).to_pandas())

    assert out(capsys, "count", "churn/train", "--where", "x > 51") == "2\n"
    assert out(capsys, "head", f"churn/train@{run.id}", "--select", "user", "--limit", "1").split() == ["USER", "Ana"]
    assert main(["table", "head", "churn/trian"]) == 3
    assert "Did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["head", "event"], 3, "Did you mean 'events'?"),
        (["head", "gone.parquet"], 3, "gone.parquet"),
        (["head", "events", "--select", "usr"], 3, "Did you mean 'user'?"),
        (["count", "events", "--where", "y = 1"], 3, "no column 'y'"),
        (["count", "events", "--where", "x > many"], 1, "int32"),
        (["count", "events", "--where", "x"], 2, "--where 'x' is not understood"),
        (["haed", "events"], 2, "invalid choice"),
        (["head", "events", "--region", "here"], 2, "--region goes with s3:// URLs"),
        (["head", "events", "--limit", "-1"], 2, "--limit"),
        (["head", "flow/name", "--partitioning", "hive"], 2, "--partitioning is for files"),
        (["stats", "s3://"], 2, "names no place"),
    ],
)
def test_what_is_wrong(arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what, with the nearest name, and the exit code is that of its kind."""
    assert main(["table", *arguments]) == code

    found = capsys.readouterr()
    assert found.out == ""
    assert told in found.err
    assert found.err.count("\n") == 1


def test_a_saved_table_is_written_with_its_rows(folder: Path) -> None:
    """`holdall get` reads the rows that a saved table refers to, those that were selected alone."""
    with holdall.run("flow") as run:
        run.save(chosen=holdall.Table("events").where(day=2))
    assert main(["get", "flow/chosen", "-o", "x.parquet"]) == 0
    assert pq.read_table(folder / "x.parquet").num_rows == holdall.Table("events").where(day=2).num_rows > 0
