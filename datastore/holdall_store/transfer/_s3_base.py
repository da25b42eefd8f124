"""What an `S3` is made of, whatever it does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from holdall_store.transfer._s3_session import Progress, Reporter, Session

__all__ = ["Done", "S3Base", "Tick"]

REPORT_EVERY: Final = 0.1
"""Seconds between two reports of progress: for people it need not be more often, and a report may be slow."""

Tick = Callable[[int, int], None]
"""Called with how many objects and bytes more are done."""


class Done(NamedTuple):
    """What was ``put`` or ``delete``d: a URL or a path; by the verbs for folders, the path in the target."""

    action: str
    target: str
    size: int | None


class S3Base:
    """Holds the session, and reports progress."""

    _session: Session
    _progress: bool | Reporter | None
    _done: list[Done] | None = None

    def _default_reporter(self) -> contextlib.AbstractContextManager[Reporter | None]:
        """Return who gets the progress of a verb where the caller wished for nobody: here nobody, elsewhere a bar."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def _watched(self, verb: str, total: int | None, bytes_total: int | None = None) -> Generator[Tick, None, None]:
        """Count and report what a verb does."""
        session = self._session
        with contextlib.ExitStack() as stack:
            report = self._progress if callable(self._progress) else None
            if report is None and self._progress is not False:
                report = stack.enter_context(self._default_reporter())
            begun = session.clock()
            progress = Progress(verb, objects_total=total, bytes_total=bytes_total)
            due = begun + REPORT_EVERY

            def tick(objects: int, count: int) -> None:
                nonlocal due
                session.objects += objects
                if report is None:
                    return
                progress.objects += objects
                progress.bytes += count
                now = session.clock()
                if now >= due:
                    due = now + REPORT_EVERY
                    progress.seconds = now - begun
                    report(progress)

            try:
                yield tick
                progress.done = True
            finally:
                session.seconds += session.clock() - begun
                if report is not None:
                    progress.seconds = session.clock() - begun
                    report(progress)

    def _did(self, action: str, target: str, size: int | None = None) -> None:
        """Take note of what is done, where somebody wants to know it even if the verb fails."""
        if self._done is not None:
            self._done.append(Done(action, target, size))

    @property
    def url(self) -> str | None:
        """The root, or ``None`` where keys are whole URLs."""
        return self._session.names.root

    def statistics(self) -> dict[str, Any]:
        """Return counts since this was made: requests, retries, bytes, throughput, the peak memory of the process."""
        return self._session.statistics()

    def close(self) -> None:
        """End all connections and remove the temporary files. Closing twice is allowed."""
        self._session.close()

    def __enter__(self) -> Self:
        self._session.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url or ''!r})" if self.url else f"{type(self).__name__}()"

    def __reduce__(self) -> tuple[Any, ...]:
        progress = self._progress if isinstance(self._progress, bool) else None
        return _restore, (type(self), self._session.state(), progress)


def _restore(kind: type[S3Base], state: dict[str, Any], progress: bool | None) -> S3Base:
    made = kind.__new__(kind)
    made._session = Session(**state)  # noqa: SLF001
    made._progress = progress  # noqa: SLF001
    return made
