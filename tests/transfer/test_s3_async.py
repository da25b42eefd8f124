"""`AsyncS3`: the same results, without blocking the loop; what is cancelled is called off."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.transfer.conftest import OPTIONS

from holdall_store.errors import ObjectNotFoundError
from holdall_store.transfer.aio import AsyncS3
from holdall_store.transfer.s3 import S3

if TYPE_CHECKING:
    from tests.storage._s3 import Request
    from tests.transfer._bucket_server import BucketServer


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end."""
    return asyncio.run(work)


@pytest.fixture
def make(bucket: BucketServer) -> Iterator[Callable[..., AsyncS3]]:
    """Make an `AsyncS3` for the server; its threads are ended in the end."""
    made: list[AsyncS3] = []

    def make_one(url: str | None = "s3://bucket/root", **options: Any) -> AsyncS3:
        made.append(AsyncS3(url, storage_options={"endpoint_url": bucket.url, **OPTIONS}, **options))
        return made[-1]

    yield make_one
    for each in made:
        each.blocking.close()


def test_every_verb_is_there() -> None:
    """Whatever `S3` can do can be awaited, under the same name and with the same arguments."""
    verbs = {name for name in dir(S3) if not name.startswith("_") and callable(getattr(S3, name))}

    assert verbs - set(dir(AsyncS3)) == set()


def test_verbs_give_the_same(make: Callable[..., AsyncS3], bucket: BucketServer, tmp_path: Path) -> None:
    """Single objects, many, listings, files and folders."""

    async def work() -> None:
        async with make() as s3:
            assert await s3.put("a", "1") == "s3://bucket/root/a"
            await s3.put_many([(f"m/{number}", str(number)) for number in range(30)])
            assert (await s3.get("a")).text == "1"
            assert (await s3.info("a")).size == 1
            assert [found.text for found in await s3.get_many([f"m/{number}" for number in range(30)])] == [
                str(number) for number in range(30)
            ]
            assert len(await s3.list_recursive(["m"])) == 30
            assert len([found async for found in s3.iter_recursive(["m"])]) == 30
            assert await s3.get_files([("a", tmp_path / "a")]) == [str(tmp_path / "a")]
            assert len(await s3.download("m", tmp_path / "m")) == 30
            await s3.delete("a")
            assert (await s3.get("a", return_missing=True)).exists is False
            with pytest.raises(ObjectNotFoundError):
                await s3.get("a")
            assert s3.statistics()["requests"] > 60
            assert (s3.url, repr(s3)) == ("s3://bucket/root", "AsyncS3('s3://bucket/root')")

    run(work())


def test_iter_many_streams(make: Callable[..., AsyncS3], bucket: BucketServer) -> None:
    """In order or as they arrive, from keys without an end, and no more is asked for than is needed."""
    for number in range(10):
        bucket.store(f"root/{number}", str(number).encode())
    asked = itertools.count()

    async def work() -> list[str | None]:
        s3 = make()
        assert {found.text async for found in s3.iter_many(map(str, range(10)))} == set("0123456789")
        texts: list[str | None] = []
        stream = s3.iter_many((str(next(asked) % 10) for _ in itertools.repeat(None)), ordered=True)
        async for found in stream:
            texts.append(found.text)
            if len(texts) == 25:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return texts

    assert run(work()) == [str(number % 10) for number in range(25)]
    assert next(asked) < 2000


def test_many_at_once_take_no_threads(make: Callable[..., AsyncS3], bucket: BucketServer) -> None:
    """Two hundred reads that wait together are a matter of the loops alone."""
    for number in range(200):
        bucket.store(f"root/{number}", str(number).encode())
    threads: set[str] = set()

    async def one(s3: AsyncS3, number: int) -> str | None:
        found = await s3.get(str(number))
        threads.update(thread.name for thread in threading.enumerate() if thread.name.startswith("asyncio"))
        return found.text

    async def work() -> list[str | None]:
        s3 = make()
        return await asyncio.gather(*(one(s3, number) for number in range(200)))

    assert run(work()) == [str(number) for number in range(200)]
    assert len(threads) <= 32


def test_what_is_cancelled_is_called_off(make: Callable[..., AsyncS3], bucket: BucketServer) -> None:
    """A read that waits for a server that does not answer ends when it is cancelled, and others go on."""
    bucket.store("root/slow", b"")
    bucket.store("root/fast", b"1")
    release, waits = threading.Event(), threading.Event()

    def stall(request: Request) -> None:
        if request.key == "root/slow":
            bucket._lock.release()
            waits.set()
            release.wait(30)
            bucket._lock.acquire()

    bucket.fault = stall

    async def work() -> str | None:
        s3 = make(concurrency=4)
        task = asyncio.create_task(s3.get("slow"))
        while not waits.is_set():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await s3.get("fast")).text

    try:
        assert run(work()) == "1"
    finally:
        release.set()
