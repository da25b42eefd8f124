"""Uploads in parts that will not be completed: what they left is removed, in bounded time."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable
from typing import Final, NamedTuple

from holdall_store.transfer._exchange import Executor, Job, Request

__all__ = ["OpenUpload", "OpenUploads", "abort_uploads"]

ABORT_SECONDS_MAX: Final = 10.0
"""What led here is the error to tell, and must not wait long for a server that does not answer any more."""

ABORT_BYTES_MAX: Final = 1 << 20
"""The answers are empty."""

_GONE: Final = frozenset({200, 204, 404})


class OpenUpload(NamedTuple):
    """An upload in parts that was begun."""

    bucket: str
    key: str
    ident: str


class OpenUploads:
    """The uploads in parts that the jobs of one call have begun and not completed.

    A job cannot remove them itself where another one's failure, or the caller, stops it: it is never resumed. So the
    call does, when its jobs have ended. Jobs add and remove in the executor's threads.
    """

    def __init__(self) -> None:
        self._open: dict[OpenUpload, None] = {}

    def add(self, upload: OpenUpload) -> None:
        """Take note that an upload was begun."""
        self._open[upload] = None

    def remove(self, upload: OpenUpload) -> None:
        """Take note that an upload was completed."""
        self._open.pop(upload, None)

    @contextlib.contextmanager
    def aborted_by(self, executor: Executor) -> Generator[None, None, None]:
        """Remove, at the end of the block, what is open then."""
        try:
            yield
        finally:
            left, self._open = list(self._open), {}
            abort_uploads(executor, left)


def abort_uploads(executor: Executor, uploads: Iterable[OpenUpload]) -> None:
    """Remove the parts of uploads; what cannot be removed in time is left to the bucket's own rules."""
    jobs = [_abort(upload) for upload in uploads]
    if not jobs:
        return
    try:
        for _ in executor.run(jobs, ordered=False, bytes_max=ABORT_BYTES_MAX, seconds_max=ABORT_SECONDS_MAX):
            pass
    except OSError:  # what led here is the error to tell
        return


def _abort(upload: OpenUpload) -> Job[None]:
    query = (("uploadId", upload.ident),)
    yield (Request("DELETE", upload.bucket, upload.key, query, accept=_GONE),)
