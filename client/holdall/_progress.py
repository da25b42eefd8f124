"""One line on the terminal that shows how far a transfer has come."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, TextIO

from holdall._text import size_text
from holdall_store.config import allows_progress
from holdall_store.transfer.s3 import Progress

__all__ = ["Bar", "is_watched"]

SHOW_AFTER: Final = 1.0
"""Seconds. What is over sooner needs no bar."""

DRAW_EVERY: Final = 0.2

COLUMNS: Final = 20


def is_watched() -> bool:
    """Tell whether somebody looks at the standard error of this process: at a terminal, or in a notebook."""
    stream = sys.stderr
    return stream is not None and allows_progress() and (stream.isatty() or in_notebook())


def in_notebook() -> bool:
    """Tell whether this is the kernel of a notebook; IPython is asked only where it is."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


class Bar:
    """A line that a thread draws anew while a verb goes on, and that is gone in the end.

    A verb that is waiting for one large object has nothing to report; the counts of the executor show that it moves.
    """

    def __init__(
        self,
        statistics: Callable[[], Mapping[str, Any]],
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statistics = statistics
        self._stream = stream or sys.stderr
        self._clock = clock
        self._begun = clock()
        self._progress: Progress | None = None
        self._before = self._moved()
        self._stopped = threading.Event()
        self._drawn = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Callable[[Progress], None]:
        self._thread = threading.Thread(target=self._draw_until_stopped, name="holdall-progress", daemon=True)
        self._thread.start()
        return self.report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        if self._drawn:
            self._write("")

    def report(self, progress: Progress) -> None:
        """Take note of how far it has come."""
        self._progress = progress

    def _draw_until_stopped(self) -> None:
        if self._stopped.wait(SHOW_AFTER):
            return
        while True:
            self.draw()
            if self._stopped.wait(DRAW_EVERY):
                return

    def draw(self) -> None:
        """Draw the line as it is now."""
        self._drawn = True
        self._write(self.line())

    def line(self) -> str:
        """Return what there is to say, as one line."""
        progress = self._progress or Progress("")
        moved = self._moved() - self._before
        seconds = max(self._clock() - self._begun, 1e-9)
        parts = [progress.verb] if progress.verb else []
        share = _share(progress, moved)
        if share is not None:
            filled = int(share * COLUMNS)
            parts.append(f"[{'█' * filled}{'·' * (COLUMNS - filled)}] {share:4.0%}")
        total = "" if progress.objects_total is None else f"/{progress.objects_total}"
        if progress.objects or total:
            parts.append(f"{progress.objects}{total} objects")
        parts += [size_text(moved), f"{size_text(int(moved / seconds))}/s"]
        return "  ".join(parts)

    def _moved(self) -> int:
        counts = self._statistics()
        return int(counts.get("bytes_in", 0)) + int(counts.get("bytes_out", 0))

    def _write(self, line: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        try:
            self._stream.write(f"\r{line[:width]:<{width}}" if line else f"\r{'':<{width}}\r")
            self._stream.flush()
        except (OSError, ValueError):  # closed: nobody looks any more
            self._stopped.set()


def _share(progress: Progress, moved: int) -> float | None:
    """Return how much is done, from 0 to 1, or ``None`` while nobody knows how much there is."""
    if progress.bytes_total:
        return min(moved / progress.bytes_total, 1.0)
    if progress.objects_total and progress.objects_total > 1:
        return min(progress.objects / progress.objects_total, 1.0)
    return None
