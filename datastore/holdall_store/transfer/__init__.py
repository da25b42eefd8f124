"""Many pieces of work at once: in threads, in order, within a budget of bytes, and stopped by the first failure."""

from holdall_store.transfer._ordered import THREADS, Background, run_all, run_ordered
from holdall_store.transfer._ranges import THREADED_BYTES_MIN, Range, fetch_ranges
from holdall_store.transfer._tasks import Tasks

__all__ = ["THREADED_BYTES_MIN", "THREADS", "Background", "Range", "Tasks", "fetch_ranges", "run_all", "run_ordered"]
