"""Errors of `S3` say what happened, where, and the way out; metadata come back as they were given."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdall_store.errors import InvalidNameError, ObjectNotFoundError, StorageError, UnsupportedTypeError
from holdall_store.transfer._s3_objects import decode_metadata
from holdall_store.transfer._s3_options import METADATA_BYTES_MAX, metadata_headers
from holdall_store.transfer.s3 import S3

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

MakeS3 = Callable[..., S3]


def test_a_text_that_is_no_utf8(s3: S3, bucket: BucketServer) -> None:
    """The key is named, of a body and of metadata."""
    with pytest.raises(UnsupportedTypeError, match="'some/key'.*surrogate"):
        s3.put("some/key", "\ud800")
    with pytest.raises(InvalidNameError, match="'note'.*surrogate"):
        s3.put("k", "1", metadata={"note": "\ud800"})
    assert bucket.log == []


def test_a_folder_for_temporary_files_that_is_not_there(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """The argument is named that is wrong."""
    bucket.store("root/k", b"1")
    found = make_s3(tmproot=tmp_path / "nowhere").get("k")

    with pytest.raises(StorageError, match=r"tmproot='.*nowhere': No such file") as caught:
        assert found.path
    assert caught.value.errno == errno.ENOENT


def test_a_full_disk_is_told_with_path_and_key(
    make_s3: MakeS3, bucket: BucketServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was read is for one key and goes to one path: both are in the message."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    bucket.store("root/k", bytes(9 << 20))
    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(StorageError, match=rf"'{tmp_path}/\S*', for s3://bucket/root/k: No space") as caught:
        make_s3(tmproot=tmp_path, memory="1MB").get("k")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(StorageError, match=rf"'{tmp_path}/target', for s3://bucket/root/k: No space"):
        make_s3().get_files([("k", tmp_path / "target")])


def test_a_source_that_is_not_there(s3: S3, bucket: BucketServer) -> None:
    """The error names the source, and not the target."""
    with pytest.raises(ObjectNotFoundError, match="no object 'root/nosource' in s3://bucket to be copied"):
        s3.copy("nosource", "target")
    assert bucket.keys() == []


def test_a_copy_to_itself(s3: S3, make_s3: MakeS3, bucket: BucketServer) -> None:
    """It is refused with what to do; one that brings back an old version, or encrypts, is none."""
    bucket.store("root/md", b"1")

    with pytest.raises(InvalidNameError, match=r"are the same: 's3://bucket/root/md'.*put\(\)"):
        s3.copy("md", "md")
    assert bucket.log == []
    bucket.store("root/md", b"2")
    _, oldest = s3.list_versions()
    assert s3.copy(oldest, "md") == "s3://bucket/root/md"
    assert s3.get("md").blob == b"1"
    assert make_s3(encryption="AES256").copy("md", "md") == "s3://bucket/root/md"


def test_closing_while_another_thread_reads(s3: S3, bucket: BucketServer) -> None:
    """Who reads is told that the `S3` is closed."""
    bucket.store("root/k", b"1")

    def keys() -> Any:
        while True:
            yield "k"

    found = s3.iter_many(keys())
    next(found)
    closer = threading.Thread(target=s3.close)
    closer.start()
    with pytest.raises(StorageError, match="This S3 is closed"):
        for _ in found:
            continue
    closer.join()


@pytest.mark.parametrize(
    "value", ["=?utf-8?q?a=3Db?=", "a =?utf-8?b?YQ==?= b", "=?", "?=", "=?x?q?y?=", "ä =?utf-8?q?b?="]
)
def test_metadata_that_look_encoded_come_back(s3: S3, value: str) -> None:
    """They are encoded once more on the way up."""
    s3.put("k", "1", metadata={"note": value})

    assert s3.info("k").metadata == {"note": value}


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=?qQbB-8"), max_size=100))
def test_all_texts_come_back(value: str) -> None:
    """Whatever a value is, reading undoes what writing did to it, and a header can hold what is written."""
    ((_, text),) = metadata_headers({"name": value})

    assert decode_metadata(text) == value
    assert text.isascii()
    assert len(text) < METADATA_BYTES_MAX


def test_metaflows_metadata_are_texts(s3: S3, bucket: BucketServer) -> None:
    """What is none in Metaflow's JSON is given as JSON; what is no object of JSON is left as it is."""
    attributes = {"x_amz_meta_metaflow-user-attributes": json.dumps({"z": 1, "t": "x", "l": [1], "n": None})}
    bucket.store("root/k", b"", **attributes)
    bucket.store("root/other", b"", **{"x_amz_meta_metaflow-user-attributes": "[1]"})

    assert s3.info("k").metadata == {"z": "1", "t": "x", "l": "[1]", "n": "null"}
    assert s3.info("other").metadata == {"metaflow-user-attributes": "[1]"}
