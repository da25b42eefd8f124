"""`S3` in threads, after a fork, and when it is interrupted."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdall_store.transfer.s3 import S3

if TYPE_CHECKING:
    from tests.transfer._bucket_server import BucketServer

MakeS3 = Callable[..., S3]


def in_child(work: Callable[[], bool]) -> bool:
    """Run `work` in a forked process, and tell whether it returned true."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def test_several_threads(s3: S3, bucket: BucketServer) -> None:
    """They may use one S3 at the same time, and each gets what it asked for."""
    for number in range(50):
        bucket.store(f"root/{number}", str(number).encode())
    results: dict[int, list[str | None]] = {}

    def work(first: int) -> None:
        results[first] = [found.text for found in s3.get_many([str((first + each) % 50) for each in range(20)])]

    threads = [threading.Thread(target=work, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert results == {first: [str((first + each) % 50) for each in range(20)] for first in range(6)}


def test_a_forked_child(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """It reads and writes with the S3 of its parent, has temporary files of its own, and removes none of the parent's."""
    bucket.store("root/k", b"1")
    bucket.store("root/large", bytes(3000))
    s3 = make_s3(memory=1000, tmproot=tmp_path)
    spilled, shown = s3.get("large"), s3.get("k").path

    def work() -> bool:
        nonlocal spilled
        del spilled
        gc.collect()
        read = s3.get("k").text == "1" and s3.put("child", "2") and s3.get("large").blob == bytes(3000)
        s3.close()
        return bool(read)

    assert in_child(work)
    assert spilled.blob == bytes(3000)
    assert shown is not None
    assert Path(shown).read_text() == "1"
    assert s3.get("child").text == "2"
    s3.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_files_go_when_nobody_has_the_s3(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """An S3 that was never closed leaves nothing when it is collected."""
    bucket.store("root/k", b"1")
    s3 = S3(
        "s3://bucket/root",
        tmproot=tmp_path,
        storage_options={"endpoint_url": bucket.url, "key": "k", "secret": "s", "region": "us-east-1"},
    )
    assert s3.get("k").path is not None
    assert len(list(tmp_path.iterdir())) == 1

    del s3
    gc.collect()

    assert list(tmp_path.iterdir()) == []


def test_an_interruption_ends_everything(s3: S3, bucket: BucketServer) -> None:
    """Ctrl-C in the middle of a verb raises at once, leaves no upload behind, and the S3 can still be used."""

    def keys() -> object:
        yield "a", "1"
        yield "large", bytes(70 << 20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        s3.put_many(keys())  # type: ignore[arg-type]

    assert bucket.uploads == {}
    assert s3.put("b", "2") == "s3://bucket/root/b"
