"""What was saved is let go of at once, also where something failed: no cycle keeps a model in memory."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.engine._engine import begin, repository, stretch, value

from holdall_store.errors import StorageError
from holdall_store.repository import _pack_writer
from holdall_store.serializers import BufferSource, encode
from holdall_store.storage import MemoryStorage
from holdall_store.testing import CountingStorage, FailWith, Fault, FaultyStorage, LostAnswer


class Data(bytearray):
    """Bytes that can be watched."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch Python's garbage collector off: what is in a cycle stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def attempt(storage: FaultyStorage, home: Path) -> weakref.ref[Data]:
    """Save something, whatever happens, and return what watches it."""
    data = Data(stretch(1, 200_000))
    store = repository(storage, home)
    run = begin(store)
    try:
        run.save({"a": value(BufferSource(memoryview(data), len(data)))})
        run.end("succeeded")
    except StorageError as error:
        assert error.errno
    store.close()
    return weakref.ref(data)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fault", [LostAnswer, lambda call: FailWith(call, 5), lambda call: FailWith(call, 28)])
@pytest.mark.parametrize("threads", [False, True])
def test_no_fault_keeps_what_was_saved(
    fault: Callable[[int], Fault], threads: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a save that failed at any request, or succeeded in spite of it, nothing holds the buffers."""
    if threads:
        monkeypatch.setattr(_pack_writer, "THREADED_BYTES_MIN", 50_000)
    whole = FaultyStorage(CountingStorage(MemoryStorage()))
    assert attempt(whole, tmp_path / "whole")() is None
    for number in range(len(whole.calls)):
        storage = FaultyStorage(MemoryStorage(), [fault(number)])
        assert attempt(storage, tmp_path / str(number))() is None, whole.calls[number]


def test_a_view_is_saved_as_it_is() -> None:
    """No view of a view is made: Python 3.11.7 crashes when such a chain is garbage."""
    for obj in (bytes(5000), bytearray(5000)):
        (part,) = encode(obj).buffers
        assert isinstance(part.data, memoryview)
        assert part.data.obj is obj
        assert gc.get_referents(part.data)
        assert not any(isinstance(held, pickle.PickleBuffer) for held in gc.get_referents(*gc.get_referents(part.data)))
