"""Packs on their way to a storage that takes its time: several at once, all of them there before the commit."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine._collector import Gate, Gated
from tests.engine._engine import begin, keys, latest, pack_bytes, read, repository, save, stretch, value

from holdall_store.errors import StorageError
from holdall_store.repository import _pack_writer
from holdall_store.storage import MemoryStorage, StorageTraits
from holdall_store.transfer import Tasks

PACK = 1 << 20
DATA = stretch(1, 6 * PACK)


class Remote(Gated):
    """A storage whose requests pay to be made at once, with small packs."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(MemoryStorage(), gate)

    @property
    def traits(self) -> StorageTraits:
        return replace(self.inner.traits, pack_bytes=PACK, concurrency=8)


def is_pack(verb: str, key: str) -> bool:
    """Tell whether a request creates a pack."""
    return verb == "create" and key.startswith("packs/")


def test_packs_are_uploaded_at_once(tmp_path: Path) -> None:
    """Three uploads wait for each other, which only those under way at the same time can do."""
    together = threading.Barrier(3, timeout=60)
    lock = threading.Lock()
    waiting = 3

    def gate(verb: str, key: str) -> None:
        nonlocal waiting
        with lock:
            waits = is_pack(verb, key) and waiting > 0
            waiting -= waits
        if waits:
            together.wait()

    store = repository(Remote(gate), tmp_path)
    saved = save(store, {"it": value(DATA)})

    assert read(store, saved["it"]) == [DATA]
    assert len([key for key in keys(store.storage) if key.startswith("packs/")]) >= 6


def test_no_more_than_the_bound_are_uploaded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits, so that memory is bounded."""
    monkeypatch.setattr(_pack_writer, "UPLOADS_MAX", 2)
    lock = threading.Lock()
    now = most = 0

    class Counting(Remote):
        def create(self, key: str, parts: object) -> int:
            nonlocal now, most
            counted = key.startswith("packs/")
            with lock:
                now += counted
                most = max(most, now)
            try:
                return super().create(key, parts)  # type: ignore[arg-type]
            finally:
                with lock:
                    now -= counted

    store = repository(Counting(lambda verb, key: None), tmp_path)
    saved = save(store, {"it": value(DATA)})

    assert read(store, saved["it"]) == [DATA]
    assert 1 <= most <= 2


def test_all_packs_are_there_before_the_commit(tmp_path: Path) -> None:
    """When the record is created, every pack that it names exists."""
    seen: list[int] = []

    def gate(verb: str, key: str) -> None:
        if verb == "create" and key.endswith("00000001"):
            seen.append(pack_bytes(remote.inner))

    remote = Remote(gate)
    save(repository(remote, tmp_path), {"it": value(DATA)})

    assert len(seen) == 1
    assert seen[0] >= len(DATA)


@pytest.mark.parametrize("failing", [1, 3, 6])
def test_a_pack_that_fails_fails_the_save(failing: int, tmp_path: Path) -> None:
    """Nothing refers to it, then or later: the same data saved again is whole."""
    lock = threading.Lock()
    count = 0

    def gate(verb: str, key: str) -> None:
        nonlocal count
        if is_pack(verb, key):
            with lock:
                count += 1
                fails = count == failing
            if fails:
                raise StorageError(errno.EIO, "the bucket failed")

    remote = Remote(gate)
    store = repository(remote, tmp_path)
    run = begin(store)
    with pytest.raises(StorageError, match="the bucket failed"):
        run.save({"it": value(DATA)})

    assert not [thread for thread in threading.enumerate() if thread.name == "holdall-task"]
    run.save({"it": value(DATA)})
    run.end("succeeded")
    assert latest(repository(remote.inner, tmp_path))["it"] == [DATA]


def test_what_was_uploaded_before_a_failure_is_not_uploaded_again(tmp_path: Path) -> None:
    """Packs that arrived belong to the open run, and the next try refers to them."""
    failing = True

    def gate(verb: str, key: str) -> None:
        if is_pack(verb, key) and key.endswith("-6") and failing:
            raise StorageError(errno.EIO, "the bucket failed")

    remote = Remote(gate)
    store = repository(remote, tmp_path)
    run = begin(store)
    with pytest.raises(StorageError):
        run.save({"it": value(DATA)})
    failing = False
    run.save({"it": value(DATA)})
    run.end("succeeded")

    assert pack_bytes(remote.inner) < len(DATA) + PACK
    assert latest(repository(remote.inner, tmp_path))["it"] == [DATA]


def test_tasks_raise_the_first_failure_and_begin_no_more() -> None:
    """A call after a failure is refused with it, once; then all is as new."""
    tasks = Tasks(1)
    called: list[int] = []

    def fail() -> None:
        raise ValueError("first")

    tasks.start(fail)
    with pytest.raises(ValueError, match="first"):
        tasks.start(lambda: called.append(1))
    assert called == []
    tasks.start(lambda: called.append(2))
    tasks.wait()
    assert called == [2]
