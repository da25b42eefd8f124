"""The consumer's side of a run: jobs are pulled as far ahead as is useful, results come in order or as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from holdall_store.errors import StorageError
from holdall_store.transfer._engine import Engine
from holdall_store.transfer._exchange import Job
from holdall_store.transfer._run import Task

__all__ = ["Stream"]

AHEAD: Final = 4
"""Jobs begun or waiting, for each request that may be under way: a slow one at the head of the order stops no other."""

AHEAD_MIN: Final = 256

_Result = TypeVar("_Result")


class Stream(Generic[_Result]):
    """Results of jobs.

    Iterating waits. `poll` never waits: with it and `notify`, which is called in a thread of the executor whenever
    there may be something new, an event loop can consume the same results. Both are for one consumer at a time, in
    whose thread the jobs are pulled. `close` stops everything.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: Iterable[Job[_Result]],
        *,
        ordered: bool,
        bytes_max: int,
        weigh: Callable[[_Result], int] | None = None,
        notify: Callable[[], None] | None = None,
    ) -> None:
        self._engine = engine
        self._jobs = iter(jobs)
        self._ordered = ordered
        self._notify = notify
        self._arrived: SimpleQueue[list[Task]] = SimpleQueue()
        self._early: dict[int, Task] = {}
        self._ready: deque[Task] = deque()
        self._pulled = 0
        self._given = 0
        self._pull_at = 0
        """So few jobs without a result given have to be left before more are pulled; -1 when there are no more."""
        self._exhausted = False
        self._closed = False
        self._run = engine.begin(self._deliver, ordered=ordered, bytes_max=bytes_max, weigh=weigh)

    def _deliver(self, batch: list[Task]) -> None:
        self._arrived.put(batch)
        if self._notify is not None:
            self._notify()

    def __iter__(self) -> Iterator[_Result]:
        """Yield every result; closing the iterator stops everything."""
        return self.until(None)

    def until(self, end: float | None) -> Iterator[_Result]:
        """Yield every result that comes before the clock says `end`; then everything is stopped."""
        try:
            while True:
                if self._pulled - self._given <= self._pull_at:
                    self._pull()
                else:
                    self._check()
                if self._ready:
                    # No reference stays here: the result may be large, and the caller done with it.
                    yield self._give()
                elif self.is_done or not self._wait(end):
                    return
        finally:
            self.close()

    def _wait(self, end: float | None) -> bool:
        """Wait for results; tell whether some came in time, or at least news."""
        try:
            self._sort(self._arrived.get(timeout=None if end is None else max(end - time.monotonic(), 0.0)))
        except Empty:
            return False
        return True

    def poll(self) -> list[_Result]:
        """Return the results that are there, which may be none; raise the first failure."""
        self._pull()
        while True:
            try:
                self._sort(self._arrived.get_nowait())
            except Empty:
                break
        results = []
        while self._ready:
            self._check()
            results.append(self._give())
        self._pull()
        return results

    @property
    def is_done(self) -> bool:
        """Whether every job's result was given."""
        return self._exhausted and self._given == self._pulled

    def _pull(self) -> None:
        """Queue more jobs, once there is room for a good many."""
        self._check()
        window = max(AHEAD_MIN, AHEAD * self._engine.limit)
        if self._exhausted or self._pulled - self._given > window - window // 4:
            return
        self._pull_at = window - window // 4
        tasks = []
        run = self._run
        for job in self._jobs:
            tasks.append(Task(job, self._pulled, run))
            self._pulled += 1
            if self._pulled - self._given >= window:
                break
        else:
            self._exhausted = True
            self._pull_at = -1
        if tasks:
            run.add(tasks)

    def _check(self) -> None:
        if self._engine.is_abandoned:
            raise StorageError("This iterator belongs to the process that this one was forked from: begin a new one.")
        error = self._run.error
        if error is not None:
            self.close()
            try:
                raise error
            finally:
                del error  # or its traceback would hold it, and with it all that callers hold

    def _sort(self, batch: list[Task]) -> None:
        """Put what arrived where it belongs."""
        if not self._ordered:
            self._ready.extend(batch)
            return
        early, ready = self._early, self._ready
        place = self._given + len(ready)
        for task in batch:
            if task.place == place:
                ready.append(task)
                place += 1
            else:
                early[task.place] = task
        while early and (found := early.pop(place, None)) is not None:
            ready.append(found)
            place += 1

    def _give(self) -> _Result:
        task = self._ready.popleft()
        value: _Result = task.value
        self._given += 1
        self._run.consume(task)
        return value

    def close(self) -> None:
        """Stop what is under way and close the jobs. Closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        if not self._engine.is_abandoned:
            self._engine.end(self._run)
        self._early.clear()
        self._ready.clear()
