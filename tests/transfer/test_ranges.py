"""Ranges of a storage's objects: the same bytes and errors, through the executor and in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.storage._s3 import Cut, Reply, Request, S3Server, failure

from holdall_store.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError
from holdall_store.storage import MemoryStorage, Storage, StorageTraits, open_storage
from holdall_store.testing import CountingStorage, WrappedStorage
from holdall_store.transfer import Range, _ranges, fetch_ranges

DATA = bytes(range(256)) * 4096
RANGES = [Range(f"packs/{number % 3}", number * 5000, 4000 + number) for number in range(40)]


@pytest.fixture
def server() -> Iterator[S3Server]:
    """Return a server with three objects."""
    made = S3Server()
    made.reset()
    made.buckets["bucket"] = {f"store/packs/{number}": DATA for number in range(3)}
    yield made
    made.close()


@pytest.fixture
def bucket(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Return the storage of these objects, which is read through the executor however little is wanted."""
    monkeypatch.setattr(_ranges, "EXECUTOR_BYTES_MIN", 0)
    options = {"endpoint_url": server.url, "key": "a", "secret": "b", "region": "us-east-1"}
    return open_storage("s3://bucket/store", options)


def fetch(storage: Storage, ranges: list[Range]) -> dict[int, bytes]:
    """Return what was fetched, by number; nothing may come twice."""
    found: dict[int, bytes] = {}
    lock = threading.Lock()

    def use(number: int, data: memoryview) -> None:
        with lock:
            assert number not in found
            found[number] = bytes(data)

    fetch_ranges(storage, ranges, use)
    return found


def wanted(ranges: list[Range]) -> dict[int, bytes]:
    """Return what should be fetched."""
    return {number: DATA[each.start : each.start + each.length] for number, each in enumerate(ranges)}


def test_the_executor_gives_what_was_asked(bucket: Storage, server: S3Server) -> None:
    """Each range comes once, whole, with one request."""
    assert fetch(bucket, RANGES) == wanted(RANGES)
    assert server.verbs == ["GET"] * len(RANGES)
    assert {thread.name for thread in threading.enumerate() if "task" in thread.name} == set()


def test_no_ranges(bucket: Storage, server: S3Server) -> None:
    """Nothing is asked for nothing."""
    assert fetch(bucket, []) == {}
    assert server.log == []


def test_an_answer_that_was_cut_is_asked_for_again(bucket: Storage, server: S3Server) -> None:
    """Half a range is never given to anybody."""
    bad: Iterator[Reply | Cut] = iter(
        [Cut(after=True), Reply(206, b"x" * 100, {"Content-Range": "bytes 0-99/1048576"}, torn=3900)]
    )

    def fault(request: Request) -> Reply | Cut | None:
        return next(bad, None)

    server.fault = fault

    assert fetch(bucket, RANGES[:5]) == wanted(RANGES[:5])


def test_a_range_beyond_the_end(bucket: Storage) -> None:
    """An object that is shorter than it was written is not what was written."""
    with pytest.raises(IntegrityError, match="packs/1"):
        fetch(bucket, [*RANGES, Range("packs/1", len(DATA) - 10, 20)])
    with pytest.raises(IntegrityError, match="packs/1"):
        fetch(bucket, [*RANGES, Range("packs/1", len(DATA) + 10, 20)])


def test_an_object_that_is_gone(bucket: Storage) -> None:
    """Its key is named."""
    with pytest.raises(ObjectNotFoundError, match="packs/7"):
        fetch(bucket, [*RANGES, Range("packs/7", 0, 20)])


def test_what_is_denied(bucket: Storage, server: S3Server) -> None:
    """The permission that lacks is named, too."""

    def deny(request: Request) -> Reply | None:
        return failure(403, "AccessDenied") if request.key.endswith("packs/2") else None

    server.fault = deny
    with pytest.raises(AccessDeniedError, match="s3:GetObject"):
        fetch(bucket, RANGES)


def test_a_failure_of_the_user_stops_all(bucket: Storage) -> None:
    """What cannot be used, because it is damaged, is the error that comes out; no thread is left."""

    def use(number: int, data: memoryview) -> None:
        raise IntegrityError(f"number {number}: {len(data)} bytes are damaged")

    with pytest.raises(IntegrityError, match="damaged"):
        fetch_ranges(bucket, RANGES, use)
    assert [thread.name for thread in threading.enumerate() if thread.name == "holdall-task"] == []


def test_little_goes_over_the_connections_that_are_open(server: S3Server) -> None:
    """The executor is not even made for less than it needs to pay."""
    options = {"endpoint_url": server.url, "key": "a", "secret": "b", "region": "us-east-1"}
    storage = open_storage("s3://bucket/store", options)

    assert fetch(storage, RANGES) == wanted(RANGES)
    assert storage not in _ranges._executors


class Remote(WrappedStorage):
    """A storage whose requests pay to be made at once."""

    @property
    def traits(self) -> StorageTraits:
        return replace(self.inner.traits, concurrency=4)


@pytest.mark.parametrize("remote", [False, True])
def test_other_storages_are_read_in_threads(remote: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrapper sees every request, whatever it is around."""
    monkeypatch.setattr(_ranges, "EXECUTOR_BYTES_MIN", 0)
    inner = MemoryStorage()
    for number in range(3):
        inner.create(f"packs/{number}", (DATA,))
    counting = CountingStorage(Remote(inner) if remote else inner)

    assert fetch(counting, RANGES) == wanted(RANGES)
    assert counting.calls["get"] == len(RANGES)
