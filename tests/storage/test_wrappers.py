"""The storages that are for tests do what they promise."""

from __future__ import annotations

import errno
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from holdall_store.errors import AccessDeniedError, IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.storage import LocalStorage, MemoryStorage, ObjectInfo, Storage
from holdall_store.testing import (
    CountingStorage,
    CrashAfter,
    CrashBefore,
    FailWith,
    Fault,
    FaultyStorage,
    FlipBits,
    LatencyStorage,
    LostAnswer,
    ReadOnlyStorage,
    SimulatedCrash,
    StaleListing,
    StorageCall,
    Torn,
    Truncate,
    WrappedStorage,
    ZeroTail,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def memory() -> MemoryStorage:
    """Three objects in memory."""
    storage = MemoryStorage()
    for key in ("a/1", "a/2", "b"):
        storage.create(key, [b"0123456789"])
    return storage


def faulty(inner: Storage, *plan: Fault) -> FaultyStorage:
    """Return `inner` with faults."""
    return FaultyStorage(inner, plan)


def keys(storage: Storage) -> list[str]:
    """Return all keys."""
    return [info.key for info in storage.list()]


def test_the_wrapper_forwards_everything() -> None:
    """A method that is added to the contract has to be forwarded, too."""
    assert Storage.__abstractmethods__ <= WrappedStorage.__dict__.keys()


def test_the_shipped_doubles_need_no_pytest() -> None:
    """Only the contract itself imports pytest and hypothesis, and only when it is asked for."""
    code = (
        "import sys; sys.modules['pytest'] = sys.modules['hypothesis'] = None\n"
        "from holdall_store.testing import FaultyStorage, CountingStorage\n"
        "import holdall_store.testing as t\n"
        "try: t.StorageContract\n"
        "except ImportError: print('asked')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "asked\n"


def test_counting(memory: MemoryStorage) -> None:
    """Calls, bytes and keys are counted by verb, failed calls as well."""
    storage = CountingStorage(memory)
    storage.create("c", [b"abc", b"de"])
    storage.get("a/1")
    storage.get("a/1", 2, 3)
    with pytest.raises(ObjectNotFoundError):
        storage.get("missing")
    storage.head("b")
    assert len(list(storage.list())) == 4
    assert list(storage.list_folders()) == ["a"]
    storage.delete(["a/1", "missing"])
    assert storage.calls == {"create": 1, "get": 3, "head": 1, "list": 1, "list_folders": 1, "delete": 1}
    assert storage.bytes == {"create": 5, "get": 13}
    assert storage.keys == {"list": 4, "list_folders": 1, "delete": 2}
    storage.reset()
    assert not storage.calls
    assert not storage.bytes


def test_latency() -> None:
    """Requests take their time, bytes theirs, refusals too, and a listing one request for each 1000 keys."""
    slept: list[float] = []
    memory = MemoryStorage()
    for number in range(2500):
        memory.create(f"{number:04d}", [])
    storage = LatencyStorage(memory, 0.5, 100, sleep=slept.append)
    storage.create("new", [bytes(50)])
    storage.get("new")
    with pytest.raises(ObjectNotFoundError):
        storage.get("missing")
    assert slept == [1.0, 1.0, 0.5]
    slept.clear()
    assert len(list(storage.list())) == 2501
    assert slept == [0.5] * 3


def test_read_only(memory: MemoryStorage) -> None:
    """Everything can be read, nothing changed."""
    storage = ReadOnlyStorage(memory)
    with pytest.raises(AccessDeniedError, match="new"):
        storage.create("new", [b"x"])
    with pytest.raises(AccessDeniedError, match="a/1"):
        storage.delete(["a/1"])
    assert keys(storage) == ["a/1", "a/2", "b"]
    assert bytes(storage.get("b")) == b"0123456789"


def test_calls_are_logged(memory: MemoryStorage) -> None:
    """The log names every call, so that a test can put a fault at each."""
    storage = faulty(memory)
    storage.create("c", [b"x"])
    storage.get("c")
    list(storage.list("a/"))
    storage.delete(["c"])
    assert storage.calls == [
        StorageCall("create", "c"),
        StorageCall("get", "c"),
        StorageCall("list", "a/"),
        StorageCall("delete", "c"),
    ]


@pytest.mark.parametrize(("fault", "there"), [(CrashBefore(1), False), (CrashAfter(1), True)])
def test_crashes(memory: MemoryStorage, fault: Fault, there: bool) -> None:
    """A crash before a call leaves no trace of it, one after it all; then the wrapper is dead and the storage is not."""
    storage = faulty(memory, fault)
    storage.head("b")
    with pytest.raises(SimulatedCrash):
        storage.create("c", [b"x"])
    for use in (
        lambda: storage.get("b"),
        lambda: storage.list(),
        lambda: storage.delete([]),
        lambda: storage.create("d", []),
    ):
        with pytest.raises(SimulatedCrash):
            use()
    storage.close()
    assert ("c" in keys(memory)) is there
    assert "d" not in keys(memory)
    assert not issubclass(SimulatedCrash, Exception)


def test_a_crash_after_a_listing(memory: MemoryStorage) -> None:
    """A listing has happened when it is exhausted."""
    seen: list[str] = []
    with pytest.raises(SimulatedCrash):
        seen.extend(info.key for info in faulty(memory, CrashAfter(0)).list())
    listing = faulty(memory, CrashAfter(0)).list()
    assert [next(listing).key for _ in range(3)] == ["a/1", "a/2", "b"]


def test_lost_answers(memory: MemoryStorage) -> None:
    """The call has its effect, its caller an error."""
    storage = faulty(memory, LostAnswer(0), LostAnswer(1))
    with pytest.raises(StorageError, match="lost"):
        storage.create("c", [b"x"])
    with pytest.raises(StorageError, match="lost"):
        storage.delete(["b"])
    assert keys(storage) == ["a/1", "a/2", "c"]


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StorageError), (errno.EACCES, AccessDeniedError)])
def test_errors(memory: MemoryStorage, number: int, error: type[OSError]) -> None:
    """The call fails with the number that was asked for, once, and has no effect."""
    storage = faulty(memory, FailWith(0, number))
    with pytest.raises(error, match="'c'") as caught:
        storage.create("c", [b"x"])
    assert caught.value.errno == number
    storage.create("c", [b"y"])
    assert bytes(storage.get("c")) == b"y"


