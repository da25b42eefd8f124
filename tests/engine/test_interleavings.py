"""A writer and a collector, in every order of their steps: nothing that is committed is lost, and mutants do lose it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.engine._collector import Collector, Gated
from tests.engine._engine import Ticking, copy, source, stretch, value

from holdall_store.errors import ObjectNotFoundError
from holdall_store.format import LogHead
from holdall_store.repository import BufferReader, Catalog, Log, RunHead, RunWriter
from holdall_store.repository._index import ChunkIndex
from holdall_store.repository._pack_writer import PackWriter
from holdall_store.storage import MemoryStorage, Storage

OLD, NEW = stretch(1, 20_000), stretch(2, 20_000)
RUN = "20261123T081402123456-abcdef"
GATES = 8
"""More than the writer has, so that steps after its end are among the schedules."""


class NoSecondLook(RunWriter):
    """Does not read the collector's log again before it commits."""

    def _replace_condemned(self) -> None:
        assert self._lock is not None


class LateSlotLog(Log[Any]):
    """Learns which slot is free after the collector's log was read, instead of before."""

    def append(self, first: int, make: Callable[[int], Any], on_taken: Callable[[Any], None]) -> int:
        record: LogHead = make(first)
        while True:
            for taken in self.slots(record.slot - 1):
                on_taken(self.read(taken))
                record.slot = taken + 1
            if self.create(record.slot, record):
                return record.slot


class SlotLearntLate(RunWriter):
    """Takes the slots of a `LateSlotLog`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._log = LateSlotLog(self._log.storage, self._log.prefix, self._log._kind)


def relevant(verb: str, key: str) -> bool:
    """Tell whether a request can be affected by a collector, or affects one."""
    return (verb, key) in (("list", "gc/"), ("list", "packs/")) or (
        verb == "create" and key.startswith(("runs/", "packs/"))
    )


def start() -> MemoryStorage:
    """Return a store with one pack that nobody refers to."""
    storage = MemoryStorage()
    PackWriter(storage, "o" * 16, ChunkIndex(None), 0.0, frozenset).write([source(OLD)])
    return storage


def play(
    base: Storage,
    kind: type[RunWriter],
    schedule: tuple[int, ...],
    counts: Callable[[str, str], bool] = relevant,
) -> bool:
    """Let a run save and end while collector step n happens before request ``schedule[n]``; tell whether all is there.

    Requests are those that count, of whichever thread.
    """
    storage = copy(base, MemoryStorage())
    steps: Iterator[tuple[int, Callable[[], None]]] = iter(zip(schedule, Collector(storage).steps, strict=True))
    due = next(steps, None)
    count = 0
    lock = threading.Lock()

    def gate(verb: str, key: str) -> None:
        nonlocal due, count
        if not counts(verb, key):
            return
        with lock:
            while due is not None and due[0] <= count:
                due[1]()
                due = next(steps, None)
            count += 1

    head = RunHead("user:ana", "flow", RUN, "2026-11-23T08:14:02+00:00")
    index = ChunkIndex(None)
    run = kind(
        Gated(storage, gate), lambda: index, head, clock=Ticking(), ratio_max=0.0, info=dict, create=lambda: None
    )
    run.save({"a": value(OLD, NEW)})
    run.end("succeeded")
    while due is not None:
        due[1]()
        due = next(steps, None)
    index.close()
    record, packs = Catalog(storage).run("user:ana", "flow", RUN).artifacts["a"]
    try:
        return [bytes(part) for part in BufferReader(storage).read(record.buffers, packs)] == [OLD, NEW]
    except ObjectNotFoundError:
        return False


SCHEDULES = list(itertools.combinations_with_replacement(range(GATES + 1), 5))


@pytest.mark.parametrize("half", [0, 1])
def test_the_writer_never_loses(half: int) -> None:
    """In each of 1287 schedules, what was committed is there when writer and collector are done."""
    base = start()
    lost = [schedule for schedule in SCHEDULES[half::2] if not play(base, RunWriter, schedule)]

    assert len(SCHEDULES) == 1287
    assert lost == []


@pytest.mark.parametrize("mutant", [NoSecondLook, SlotLearntLate])
def test_a_writer_that_leaves_a_step_out_loses(mutant: type[RunWriter]) -> None:
    """Without the second look, or with the slot learnt after it, there are schedules that lose data."""
    base = start()

    assert any(not play(base, mutant, schedule) for schedule in SCHEDULES)
