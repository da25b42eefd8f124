"""The cache of remote stores: what comes from it is what was saved, whatever happens to its files."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine._engine import latest, save, stretch, value
from tests.engine._remote import Remote, cached, incoming, reader

from holdall_store.errors import IntegrityError, ObjectNotFoundError, UnsafeLoadError
from holdall_store.repository import Repository, StoredArtifact, cache_usage, clear_cache, trim_cache
from holdall_store.repository._cache import Cache
from holdall_store.repository._cache_buffers import CacheDamagedError, CachedBuffers
from holdall_store.repository._repository import DAMAGED_TRIES
from holdall_store.serializers import encode
from holdall_store.storage import LocalStorage, MemoryStorage

SIZES = [200_000, 70_000, 1]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder for the cache."""
    return tmp_path / "home"


def saved(storage: Remote, *, seed: int = 0, sizes: list[int] | None = None) -> tuple[StoredArtifact, list[bytes]]:
    """Save buffers that nothing compresses in one artifact, and return what is recorded of it, and them."""
    buffers = [stretch(seed + number, size) for number, size in enumerate(sizes or SIZES)]
    store = Repository(storage)
    artifact = save(store, {"a": value(*buffers)}, flow=f"flow{seed}")["a"]
    storage.reset()
    return artifact, buffers


def load(store: Repository, artifact: StoredArtifact, numbers: list[int] | None = None, **options: Any) -> list[bytes]:
    """Return buffers of an artifact, all by default."""
    chosen = list(range(len(artifact.record.buffers))) if numbers is None else numbers
    return [bytes(part) for part in store.read_buffers(artifact, chosen, **options)]


def flip(path: Path, place: float) -> None:
    """Change one bit of a file, at a part of its length."""
    raw = bytearray(path.read_bytes())
    raw[min(int(len(raw) * place), len(raw) - 1)] ^= 1
    path.write_bytes(raw)


def test_what_was_read_once_is_mapped(home: Path) -> None:
    """A second load, in what might be another process, asks for nothing and gives private maps of one file."""
    storage = Remote()
    artifact, buffers = saved(storage)
    assert load(reader(storage, home), artifact) == buffers
    storage.reset()

    found = reader(storage, home).read_buffers(artifact, [0, 1, 2])

    assert storage.requests == 0
    assert [bytes(part) for part in found] == buffers
    assert isinstance(found[0].obj, mmap.mmap)
    found[0][0] ^= 1
    assert load(reader(storage, home), artifact) == buffers


def test_the_first_read_gives_maps_too(home: Path) -> None:
    """What is fetched is written once, into the cache, and the caller gets a map that may be written to."""
    storage = Remote()
    artifact, buffers = saved(storage)

    (first,) = reader(storage, home).read_buffers(artifact, [0])

    assert isinstance(first.obj, mmap.mmap)
    assert not first.readonly
    assert bytes(first) == buffers[0]


def test_parts_come_from_the_file_of_the_whole(home: Path) -> None:
    """Buffers, and ranges of them, are read from the file of a whole artifact; a part that was read alone has its own."""
    storage = Remote()
    artifact, buffers = saved(storage)
    assert load(reader(storage, home), artifact, [1]) == [buffers[1]]
    assert load(reader(storage, home), artifact) == buffers
    storage.reset()
    store = reader(storage, home)

    assert load(store, artifact, [2, 0]) == [buffers[2], buffers[0]]
    assert load(store, artifact, [1]) == [buffers[1]]
    assert bytes(store.read_range(artifact, 0, 1000, 99_000)) == buffers[0][1000:100_000]
    assert storage.requests == 0
    assert len(cached(home)) == 2


def test_ranges_are_read_without_a_cached_file(home: Path) -> None:
    """A range of a buffer that is not in the cache is fetched, and not kept."""
    storage = Remote()
    artifact, buffers = saved(storage)

    assert bytes(reader(storage, home).read_range(artifact, 0, 150_000, 10)) == buffers[0][150_000:150_010]
    assert cached(home) == []


