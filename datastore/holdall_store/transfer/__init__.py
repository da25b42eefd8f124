"""Many pieces of work at once: in threads, in order, within a budget of bytes, and stopped by the first failure."""

from holdall_store.transfer._ordered import THREADS, Background, run_all, run_ordered
from holdall_store.transfer._tasks import Tasks

__all__ = ["THREADS", "Background", "Tasks", "run_all", "run_ordered"]
