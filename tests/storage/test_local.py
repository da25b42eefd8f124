"""What is particular to objects in a folder."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import pickle
import resource
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests._descriptors import open_descriptors

from holdall_store.errors import AlreadyExistsError, IntegrityError, InvalidNameError, ObjectNotFoundError, StorageError
from holdall_store.storage import LocalStorage, open_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the umask for a while."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    """Return the permission bits of `path`."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A place where no folder is yet."""
    return tmp_path / "store"


@pytest.fixture
def storage(root: Path) -> LocalStorage:
    """A storage that is not there yet."""
    return LocalStorage(root)


def test_a_key_is_a_path(storage: LocalStorage, root: Path) -> None:
    """An object is a file that every other program can read, and a copied folder is a store."""
    storage.create("a/b/c", [b"x"])
    assert (root / "a" / "b" / "c").read_bytes() == b"x"
    assert storage.path == root
    assert storage.url == root.as_uri()
    (root / "a" / "copied").write_bytes(b"abc")
    assert [(info.key, info.size) for info in storage.list()] == [("a/b/c", 1), ("a/copied", 3)]


@pytest.mark.parametrize(
    ("mask", "folder", "file"), [(0o022, 0o755, 0o444), (0o002, 0o755, 0o444), (0o077, 0o700, 0o400)]
)
def test_modes(storage: LocalStorage, root: Path, mask: int, folder: int, file: int) -> None:
    """Objects are read-only, and only the owner may write into folders, whatever the umask."""
    with umask(mask):
        storage.create("a/b", [b"x"])
    assert (mode(root), mode(root / "a"), mode(root / "a" / "b")) == (folder, folder, file)


def test_a_group_that_may_write_may_write_everywhere(root: Path) -> None:
    """Folders below a store that was opened to a group are open to it, too."""
    root.mkdir()
    root.chmod(0o770)
    with umask(0o002):
        LocalStorage(root).create("a/b/c", [b"x"])
    assert (mode(root / "a"), mode(root / "a" / "b")) == (0o770, 0o770)


