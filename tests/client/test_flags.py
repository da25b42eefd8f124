"""Arguments that are true or false: anything else, above all the text "no", which is true, is refused where it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import holdall
from holdall.store import UnsupportedTypeError

pytestmark = pytest.mark.usefixtures("workdir")

S3_OPTIONS = {"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s", "region": "r"}

FACE: list[tuple[str, Callable[[object], object]]] = [
    ("trust", lambda no: holdall.Client(trust=no)),  # type: ignore[arg-type]
    ("offline", lambda no: holdall.Client(offline=no)),  # type: ignore[arg-type]
    ("trust", lambda no: holdall.load("churn/model", trust=no)),  # type: ignore[arg-type]
    ("verify", lambda no: holdall.load("churn/model", verify=no)),  # type: ignore[arg-type]
    ("trust", lambda no: holdall.load_many([], trust=no)),  # type: ignore[arg-type]
    ("trust", lambda no: holdall.Client().load("churn/model", trust=no)),  # type: ignore[arg-type]
    ("verify", lambda no: holdall.Client().load("churn/model", verify=no)),  # type: ignore[arg-type]
    ("trust", lambda no: holdall.Client().load_many(["churn/model"], trust=no)),  # type: ignore[arg-type]
    ("trust", lambda no: holdall.Run("churn")["model"].load(trust=no)),  # type: ignore[arg-type]
    ("verify", lambda no: holdall.Run("churn")["model"].load(verify=no)),  # type: ignore[arg-type]
    ("capture", lambda no: holdall.run("churn", capture=no)),  # type: ignore[arg-type]
    ("capture", lambda no: holdall.resume("churn", capture=no)),  # type: ignore[arg-type]
    ("even_running", lambda no: holdall.Run("churn").delete(even_running=no)),  # type: ignore[arg-type]
    ("even_running", lambda no: holdall.Flow("churn").delete(even_running=no)),  # type: ignore[arg-type]
]


def s3(**options: object) -> holdall.S3:
    """Return an `S3` of a server that is not there."""
    return holdall.S3("s3://bucket/root", storage_options=S3_OPTIONS, deadline=1, **options)  # type: ignore[arg-type]


async def stream(no: object) -> object:
    """Begin to iterate with a wrong argument."""
    async with holdall.AsyncS3("s3://bucket/root", storage_options=S3_OPTIONS) as there:
        return there.iter_many(["a"], ordered=no)  # type: ignore[arg-type]


BULK: list[tuple[str, Callable[[object], object]]] = [
    ("verify", lambda no: s3(verify=no)),
    ("progress", lambda no: s3(progress=no)),
    ("return_missing", lambda no: s3().get("a", return_missing=no)),  # type: ignore[arg-type]
    ("return_missing", lambda no: s3().get_many(["a"], return_missing=no)),  # type: ignore[arg-type]
    ("return_missing", lambda no: s3().iter_many(["a"], return_missing=no)),  # type: ignore[arg-type]
    ("ordered", lambda no: s3().iter_many(["a"], ordered=no)),  # type: ignore[arg-type]
    ("return_missing", lambda no: s3().info("a", return_missing=no)),  # type: ignore[arg-type]
    ("return_missing", lambda no: s3().info_many(["a"], return_missing=no)),  # type: ignore[arg-type]
    ("overwrite", lambda no: s3().put("a", b"1", overwrite=no)),  # type: ignore[arg-type]
    ("overwrite", lambda no: s3().put_many([("a", b"1")], overwrite=no)),  # type: ignore[arg-type]
    ("overwrite", lambda no: s3().put_files([("a", "f")], overwrite=no)),  # type: ignore[arg-type]
    ("resume", lambda no: s3().put_files([("a", "f")], resume=no)),  # type: ignore[arg-type]
    ("overwrite", lambda no: s3().copy_many([("a", "b")], overwrite=no)),  # type: ignore[arg-type]
    ("delete", lambda no: s3().sync(".", "s3://bucket/root", delete=no)),  # type: ignore[arg-type]
    ("dry_run", lambda no: s3().sync(".", "s3://bucket/root", dry_run=no)),  # type: ignore[arg-type]
    ("checksum", lambda no: s3().sync(".", "s3://bucket/root", checksum=no)),  # type: ignore[arg-type]
    ("ordered", lambda no: asyncio.run(stream(no))),
]


TABLES: list[tuple[str, Callable[[object], object]]] = [
    ("ordered", lambda no: holdall.Table("t.parquet").to_arrow(ordered=no)),  # type: ignore[arg-type]
    ("ordered", lambda no: holdall.Table("t.parquet").to_pandas(ordered=no)),  # type: ignore[arg-type]
    ("ordered", lambda no: holdall.Table("t.parquet").to_polars(ordered=no)),  # type: ignore[arg-type]
    ("ordered", lambda no: next(holdall.Table("t.parquet").batches(ordered=no))),  # type: ignore[arg-type]
    ("merge_schema", lambda no: holdall.Table.write("new", pa.table({"x": [1]}), merge_schema=no)),  # type: ignore[arg-type]
    ("keep_replaced", lambda no: holdall.Table.write("new", pa.table({"x": [1]}), keep_replaced=no)),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("no", ["no", "false", 1, 0.0])
@pytest.mark.parametrize("number", range(len(FACE)))
def test_what_is_neither_true_nor_false(number: int, no: object) -> None:
    """It is refused by its name, before anything is loaded, recorded or deleted."""
    saved = holdall.save({"depth": 3}, "churn/model")
    name, call = FACE[number]

    with pytest.raises(UnsupportedTypeError, match=f"^{name}= takes True or False, not {no!r}"):
        call(no)

    assert [run.id for run in holdall.Flow("churn").runs()] == [saved.run_id]


@pytest.mark.parametrize("number", range(len(BULK)))
def test_in_bulk(number: int, workdir: Path) -> None:
    """The verbs of S3 refuse it before anything is sent: nobody listens there, and that is not what they say."""
    (workdir / "f").write_bytes(b"f")
    name, call = BULK[number]

    with pytest.raises(UnsupportedTypeError, match=f"^{name}= takes True or False, not 'no'"):
        call("no")


@pytest.mark.parametrize("number", range(len(TABLES)))
def test_of_tables(number: int, workdir: Path) -> None:
    """Nothing is read or written."""
    pq.write_table(pa.table({"x": [1, 2]}), "t.parquet")
    name, call = TABLES[number]

    with pytest.raises(UnsupportedTypeError, match=f"^{name}= takes True or False, not 'no'"):
        call("no")

    assert not (workdir / "new").exists()


def test_what_is_true_or_false() -> None:
    """Numpy's own truth is one, and None leaves it open where it does so by default."""
    holdall.save([1, 2], "churn/model")

    assert holdall.load("churn/model", trust=None, verify=np.False_) == [1, 2]  # type: ignore[arg-type]
    assert holdall.Client(trust=True).trusted is True
    assert holdall.Client(trust=None, offline=None).trust is None
    with pytest.raises(UnsupportedTypeError, match="verify= takes True or False, not None"):
        holdall.load("churn/model", verify=None)  # type: ignore[arg-type]
