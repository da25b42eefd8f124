"""What a write asks of a bucket, and what a bucket can do to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.storage._s3 import Reply, Request, failure
from tests.tables._lake import Lake, numbers

from holdall_store.errors import AccessDeniedError, InvalidNameError
from holdall_store.tables import Table, _history, _log, _source_s3, _target
from holdall_store.tables._source import Found
from holdall_store.transfer import _s3_put


@pytest.fixture(autouse=True)
def no_records() -> None:
    """Forget the records that other tests read, and what they know of the server."""
    _history._cache = _history._Cache()
    _target._storages.clear()


def put(lake: Lake, table: Any, key: str = "lake/t", **options: Any) -> Any:
    """Write a table into the bucket."""
    return Table.write(f"s3://bucket/{key}", table, storage_options=lake.options, **options)


def verbs(lake: Lake) -> list[str]:
    """Return what was asked since the last time."""
    return [f"{verb} {key.rpartition('/')[2][:8]}" for verb, key, _ in lake.asked()]


def _keys(lake: Lake) -> list[str]:
    return lake.server.keys()


def test_a_write_takes_few_requests(lake: Lake) -> None:
    """A look, the data, the record; later ones read the newest record, and the one that it builds on."""
    put(lake, numbers(10, 1))
    # Once for a server that is not Amazon's own: does it heed If-None-Match?
    assert verbs(lake) == ["LIST ", "PUT .holdall", "PUT .holdall", "PUT holdall-", "PUT 00000000"]
    put(lake, numbers(10, 1))
    assert verbs(lake) == ["LIST ", "GET 00000000", "PUT holdall-", "PUT 00000001"]
    put(lake, numbers(10, 1))
    assert verbs(lake) == ["LIST ", "GET 00000001", "PUT holdall-", "PUT 00000002"]


def test_reading_takes_a_listing_and_a_record(lake: Lake) -> None:
    """The schema and the sizes of files are in the log: no footer is looked at to know them."""
    for _ in range(3):
        put(lake, numbers(10, 1))
    _history._cache = _history._Cache()
    lake.asked()
    table = lake.table("lake/t")
    assert table.schema.names == ["k", "c0"]
    assert len(table.files()) == 3
    assert verbs(lake) == ["LIST ", "GET 00000002", "GET 00000000"]
    assert table.to_arrow().num_rows == 30
    assert verbs(lake) == ["GET holdall-"] * 3
    assert lake.table("lake/t", as_of=1).version == 1
    assert verbs(lake) == ["LIST ", "GET 00000001"]


def test_a_long_log_takes_two_records(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any of many versions is read with two requests for records, and a time is found by halving."""
    monkeypatch.setattr(_log, "CHANGES_MAX", 7)
    for number in range(40):
        put(lake, pa.table({"x": [number]}))
    times = [lake.table("lake/t", as_of=version)._snapshot.listing.pin for version in range(40)]
    _history._cache = _history._Cache()
    lake.asked()

    for version in (39, 20, 0):
        table = lake.table("lake/t", as_of=version)
        assert sorted(table.to_arrow().column("x").to_pylist()) == list(range(version + 1))
        records = [key for verb, key, _ in lake.asked() if "/_holdall/" in key and verb == "GET"]
        assert len(records) <= 2
    _history._cache = _history._Cache()
    assert times[20] is not None
    assert lake.table("lake/t", as_of=times[20].time).version == 20
    assert len([key for _, key, _ in lake.asked() if "/_holdall/" in key]) <= 6 + 1


def test_a_listing_of_many_pages_is_looked_at_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a listing is not of one moment, the log is listed once more at its end, for what was replaced meanwhile."""
    monkeypatch.setattr(_source_s3, "PAGE_KEYS", 3)
    whole = _source_s3.S3Source.list

    def in_two_pages(source: Any, prefix: str) -> Iterator[Found]:
        monkeypatch.setattr(_source_s3.S3Source, "list", whole)
        before = [found for found in whole(source, prefix) if found.key < "lake/t/a"]
        put(lake, pa.table({"x": [100]}), mode="overwrite")
        lake.asked()
        yield from before
        yield from (found for found in whole(source, prefix) if found.key > "lake/t/a")

    for number in range(6):
        lake.put(f"lake/t/{'A' if number % 2 else 'z'}{number}.parquet", pa.table({"x": [number]}))
    monkeypatch.setattr(_source_s3.S3Source, "list", in_two_pages)
    assert lake.table("lake/t").to_arrow().column("x").to_pylist() == [100]
    assert verbs(lake)[:3] == ["LIST ", "LIST ", "GET 00000000"]


def test_large_files_go_in_parts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file above the size of a part is uploaded in parts, and is whole; many files go side by side."""
    monkeypatch.setattr(_s3_put, "MULTIPART_BYTES", 1 << 20)
    random = np.random.default_rng(3)
    table = pa.table({"x": random.random(2_500_000)})
    put(lake, table)
    asked = lake.asked()
    assert [verb for verb, key, _ in asked if key.endswith(".parquet")].count("PUT") >= 2
    assert lake.server.uploads == {}
    assert lake.table("lake/t").to_arrow().equals(table)

    put(lake, pa.table({"p": range(60), "x": range(60)}), "lake/many", partition_by="p")
    assert lake.table("lake/many").to_arrow().num_rows == 60
    assert len([key for verb, key, _ in lake.asked() if verb == "PUT" and key.endswith(".parquet")]) == 60


def test_a_server_that_would_overwrite_is_refused(lake: Lake) -> None:
    """Where If-None-Match is ignored nothing is written, unless the caller is the only one who writes."""
    lake.server.ignores_conditions = True
    with pytest.raises(AccessDeniedError, match="ignores If-None-Match"):
        put(lake, numbers(10, 1))
    assert [key for key in _keys(lake) if "holdall-2" in key or "_holdall" in key] == []

    Table.write("s3://bucket/lake/t", numbers(10, 1), storage_options={**lake.options, "single_writer": True})
    assert lake.table("lake/t").num_rows == 10


@pytest.mark.parametrize("name", ["holdall-2", "_holdall/"])
def test_an_answer_that_is_lost(lake: Lake, name: str) -> None:
    """A request whose answer was lost is recognized as having done its work: nothing comes twice."""
    put(lake, numbers(10, 1))
    lost: list[str] = []

    def fault(request: Request) -> Reply | None:
        if request.method == "PUT" and name in request.key and not lost:
            lost.append(request.key)
            lake.server._do(request)
            return failure(503, "SlowDown")
        return None

    lake.server.fault = fault
    assert put(lake, numbers(10, 1)).version == 1
    assert lost
    assert lake.table("lake/t").num_rows == 20
    assert len([key for key in _keys(lake) if "/_holdall/" in key]) == 2


def test_an_object_of_the_same_name(lake: Lake) -> None:
    """A single file is not written over by a table."""
    lake.put("lake/a.parquet", numbers(10, 1))
    with pytest.raises(InvalidNameError, match="is a file"):
        put(lake, numbers(10, 1), "lake/a.parquet")
    put(lake, numbers(10, 1), "lake/b.parquet")
    assert lake.table("lake/b.parquet").num_rows == 10


def test_the_root_of_a_bucket_and_long_names(lake: Lake) -> None:
    """A table may lie anywhere in a bucket."""
    for key in ("", "a/" * 100 + "t", "with space/é+%"):
        put(lake, numbers(10, 1), key)
        put(lake, numbers(10, 1), key)
        assert lake.table(key).num_rows == 20
        lake.server.reset()
