"""The first steps of a writer, which may go on while it computes."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Opening"]


class Opening:
    """The first look at what is condemned, after the log was opened: now, or in the background."""

    def __init__(self, work: Callable[[], frozenset[str]], *, in_background: bool) -> None:
        self._work = work
        self._condemned: frozenset[str] = frozenset()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        if in_background:
            self._thread = threading.Thread(target=self._run, name="holdall-open", daemon=True)
            self._thread.start()
        else:
            self._condemned = work()

    def wait(self) -> frozenset[str]:
        """Return what is condemned, or raise what went wrong, every time."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._condemned

    def join(self) -> bool:
        """Wait for the end, and tell whether all went well."""
        if self._thread is not None:
            self._thread.join()
        return self._error is None

    def _run(self) -> None:
        try:
            self._condemned = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again by `wait`
            self._error = error
