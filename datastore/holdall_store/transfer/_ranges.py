"""Ranges of a storage's objects, many at once: through the executor where that pays, else in threads."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from holdall_store.errors import IntegrityError
from holdall_store.storage import Storage
from holdall_store.transfer._ordered import THREADS, run_all
from holdall_store.transfer._tasks import Tasks

if TYPE_CHECKING:
    from holdall_store.storage.buckets import ObjectConfig
    from holdall_store.transfer._exchange import Job
    from holdall_store.transfer.executor import HttpExecutor

__all__ = ["THREADED_BYTES_MIN", "Range", "fetch_ranges"]

THREADED_BYTES_MIN: Final = 1 << 20
"""Below this, handing work to threads costs more than the work, where nothing has to be waited for."""

EXECUTOR_BYTES_MIN: Final = 32 << 20
"""Below this, opening connections of its own costs more than the executor gains over those that are open already."""

AHEAD_BYTES_MAX: Final = 256 << 20
"""What is under way, or waits to be verified."""

ERROR_BYTES_MAX: Final = 1 << 20
"""What a server may say of an error."""

_executors: weakref.WeakKeyDictionary[Storage, HttpExecutor] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


class Range(NamedTuple):
    """Bytes of an object."""

    key: str
    start: int
    length: int


def fetch_ranges(storage: Storage, ranges: Sequence[Range], use: Callable[[int, memoryview], None]) -> None:
    """Call ``use(number, data)`` for each range, in any order, in several threads.

    As many are fetched at once as the storage says that it pays, and as many are held in memory. The first failure
    is raised and stops the rest.
    """
    total = sum(wanted.length for wanted in ranges)
    if storage.traits.concurrency and total >= EXECUTOR_BYTES_MIN:
        from holdall_store.storage.buckets import bucket_of

        config = bucket_of(storage)
        if config is not None:
            _fetch_through(_executor(storage, config), config, ranges, use)
            return
    threads = storage.traits.concurrency or (1 if total < THREADED_BYTES_MIN else THREADS)
    run_all(range(len(ranges)), lambda number: use(number, storage.get(*ranges[number])), threads=threads)


def _fetch_through(
    executor: HttpExecutor, config: ObjectConfig, ranges: Sequence[Range], use: Callable[[int, memoryview], None]
) -> None:
    jobs = (_read(config, number, wanted) for number, wanted in enumerate(ranges))
    tasks = Tasks(THREADS)
    results = executor.run(jobs, ordered=False, bytes_max=AHEAD_BYTES_MAX)
    try:
        for number, data in results:
            tasks.start(lambda number=number, data=data: use(number, data))  # type: ignore[misc]
        tasks.wait()
    finally:
        tasks.join()


def _read(config: ObjectConfig, number: int, wanted: Range) -> Job[tuple[int, memoryview]]:
    from holdall_store.transfer._exchange import Request

    last = wanted.start + wanted.length - 1
    (response,) = yield [
        Request(
            "GET",
            config.bucket,
            config.prefix + wanted.key,
            headers=(("range", f"bytes={wanted.start}-{last}"),),
            bytes_max=max(wanted.length, ERROR_BYTES_MAX),
            accept=frozenset({206, 416}),
        )
    ]
    if response.status == 416 or len(response.body) != wanted.length:
        raise IntegrityError(
            f"{config.url} gave {len(response.body)} bytes of {wanted.key!r} where {wanted.length} from byte "
            f"{wanted.start} were asked for: it is not what was written."
        )
    return number, response.body


def _executor(storage: Storage, config: ObjectConfig) -> HttpExecutor:
    """Return the executor of a storage, which keeps its connections from one call to the next."""
    from holdall_store.transfer.executor import HttpExecutor

    with _lock:
        found = _executors.get(storage)
        if found is None:
            found = _executors[storage] = HttpExecutor(config)
        return found


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)  # another thread of the parent may have held it
