"""What keeps a run that is being recorded known to others, and its small values durable."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from holdall.store import HoldallError
from holdall_store.config import logger

if TYPE_CHECKING:
    from holdall._saver import Saver
    from holdall_store.repository import RunWriter

__all__ = ["Keeper", "begun"]

ANNOUNCE_SECONDS: Final = 1.0
"""A run that takes longer becomes visible to others; a shorter one is written once, when it ends."""

FLUSH_SHARE: Final = 0.05
FLUSH_SECONDS_MAX: Final = 60.0
"""Small values wait for at most a twentieth of what the run has taken so far, and a minute: long runs keep short logs."""

OUTPUT_SECONDS: Final = 10.0
OUTPUT_SECONDS_MAX: Final = 600.0
"""What is captured is saved after so long, then after twice that, and so on: what a killed process wrote last is not lost."""

begun: dict[int, Saver] = {}
"""What has not ended, runs and tasks: what they were given must not be lost if they never do."""


@atexit.register
def _flush_begun() -> None:
    """Make durable what runs hold that were entered and never left, as `contextlib.ExitStack` allows."""
    for saver in list(begun.values()):
        if saver._writer.process != os.getpid() or saver._writer.ended:
            continue
        called = saver._called
        try:
            saver.flush()
        except (HoldallError, OSError) as error:
            logger().warning("What %s held at the exit of the process is lost: %s", called, error)
        warnings.warn(
            f"{called[0].upper()}{called[1:]} was begun and never ended, so it will not count as successful. Use it as a "
            "`with` block, or call its end().",
            RuntimeWarning,
            stacklevel=1,
        )


class Keeper:
    """Makes a run or a task known, and its small values durable, from time to time.

    With `announce` false nothing is written before there is something to keep.
    """

    def __init__(self, writer: RunWriter, *, announce: bool = True, keep: Callable[[], None] | None = None) -> None:
        self._writer = writer
        self._announce = announce
        self._keep_output = keep
        self._output_pause = self._output_at = OUTPUT_SECONDS
        self._stop = threading.Event()
        self._told = False
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name="holdall-run", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _keep(self) -> None:
        while not self._stop.wait(self._pause()):
            try:
                if self._keep_output is not None and time.monotonic() - self._began >= self._output_at:
                    self._output_pause = min(2 * self._output_pause, OUTPUT_SECONDS_MAX)
                    self._output_at += self._output_pause
                    self._keep_output()
                self._writer.flush(announce=self._announce)
            except Exception as error:  # noqa: BLE001 - the values are still pending: the end of the run tries again, and raises
                self._tell(error)

    def _tell(self, error: Exception) -> None:
        text = f"Small values of {self._writer.head.called} are not durable yet: {error}"
        logger().warning("%s", text)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeWarning):  # who makes errors of warnings hears of it at the end
                warnings.warn(f"{text} It is tried again, and told at its end.", RuntimeWarning, stacklevel=2)

    def _pause(self) -> float:
        return min(max(ANNOUNCE_SECONDS, FLUSH_SHARE * (time.monotonic() - self._began)), FLUSH_SECONDS_MAX)
