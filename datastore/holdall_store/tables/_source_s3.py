"""Files in S3, through the executor of bulk transfers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from holdall_store.errors import IntegrityError, StorageError
from holdall_store.storage import without_secrets
from holdall_store.storage.buckets import ObjectConfig, make_config
from holdall_store.tables._keys import keys_for
from holdall_store.tables._source import FetchedSource, Fill, Found, Tail, changed
from holdall_store.transfer._exchange import Job, Request, Response
from holdall_store.transfer._plan import parse_content_range
from holdall_store.transfer._s3_list import Listing, list_job
from holdall_store.transfer.executor import HttpExecutor

__all__ = ["S3Source"]

EXECUTORS_MAX: Final = 8
"""Connections are kept for so many accounts and endpoints: a process seldom reads from more than one or two."""

PAGE_KEYS: Final = 1000
"""A listing with less keys comes in one answer."""

_TAIL: Final = frozenset({200, 206, 404, 412, 416})
_RANGE: Final = frozenset({206, 404, 412, 416})

_executors: dict[ObjectConfig, HttpExecutor] = {}
_lock = threading.Lock()


def _executor_of(config: ObjectConfig) -> HttpExecutor:
    """Return the executor that all tables with the same account and endpoint share."""
    with _lock:
        executor = _executors.pop(config, None) or HttpExecutor(config)
        _executors[config] = executor
        while len(_executors) > EXECUTORS_MAX:
            # Not closed: a table may be reading. It ends when nobody refers to it any more.
            _executors.pop(next(iter(_executors)))
        return executor


class S3Source(FetchedSource):
    """A bucket: keys are those of its objects. A pickle holds no secrets."""

    def __init__(self, scheme: str, bucket: str, storage_options: Mapping[str, Any] | None) -> None:
        self._scheme = scheme
        self._bucket = bucket
        self._options = dict(storage_options or {})
        self._config = make_config(f"{scheme}://{bucket}", self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        return S3Source, (self._scheme, self._bucket, without_secrets(self._options))

    @property
    def config(self) -> ObjectConfig:
        """Where the bucket is, and how to reach it."""
        return self._config

    def executor(self) -> HttpExecutor:
        """Return what makes the requests."""
        return _executor_of(self._config)

    @property
    def identity(self) -> str:
        return self._config.place

    def url(self, key: str) -> str:
        return f"{self._scheme}://{self._bucket}/{key}"

    def _run(
        self, jobs: Iterable[Job[Any]], *, ordered: bool = True, bytes_max: int, weigh: Any = None
    ) -> Iterator[Any]:
        return _executor_of(self._config).run(jobs, ordered=ordered, bytes_max=bytes_max, weigh=weigh)

    def list(self, prefix: str) -> Iterator[Found]:
        for entries in self._run([list_job(Listing(self._bucket, prefix, self.url(prefix)))], bytes_max=1 << 30):
            for entry in entries:
                if entry.size is not None:
                    yield Found(entry.key, entry.size, entry.etag)

    def is_of_one_moment(self, count: int) -> bool:
        return count < PAGE_KEYS

    def tails(self, wanted: Sequence[tuple[Found, int]]) -> Iterator[Tail | None]:
        total = sum(min(length, found.size) if found.size >= 0 else length for found, length in wanted)
        return self._run((self._tail(found, length) for found, length in wanted), bytes_max=max(total, 1) * 2)

    def _tail(self, found: Found, length: int) -> Job[Tail | None]:
        url = self.url(found.key)
        if found.size == 0:
            return Tail(found, 0, memoryview(b""))
        wanted = f"bytes={max(found.size - length, 0)}-{found.size - 1}" if found.size > 0 else f"bytes=-{length}"
        (response,) = yield [Request("GET", self._bucket, found.key, (), self._headers(wanted, found), accept=_TAIL)]
        if response.status == 404:
            if found.version:
                raise changed(url, "it is gone")
            return None
        if response.status in (412, 416) or (response.status == 200 and not response.body):
            if found.size > 0:
                raise changed(url, "its ETag is another")
            return Tail(Found(found.key, 0, response.headers.get("etag", "")), 0, memoryview(b""))
        told = parse_content_range(response.headers.get("content-range", ""))
        if response.status == 200:  # a server without ranges, or one that knows no suffixes
            begin, size = 0, len(response.body)
        elif told is None or told[0].end != told[1] or told[0].length != len(response.body):
            raise StorageError(f"The server's answer for {url} does not say which bytes it holds.")
        else:
            begin, size = told[0].begin, told[1]
        self._compare(found, response, size)
        return Tail(Found(found.key, size, response.headers.get("etag", "")), begin, response.body)

    def _headers(self, wanted: str, found: Found) -> tuple[tuple[str, str], ...]:
        return (("range", wanted), ("if-match", found.version)) if found.version else (("range", wanted),)

    def _compare(self, found: Found, response: Response, size: int) -> None:
        """Raise if an answer is of another version, for servers that do not heed conditions."""
        etag = response.headers.get("etag", "")
        if found.version and etag and etag != found.version:
            raise changed(self.url(found.key), "its ETag is another")
        if found.size not in (-1, size):
            raise changed(self.url(found.key), f"it had {found.size} bytes and has {size}")

    def fetch(self, fills: Iterable[Fill], *, bytes_max: int, ordered: bool = True) -> Iterator[Fill]:
        jobs = (self._fill(fill) for fill in fills)
        return self._run(jobs, ordered=ordered, bytes_max=bytes_max, weigh=lambda fill: fill.weight)

    def arrow_filesystem(self) -> tuple[Any, Callable[[str], str]]:
        import pyarrow.fs as pafs

        config = self._config
        keys = keys_for(config)
        filesystem = pafs.S3FileSystem(
            access_key=keys.access_key if keys else None,
            secret_key=keys.secret_key if keys else None,
            session_token=keys.token if keys else None,
            anonymous=config.anonymous,
            region=config.region,
            endpoint_override=config.endpoint,
            force_virtual_addressing=config.virtual_hosted,
        )
        return filesystem, lambda key: f"{self._bucket}/{key}"

    def _fill(self, fill: Fill) -> Job[Fill]:
        found = fill.found
        url = self.url(found.key)
        responses = yield [
            Request(
                "GET",
                self._bucket,
                found.key,
                (),
                self._headers(f"bytes={span.begin}-{span.end - 1}", found),
                target=fill.target[span.begin : span.end],
                accept=_RANGE,
            )
            for span in fill.spans
        ]
        for span, response in zip(fill.spans, responses, strict=True):
            if response.status != 206:
                raise changed(url, "it is gone" if response.status == 404 else "its ETag is another")
            told = parse_content_range(response.headers.get("content-range", ""))
            if told is None or tuple(told[0]) != tuple(span):
                raise IntegrityError(f"{url}: the server sent other bytes than those from {span.begin} to {span.end}.")
            self._compare(found, response, told[1])
        return fill
