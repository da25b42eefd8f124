"""Generators run in threads whose results come out in the order of the jobs."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

__all__ = ["THREADS", "Background", "run_all", "run_ordered"]

THREADS: Final = min(os.cpu_count() or 1, 8)
"""Hashing, chunking and compression let go of the interpreter lock; beyond eight threads the lock is the limit."""

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")

_END: Final = object()


class _Failure:
    """An exception on its way from a worker to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Budget:
    """Bytes of results that wait for the consumer, of all jobs together."""

    def __init__(self, bytes_max: int, threads: int) -> None:
        self.bytes_max = bytes_max
        self.share = max(bytes_max // threads, 1)
        self.changed = threading.Condition()
        self.waiting = 0
        self.consumed: _Channel | None = None
        """The channel that the consumer reads now."""
        self.stopped = False

    def consume(self, channel: _Channel | None) -> None:
        """Let the consumer go on to `channel`; ``None`` stops all."""
        with self.changed:
            self.consumed, self.stopped = channel, channel is None
            self.changed.notify_all()


class _Channel:
    """Results of one job on their way to the consumer."""

    def __init__(self, budget: _Budget) -> None:
        self._items: queue.SimpleQueue[tuple[object, int]] = queue.SimpleQueue()
        self._budget = budget
        self._waiting = 0

    def put(self, item: object, weight: int) -> bool:
        """Hand `item` over; wait while too much is waiting. Return whether the consumer still wants more."""
        budget = self._budget
        if weight:
            with budget.changed:
                while not budget.stopped and not self._has_room(weight):
                    budget.changed.wait()
                self._waiting += weight
                budget.waiting += weight
        self._items.put((item, weight))
        return not budget.stopped

    def _has_room(self, weight: int) -> bool:
        budget = self._budget
        # The job that is being consumed has a share of its own, so that those ahead can never starve it. An item
        # heavier than all there is goes alone.
        if budget.consumed is self:
            return not self._waiting or self._waiting + weight <= budget.share
        return not budget.waiting or budget.waiting + weight <= budget.bytes_max

    def fill(self, work: Callable[[], Iterable[tuple[object, int]]]) -> bool:
        """Hand over all that ``work()`` yields, or its failure; return whether the consumer still wants more."""
        try:
            for item, weight in work():
                if not self.put(item, weight):
                    return False
        except BaseException as error:  # noqa: BLE001 - it is raised again in the consumer
            return self.put(_Failure(error), 0)
        return self.put(_END, 0)

    def drain(self) -> Iterator[Any]:
        """Yield what was handed over, until the end or the failure of the work."""
        while True:
            item, weight = self._items.get()
            if weight:
                with self._budget.changed:
                    self._waiting -= weight
                    self._budget.waiting -= weight
                    self._budget.changed.notify_all()
            if item is _END:
                return
            if isinstance(item, _Failure):
                try:
                    raise item.error
                finally:
                    del item  # or the error's traceback would hold the error, and with it all that callers hold
            yield item


def run_ordered(
    jobs: Sequence[_Job],
    work: Callable[[_Job], Iterable[tuple[_Result, int]]],
    *,
    bytes_max: int,
    threads: int = THREADS,
) -> Iterator[_Result]:
    """Yield what ``work(job)`` yields, for all jobs, in their order, while several of them run at once.

    `work` yields pairs of a result and the bytes of memory that it keeps alive; at most about `bytes_max` bytes wait to
    be consumed. The first failure, in the order of the jobs, is raised and stops the rest. With ``threads=1`` all runs
    in the calling thread with nothing in between.
    """
    if threads <= 1:
        for job in jobs:
            for result, _ in work(job):
                yield result
        return
    budget = _Budget(bytes_max, threads)
    channels = [_Channel(budget) for _ in jobs]
    waiting = iter(zip(jobs, channels, strict=True))
    lock = threading.Lock()

    def worker() -> None:
        while not budget.stopped:
            with lock:
                job, channel = next(waiting, (None, None))
            if channel is None or not channel.fill(lambda job=job: work(job)):  # type: ignore[misc]
                return

    workers = [
        threading.Thread(target=worker, name=f"holdall-work-{index}", daemon=True)
        for index in range(min(threads, len(jobs)))
    ]
    for thread in workers:
        thread.start()
    try:
        for channel in channels:
            budget.consume(channel)
            yield from channel.drain()
    finally:
        budget.consume(None)
        for thread in workers:
            thread.join()


class Background:
    """Work on several jobs that goes on in threads, and in the caller's own once it does nothing but `wait`.

    The jobs are begun in their order, and a failure stops those that have not begun. With one thread in all, nothing
    happens before `wait`: a second one would only take its turns from the caller.
    """

    def __init__(self, jobs: Sequence[_Job], work: Callable[[_Job], None], *, threads: int = THREADS) -> None:
        self._jobs = iter(enumerate(jobs))
        self._work: Callable[[Any], None] = work
        self._lock = threading.Lock()
        self._failures: list[tuple[int, BaseException]] = []
        self._threads = [
            threading.Thread(target=self._run, name=f"holdall-work-{index}", daemon=True)
            for index in range(min(threads - 1, len(jobs)))
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Return when all is done; raise the first failure, in the order of the jobs."""
        self._run()
        for thread in self._threads:
            thread.join()
        if self._failures:
            _, failure = min(self._failures, key=lambda item: item[0])
            try:
                raise failure
            finally:
                # Or the error's traceback would hold the error, and with it all that callers hold.
                self._failures.clear()
                del failure

    def _run(self) -> None:
        while not self._failures:
            with self._lock:
                number, job = next(self._jobs, (-1, None))
            if number < 0:
                return
            try:
                self._work(job)
            except BaseException as error:  # noqa: BLE001 - it is raised again by `wait`
                self._failures.append((number, error))


def run_all(jobs: Sequence[_Job], work: Callable[[_Job], None], *, threads: int = THREADS) -> None:
    """Call ``work(job)`` for all jobs, several at once; the first failure, in the order of the jobs, is raised."""

    def no_results(job: _Job) -> Iterator[tuple[None, int]]:
        work(job)
        return iter(())

    for _ in run_ordered(jobs, no_results, bytes_max=1, threads=threads if len(jobs) > 1 else 1):
        raise AssertionError("work that gives no results gave one")
