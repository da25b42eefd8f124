"""What was seen of files holds: for tables made from one, for their pickles, and while they are read."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.tables._lake import Lake, numbers, parquet, write

from holdall_store.errors import IntegrityError
from holdall_store.storage import open_storage
from holdall_store.tables import Table, _footer, _scan, _units, col

if TYPE_CHECKING:
    from tests.storage._s3 import Request

OLD, NEW = numbers(3_000, 4, seed=1), numbers(3_000, 4, seed=2)


def put(path: Path, data: bytes) -> None:
    """Replace a file as careful programs do; the time is another for sure."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    status = path.stat()
    os.utime(beside, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    beside.replace(path)


def test_a_pickled_table_gives_the_same_rows(tmp_path: Path) -> None:
    """A table that was read pickles as a list of what was seen, and files that come later are not in it."""
    write(tmp_path / "a.parquet", OLD)
    table = Table(tmp_path).where(col("k") < 10).select("k", "c1").head(5)
    expected = table.to_arrow()
    data = pickle.dumps(table)
    write(tmp_path / "0.parquet", NEW)

    assert pickle.loads(data).to_arrow().equals(expected)
    assert repr(pickle.loads(data)) == repr(table)
    assert len(data) < 4_000
    assert Table(tmp_path).num_rows == 6_000


def test_a_table_that_saw_nothing_is_pinned_to_nothing(tmp_path: Path) -> None:
    """Making and pickling a table asks for nothing: it sees what is there when it is first used."""
    data = pickle.dumps(Table(tmp_path / "later.parquet"))
    write(tmp_path / "later.parquet", OLD)

    assert pickle.loads(data).num_rows == 3_000


@pytest.mark.parametrize("change", ["replaced", "longer", "gone"])
def test_a_changed_file_on_disk(tmp_path: Path, change: str) -> None:
    """It is named, whatever is asked for, also when only the time of modification tells."""
    path = write(tmp_path / "a.parquet", OLD)
    write(tmp_path / "b.parquet", OLD)
    table = Table(tmp_path)
    assert table.num_rows == 6_000
    copy = pickle.loads(pickle.dumps(table))
    if change == "gone":
        path.unlink()
    else:
        put(path, parquet(NEW if change == "replaced" else numbers(4_000, 4)))
    for each in (table, copy, table.select("k"), table.where(col("k") < 5)):
        with pytest.raises(IntegrityError, match=r"a\.parquet was replaced"):
            each.to_arrow()
    _footer._cache.clear()
    with pytest.raises(IntegrityError, match=r"a\.parquet was replaced"):
        _ = copy.num_rows


@pytest.mark.parametrize("change", ["replaced", "longer", "gone"])
@pytest.mark.parametrize("whole", [True, False])
def test_a_changed_object(lake: Lake, change: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests say which version they want, so what is there now is never mixed with what was."""
    if not whole:
        for module in (_footer, _scan):
            monkeypatch.setattr(module, "SMALL_BYTES", 0)
    lake.put("t/a.parquet", OLD)
    lake.put("t/b.parquet", OLD)
    table = lake.table("t")
    assert table.num_rows == 6_000
    copy = pickle.loads(pickle.dumps(table))
    copy._snapshot.source = table._snapshot.source  # the keys stay behind
    _footer._cache.clear()
    if change == "gone":
        lake.server.versions.pop(("bucket", "t/a.parquet"))
    else:
        lake.put("t/a.parquet", NEW if change == "replaced" else numbers(4_000, 4))

    for each in (table, copy):
        with pytest.raises(IntegrityError, match=r"t/a\.parquet was replaced"):
            each.to_arrow()


@pytest.mark.parametrize("heeds", [True, False])
def test_an_object_replaced_while_it_is_read(lake: Lake, heeds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between footer and data, or between two ranges: it raises, even if the server does not heed conditions."""
    for module in (_footer, _scan):
        monkeypatch.setattr(module, "SMALL_BYTES", 0)
    monkeypatch.setattr(_units, "UNIT_BYTES", 1)
    lake.put("t/a.parquet", OLD, row_group_size=500)
    table = lake.table("t/a.parquet")
    ranges = itertools.count(1)  # the server answers from several threads

    def fault(request: Request) -> Any:
        if not heeds:
            request.headers.pop("if-match", None)
        if request.method == "GET" and not request.headers["range"].startswith("bytes=-") and next(ranges) == 2:
            lake.put("t/a.parquet", NEW, row_group_size=500)
        return None

    lake.server.fault = fault
    with pytest.raises(IntegrityError, match=r"t/a\.parquet"):
        table.to_arrow()
    assert next(ranges) > 2


def test_a_file_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun is either the old file to its end, or an error: rows of both never meet."""
    monkeypatch.setattr(_units, "UNIT_BYTES", 1)
    path = write(tmp_path / "a.parquet", OLD, row_group_size=100)
    batches = Table(path).batches(bytes=1)
    first = next(batches)
    put(path, parquet(NEW, row_group_size=100))

    assert first.slice(0, 1).to_pylist() == OLD.slice(0, 1).to_pylist()
    with pytest.raises(IntegrityError, match=r"a\.parquet was replaced"):
        list(batches)


def test_where_no_version_is_told(tmp_path: Path) -> None:
    """A storage that tells sizes alone notices another size, and that a file is gone."""
    storage = open_storage("memory://pins")
    storage.create("a.parquet", [parquet(OLD)])
    table = Table("memory://pins/a.parquet")
    assert table.num_rows == 3_000
    storage.delete(["a.parquet"])
    with pytest.raises(IntegrityError, match=r"a\.parquet was replaced"):
        table.to_arrow()
    storage.create("a.parquet", [parquet(numbers(10, 1))])
    _footer._cache.clear()
    with pytest.raises(IntegrityError, match=r"a\.parquet was replaced"):
        table.to_arrow()


def test_tables_go_to_other_processes(tmp_path: Path) -> None:
    """A shard that was pickled is read by a process of its own, which loads nothing of S3 for a local disk."""
    write(tmp_path / "a.parquet", OLD, row_group_size=500)
    shards = Table(tmp_path).where(col("k") >= 100).split(3)
    (tmp_path / "shard.pickle").write_bytes(pickle.dumps(shards[1]))
    code = (
        "import pickle, sys; table = pickle.load(open(sys.argv[1], 'rb')); print(table.num_rows, table.to_pandas().k.min());"
        "print(sorted({'boto3', 'botocore', 'obstore', 's3fs', 'fsspec', 'aiohttp'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "shard.pickle")], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["1000 1000", "[]"]
