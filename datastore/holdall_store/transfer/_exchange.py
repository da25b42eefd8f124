"""Requests, responses and jobs: what is asked of the executor, free of sockets, threads and clocks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from holdall_store.storage import Buffer

__all__ = ["BODY_BYTES_MAX", "Executor", "FileTarget", "Job", "Request", "Response"]

BODY_BYTES_MAX: Final = 64 << 20
"""Answers are at most this large unless a request says otherwise: no server can make a process run out of memory."""


@dataclass(frozen=True, slots=True)
class FileTarget:
    """Where in an open file a body goes: the executor writes it there at `offset`, and keeps no copy."""

    descriptor: int
    offset: int


@dataclass(slots=True)  # not frozen: that would take longer than to send one
class Request:
    """One exchange with the service; nobody changes it.

    `key` is as people write it, not percent-encoded; ``""`` means the bucket itself. `query` and `headers` are signed;
    the names of headers are in lower case, and the executor adds host, date, length and signature. `body` are buffers
    sent one after the other; they must not change before the answer has come, and may be sent again.

    The body of a successful answer goes to `target`, whose length (`bytes_expected` for a file) it must have exactly,
    or else it comes as `Response.body`. Answers whose status is in `accept` are given to the job; any other raises
    there what it means. `replayable` says that the exchange can be repeated, and run twice at once, to no harm.
    `retry_if` is asked of each answer that would be given to the job, for answers that are a failure though their
    status is not (a 200 with an error for a body): ``True`` means the same as a 503, to be tried again.
    """

    method: str
    bucket: str
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[Buffer, ...] = ()
    target: memoryview | FileTarget | None = None
    bytes_expected: int | None = None
    bytes_max: int = BODY_BYTES_MAX
    accept: frozenset[int] = frozenset({200, 204, 206})
    replayable: bool = True
    retry_if: Callable[[Response], bool] | None = None


@dataclass(slots=True)
class Response:
    """The answer to a request. The names of headers are in lower case; `body` is empty where it went to a target."""

    status: int
    headers: dict[str, str]
    body: memoryview = field(default_factory=lambda: memoryview(b""))


_Result = TypeVar("_Result")

Job = Generator[Sequence[Request], Sequence[Response], _Result]
"""Work that needs exchanges: it yields requests that may run at the same time, is sent their responses in the same
order, and returns its result. A request that failed for good is raised at the ``yield``, after the others of its batch
ended or were called off, so that the job can undo what it began (with further requests, if it must). A job runs in a
thread of the executor: it computes little, waits for nothing, and is never resumed in two threads at once."""


class Executor(Protocol):
    """Runs jobs, many at once."""

    def run(
        self,
        jobs: Iterable[Job[_Result]],
        *,
        ordered: bool = True,
        bytes_max: int,
        weigh: Callable[[_Result], int] = ...,
        seconds_max: float | None = None,
    ) -> Iterator[_Result]:
        """Yield the results of `jobs`, in their order or as they come.

        `jobs` is consumed lazily in the calling thread, only as far ahead as concurrency and budget allow. Results that
        wait to be consumed, by `weigh`, and bodies under way hold at most about `bytes_max` bytes together; one that
        is larger alone goes alone. The first failure stops the rest and is raised; closing the iterator does so too.
        After `seconds_max`, what is not done is stopped, and no more results come.
        """
        ...

    def statistics(self) -> dict[str, Any]:
        """Return counts since the executor was made: requests, retries, hedges, bytes in and out, errors by status."""
        ...

    def close(self) -> None:
        """Stop all work and close all connections. Closing twice is allowed."""
        ...
