"""Ranges of objects, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from holdall_store.storage import Storage
from holdall_store.transfer import THREADS, run_all

__all__ = ["THREADED_BYTES_MIN", "Range", "fetch_all"]

THREADED_BYTES_MIN: Final = 1 << 20
"""Below this, handing work to threads costs more than the work, where nothing has to be waited for."""


class Range(NamedTuple):
    """Bytes of an object."""

    key: str
    start: int
    length: int


def fetch_all(storage: Storage, ranges: Sequence[Range], use: Callable[[int, memoryview], None]) -> None:
    """Call ``use(number, data)`` for each range, in any order, in the threads that fetch them.

    As many are fetched at once as the storage says that it pays, and as many are held in memory. The first failure, in
    the order of the ranges, is raised and stops the rest.
    """
    few = sum(wanted.length for wanted in ranges) < THREADED_BYTES_MIN
    threads = storage.traits.concurrency or (1 if few else THREADS)
    run_all(range(len(ranges)), lambda number: use(number, storage.get(*ranges[number])), threads=threads)
