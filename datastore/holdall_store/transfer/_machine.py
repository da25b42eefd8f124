"""A thread that waits for sockets, for other threads and for time to pass."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final

from holdall_store.transfer._poll import READ, Wakeup, make_poller
from holdall_store.transfer._run import Run, Trial

if TYPE_CHECKING:
    from holdall_store.transfer._connection import Connection
    from holdall_store.transfer._engine import Engine
    from holdall_store.transfer._opening import Broken

__all__ = ["Machine"]

BUFFER_BYTES: Final = 256 << 10
"""What passes through on its way to a file, and holds whole small answers; larger ones go straight to their place."""

BATCH: Final = 64
"""Results handed over at once: waking the consumer for each would cost more than most requests."""

BATCH_AGE: Final = 0.002
"""Seconds for which a result may wait for others, while there is other work."""

SLEEP_MAX: Final = 3600.0


class Machine:
    """The turns of a loop. What it does with connections and requests is the loop's affair."""

    def __init__(self, engine: Engine, index: int) -> None:
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.now = time.monotonic()
        """When this turn began; asking the clock for each event would cost more than it tells."""
        self.connections: set[Connection] = set()
        self._engine = engine
        self._by_descriptor: dict[int, Connection] = {}
        self._timers: list[tuple[float, int, Trial]] = []
        self._number = 0
        self._failures: list[tuple[Connection, Broken]] = []
        self._inbox: deque[Callable[[], None]] = deque()
        self._asleep = False
        self._stopping = False
        self._flushed = 0.0
        self._poller = make_poller()
        self._wakeup = Wakeup()
        self._poller.register(self._wakeup.descriptor, READ)
        self.thread = threading.Thread(target=self._main, name=f"holdall-transfer-{index}", daemon=True)

    # -- from other threads

    def call(self, function: Callable[[], None]) -> None:
        """Call `function` in the loop's thread, soon."""
        self._inbox.append(function)
        if self._asleep:
            self._asleep = False
            self._wakeup.set()

    def stop(self) -> None:
        """Close all connections and end the thread."""
        self.call(self._stop)

    def _stop(self) -> None:
        self._stopping = True

    def abandon(self) -> None:
        """Close the descriptors, in a child process, and nothing that lies behind them."""
        self._poller.close()
        self._wakeup.close()
        for connection in self.connections:
            connection.abandon()

    # -- the thread

    def _main(self) -> None:
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:  # noqa: BLE001 - whatever it is, nobody may wait for this thread forever
            self._engine.die(error)
        finally:
            for connection in list(self.connections):
                connection.close()
            self.connections.clear()
            self._poller.close()
            self._wakeup.close()

    def _turn(self) -> None:
        """Wait, and do what is to be done."""
        waiting = self._engine.waiting_results()
        busy = self._inbox or self._failures
        events = self._poller.poll(0) if waiting or busy else []
        if not events and not busy:
            if waiting:
                self._flush()
                waiting = 0
            self._asleep = True
            if not self._inbox:
                events = self._poller.poll(self._timeout())
            self._asleep = False
        self.now = time.monotonic()
        known = self._by_descriptor
        for descriptor, mask in events:
            connection = known.get(descriptor)
            if connection is not None:
                connection.on_event(mask)
            elif descriptor == self._wakeup.descriptor:
                self._wakeup.clear()
        while self._inbox:
            self._inbox.popleft()()
        while self._failures:
            connection, broken = self._failures.pop()
            if connection in self.connections:
                self.broken(connection, broken)
        if self._timers and self._timers[0][0] <= self.now:
            self._take_timers()
        if waiting >= BATCH or (waiting and self.now - self._flushed > BATCH_AGE):
            self._flush()
        if self.now >= self.look_due:
            self.look()

    def _timeout(self) -> float:
        until = self.look_due if self.connections else self.now + SLEEP_MAX
        if self._timers:
            until = min(until, self._timers[0][0])
        return max(until - time.monotonic(), 0.0)

    def _flush(self) -> None:
        self._flushed = self.now
        for run in self._engine.runs:
            run.flush()

    def _take_timers(self) -> None:
        due = []
        while self._timers and self._timers[0][0] <= self.now:
            due.append(heappop(self._timers)[2])
        self.resume(due)

    def after(self, pause: float, trial: Trial) -> None:
        """Resume a request after `pause` seconds."""
        self._number += 1
        heappush(self._timers, (self.now + pause, self._number, trial))

    def _forget(self, run: Run) -> None:
        self._timers = [timer for timer in self._timers if timer[2].task.run is not run]
        heapify(self._timers)

    def later(self, connection: Connection, broken: Broken) -> None:
        """Take note of a failure while something else is going on."""
        self._failures.append((connection, broken))

    def watch(self, connection: Connection, mask: int) -> None:
        """Wait for something else."""
        descriptor = connection.descriptor
        if descriptor in self._by_descriptor:
            self._poller.modify(descriptor, mask)
        else:
            self._by_descriptor[descriptor] = connection
            self._poller.register(descriptor, mask)

    def unwatch(self, connection: Connection) -> None:
        """Wait for it no more."""
        if self._by_descriptor.pop(connection.descriptor, None) is not None:
            self._poller.unregister(connection.descriptor)

    # -- what a loop does

    look_due: float
    """When to look at everything again."""

    def look(self) -> None:
        """Look at everything."""
        raise NotImplementedError

    def broken(self, connection: Connection, broken: Broken) -> None:
        """Take note that a connection has failed."""
        raise NotImplementedError

    def resume(self, trials: list[Trial]) -> None:
        """Send requests whose pause is over."""
        raise NotImplementedError
