"""The loops of one executor in one process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from holdall_store.errors import StorageError
from holdall_store.transfer._latency import Limiter
from holdall_store.transfer._loop import Loop
from holdall_store.transfer._retries import Policy
from holdall_store.transfer._run import Run, Task, Trial
from holdall_store.transfer._site import Site

__all__ = ["CLOSED", "Engine", "default_loops"]

CLOSED: Final = "This S3 is closed: make a new one."
"""What callers are told, who know of no executor."""

CORES_PER_LOOP: Final = 4
"""One loop fills ten gigabits; with more cores there are faster links."""

LOOPS_MAX: Final = 4
"""All of them share the interpreter's lock."""

STOP_TIMEOUT: Final = 5.0


def default_loops() -> int:
    """Return how many threads are worth having here."""
    return min(max((os.cpu_count() or 1) // CORES_PER_LOOP, 1), LOOPS_MAX)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _abandon_all() -> None:
    for engine in list(_engines):
        engine.abandon()


os.register_at_fork(after_in_child=_abandon_all)


class Engine:
    """Loops, and the runs that they work on."""

    def __init__(self, site: Site, policy: Policy, loops: int, concurrency: int | None) -> None:
        self.is_abandoned = False
        """Whether this is a child process, to which nothing of it belongs."""
        self.site = site
        self.runs: tuple[Run, ...] = ()
        self._lock = threading.Lock()
        self._dead: BaseException | None = None
        self._closed = False
        count = min(loops, concurrency) if concurrency is not None else loops
        self._loops = [Loop(self, site, policy, Limiter(count, concurrency), index) for index in range(count)]
        self._threads = {loop.thread for loop in self._loops}
        _engines.add(self)
        for loop in self._loops:
            loop.thread.start()

    @property
    def limit(self) -> int:
        """How many requests may be under way now."""
        return sum(loop.limiter.limit for loop in self._loops)

    def begin(self, deliver: Callable[[list[Task]], None], **options: Any) -> Run:
        """Return a new run."""
        with self._lock:
            self._check()
            run = Run(self, len(self._loops), deliver, **options)
            self.runs = (*self.runs, run)
            return run

    def _check(self) -> None:
        if self._dead is not None:
            raise self._death()
        if self._closed:
            raise StorageError(CLOSED)

    def end(self, run: Run) -> None:
        """Stop a run, and return when nothing of it is left; in a loop's own thread, do not wait for that."""
        run.stop()
        if threading.current_thread() in self._threads:
            return
        while not run.ended.wait(STOP_TIMEOUT):
            if not any(loop.thread.is_alive() for loop in self._loops):
                return

    def waiting_results(self) -> int:
        """Return how many results have not been handed over yet."""
        return sum([run.has_results for run in self.runs])

    def rotate(self) -> None:
        """Let another run be the next to give a request."""
        with self._lock:
            if len(self.runs) > 1:
                self.runs = (*self.runs[1:], self.runs[0])

    def wake(self) -> None:
        """Tell loops with nothing to do that there is something."""
        for loop in self._loops:
            if loop.hungry:
                loop.wake()

    def call_off(self, trial: Trial) -> None:
        """End one request, in the loop that it is in."""
        loop = trial.loop
        loop.call(lambda: loop.call_off(trial))

    def abort(self, run: Run) -> None:
        """End all requests of a run, in every loop."""
        with self._lock:
            self.runs = tuple(other for other in self.runs if other is not run)
        for loop in self._loops:
            loop.call(lambda loop=loop: loop.abort(run))  # type: ignore[misc]

    def die(self, error: BaseException) -> None:
        """Fail all that is under way, because a loop has failed."""
        self._dead = error
        for run in self.runs:
            run.fail(self._death())
        for loop in self._loops:
            loop.stop()

    def _death(self) -> StorageError:
        error = StorageError(f"A thread that transfers died: {type(self._dead).__name__}: {self._dead}.")
        error.__cause__ = self._dead
        return error

    def close(self) -> None:
        """Stop all runs and end the threads."""
        with self._lock:
            self._closed = True
            runs = self.runs
        for run in runs:
            run.fail(StorageError(CLOSED))
        for loop in self._loops:
            loop.stop()
        for loop in self._loops:
            if loop.thread is not threading.current_thread():
                loop.thread.join()

    def abandon(self) -> None:
        """Let go of what a child process has inherited."""
        self.is_abandoned = True
        for loop in self._loops:
            loop.abandon()

    def statistics(self) -> dict[str, int]:
        """Return the sums over all loops."""
        total: dict[str, int] = {"requests": 0, "bytes_in": 0, "bytes_out": 0}
        for loop in self._loops:
            total["requests"] += loop.requests
            total["bytes_in"] += loop.bytes_in
            total["bytes_out"] += loop.bytes_out
            for name, count in list(loop.counts.items()):
                total[name] = total.get(name, 0) + count
        return total
