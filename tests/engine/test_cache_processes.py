"""Several processes with one cache: killed, forked, or filling and evicting the same at the same time."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine._engine import save, stretch, value
from tests.engine._remote import Remote, cached, incoming, reader

from holdall_store.repository import Repository, StoredArtifact, cache_usage, trim_cache
from holdall_store.storage import LocalStorage, Storage

FORK = multiprocessing.get_context("fork")
SIZE = 150_000
ARTIFACTS = 6
PROCESSES = 4


def fill(folder: Path, count: int = ARTIFACTS, size: int = SIZE) -> list[StoredArtifact]:
    """Save artifacts of one buffer each where several processes can read them."""
    store = Repository(Remote(LocalStorage(folder)))
    return [save(store, {"a": value(stretch(n, size))}, flow=f"f{n}")["a"] for n in range(count)]


def run(work: Callable[[], object], count: int = 1) -> list[int | None]:
    """Do `work` in that many processes at once, and return how they ended: 0 where it returned true."""

    def main() -> None:
        os._exit(0 if work() else 1)

    processes = [FORK.Process(target=main) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_processes_fill_and_evict_the_same(tmp_path: Path) -> None:
    """Four processes load the same artifacts through a cache that holds two of them: each gets what was saved."""
    artifacts = fill(tmp_path / "store")
    bound = 2 * SIZE + 20_000

    def work() -> bool:
        store = reader(Remote(LocalStorage(tmp_path / "store")), tmp_path / "home", cache_bytes=bound)
        right = [
            bytes(store.read_buffers(artifacts[(turn * 5 + os.getpid()) % ARTIFACTS], [0])[0])
            == stretch((turn * 5 + os.getpid()) % ARTIFACTS, SIZE)
            for turn in range(60)
        ]
        return all(right)

    assert run(work, PROCESSES) == [0] * PROCESSES
    assert incoming(tmp_path / "home") == []
    config = reader(Remote(), tmp_path / "home", cache_bytes=bound).settings
    trim_cache(config)
    assert cache_usage(config).bytes <= bound


class Deadly(Remote):
    """Kills the process when the second range of a pack is asked for."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self._seen = 0

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        if key.startswith("packs/"):
            self._seen += 1
            if self._seen == 3:  # the table, a first range, and this
                os.kill(os.getpid(), signal.SIGKILL)
        return super().get(key, start, length)


def test_a_process_that_is_killed_while_it_fills(tmp_path: Path) -> None:
    """A killed process leaves only a file that nobody takes for whole; the next one loads, and sweeps it in time."""
    size = 9 << 20
    store = Repository(Remote(LocalStorage(tmp_path / "store"), pack_bytes=64 << 20))
    artifact = save(store, {"a": value(stretch(1, size))})["a"]
    home = tmp_path / "home"

    def work() -> bool:
        reader(Deadly(LocalStorage(tmp_path / "store")), home).read_buffers(artifact, [0])
        return True

    assert run(work) == [-signal.SIGKILL]
    (left,) = incoming(home)
    assert cached(home) == []

    loaded = reader(Remote(LocalStorage(tmp_path / "store")), home).read_buffers(artifact, [0])
    assert bytes(loaded[0]) == stretch(1, size)
    trim_cache(reader(Remote(), home).settings, now=left.stat().st_mtime + 3601)
    assert incoming(home) == []
    assert len(cached(home)) == 1


@pytest.mark.parametrize("cache_bytes", [None, 0])
def test_a_store_goes_on_in_a_forked_child(tmp_path: Path, cache_bytes: int | None) -> None:
    """A child reads through what its parent had open, with the cache or without, and fills it for both."""
    artifacts = fill(tmp_path / "store", 2)
    storage = Remote(LocalStorage(tmp_path / "store"))
    store = reader(storage, tmp_path / "home", cache_bytes=cache_bytes)
    first = store.read_buffers(artifacts[0], [0])[0]

    def work() -> bool:
        first[0] ^= 255  # the child's own
        again, second = store.read_buffers(artifacts[0], [0])[0], store.read_buffers(artifacts[1], [0])[0]
        return bytes(again) == stretch(0, SIZE) and bytes(second) == stretch(1, SIZE)

    assert run(work, 2) == [0, 0]
    assert bytes(first) == stretch(0, SIZE)
    storage.reset()
    assert bytes(store.read_buffers(artifacts[1], [0])[0]) == stretch(1, SIZE)
    assert (storage.requests == 0) is (cache_bytes is None)