TREES = st.recursive(
    st.one_of(
        st.none(),
        st.integers(-5, 5),
        st.text(max_size=5),
        st.builds(
            lambda seed, size: np.frombuffer(stretch(seed, size * 8), "<i8"), st.integers(0, 5), st.integers(0, 9000)
        ),
        st.builds(lambda size: np.zeros(size, "u1"), st.integers(0, 300_000)),
        st.binary(max_size=20),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text("ab", max_size=3), inner, max_size=4)),
    max_leaves=8,
)


def same(left: Any, right: Any) -> bool:
    """Tell whether two trees are the same."""
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, list):
        return type(right) is list and len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return type(right) is dict and list(left) == list(right) and all(same(left[k], right[k]) for k in left)
    return type(left) is type(right) and bool(left == right)


@given(TREES, st.integers(1, 4))
@settings(max_examples=40)
def test_a_load_through_the_cache_is_a_load(
    tmp_path_factory: pytest.TempPathFactory, tree: Any, packs_per_mib: int
) -> None:
    """Any tree comes back the same without a cache, when the cache is filled, and from it: whole and in parts."""
    home = tmp_path_factory.mktemp("home")
    storage = Remote(pack_bytes=(1 << 20) // packs_per_mib)
    artifact = save(Repository(storage), {"a": encode(tree)})["a"]

    assert same(tree, reader(storage, home, cache_bytes=0).load(artifact))
    assert cached(home) == []
    assert same(tree, reader(storage, home).load(artifact))
    storage.reset()
    again = reader(storage, home)
    assert same(tree, again.load(artifact))
    assert storage.requests == 0
    if isinstance(tree, dict):
        for key, part in tree.items():
            assert same(part, again.load(artifact, key=key))


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 0.9998, 0.99999])
def test_a_flipped_bit_is_fetched_again(home: Path, place: float) -> None:
    """Whichever bit of a cached file changes, the right bytes come, and the file is made anew."""
    storage = Remote()
    artifact, buffers = saved(storage)
    load(reader(storage, home), artifact)
    (path,) = cached(home)
    before = path.read_bytes()
    flip(path, place)

    assert load(reader(storage, home), artifact) == buffers
    storage.reset()
    assert load(reader(storage, home), artifact) == buffers
    assert storage.requests == 0
    assert path.read_bytes()[64:] == before[64:]