def test_torn_objects(memory: MemoryStorage) -> None:
    """A prefix is stored, and the writer dead."""
    storage = faulty(memory, Torn(0, keep=4))
    with pytest.raises(SimulatedCrash):
        storage.create("c", [b"abc", b"def"])
    assert bytes(memory.get("c")) == b"abcd"
    with pytest.raises(SimulatedCrash):
        storage.get("c")


def test_damage_on_reads(memory: MemoryStorage, tmp_path: Path) -> None:
    """Flipped bits, zeroed and missing tails appear in every read of their key and no other, and in its maps."""
    local = LocalStorage(tmp_path)
    for key in ("a/1", "b"):
        local.create(key, [b"0123456789"])
    for inner in (memory, local):
        storage = faulty(inner, FlipBits("a/1", 3, mask=0x0F))
        assert bytes(storage.get("a/1")) == b"012<456789"
        assert bytes(storage.get("a/1", 3, 1)) == b"<"
        assert bytes(storage.get("b")) == b"0123456789"
        storage = faulty(inner, ZeroTail("a/1", 8))
        assert bytes(storage.get("a/1")) == b"01234567\0\0"
        assert bytes(storage.get("a/1", 7, 2)) == b"7\0"
        storage = faulty(inner, Truncate("a/1", 4))
        assert bytes(storage.get("a/1")) == b"0123"
        assert storage.head("a/1") == ObjectInfo("a/1", 4)
        assert next(storage.list()) == ObjectInfo("a/1", 4)
        with pytest.raises(IntegrityError):
            storage.get("a/1", 0, 10)
        assert bytes(inner.get("a/1")) == b"0123456789"
    mapped = faulty(local, FlipBits("a/1", 0), Truncate("a/1", 2)).map("a/1")
    assert mapped is not None
    assert bytes(mapped) == b"11"


def test_stale_listings(memory: MemoryStorage) -> None:
    """Listings are those of some calls ago; reads are not stale."""
    storage = faulty(memory, StaleListing(2))
    storage.create("c", [b"x"])
    storage.create("n/1", [b"x"])
    storage.delete(["a/1", "b"])
    with pytest.raises(ObjectNotFoundError):
        memory.get("b")
    assert keys(storage) == ["a/1", "a/2", "b", "c"]
    assert keys(storage) == ["a/1", "a/2", "b", "c", "n/1"]
    assert keys(storage) == ["a/2", "c", "n/1"]
    storage.create("m/1", [b"x"])
    assert list(storage.list_folders()) == ["a", "n"]
    storage.head("c")
    assert list(storage.list_folders()) == ["a", "m", "n"]
