"""A local storage whose disk fails, and writers that are killed."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from holdall_store.errors import AccessDeniedError, AlreadyExistsError, HoldallError, InvalidNameError, StorageError
from holdall_store.storage import LocalStorage, _durable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHANGING = ("mkdir", "open", "write", "fsync", "link", "unlink")


class System:
    """Stands between the storage and the system: notes calls, and fails one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        self.fail_at = -1
        self.number = 0
        for name in CHANGING:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            what = name
            if name == "fsync":
                what += "(folder)" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "(file)"
            self.log.append(what)
            if len(self.log) - 1 == self.fail_at:
                raise OSError(self.number, os.strerror(self.number))
            return real(*args, **kwargs)

        return call

    def fail(self, at: int, number: int) -> None:
        """Let call `at` from now fail with `number`; none if `at` is negative."""
        self.log.clear()
        self.fail_at, self.number = at, number


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """The system, under observation."""
    return System(monkeypatch)


def leftovers(root: Path) -> list[str]:
    """Return the temporary files below `root`."""
    return [path.name for path in root.rglob(".tmp-*")]


def test_the_order_of_a_creation(tmp_path: Path, system: System) -> None:
    """New folders are durable from the top, the content before the name, the name before the return."""
    storage = LocalStorage(tmp_path / "s")
    storage.create("a/b", [b"x"])
    interesting = [what for what in system.log if what != "open"]
    assert interesting == [
        *("mkdir", "fsync(folder)", "write"),  # the root, and its .gitignore
        *("mkdir", "fsync(folder)"),
        *("write", "fsync(file)", "link", "unlink", "fsync(folder)"),
    ]
    system.log.clear()
    storage.create("a/c", [b"x"])
    assert [what for what in system.log if what != "open"] == [
        "write",
        "fsync(file)",
        "link",
        "unlink",
        "fsync(folder)",
    ]