@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "longer", "another"])
def test_a_damaged_file_is_fetched_again(home: Path, damage: str) -> None:
    """A file that a crash left short or empty, or that holds something else, is never believed."""
    storage = Remote()
    artifact, buffers = saved(storage)
    other, _ = saved(storage, seed=10, sizes=[5000, 6000, 7])
    load(reader(storage, home), artifact)
    (path,) = cached(home)
    load(reader(storage, home), other)
    (another,) = set(cached(home)) - {path}
    raw = path.read_bytes()
    path.write_bytes(
        {
            "cut": raw[: len(raw) // 2],
            "empty": b"",
            "zeros": bytes(len(raw)),
            "longer": raw + b"x",
            "another": another.read_bytes(),
        }[damage]
    )

    assert load(reader(storage, home), artifact) == buffers
    assert path.read_bytes() == raw


def test_damage_that_is_found_in_the_background_is_fetched_again(home: Path) -> None:
    """A large table, which is decoded while it is verified, comes right when its cached file is damaged."""
    import pandas as pd

    storage = Remote(pack_bytes=64 << 20)
    frame = pd.DataFrame({"a": np.frombuffer(stretch(1, 12 << 20), "<i8"), "b": np.arange((12 << 20) // 8)})
    artifact = save(Repository(storage), {"a": encode(frame)})["a"]
    pd.testing.assert_frame_equal(reader(storage, home).load(artifact), frame)
    (path,) = cached(home)
    flip(path, 0.3)

    pd.testing.assert_frame_equal(reader(storage, home).load(artifact), frame)
    storage.reset()
    pd.testing.assert_frame_equal(reader(storage, home).load(artifact), frame)
    assert storage.requests == 0


def test_a_disk_that_damages_all_it_is_given(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where whatever comes from the cache turns out to be damaged, loads go on without it."""
    storage = Remote()
    array = np.frombuffer(stretch(1, 80_000), "<i8")
    artifact = save(Repository(storage), {"a": encode(array)})["a"]
    tried: list[int] = []

    def damaged(*args: Any, **options: Any) -> Any:
        tried.append(1)
        raise CacheDamagedError("again")

    monkeypatch.setattr(CachedBuffers, "read", damaged)

    assert same(reader(storage, home).load(artifact), array)
    assert len(tried) == DAMAGED_TRIES


def test_records_that_are_damaged_are_read_again(home: Path) -> None:
    """A record in the cache is checked by its seal; a damaged one is read from the store, and kept again."""
    storage = Remote()
    saved(storage)
    store = reader(storage, home)
    run = next(store.catalog.newest("user:ana", "flow0")).run
    (path,) = cached(home, "records")
    for damage in (lambda: flip(path, 0.5), lambda: path.write_bytes(b""), lambda: path.write_bytes(b'{"holdall":9}')):
        damage()
        assert list(reader(storage, home).catalog.run("user:ana", "flow0", run).artifacts) == ["a"]
        storage.reset()
        assert list(reader(storage, home).catalog.run("user:ana", "flow0", run).artifacts) == ["a"]
        assert storage.requests == 0


def test_unverified_loads_fill_nothing(home: Path) -> None:
    """What was not verified is not kept; what is kept may be read without being verified."""
    storage = Remote()
    artifact, buffers = saved(storage)

    assert load(reader(storage, home), artifact, verify=False) == buffers
    assert cached(home) == []
    load(reader(storage, home), artifact)
    storage.reset()
    assert load(reader(storage, home), artifact, verify=False) == buffers
    assert storage.requests == 0


def test_damage_in_the_store_is_told(home: Path) -> None:
    """A chunk that is damaged in the store is an error that names its pack, and nothing of it is kept."""
    storage = Remote()
    artifact, _ = saved(storage)
    name = next(info.key for info in storage.inner.list("packs/"))
    assert isinstance(storage.inner, MemoryStorage)
    raw = bytearray(storage.inner._objects[name])
    raw[100] ^= 1
    storage.inner._objects[name] = bytes(raw)

    with pytest.raises(IntegrityError, match=name):
        load(reader(storage, home), artifact)
    assert cached(home) == incoming(home) == []


def test_a_pack_that_is_gone_is_told(home: Path) -> None:
    """A missing pack is an error as ever, unless what was in it is in the cache."""
    storage = Remote()
    artifact, buffers = saved(storage)
    load(reader(storage, home), artifact)
    storage.inner.delete([info.key for info in storage.inner.list("packs/")])

    assert load(reader(storage, home), artifact) == buffers
    clear_cache(reader(storage, home).settings)
    with pytest.raises(ObjectNotFoundError, match="lost"):
        load(reader(storage, home), artifact)


def test_local_and_memory_stores_keep_nothing(home: Path, tmp_path: Path) -> None:
    """Stores on a disk are mapped where they are, and those in memory are gone with the process."""
    for storage in (LocalStorage(tmp_path / "store"), MemoryStorage()):
        save(reader(storage, home), {"a": value(stretch(1, 100_000))})
        assert latest(reader(storage, home)) == {"a": [stretch(1, 100_000)]}

    assert not (home / "cache" / "remote").exists()


def test_saving_does_not_touch_it(home: Path) -> None:
    """What is saved does not pass through the cache."""
    storage = Remote()
    save(reader(storage, home), {"a": value(stretch(1, 100_000)), "b": value(b"small")})

    assert not (home / "cache" / "remote").exists()


def test_nobody_else_can_read_or_write_it(home: Path) -> None:
    """Folders of the cache are for their user alone, and so are its files."""
    storage = Remote()
    saved(storage)
    assert latest(reader(storage, home), "flow0")

    root = home / "cache" / "remote"
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in (*cached(home), *cached(home, "records"))} == {0o600}


def test_a_folder_that_others_can_write_is_not_trusted(home: Path) -> None:
    """Where others can write into the cache, nothing of it is read, and nothing is put there."""
    storage = Remote()
    artifact, buffers = saved(storage)
    load(reader(storage, home), artifact)
    run = next(reader(storage, home).catalog.newest("user:ana", "flow0")).run
    root = home / "cache" / "remote"
    root.chmod(0o777)
    (path,) = cached(home)
    path.unlink()
    storage.reset()

    assert load(reader(storage, home), artifact) == buffers
    assert storage.requests > 0
    storage.reset()
    assert reader(storage, home).catalog.run("user:ana", "flow0", run).run == run
    assert storage.requests == 2
    assert cached(home) == []


def test_a_cache_that_cannot_be_made_is_no_error(home: Path) -> None:
    """Where the cache's folder is a file, or a link to somewhere else, loads go on without it."""
    storage = Remote()
    artifact, buffers = saved(storage)
    (home / "cache").mkdir(parents=True)
    (home / "cache" / "remote").write_bytes(b"")
    assert load(reader(storage, home), artifact) == buffers
    (home / "cache" / "remote").unlink()
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "cache" / "remote").symlink_to(home / "elsewhere")
    assert load(reader(storage, home), artifact) == buffers
    assert list((home / "elsewhere").rglob("*")) == [home / "elsewhere" / ".incoming"]


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "rename", "open", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_full_or_broken_disk_is_no_error(home: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """Whatever the system answers while the cache is being filled, the load succeeds, and no part of a file stays."""
    storage = Remote()
    artifact, buffers = saved(storage)
    real = getattr(os, call)

    def fail(*args: Any, **options: Any) -> Any:
        if call == "open" and not args[1] & os.O_CREAT:
            return real(*args, **options)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(f"holdall_store.repository._cache.os.{call}", fail)
        assert load(reader(storage, home), artifact) == buffers
    assert incoming(home) == []
    if call != "posix_fallocate":  # a system without it does without it
        assert cached(home) == []


def test_pickles_are_trusted_no_more_from_the_cache(home: Path) -> None:
    """What runs code is refused from a store that is not trusted, whether it is in the cache or not."""
    storage = Remote()
    artifact = save(Repository(storage), {"a": encode({1, threading.current_thread().__class__})})["a"]
    assert artifact.record.runs_code
    store = reader(storage, home)
    assert store.load(artifact, trust=True) is not None

    with pytest.raises(UnsafeLoadError):
        store.load(artifact)


def test_stores_share_data_but_no_records(home: Path) -> None:
    """What two stores prove to be the same is kept once; what a store says of its runs is kept for it alone."""
    first, second = Remote(place="one"), Remote(place="two")
    artifact, buffers = saved(first)
    for info in first.inner.list():
        second.inner.create(info.key, [first.inner.get(info.key)])
    run = next(reader(first, home).catalog.newest("user:ana", "flow0")).run
    load(reader(first, home), artifact)

    assert load(reader(second, home), artifact) == buffers
    assert second.requests == 0
    assert reader(second, home).catalog.run("user:ana", "flow0", run).run == run
    assert second.requests == 2


def test_a_store_cannot_pass_its_data_off_as_anothers(home: Path) -> None:
    """An artifact that claims the digest of another one is still loaded as what it is, and so is the other."""
    import msgspec

    mine, theirs = Remote(place="mine"), Remote(place="theirs")
    artifact, buffers = saved(mine)
    forged, others = saved(theirs, seed=50)
    forged = StoredArtifact(msgspec.structs.replace(forged.record, digest=artifact.record.digest), forged.packs)

    assert load(reader(theirs, home), forged) == others
    assert load(reader(mine, home), artifact) == buffers


def test_what_was_used_longest_ago_goes_first(home: Path) -> None:
    """Where the bound is reached, files go in the order of their last use; what was just written stays."""
    storage = Remote()
    artifacts = [saved(storage, seed=10 * n, sizes=[300_000])[0] for n in range(4)]
    bound = 1_000_000
    paths = []
    for number, artifact in enumerate(artifacts[:3]):
        before = set(cached(home))
        load(reader(storage, home, cache_bytes=bound), artifact)
        (path,) = set(cached(home)) - before
        paths.append(path)
        os.utime(path, (1000 + number, 1000 + number))
    storage.reset()
    load(reader(storage, home, cache_bytes=bound), artifacts[0])
    assert storage.requests == 0
    assert paths[0].stat().st_mtime > 2000

    load(reader(storage, home, cache_bytes=bound), artifacts[3])

    left = set(cached(home))
    assert {path in left for path in paths[1:2]} == {False}
    assert paths[0] in left
    assert cache_usage(reader(storage, home).settings).bytes <= bound


@pytest.mark.parametrize(("chance", "left"), [(1.0, 3), (0.0, 2)])
def test_room_is_looked_for_by_chance(home: Path, chance: float, left: int) -> None:
    """A small file is seldom a reason to look at all others; where it is, what is too much goes."""
    config = reader(Remote(), home, cache_bytes=1 << 20).settings
    cache = Cache(config, "far", lambda: chance)
    for number in range(2):
        old = home / "cache" / "remote" / "data" / f"{number}{number}" / "old"
        old.parent.mkdir(parents=True, mode=0o700)
        old.write_bytes(bytes(600_000))
        os.utime(old, (number, number))
    (home / "cache" / "remote").chmod(0o700)

    cache.keep_record("runs/a/00000000", b"small")

    assert len(cached(home)) + len(cached(home, "records")) == left
    assert len(cached(home, "records")) == 1


def test_what_is_larger_than_the_bound_is_not_kept(home: Path) -> None:
    """An artifact that does not fit is loaded without the cache, and drives nothing out of it."""
    storage = Remote()
    small, _ = saved(storage, sizes=[50_000])
    large, buffers = saved(storage, seed=5, sizes=[400_000])
    load(reader(storage, home, cache_bytes=300_000), small)
    before = cached(home)

    assert load(reader(storage, home, cache_bytes=300_000), large) == buffers
    assert cached(home) == before


def test_an_evicted_map_stays_readable(home: Path) -> None:
    """What somebody has mapped is as it was after its file was deleted."""
    storage = Remote()
    artifact, buffers = saved(storage)
    found = reader(storage, home).read_buffers(artifact, [0, 1, 2])

    gone = clear_cache(reader(storage, home).settings)

    assert gone.files == 1
    assert gone.bytes >= sum(SIZES)
    assert cached(home) == []
    assert [bytes(part) for part in found] == buffers


def test_what_a_dead_process_left_is_swept(home: Path) -> None:
    """A file that nobody finished is deleted after an hour, and not before: somebody may still be writing it."""
    storage = Remote()
    artifact, _ = saved(storage)
    load(reader(storage, home), artifact)
    left = home / "cache" / "remote" / ".incoming" / "0123"
    left.write_bytes(b"half")
    config = reader(storage, home).settings

    trim_cache(config)
    assert left.exists()
    trim_cache(config, now=left.stat().st_mtime + 3601)
    assert not left.exists()
    assert len(cached(home)) == 1


def test_threads_fill_and_read_it_together(home: Path) -> None:
    """Several threads that load the same at once, through one store, all get it."""
    storage = Remote()
    artifacts = [saved(storage, seed=10 * n) for n in range(3)]
    store = reader(storage, home)
    wrong: list[int] = []

    def work() -> None:
        for number, (artifact, buffers) in enumerate(artifacts * 3):
            if load(store, artifact) != buffers:
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert len(cached(home)) == 3
    assert incoming(home) == []


@pytest.mark.parametrize("fault", [ObjectNotFoundError("gone"), KeyboardInterrupt()])
def test_a_fetch_that_fails_leaves_nothing(home: Path, fault: BaseException) -> None:
    """Where the store fails while a file is being filled, its error is raised, and nothing of the file stays."""

    class Failing(Remote):
        def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
            if key.startswith("packs/") and incoming(home):
                raise fault
            return super().get(key, start, length)

    storage = Failing(pack_bytes=64 << 20)
    artifact, _ = saved(storage, sizes=[6 << 20])

    with pytest.raises(type(fault)):
        load(reader(storage, home), artifact)
    assert cached(home) == incoming(home) == []


def test_the_default_bound_is_a_tenth_of_a_small_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a setting it is ten gigabytes, or a tenth of the disk; a setting is taken at its word."""

    def disk(blocks: int) -> Callable[[Any], Any]:
        return lambda path: os.statvfs_result((4096, 4096, blocks, 0, 0, 0, 0, 0, 0, 255))

    config = reader(MemoryStorage(), home).settings
    monkeypatch.setattr("holdall_store.config.os.statvfs", disk(1 << 20))
    assert config.cache_bound() == (4 << 30) // 10
    monkeypatch.setattr("holdall_store.config.os.statvfs", disk(1 << 30))
    assert config.cache_bound() == 10 << 30
    assert reader(MemoryStorage(), home, cache_bytes=50 << 30).settings.cache_bound() == 50 << 30
