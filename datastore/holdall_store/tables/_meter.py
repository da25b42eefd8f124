"""How far the reading of a table has come, for whoever wants to see it."""

from __future__ import annotations

from collections.abc import Callable

from holdall_store.transfer.s3 import Progress

__all__ = ["Meter"]


class Meter:
    """Counts the bytes and files of a reading, and reports them; used by the thread that reads."""

    def __init__(self, report: Callable[[Progress], object], counts: dict[str, int], files_total: int) -> None:
        self._report = report
        self._counts = counts
        self._progress = Progress("read", objects_total=files_total)
        self._files: set[str] = set()

    def expect(self, bytes_total: int) -> None:
        """Take note of how many bytes will be read at most."""
        self._progress.bytes_total = bytes_total
        self._report(self._progress)

    def add(self, key: str, count: int) -> None:
        """Take note of bytes of a file that are there."""
        self._files.add(key)
        self._counts["bytes_in"] += count
        self._progress.bytes += count
        self._progress.objects = len(self._files)
        self._report(self._progress)