def test_a_deletion_is_durable(tmp_path: Path, system: System) -> None:
    """Each folder from which something went is synced once."""
    storage = LocalStorage(tmp_path)
    for key in ("a/1", "a/2", "b/1"):
        storage.create(key, [b"x"])
    system.log.clear()
    storage.delete(["a/1", "a/2", "b/1"])
    assert [what for what in system.log if what != "open"] == [
        "unlink",
        "unlink",
        "fsync(folder)",
        "unlink",
        "fsync(folder)",
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_every_failure_of_a_creation(tmp_path: Path, system: System, number: int) -> None:
    """Whichever call fails, the caller gets the error, nobody sees half an object, and what was there stays."""
    LocalStorage(tmp_path / "probe").create("new/object", [b"some", b"thing"])
    count = len(system.log)
    tolerated = []
    for at in range(count):
        root = tmp_path / str(at)
        storage = LocalStorage(root)
        system.fail(at, number)
        error: HoldallError | None = None
        try:
            storage.create("new/object", [b"some", b"thing"])
        except HoldallError as caught:
            error = caught
        failed = system.log[at]
        system.fail(-1, 0)
        if error is None:
            tolerated.append(failed)
        else:
            assert isinstance(error, AccessDeniedError if number in (errno.EACCES, errno.EROFS) else StorageError)
            assert isinstance(error, OSError)
            assert error.errno == number
            assert "new/object" in str(error)
            assert str(root) in str(error)
            assert leftovers(root) == []
        # An object whose folder could not be synced may be there; if so, it is whole.
        with contextlib.suppress(AlreadyExistsError):
            storage.create("new/object", [b"some", b"thing"])
        assert bytes(storage.get("new/object")) == b"something"
        assert [info.key for info in storage.list()] == ["new/object"]
    # To find the name taken (EEXIST) or a temporary file that cannot be removed is no failure of the creation.
    assert tolerated == ["unlink"]


def test_no_space_while_a_large_object_is_written(tmp_path: Path, system: System) -> None:
    """Each of many writes may be the one that fails; the parts are not asked for afterwards."""
    storage = LocalStorage(tmp_path)
    storage.create("there", [b"x"])
    asked = []

    def parts() -> Iterator[bytes]:
        for n in range(6):
            asked.append(n)
            yield bytes(2 << 20)

    system.fail(-1, 0)
    storage.create("probe", parts())
    writes = [at for at, what in enumerate(system.log) if what == "write"]
    assert len(writes) == 6
    for nth, at in enumerate(writes):
        asked.clear()
        system.fail(at, errno.ENOSPC)
        with pytest.raises(StorageError, match="free some space") as caught:
            storage.create("large", parts())
        assert caught.value.errno == errno.ENOSPC
        assert asked == list(range(nth + 1))
        assert leftovers(tmp_path) == []
    system.fail(-1, 0)
    assert sorted(info.key for info in storage.list()) == ["probe", "there"]


def test_a_full_disk_while_something_is_deleted(tmp_path: Path, system: System) -> None:
    """A deletion that fails says of which key, and with what."""
    storage = LocalStorage(tmp_path)
    storage.create("a/1", [b"x"])
    for what, number, error in (
        ("unlink", errno.EIO, StorageError),
        ("unlink", errno.EPERM, AccessDeniedError),
        ("fsync(folder)", errno.EIO, StorageError),
    ):
        with contextlib.suppress(AlreadyExistsError):
            storage.create("a/1", [b"x"])
        system.fail(-1, 0)
        storage.delete(["a/missing"])
        system.fail(system.log.index(what), number)
        with pytest.raises(error, match="a/1"):
            storage.delete(["a/1"])
        system.fail(-1, 0)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.EIO, StorageError),
        (errno.EACCES, AccessDeniedError),
        (errno.EMFILE, StorageError),
        (errno.ENAMETOOLONG, InvalidNameError),
    ],
)
def test_failures_of_reads(tmp_path: Path, system: System, number: int, error: type[Exception]) -> None:
    """A read that the system refuses raises an error of ours, with its number and the key."""
    storage = LocalStorage(tmp_path)
    storage.create("some/key", [b"x"])
    reads: list[Callable[[], Any]] = [
        lambda: storage.get("some/key"),
        lambda: storage.map("some/key"),
        lambda: storage.head("some/key"),
        lambda: list(storage.list("some/")),
        lambda: list(storage.list_folders("some/")),
    ]
    for read in reads:
        for at in (0, 1):
            system.fail(at, number)
            with pytest.raises(error, match="some/") as caught:
                read()
            assert getattr(caught.value, "errno", number) == number


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may take fewer bytes than it was given."""
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:999]))
    data = os.urandom(100_000)
    storage = LocalStorage(tmp_path)
    assert storage.create("a", [data, b"tail"]) == 100_004
    assert bytes(storage.get("a")) == data + b"tail"


def test_write_back_begins_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large object is synced while it is still being written, in another thread."""
    synced = []
    monkeypatch.setattr(_durable, "SYNC_STEP_BYTES", 4 << 20)
    monkeypatch.setattr(os, "fdatasync", lambda file: synced.append(os.fstat(file).st_size))
    storage = LocalStorage(tmp_path)
    part = os.urandom(5 << 20)
    storage.create("a", [part] * 3)
    assert synced
    assert synced[0] >= len(part)
    assert bytes(storage.get("a")) == part * 3


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_a_failure_of_early_write_back_reaches_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: int
) -> None:
    """The system tells of a failed write-back once, so what the second thread learns is not lost."""

    def fail(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(_durable, "SYNC_STEP_BYTES", 1 << 20)
    monkeypatch.setattr(os, "fdatasync", fail)
    storage = LocalStorage(tmp_path)
    with pytest.raises(StorageError, match="'a'") as caught:
        storage.create("a", [bytes(2 << 20)] * parts)
    assert caught.value.errno == errno.EIO
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_without_hard_links_a_rename_that_refuses_to_replace_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Filesystems without hard links (FAT, some network and FUSE filesystems) keep the contract, too."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    storage = LocalStorage(tmp_path)

    def parts() -> Iterator[bytes]:
        yield b"late"
        storage.create("a", [b"early"])

    with pytest.raises(AlreadyExistsError):
        storage.create("a", parts())
    assert bytes(storage.get("a")) == b"early"
    assert os.listdir(tmp_path) == ["a"]


def test_without_any_atomic_way_nothing_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that can neither link nor rename exclusively is refused, with the way out."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: object())
    with pytest.raises(StorageError, match="put the store on another filesystem"):
        LocalStorage(tmp_path).create("a", [b"x"])
    assert os.listdir(tmp_path) == []


def test_a_link_whose_answer_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network filesystem that repeats the request and then finds its own link has created the object for us."""
    real = os.link

    def twice(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        real(*args, **kwargs)

    monkeypatch.setattr(os, "link", twice)
    storage = LocalStorage(tmp_path)
    assert storage.create("a", [b"x"]) == 1
    assert os.listdir(tmp_path) == ["a"]


WRITER = """
import itertools, sys
from holdall_store.storage import LocalStorage
storage = LocalStorage(sys.argv[1])
for n in itertools.count():
    storage.create(f"{sys.argv[2]}/{n:06d}", (bytes([n % 251]) * 5000 for _ in range(n % 40)))
"""


def test_a_writer_that_is_killed_leaves_whole_objects_only(tmp_path: Path) -> None:
    """After kill -9 in the middle of creations every object that is visible is whole, and the store can be used."""
    storage = LocalStorage(tmp_path / "s")
    for round_ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(storage.path), f"r{round_}"])
        try:
            while sum(1 for _ in storage.list(f"r{round_}/")) < 45:
                assert writer.poll() is None
        finally:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        found = list(storage.list(f"r{round_}/"))
        assert len(found) >= 45
        for info in found:
            n = int(info.key.rpartition("/")[2])
            assert bytes(storage.get(info.key)) == bytes([n % 251]) * (5000 * (n % 40))
        # The next key is free: nothing of the creation that was cut short is in its way.
        storage.create(f"r{round_}/{len(found):06d}", [b"next"])
