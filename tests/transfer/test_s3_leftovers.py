"""Unfinished files of downloads: those that nobody will go on with go, once the file is there."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

import pytest
from tests.storage._s3 import Reply

from holdall_store.transfer import _plan, _s3_files, _s3_get

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.transfer._bucket_server import BucketServer

    from holdall_store.transfer.s3 import S3

    MakeS3 = Callable[..., S3]


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let objects of some thousand bytes be large."""
    for module in (_plan, _s3_files, _s3_get):
        monkeypatch.setattr(module, "FIRST_BYTES", 1000)
    monkeypatch.setattr(_s3_files, "range_bytes", lambda size: 1000)


def interrupt(s3: S3, bucket: BucketServer, key: str, target: Path) -> Path:
    """Interrupt the download of an object, and return its unfinished file."""
    before = set(target.parent.iterdir())
    bucket.fault = lambda request: Reply(403) if request.headers.get("range") == "bytes=4000-4999" else None
    with pytest.raises(PermissionError):
        s3.get_files([(key, target)])
    bucket.fault = lambda request: None
    (left,) = set(target.parent.iterdir()) - before
    return left


@pytest.mark.parametrize("size", [6000, 10])
def test_what_was_left_of_a_replaced_object_goes(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, size: int
) -> None:
    """With the next success for the same file, whether the new object is large or small."""
    s3, target = make_s3(concurrency=1), tmp_path / "file"
    for number in range(2):
        bucket.store("root/k", bytes([number]) * 5500)
        interrupt(s3, bucket, "k", target)
    bucket.store("root/k", b"3" * size)
    s3.get_files([("k", tmp_path / "other")])
    assert len(os.listdir(tmp_path)) == 3

    s3.get_files([("k", target)])

    assert target.read_bytes() == b"3" * size
    assert sorted(os.listdir(tmp_path)) == ["file", "other"]


def test_what_is_left_for_another_file_stays(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """The names of both may begin with the same sixty letters."""
    s3, one, other = make_s3(concurrency=1), tmp_path / ("x" * 70 + "1"), tmp_path / ("x" * 70 + "2")
    bucket.store("root/k", b"1" * 5500)
    left = interrupt(s3, bucket, "k", other)
    interrupt(s3, bucket, "k", one)
    bucket.store("root/k", b"2" * 5500)

    s3.get_files([("k", one)])

    assert sorted(tmp_path.iterdir()) == sorted([one, left])


def test_what_another_process_writes_stays(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path) -> None:
    """It holds a lock on its unfinished file, and nobody takes that away."""
    s3, target = make_s3(concurrency=1), tmp_path / "file"
    bucket.store("root/k", b"1" * 5500)
    left = interrupt(s3, bucket, "k", target)
    foreign = tmp_path / ".file.holdall-notes.part"
    foreign.write_text("mine")
    bucket.store("root/k", b"2" * 5500)

    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        s3.get_files([("k", target)])
        assert left.exists()
    s3.get_files([("k", target)])

    assert sorted(tmp_path.iterdir()) == sorted([target, foreign])
    assert target.read_bytes() == b"2" * 5500


def test_a_lock_is_of_no_use_once_the_file_is_gone(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened an unfinished file just before it was removed writes one of its own."""
    s3, target = make_s3(concurrency=1), tmp_path / "file"
    bucket.store("root/k", b"1" * 5500)
    left = interrupt(s3, bucket, "k", target)
    locked = fcntl.flock

    def remove_first(descriptor: int, how: int) -> None:
        left.unlink(missing_ok=True)
        locked(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    s3.get_files([("k", target)])

    assert target.read_bytes() == b"1" * 5500
    assert sorted(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("size", [6000, 10])
def test_what_a_killed_process_left_goes(make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, size: int) -> None:
    """A process that ends while it writes a file leaves it beside the target; the next download there removes it."""
    s3, target = make_s3(concurrency=1), tmp_path / "file"
    bucket.store("root/k", b"1" * size)
    bucket.store("root/j", b"2" * 20)
    child = os.fork()
    if not child:
        try:
            os.replace = lambda *paths: os._exit(9)
            s3.get_files([("k", target)])
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".file.holdall-")
    with left.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as the process did that wrote it
        s3.get_files([("j", target)])
        assert left.exists()

    make_s3().get_files([("j", target)])

    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"2" * 20


def test_where_there_are_no_locks(
    make_s3: MakeS3, bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is removed, and files come all the same."""

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "flock", refuse)
    bucket.store("root/k", b"1" * 6000)
    bucket.store("root/j", b"2" * 20)

    make_s3().get_files([("k", tmp_path / "k"), ("j", tmp_path / "j")])

    assert sorted(tmp_path.iterdir()) == [tmp_path / "j", tmp_path / "k"]
    assert ((tmp_path / "k").read_bytes(), (tmp_path / "j").read_bytes()) == (b"1" * 6000, b"2" * 20)
