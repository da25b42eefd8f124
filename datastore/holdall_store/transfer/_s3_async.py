"""`S3` for programs with an event loop: the same jobs and the same executor, awaited."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

from holdall_store.config import check_flags
from holdall_store.transfer._exchange import Job
from holdall_store.transfer._s3 import S3
from holdall_store.transfer._s3_delete import Doomed, delete_job
from holdall_store.transfer._s3_get import get_job, head_job
from holdall_store.transfer._s3_list import as_object, page_job
from holdall_store.transfer._s3_missing import with_nearest
from holdall_store.transfer._s3_names import as_many
from holdall_store.transfer._s3_objects import S3Object
from holdall_store.transfer._s3_reading import Key, weigh

__all__ = ["AsyncS3"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _threaded(
    verb: Callable[Concatenate[S3, _P], _R],
) -> Callable[Concatenate[AsyncS3, _P], Coroutine[Any, Any, _R]]:
    """Return a verb that feeds its requests from a thread of its own: it reads files, or looks before it goes on."""

    @functools.wraps(verb)
    async def call(self: AsyncS3, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return await asyncio.to_thread(verb, self.blocking, *args, **kwargs)

    return call


class AsyncS3:
    """An `S3` whose verbs are awaited, with the same arguments and results.

    Single objects and `iter_many` take no thread of their own; what is cancelled is called off. The verbs that read or
    write files, and bulk uploads, run in a thread, and go on to their end there if they are cancelled.

    >>> import holdall
    >>> async def load(keys):
    ...     async with holdall.AsyncS3("s3://bucket/images") as s3:
    ...         return [found.size async for found in s3.iter_many(keys)]
    """

    kind: ClassVar[type[S3]] = S3

    def __init__(self, url: str | None = None, **options: Any) -> None:
        self.blocking: S3 = self.kind(url, **options)
        """The `S3` that does the work; both may be used at the same time."""

    @property
    def url(self) -> str | None:
        """The root, or ``None`` where keys are whole URLs."""
        return self.blocking.url

    async def get(
        self,
        key: Key | None = None,
        return_missing: bool = False,
        return_info: bool = True,
        version_id: str | None = None,
    ) -> S3Object:
        """Read an object, or a part of one: see `S3.get`."""
        del return_info
        session = self.blocking._session  # noqa: SLF001
        wanted = session.wanted(key, version_id)
        return await self._run(with_nearest(get_job(session.reader(missing_ok=return_missing), wanted), wanted.place))

    async def get_many(
        self, keys: Iterable[Key], return_missing: bool = False, return_info: bool = True
    ) -> list[S3Object]:
        """Read many objects, in the order of `keys`: see `S3.get_many`."""
        del return_info
        session = self.blocking._session  # noqa: SLF001
        reader = session.reader(missing_ok=return_missing)
        results = []
        async for found in self._stream((get_job(reader, session.wanted(key)) for key in as_many(keys)), ordered=True):
            if found.in_memory:
                if reader.held + (found.size or 0) > reader.memory:
                    found.spill()
                else:
                    reader.held += found.size or 0
            results.append(found)
        return results

    def iter_many(
        self, keys: Iterable[Key], ordered: bool = False, return_missing: bool = False
    ) -> AsyncIterator[S3Object]:
        """Yield many objects as they arrive, or in the order of `keys`: see `S3.iter_many`."""
        check_flags(ordered=ordered)
        session = self.blocking._session  # noqa: SLF001
        reader = session.reader(missing_ok=return_missing)
        jobs = (get_job(reader, session.wanted(key)) for key in as_many(keys))
        return self._stream(jobs, ordered=ordered)

    async def info(
        self, key: Key | None = None, return_missing: bool = False, version_id: str | None = None
    ) -> S3Object:
        """Look at an object without reading it: see `S3.info`."""
        session = self.blocking._session  # noqa: SLF001
        wanted = session.wanted(key, version_id)
        return await self._run(with_nearest(head_job(session.reader(missing_ok=return_missing), wanted), wanted.place))

    async def delete(self, key: str | S3Object, version_id: str | None = None) -> None:
        """Delete an object: see `S3.delete`."""
        wanted = self.blocking._session.whole(key, version_id, "deleted")  # noqa: SLF001
        await self._run(delete_job(wanted.place.bucket, [Doomed(wanted.place.key, wanted.version or "")]))

    async def iter_recursive(self, prefixes: Iterable[str | S3Object] | None = None) -> AsyncIterator[S3Object]:
        """Yield all objects below each folder, a page at a time: see `S3.iter_recursive`."""
        for listing in self.blocking._session.listings(prefixes):  # noqa: SLF001
            token, more = "", True
            while more:
                page = await self._run(page_job(listing, token))
                for entry in page.entries:
                    yield as_object(entry, listing)
                token, more = page.token, bool(page.token)

    get_recursive = _threaded(S3.get_recursive)
    get_all = _threaded(S3.get_all)
    get_files = _threaded(S3.get_files)
    info_many = _threaded(S3.info_many)
    list_paths = _threaded(S3.list_paths)
    list_recursive = _threaded(S3.list_recursive)
    list_versions = _threaded(S3.list_versions)
    put = _threaded(S3.put)
    put_many = _threaded(S3.put_many)
    put_files = _threaded(S3.put_files)
    copy = _threaded(S3.copy)
    copy_many = _threaded(S3.copy_many)
    delete_many = _threaded(S3.delete_many)
    download = _threaded(S3.download)
    upload = _threaded(S3.upload)
    sync = _threaded(S3.sync)

    def statistics(self) -> Mapping[str, Any]:
        """Return counts since this was made: see `S3.statistics`."""
        return self.blocking.statistics()

    async def close(self) -> None:
        """End all connections and remove the temporary files."""
        await asyncio.to_thread(self.blocking.close)

    async def __aenter__(self) -> Self:
        self.blocking._session.check_open()  # noqa: SLF001
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"Async{self.blocking!r}"

    async def _run(self, job: Job[_R]) -> _R:
        """Run one job without a thread of its own."""
        executor = await self._executor()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_R] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():  # cancelled meanwhile
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        stop = executor.submit(job, lambda result, error: loop.call_soon_threadsafe(settle, result, error))
        try:
            return await future
        except asyncio.CancelledError:
            stop()
            raise

    async def _stream(self, jobs: Iterable[Job[S3Object]], *, ordered: bool) -> AsyncIterator[S3Object]:
        executor = await self._executor()
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        stream = executor.stream(
            jobs,
            ordered=ordered,
            bytes_max=self.blocking._session.memory,  # noqa: SLF001
            weigh=weigh,
            notify=lambda: loop.call_soon_threadsafe(arrived.set),
        )
        try:
            while True:
                arrived.clear()
                results = stream.poll()
                results.reverse()
                while results:
                    yield results.pop()
                if stream.is_done:
                    return
                await arrived.wait()
        finally:
            stream.close()

    async def _executor(self) -> Any:
        """Return the executor; its first start may ask for credentials, which takes as long as it takes."""
        session = self.blocking._session  # noqa: SLF001
        if not session.is_started:
            await asyncio.to_thread(session.start)
        return session.executor
