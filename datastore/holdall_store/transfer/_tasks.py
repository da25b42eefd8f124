"""Calls that go on in threads, a bounded number at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Tasks"]


class Tasks:
    """Calls functions in threads of their own, at most `limit` at once; used by one thread.

    The first failure is raised by the next `start`, or by `wait`; what has not begun by then never does.
    """

    def __init__(self, limit: int) -> None:
        self._room = threading.Semaphore(limit)
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def start(self, function: Callable[[], object]) -> None:
        """Call `function` as soon as fewer than `limit` calls are under way: until then this waits."""
        self._room.acquire()
        if self._error is not None:
            self._room.release()
            self.wait()
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        thread = threading.Thread(target=self._run, args=(function,), name="holdall-task", daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self) -> None:
        """Return when all calls have ended; raise the first failure, once."""
        self.join()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback holds this frame

    def join(self) -> None:
        """Return when all calls have ended, whatever became of them."""
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _run(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - it is raised again by `wait`
            self._error = self._error or error
        finally:
            self._room.release()
