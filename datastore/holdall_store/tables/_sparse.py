"""A file of which only some bytes are there: a map of anonymous memory that takes no more than what is written to it."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Iterable
from typing import Any, Final

from holdall_store.errors import IntegrityError
from holdall_store.tables._plan import Span, covers, inner_pages

__all__ = ["SparseFile"]

HOLE: bytes | None = None
"""With what tests fill the holes: what is read of them then makes no sense, where zeros might."""

_FLAGS: Final = (
    mmap.MAP_PRIVATE
    | getattr(mmap, "MAP_ANONYMOUS", getattr(mmap, "MAP_ANON", 0))
    # Without it a kernel that does not overcommit refuses a map that is larger than what is free.
    | getattr(mmap, "MAP_NORESERVE", 0)
)


class SparseFile:
    """The bytes of a file of `size` bytes that have been fetched, at their places; all others are holes.

    What was released is a hole again. `reader` gives them to Arrow; whoever reads, calls `require` first, because
    holes are zeros, and zeros can be decoded without any error.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._map = mmap.mmap(-1, max(size, 1), flags=_FLAGS)
        self._lock = threading.Lock()
        self._held: list[Span] = []
        self.view = memoryview(self._map)[:size]
        if HOLE is not None:
            self.view[:] = HOLE * size

    def reader(self) -> Any:
        """Return a source for Arrow, which reads with no copy."""
        import pyarrow as pa

        return pa.BufferReader(pa.py_buffer(self.view))

    def add(self, spans: Iterable[Span]) -> None:
        """Take note that these bytes are there, all of them."""
        with self._lock:
            self._held += spans

    def put(self, begin: int, data: memoryview) -> None:
        """Write bytes that are there already."""
        self.view[begin : begin + len(data)] = data
        self.add([Span(begin, begin + len(data))])

    def require(self, spans: Iterable[Span]) -> None:
        """Raise `IntegrityError` unless these bytes are there."""
        with self._lock:
            complete = covers(self._held, spans)
        if not complete:
            raise IntegrityError(f"{self._name}: bytes are to be decoded that were not fetched.")

    def release(self, spans: Iterable[Span]) -> None:
        """Give the memory of these bytes back; those that share a page with others stay."""
        spans = list(spans)
        with self._lock:
            gone = set(spans)
            self._held = [span for span in self._held if span not in gone]
        advice = getattr(mmap, "MADV_DONTNEED", None)
        if advice is None or HOLE is not None:
            return
        for span in spans:
            pages = inner_pages(span, mmap.PAGESIZE)
            if pages is not None:
                self._map.madvise(advice, pages.begin, pages.length)
