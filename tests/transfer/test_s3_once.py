"""One target given twice in one call: refused, because one of the two would be lost and reported all the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdall_store.errors import InvalidNameError
from holdall_store.transfer.s3 import S3, S3PutObject

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

REFUSED = "Two that would get the same name"


def test_two_objects_into_one_file(s3: S3, bucket: BucketServer, tmp_path: Path) -> None:
    """Nothing is asked for, and nothing written, whatever the path is called the second time."""
    bucket.store("root/a", b"1")
    bucket.store("root/b", b"2")
    target = tmp_path / "same"
    target.write_text("mine")
    (tmp_path / "link").symlink_to(target)

    for other in (target, str(target), os.path.relpath(target), tmp_path / "link", tmp_path / "." / "same"):
        with pytest.raises(InvalidNameError, match=REFUSED) as caught:
            s3.get_files([("a", target), ("b", other)])
        assert repr(str(target)) in str(caught.value)

    assert (bucket.log, target.read_text()) == ([], "mine")
    assert len(s3.get_files([("a", tmp_path / "a"), ("a", tmp_path / "b")])) == 2


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("shape", [list, tuple])
def test_one_key_put_twice(s3: S3, bucket: BucketServer, tmp_path: Path, shape: Any, overwrite: bool) -> None:
    """The key is refused before anything is sent, in pairs and with metadata, of objects, files and copies."""
    (tmp_path / "f").write_bytes(b"f")
    bucket.store("root/a", b"1")
    calls: list[Callable[[], object]] = [
        lambda: s3.put_many(shape([("k", "1"), ("j", "2"), ("k", "3")]), overwrite=overwrite),
        lambda: s3.put_many(shape([("k", "1"), S3PutObject("k", "3")]), overwrite=overwrite),
        lambda: s3.put_files(shape([("k", tmp_path / "f")] * 2), overwrite=overwrite),
        lambda: s3.copy_many(shape([("a", "k"), ("b", "k")]), overwrite=overwrite),
    ]

    for call in calls:
        with pytest.raises(InvalidNameError, match=f"{REFUSED}: 's3://bucket/root/k'"):
            call()

    assert bucket.log == []


def test_a_stream_of_keys_is_refused_where_one_comes_again(s3: S3, bucket: BucketServer) -> None:
    """An iterator is not run through before: it ends with the key that comes again, which overwrites nothing."""
    asked: list[int] = []

    def pairs() -> Any:
        for number, key in enumerate(["k", "j", "k", "i"]):
            asked.append(number)
            yield key, str(number)

    with pytest.raises(InvalidNameError, match=REFUSED):
        s3.put_many(pairs())

    assert asked == [0, 1, 2]
    assert [request.key for request in bucket.log].count("root/k") <= 1
