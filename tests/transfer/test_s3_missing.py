"""What is said of objects that are not there: the bucket is looked for, and the nearest key is named."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from tests.storage._s3 import Reply, Request, failure
from tests.transfer.conftest import OPTIONS

from holdall_store.errors import IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.transfer.aio import AsyncS3
from holdall_store.transfer.s3 import S3, S3GetObject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transfer._bucket_server import BucketServer

MakeS3 = Callable[..., S3]

READS: dict[str, Callable[[S3], Any]] = {
    "get": lambda s3: s3.get("a"),
    "get what may be missing": lambda s3: s3.get("a", return_missing=True),
    "get nothing of it": lambda s3: s3.get(S3GetObject("a", 0, 0), return_missing=True),
    "get_many": lambda s3: s3.get_many(["a", "b"], return_missing=True),
    "iter_many": lambda s3: list(s3.iter_many(["a", "b"], return_missing=True)),
    "info": lambda s3: s3.info("a"),
    "info of what may be missing": lambda s3: s3.info("a", return_missing=True),
    "info_many": lambda s3: s3.info_many(["a", "b"], return_missing=True),
    "delete": lambda s3: s3.delete("a"),
}


@pytest.mark.parametrize("what", READS)
def test_a_bucket_that_is_not_there_is_no_missing_object(make_s3: MakeS3, what: str) -> None:
    """Its name is wrong, and every object in it would seem to be missing: that is an error in every verb."""
    s3 = make_s3("s3://no-such-bucket")

    with pytest.raises(StorageError, match="There is no such bucket") as caught:
        READS[what](s3)

    assert caught.value.errno == errno.ENOENT
    assert "s3://no-such-bucket" in str(caught.value)
    assert "''" not in str(caught.value)


@pytest.mark.parametrize("root", ["root", ""])
def test_a_folder_in_which_nothing_is(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, root: str) -> None:
    """A misspelt prefix is an error with the nearest one, and no folder is made; one that stands there empty is none."""
    begin = f"{root}/" if root else ""
    bucket.store(f"{begin}images/a", b"1")
    bucket.store(f"{begin}report.html", b"2")
    bucket.store(f"{begin}empty/", b"")
    s3 = make_s3(f"s3://bucket/{root}".rstrip("/"))

    with pytest.raises(ObjectNotFoundError, match=f"nothing below s3://bucket/{begin}imagse/. Did you mean 'images'"):
        s3.download("imagse", tmp_path / "t")
    with pytest.raises(ObjectNotFoundError, match="It is an object itself: get_files"):
        s3.download("report.html", tmp_path / "t")
    with pytest.raises(ObjectNotFoundError, match=r"nothing below s3://bucket/elsewhere/\.$"):
        make_s3("s3://bucket/elsewhere").download(None, tmp_path / "t")

    assert not (tmp_path / "t").exists()
    assert s3.download("empty", tmp_path / "t") == []


def test_the_bucket_is_looked_for_once(s3: S3, bucket: BucketServer) -> None:
    """However many objects are missing, one listing tells that their bucket is not."""
    assert not s3.info("a", return_missing=True).exists
    assert not any(each.exists for each in s3.info_many([str(number) for number in range(9)], return_missing=True))

    assert (bucket.asked("HEAD"), bucket.asked("GET")) == (10, 1)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_bucket_that_one_may_not_list(s3: S3, bucket: BucketServer, status: int) -> None:
    """Then nothing is known of it, and the object is told to be missing, at once."""
    bucket.fault = lambda request: failure(status, "Whatever") if request.verb == "LIST" else None

    assert not s3.info("a", return_missing=True).exists
    with pytest.raises(ObjectNotFoundError, match="no object 'root/a' in"):
        s3.info("a")
    with pytest.raises(ObjectNotFoundError, match="no object 'root/a' in"):
        s3.get("a")
    assert s3.statistics()["retries"] == 0


@pytest.mark.parametrize(
    ("root", "key", "near"),
    [
        ("s3://bucket/root", "tenn", "ten"),
        ("s3://bucket/root", "a/on", "a/one"),
        ("s3://bucket", "root/TEN", "root/ten"),
        (None, "s3://bucket/root/a/onee", "s3://bucket/root/a/one"),
    ],
)
def test_the_nearest_key_is_named(make_s3: MakeS3, bucket: BucketServer, root: str | None, key: str, near: str) -> None:
    """As the caller would write it, after one listing of the folder."""
    for each in ("ten", "a/one", "a/other", "onee/x"):
        bucket.store(f"root/{each}", b"1")
    s3 = make_s3(root)

    with pytest.raises(ObjectNotFoundError) as caught:
        s3.get(key)
    assert str(caught.value).endswith(f" Did you mean {near!r}?")
    assert bucket.verbs == ["GET", "LIST"]
    with pytest.raises(ObjectNotFoundError, match=f"Did you mean '{near}'"):
        s3.info(key)

    async def call() -> None:
        async with AsyncS3(root, storage_options={"endpoint_url": bucket.url, **OPTIONS}) as other:
            for verb in (other.get, other.info):
                with pytest.raises(ObjectNotFoundError, match=f"Did you mean '{near}'"):
                    await verb(key)

    asyncio.run(call())


def test_nothing_is_near_to_what_is_far(s3: S3, bucket: BucketServer) -> None:
    """Then no name is offered; and among many keys none is looked for."""
    bucket.store("root/ten", b"1")

    for key in ("sixty", "ten/x"):
        with pytest.raises(ObjectNotFoundError) as caught:
            s3.get(key)
        assert "Did you mean" not in str(caught.value)
    bucket.log.clear()
    with pytest.raises(ObjectNotFoundError) as caught:
        s3.get_many(["tenn"])
    assert "Did you mean" not in str(caught.value)
    assert bucket.verbs == ["GET"]


def test_an_answer_that_is_shorter_than_it_says_is_read_again(s3: S3, bucket: BucketServer) -> None:
    """Something between cut the body and made its length fit; what is always cut is an error that says so."""
    bucket.store("root/k", b"0123456789")
    torn = Reply(206, b"01234", {"ETag": '"1"', "Content-Range": "bytes 0-9/10"})
    left = [torn, torn]

    def twice(request: Request) -> Reply | None:
        return left.pop() if request.method == "GET" and left else None

    bucket.fault = twice
    assert s3.get("k").blob == b"0123456789"

    bucket.fault = lambda request: torn
    with pytest.raises(IntegrityError, match="s3://bucket/root/k than it says"):
        s3.get("k")


def test_a_key_that_cannot_be_printed_is_escaped(s3: S3, bucket: BucketServer) -> None:
    """No message has a NUL, or an order to the terminal, in it."""
    bucket.store("root/a\0\x1b[31m", b"1")

    with pytest.raises(ValueError, match="has 1 bytes") as caught:
        s3.get(S3GetObject("a\0\x1b[31m", 5, 1))

    assert str(caught.value).isprintable()