def test_private_is_what_only_the_owner_can_write(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trait follows the folder: owner and permission bits, looked at each time."""

    def private() -> bool:
        return storage.traits.private

    assert not private()
    storage.create("a", [b"x"])
    assert private()
    for bits in (0o775, 0o757, 0o777, 0o722):
        root.chmod(bits)
        assert not private()
    root.chmod(0o700)
    assert private()
    monkeypatch.setattr(os, "geteuid", lambda: root.stat().st_uid + 1)
    assert not private()


def test_traits(root: Path) -> None:
    """Objects can be mapped, and the size of packs is the caller's to choose."""
    traits = LocalStorage(root, pack_bytes=123).traits
    assert (traits.pack_bytes, traits.mappable) == (123, True)
    assert LocalStorage(root).traits.pack_bytes == 1 << 30


def test_reading_makes_nothing(storage: LocalStorage, root: Path) -> None:
    """To look into a storage that is not there does not make it."""
    assert list(storage.list()) == []
    storage.delete(["a/b"])
    with pytest.raises(ObjectNotFoundError):
        storage.map("a")
    assert not root.exists()


def test_a_folder_that_we_make_is_ignored_by_git(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    """Only a folder that we made gets a ``.gitignore``; it is no object."""
    storage.create("a", [b"x"])
    assert (root / ".gitignore").read_text() == "*\n"
    assert [info.key for info in storage.list()] == ["a"]
    (tmp_path / "there").mkdir()
    LocalStorage(tmp_path / "there").create("a", [b"x"])
    assert os.listdir(tmp_path / "there") == ["a"]


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later change of the working directory moves nothing; a pickled storage is the same."""
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage("store")
    storage.create("a", [b"x"])
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    assert bytes(storage.get("a")) == b"x"
    assert bytes(pickle.loads(pickle.dumps(storage)).get("a")) == b"x"


def test_hidden_and_foreign_files_are_nobodys_objects(storage: LocalStorage, root: Path) -> None:
    """Leftovers of writers that died, hidden files and names that are no text are neither listed nor readable."""
    storage.create("a/b", [b"x"])
    for name in (b".tmp-0123", b".DS_Store", b".nfs0001", b"caf\xe9", b"new\nline"):
        with open(os.path.join(os.fsencode(root), b"a", name), "wb") as file:
            file.write(b"foreign")
        os.mkdir(os.path.join(os.fsencode(root), b"." + name.strip(b".")))
    os.mkdir(os.path.join(os.fsencode(root), b"caf\xe9"))
    assert [info.key for info in storage.list()] == ["a/b"]
    assert list(storage.list_folders()) == ["a"]
    for key in ("a/.tmp-0123", "a/caf\udce9"):
        with pytest.raises(InvalidNameError):
            storage.get(key)


def test_symbolic_links_are_not_followed(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    """What lies behind a symbolic link below the root is not listed, read, written or deleted."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    storage.create("a/b", [b"x"])
    (root / "object").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "a" / "inside").symlink_to("b")
    (root / "dangling").symlink_to("nowhere")
    assert [info.key for info in storage.list()] == ["a/b"]
    assert list(storage.list_folders()) == ["a"]
    assert list(storage.list("folder/")) == []
    for key in ("object", "folder/secret", "a/inside", "dangling"):
        for read in (storage.get, storage.head, storage.map):
            with pytest.raises(ObjectNotFoundError, match=key):
                read(key)
    with pytest.raises(InvalidNameError, match="symbolic link"):
        storage.create("folder/new", [b"x"])
    for key in ("object", "dangling"):
        with pytest.raises(AlreadyExistsError):
            storage.create(key, [b"x"])
    storage.delete(["folder/secret", "object"])
    assert sorted(os.listdir(outside)) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_root_itself_may_be_a_symbolic_link(root: Path, tmp_path: Path) -> None:
    """Where the store is, is its owner's affair."""
    (tmp_path / "disk").mkdir()
    root.symlink_to("disk")
    storage = LocalStorage(root)
    storage.create("a/b", [b"x"])
    assert (tmp_path / "disk" / "a" / "b").read_bytes() == b"x"
    assert [info.key for info in storage.list()] == ["a/b"]


def test_only_regular_files_are_objects(storage: LocalStorage, root: Path) -> None:
    """A FIFO does not make a reader wait, and a folder is no object."""
    storage.create("a/b", [b"x"])
    os.mkfifo(root / "fifo")
    for key in ("fifo", "a"):
        for read in (storage.get, storage.head, storage.map):
            with pytest.raises((ObjectNotFoundError, StorageError)):
                read(key)
    storage.delete(["a"])
    assert [info.key for info in storage.list()] == ["a/b"]


def test_an_object_is_no_folder_and_a_folder_no_object(storage: LocalStorage) -> None:
    """Keys of which one would be a folder of the other are refused by name."""
    storage.create("a/b", [b"x"])
    with pytest.raises(InvalidNameError, match="a/b/c"):
        storage.create("a/b/c", [b"x"])
    with pytest.raises(InvalidNameError, match="folder"):
        storage.create("a", [b"x"])


def test_a_segment_may_be_too_long_for_the_filesystem(storage: LocalStorage) -> None:
    """A name that the filesystem refuses is an error of the name; to look for it finds nothing worse."""
    storage.create("a/" + "é" * 127, [b"x"])
    for key in ("a/" + "é" * 128, "é" * 128 + "/a"):
        with pytest.raises(InvalidNameError):
            storage.create(key, [b"x"])
        with pytest.raises(InvalidNameError):
            storage.get(key)


def test_normal_forms_are_different_keys(storage: LocalStorage) -> None:
    """Keys are compared by their bytes."""
    keys = ["caf\u00e9", "cafe\u0301", "日本/😀"]
    for key in keys:
        storage.create(key, [key.encode()])
    assert [info.key for info in storage.list()] == sorted(keys)
    assert all(bytes(storage.get(key)) == key.encode() for key in keys)


def test_a_file_that_was_cut_is_not_what_was_written(storage: LocalStorage, root: Path) -> None:
    """A range that was there and is not any more raises `IntegrityError`, and so does a file cut during the read."""
    storage.create("a", [bytes(1000)])
    os.truncate(root / "a", 500)
    assert storage.head("a").size == 500
    with pytest.raises(IntegrityError, match="'a'"):
        storage.get("a", 0, 1000)


def test_a_file_cut_while_it_is_read(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that comes to the end too early raises `IntegrityError`."""
    storage.create("a", [bytes(1000)])
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: 0)
    with pytest.raises(IntegrityError, match="'a'"):
        storage.get("a")


def test_short_reads_are_continued(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may give fewer bytes than asked for."""
    storage.create("a", [bytes(range(100))])
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda file, buffers, offset: real(file, [buffers[0][:7]], offset))
    assert bytes(storage.get("a", 10, 80)) == bytes(range(10, 90))


def test_where_maps_cost_descriptors_they_are_not_given_without_end(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When too many files are open there is no map, and the caller reads instead."""
    storage.create("a", [b"x" * 5000])
    held = [storage.map("a") for _ in range(5)]
    assert all(view is not None for view in held)

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(mmap, "mmap", refuse)
    assert storage.map("a") is None


def test_maps_leave_descriptors_to_others(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a map keeps a descriptor (before Python 3.13), maps do not use up those that the process may have."""
    storage.create("a", [b"x" * 5000])
    monkeypatch.setattr(resource, "getrlimit", lambda which: (0, 0))
    assert (storage.map("a") is None) is (sys.version_info < (3, 13))


def test_a_listing_stats_and_opens_only_what_it_yields(storage: LocalStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of many costs one look at each folder on the way; `after` skips folders without a look into them."""
    for folder, number in itertools.product("abcdef", range(20)):
        storage.create(f"{folder}/{number:02d}/x", [b"x"])
    scanned: list[Any] = []
    statted: list[Any] = []
    scandir, stat_ = os.scandir, os.stat

    def record(into: list[Any], real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            into.append(args)
            return real(*args, **kwargs)

        return call

    monkeypatch.setattr(os, "scandir", record(scanned, scandir))
    monkeypatch.setattr(os, "stat", record(statted, stat_))
    assert next(storage.list()).key == "a/00/x"
    assert (len(scanned), len(statted)) == (3, 1)
    scanned.clear()
    statted.clear()
    assert [info.key for info in storage.list(after="f/17/x")] == ["f/18/x", "f/19/x"]
    assert (len(scanned), len(statted)) == (5, 2)
    scanned.clear()
    assert list(storage.list_folders("a/"))[:2] == ["00", "01"]
    assert len(scanned) == 1


def test_an_object_that_goes_while_a_listing_runs(storage: LocalStorage, root: Path) -> None:
    """A file or folder that is deleted after its folder was read is passed over."""
    for key in ("a/1", "a/2", "b/1", "c"):
        storage.create(key, [b"x"])
    listing = storage.list()
    assert next(listing).key == "a/1"
    os.unlink(root / "a" / "2")
    os.unlink(root / "b" / "1")
    os.rmdir(root / "b")
    assert [info.key for info in listing] == ["c"]


def test_no_descriptor_stays_open(storage: LocalStorage, root: Path) -> None:
    """Whatever happened, calls leave no descriptor behind; an abandoned listing neither."""

    def broken() -> Iterator[bytes]:
        yield b"x" * 100
        raise RuntimeError

    storage.create("a/b", [b"x"])
    (root / "link").symlink_to("a")
    before = open_descriptors()
    for _ in range(10):
        for key in ("a/b", "a/b/c", "a", "link/b", "x" * 300):
            with contextlib.suppress(AlreadyExistsError, InvalidNameError):
                storage.create(key, [b"x"])
            with contextlib.suppress(ObjectNotFoundError, InvalidNameError, StorageError):
                storage.get(key)
            with contextlib.suppress(ObjectNotFoundError, InvalidNameError, StorageError):
                storage.map(key)
            with contextlib.suppress(ObjectNotFoundError, InvalidNameError):
                storage.head(key)
        with pytest.raises(RuntimeError):
            storage.create("broken/one", broken())
        next(storage.list())
        storage.delete(["a/x", "b/x", "link/x"])
        with pytest.raises(InvalidNameError):
            storage.delete(["a/x", ".."])
    assert open_descriptors() <= before


def test_a_url_opens_the_same_folder(tmp_path: Path) -> None:
    """The URL of a storage is understood by `open_storage`, whatever characters the path has."""
    storage = LocalStorage(tmp_path / "mit Leerzeichen %41 # ? é")
    storage.create("a", [b"x"])
    assert bytes(open_storage(storage.url).get("a")) == b"x"


def test_a_store_of_a_group_stays_one_under_any_umask(tmp_path: Path) -> None:
    """Folders below a group-writable root are group-writable, also where the umask would take that away."""
    root = tmp_path / "shared"
    root.mkdir()
    root.chmod(0o775)
    before = os.umask(0o022)
    try:
        LocalStorage(root).create("packs/a/b", [b"x"])
    finally:
        os.umask(before)
    assert stat.S_IMODE((root / "packs").stat().st_mode) == 0o775
    assert stat.S_IMODE((root / "packs" / "a").stat().st_mode) == 0o775
