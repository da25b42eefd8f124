"""The executor for S3: many requests at once in a few threads, each an event loop over its own connections."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Self, TypeVar

from holdall_store.config import NetworkEnvironment, read_network_environment
from holdall_store.errors import StorageError
from holdall_store.storage.buckets import ObjectConfig
from holdall_store.transfer._engine import CLOSED, Engine, default_loops
from holdall_store.transfer._exchange import Job
from holdall_store.transfer._retries import Policy
from holdall_store.transfer._run import Task
from holdall_store.transfer._site import Site
from holdall_store.transfer._stream import Stream

__all__ = ["HttpExecutor", "Stream"]

DEADLINE: Final = 120.0
"""Seconds for which a request is tried again."""

UNREACHABLE_DEADLINE: Final = 10.0
"""Seconds for which a server is called that nobody ever answered for: most often its name is wrong."""

STALL_TIMEOUT: Final = 10.0
"""Seconds without a byte after which a connection is given up."""

_Result = TypeVar("_Result")


class HttpExecutor:
    """Runs jobs against S3, or what speaks like it, over HTTP/1.1.

    `config` says where, and with which credentials; which buckets, the requests say. `concurrency` is how many requests are under way at once; by default it
    begins at 64 and adapts to what the server bears. `deadline` is for each request, in seconds, and a body gets a
    second more for each 256 KiB. `hedge` lets a second try overtake a slow read. `loops` is the number of threads.

    Threads start with the first job and end with `close`, or when nothing refers to the executor any more. It may be
    used from several threads, and in a forked child, which gets threads and connections of its own. Raises
    `AccessDeniedError` where there are no credentials.

    >>> config = make_config("s3://bucket")
    >>> def read(key):
    ...     (response,) = yield [Request("GET", "bucket", key)]
    ...     return response.body
    >>> with HttpExecutor(config) as executor:
    ...     for body in executor.run([read("a"), read("b")], bytes_max=64 << 20):
    ...         print(len(body))
    """

    def __init__(
        self,
        config: ObjectConfig,
        *,
        concurrency: int | None = None,
        deadline: float = DEADLINE,
        stall_timeout: float = STALL_TIMEOUT,
        hedge: bool = True,
        loops: int | None = None,
        network: NetworkEnvironment | None = None,
    ) -> None:
        self._config = config
        self._concurrency = concurrency
        self._policy = Policy(deadline, min(UNREACHABLE_DEADLINE, deadline), stall_timeout, hedge)
        self._loops = loops or default_loops()
        self._network = network
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._engine: Engine | None = None
        self._closed = False
        self._finalizer: Any = None

    def __repr__(self) -> str:
        return f"HttpExecutor({self._config.url!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_engine": None, "_finalizer": None, "_process": 0}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _started(self) -> Engine:
        """Return the engine of this process."""
        if self._process != os.getpid():
            # The lock may have been held when the process was forked.
            self._lock, self._engine, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._closed:
                raise StorageError(CLOSED)
            if self._engine is None:
                site = Site(self._config, self._network or read_network_environment())
                self._engine = Engine(site, self._policy, self._loops, self._concurrency)
                self._finalizer = weakref.finalize(self, _close_in, self._engine, os.getpid())
            return self._engine

    def run(
        self,
        jobs: Iterable[Job[_Result]],
        *,
        ordered: bool = True,
        bytes_max: int,
        weigh: Callable[[_Result], int] | None = None,
        seconds_max: float | None = None,
    ) -> Iterator[_Result]:
        """Yield the results of `jobs`, in their order or as they come.

        Without `weigh`, a result is thought to hold what its job's answers held. After `seconds_max`, what is not done
        is stopped, and no more results come.
        """
        stream = self.stream(jobs, ordered=ordered, bytes_max=bytes_max, weigh=weigh)
        yield from stream if seconds_max is None else stream.until(time.monotonic() + seconds_max)

    def stream(
        self,
        jobs: Iterable[Job[_Result]],
        *,
        ordered: bool = True,
        bytes_max: int,
        weigh: Callable[[_Result], int] | None = None,
        notify: Callable[[], None] | None = None,
    ) -> Stream[_Result]:
        """Return the results of `jobs` to be had without waiting, for event loops; close it in the end."""
        return Stream(self._started(), jobs, ordered=ordered, bytes_max=bytes_max, weigh=weigh, notify=notify)

    def submit(
        self, job: Job[_Result], on_done: Callable[[_Result | None, BaseException | None], None]
    ) -> Callable[[], None]:
        """Begin one job, and call ``on_done(result, error)`` in a thread of the executor when it ends.

        Returned is a function that calls it off; `on_done` is not called then.
        """
        engine = self._started()

        def deliver(batch: list[Task]) -> None:
            if batch:
                value, batch[0].value = batch[0].value, None
                run.stop()
                on_done(value, None)
            elif run.error is not None:
                on_done(None, run.error)

        run = engine.begin(deliver, ordered=False, bytes_max=1 << 62)
        run.add([Task(job, 0, run)])
        return run.stop

    def statistics(self) -> dict[str, Any]:
        """Return counts since the first job of this process: requests, retries, bytes in and out, answers by status."""
        engine = self._engine if self._process == os.getpid() else None
        return {"requests": 0, "retries": 0, "bytes_in": 0, "bytes_out": 0} | (engine.statistics() if engine else {})

    def close(self) -> None:
        """Stop all work and close all connections. Closing twice is allowed."""
        self._closed = True
        engine = self._engine
        if engine is not None and self._process == os.getpid():
            engine.close()


def _close_in(engine: Engine, process: int) -> None:
    if os.getpid() == process:
        engine.close()
