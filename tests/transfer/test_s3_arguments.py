"""What the verbs of `S3` refuse before anything is done: above all what would delete or overwrite something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.transfer.conftest import OPTIONS

from holdall_store.errors import InvalidNameError, StorageError, UnsupportedTypeError
from holdall_store.transfer.aio import AsyncS3
from holdall_store.transfer.s3 import S3, S3GetObject, S3PutObject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transfer._bucket_server import BucketServer

MakeS3 = Callable[..., S3]
BULK = ["get_many", "iter_many", "info_many", "delete_many", "copy_many", "get_files", "put_files", "put_many"]
LISTS = ["list_paths", "list_recursive", "list_versions", "get_recursive"]
PAIRS = ["copy_many", "get_files", "put_files", "put_many"]


def refused(s3: S3, verb: str, given: Any) -> str:
    """Call a verb with one argument, and return what it is refused with; there is nothing to iterate over."""
    with pytest.raises(UnsupportedTypeError) as caught:
        getattr(s3, verb)(given)
    return str(caught.value)


def refused_async(bucket: BucketServer, verb: str, given: Any) -> str:
    """Do the same with an `AsyncS3`."""

    async def call() -> str:
        async with AsyncS3("s3://bucket/root", storage_options={"endpoint_url": bucket.url, **OPTIONS}) as s3:
            with pytest.raises(UnsupportedTypeError) as caught:
                await getattr(s3, verb)(given)
            return str(caught.value)

    return asyncio.run(call())


@pytest.mark.parametrize("verb", BULK + LISTS)
def test_a_lone_text_is_no_list(s3: S3, bucket: BucketServer, verb: str) -> None:
    """A text's letters are no keys: nothing is read, copied or deleted."""
    for key in "abc":
        bucket.store(f"root/{key}", key.encode())

    assert "come as a list: write ['abc']" in refused(s3, verb, "abc")
    assert "come as a list" in refused(s3, verb, b"abc")
    assert "come as a list" in refused_async(bucket, verb, "abc")
    assert bucket.log == []


@pytest.mark.parametrize("verb", BULK)
def test_one_thing_is_no_list(s3: S3, bucket: BucketServer, verb: str) -> None:
    """A single part of an object is a tuple, and its fields are no keys; what cannot be iterated over is told so."""
    assert "come as a list" in refused(s3, verb, S3GetObject("a", 0, 1))
    assert "come as a list" in refused(s3, verb, S3PutObject("a", "b"))
    assert "come as a list" in refused(s3, verb, 7)
    assert bucket.log == []


@pytest.mark.parametrize("verb", PAIRS)
@pytest.mark.parametrize("given", ["ab", b"ab", ("a", "b", "c"), 7])
def test_two_letters_are_no_pair(s3: S3, bucket: BucketServer, verb: str, given: Any) -> None:
    """Pairs are tuples or lists of two."""
    assert "Give pairs of" in refused(s3, verb, [given])
    assert bucket.log == []


def test_keys_from_an_asynchronous_generator(bucket: BucketServer) -> None:
    """They are refused, with a way out."""

    async def keys() -> AsyncIterator[str]:
        yield "a"

    for verb in ("iter_many", "get_many"):
        assert "collect them first" in refused_async(bucket, verb, keys())


def test_parts_of_objects_are_not_deleted(s3: S3, bucket: BucketServer) -> None:
    """Who names a part must not lose the whole."""
    bucket.store("root/big", b"12")
    part = S3GetObject("big", 0, 1)

    assert "no parts of them" in refused(s3, "delete", part)
    assert "no parts of them" in refused(s3, "delete_many", [part])
    assert "no parts of them" in refused_async(bucket, "delete", part)
    assert "no parts of them" in refused_async(bucket, "delete_many", [part])
    assert bucket.content("root/big") == b"12"


@pytest.mark.parametrize("key", ["", None])
def test_the_root_is_not_written_or_deleted_by_an_empty_key(s3: S3, bucket: BucketServer, key: Any) -> None:
    """An empty name is most often a mistake; only `get` and `info` without a key mean the root."""
    bucket.store("root", b"the root")
    calls: list[Callable[[], object]] = [
        lambda: s3.put(key, "1"),
        lambda: s3.put_many([(key, "1")]),
        lambda: s3.delete(key),
        lambda: s3.delete_many([key]),
        lambda: s3.copy("a", key),
        lambda: s3.copy(key, "a"),
    ]

    for call in calls:
        with pytest.raises(InvalidNameError, match="key"):
            call()
    with pytest.raises(InvalidNameError, match="empty key"):
        s3.get("")
    assert bucket.log == []
    assert (s3.get().text, s3.info().size) == ("the root", 8)


def test_what_is_closed_is_not_entered(make_s3: MakeS3, bucket: BucketServer) -> None:
    """A second ``with`` fails where it begins, not with its first verb."""
    s3 = make_s3()
    with s3:
        pass

    with pytest.raises(StorageError, match="This S3 is closed"), s3:
        pass

    async def again() -> None:
        closed = AsyncS3("s3://bucket/root", storage_options={"endpoint_url": bucket.url, **OPTIONS})
        await closed.close()
        async with closed:
            pass

    with pytest.raises(StorageError, match="This S3 is closed"):
        asyncio.run(again())


def test_files_are_not_touched_by_what_is_refused(s3: S3, tmp_path: Path) -> None:
    """A pair that is none leaves the file of the pair before it as it was."""
    target = tmp_path / "target"
    target.write_text("mine")

    with pytest.raises(UnsupportedTypeError, match="Give pairs"):
        s3.get_files([(str(target), "x", "y")])  # type: ignore[list-item]

    assert target.read_text() == "mine"
