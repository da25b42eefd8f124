"""Damage to every kind of object: the right value or an error that says of what, never a wrong byte."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine._engine import copy, keys, stretch
from tests.storage._bucket import Bucket

import holdall
from holdall import Client, HoldallError
from holdall_store.errors import FormatError, IntegrityError, NotFoundError
from holdall_store.format import GcRecord, seal
from holdall_store.storage import LocalStorage, MemoryStorage, ObjectInfo, Storage
from holdall_store.storage._object import ObjectStorage
from holdall_store.testing import Fault, FaultyStorage, FlipBits, Truncate, WrappedStorage, ZeroTail

if TYPE_CHECKING:
    from tests.storage._s3 import S3Server

NAMESPACE = "user:ana"

VALUES: dict[str, Any] = {
    "raw": stretch(1, 40_000),
    "zeros": bytes(40_000),
    "small": {"depth": 3, "names": ["a", "b"]},
    "list": [f"item {number}" for number in range(2_000)],
    "two": [stretch(1, 40_000), b"text " * 3000],
}


def fill(storage: Storage) -> Storage:
    """Leave two runs in `storage`: one that ended, and one that did not."""
    client = Client(storage, namespace=NAMESPACE)
    with holdall.run("flow", client=client) as run:
        run.save(raw=VALUES["raw"], zeros=VALUES["zeros"])
        run.save(VALUES)
    holdall.save(stretch(2, 30_000), "open/raw", client=client)
    holdall.alias("flow", "best", client=client)
    client.repository.close()
    return storage


@dataclass(frozen=True)
class Stored:
    """A store that is whole, and what makes other storages: of its kind, but where nothing is written to a disk."""

    storage: Storage
    empty: Callable[[], Storage] = MemoryStorage
    bucket: Bucket | None = None

    def without(self, *gone: str) -> Storage:
        """Return a copy that lacks some objects."""
        return copy(self.storage, self.empty(), [key for key in keys(self.storage) if key not in gone])

    @contextlib.contextmanager
    def damaged(self, fault: FlipBits | Truncate | ZeroTail) -> Iterator[Storage]:
        """Give the store with one damaged object: on a server for all who look, else as seen by one storage."""
        if self.bucket is None:
            yield FaultyStorage(self.storage, [fault])
            return
        assert isinstance(self.storage, ObjectStorage)
        whole = self.bucket.objects(self.storage)[fault.key]
        seen = FaultyStorage(MemoryStorage(), [fault])
        seen.create(fault.key, [whole])
        self.bucket.replace(self.storage, {fault.key: bytes(seen.get(fault.key))})
        try:
            yield self.storage
        finally:
            self.bucket.replace(self.storage, {fault.key: whole})


@pytest.fixture(scope="module", params=["mapped", "read", "bucket"])
def stored(request: pytest.FixtureRequest, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """A store where packs can be mapped, one where not, and one in a bucket."""
    if request.param == "bucket":
        bucket = Bucket(s3_server)
        return Stored(fill(bucket.empty()), bucket.empty, bucket)
    mapped = request.param == "mapped"
    return Stored(fill(LocalStorage(tmp_path_factory.mktemp("store") / "s") if mapped else MemoryStorage()))


@pytest.fixture(autouse=True)
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every load see the store itself: what was read before would hide the damage."""
    monkeypatch.setenv("HOLDALL_CACHE_SIZE", "0")


def reads(client: Client) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """Yield each value that was saved, and what loads it."""
    for name, expected in VALUES.items():
        yield expected, lambda name=name: client.load(f"flow/{name}")  # type: ignore[misc]
    yield VALUES["small"], lambda: client.load("flow/small:best")
    yield stretch(2, 30_000), lambda: client.load("open/raw")


def check(storage: Storage, *named: str) -> int:
    """Load everything: each is right, or an error that names the artifact or the object; return how many failed."""
    failed = 0
    for expected, load in reads(Client(storage, namespace=NAMESPACE, trust=True)):
        try:
            got = load()
        except HoldallError as error:
            failed += 1
            text = str(error)
            assert isinstance(error, IntegrityError | FormatError | NotFoundError)
            assert any(name in text for name in (f"{NAMESPACE}/flow/", f"{NAMESPACE}/open/", *named)), text
        else:
            assert got == expected
    return failed


def places(kind: str, size: int, step: int) -> list[int]:
    """Return where to damage an object of `size` bytes: all over it, more closely where every byte means something."""
    if kind != "pack":
        return [*range(0, size, 53 * step), size - 1]
    return [0, 20, 63, 64, 65, *range(1000, size - 700, 9973 * step), *range(size - 700, size, 23 * step), size - 1]


def kind_of(key: str) -> str:
    """Return what an object is."""
    return {"packs": "pack", "runs": "record", "aliases": "alias"}.get(key.partition("/")[0], "store")


def test_flipped_bits(stored: Stored) -> None:
    """A bit that changed anywhere is harmless or is found; those of what was saved are always found."""
    for info in stored.storage.list():
        kind = kind_of(info.key)
        failures = []
        for place in places(kind, info.size, 5 if stored.bucket else 1):
            with stored.damaged(FlipBits(info.key, place, 1 << place % 8)) as storage:
                failures.append(check(storage, info.key))
        if kind == "alias":
            assert min(failures) > 0
        elif kind == "pack":
            assert max(failures) > 0
            assert failures[:3] == [0, 0, 0]  # the header is for people
    assert {kind_of(key) for key in keys(stored.storage)} == {"pack", "record", "alias", "store"}


@pytest.mark.parametrize("fault", [Truncate, ZeroTail])
def test_torn_and_zeroed_tails(stored: Stored, fault: type[Truncate | ZeroTail]) -> None:
    """An object that lost its end, at any sector, is found; one that lost nothing is fine."""
    for info in stored.storage.list():
        ends = range(0, info.size, 512 if info.size < 10_000 else 8192 * (5 if stored.bucket else 1))
        for end in [*ends, info.size - 1]:
            with stored.damaged(fault(info.key, end)) as storage:
                failed = check(storage, info.key)
            assert failed > 0 or kind_of(info.key) in ("store", "record", "pack")
        with stored.damaged(fault(info.key, info.size)) as storage:
            assert check(storage, info.key) == 0


def test_the_tail_of_the_newest_record_is_always_missed(stored: Stored) -> None:
    """What was torn off the record that a load needs never goes unseen."""
    last = max(key for key in keys(stored.storage, "runs/") if "/flow/" in key)
    size = stored.storage.head(last).size
    for end in range(0, size, 200):
        with stored.damaged(Truncate(last, end)) as storage:
            assert check(storage, last) == len(VALUES) + 1


def test_missing_packs(stored: Stored) -> None:
    """What lies in a pack that is gone is an error that says so; all else loads."""
    for key in keys(stored.storage, "packs/"):
        storage = stored.without(key)
        failed = check(storage, key)
        assert 0 < failed < len(VALUES) + 2


def test_missing_slots(stored: Stored) -> None:
    """A log that lacks a slot between others is an error; one that lacks its last tells what was so before."""
    for key in keys(stored.storage, "runs/"):
        storage = stored.without(key)
        # Without its last record the run has not ended: that is said, with the way to its artifacts.
        failed = check(storage, key.rpartition("/")[0], "No successful run of flow")
        later = key[:-8] + f"{int(key[-8:]) + 1:08d}"
        assert failed > 0 or later not in keys(stored.storage)


def swapped(stored: Stored, one: str, two: str) -> Storage:
    """Return a copy in which two objects have each other's bytes."""
    storage = stored.without(one, two)
    storage.create(one, [stored.storage.get(two)])
    storage.create(two, [stored.storage.get(one)])
    return storage


def test_swapped_objects(stored: Stored) -> None:
    """Objects under each other's names, which are whole by themselves, are found out."""
    packs = keys(stored.storage, "packs/")
    records = keys(stored.storage, "runs/")
    assert len(packs) >= 2
    assert check(swapped(stored, packs[0], packs[1]), *packs) > 0
    for one, two in itertools.pairwise(records):
        failed = check(swapped(stored, one, two), *(key.rpartition("/")[0] for key in (one, two)))
        # The last record of a short run tells all of it, and nobody reads the others.
        assert failed > 0 or not {one, two} & {
            max(key for key in records if flow in key) for flow in ("/flow/", "/open/")
        }
    (alias,) = keys(stored.storage, "aliases/")
    assert check(swapped(stored, alias, records[0]), alias, records[0].rpartition("/")[0]) > 0


def test_aliases_under_each_others_names(empty: Callable[[], Storage]) -> None:
    """An alias whose record is another alias's never means the wrong run."""
    storage = empty()
    client = Client(storage, namespace=NAMESPACE)
    for number, name in enumerate(("champion", "challenger")):
        with holdall.run("flow", client=client) as run:
            run.save(model=number)
        holdall.alias(f"flow@{run.id}", name, client=client)
    mixed = Client(swapped(Stored(storage, empty), *keys(storage, "aliases/")), namespace=NAMESPACE)

    assert client.load("flow/model:champion") == 0
    for name in ("champion", "challenger"):
        with pytest.raises(IntegrityError, match="moved there"):
            mixed.load(f"flow/model:{name}")
        with pytest.raises(IntegrityError, match="moved there"):
            mixed.aliases.history(NAMESPACE, "flow", name)


class ShortListing(WrappedStorage):
    """Leaves `missing` out of its listings, as a server does that loses a page."""

    def __init__(self, inner: Storage, missing: set[str]) -> None:
        super().__init__(inner)
        self.missing = missing

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        return (info for info in self.inner.list(prefix, after) if info.key not in self.missing)


def test_listings_that_are_not_whole(stored: Stored) -> None:
    """A listing without its middle is found; one without its end shows an older state, in which nothing is wrong."""
    for key in keys(stored.storage):
        failed = check(ShortListing(stored.storage, {key}), key.rpartition("/")[0], "flow")
        if key.startswith("packs/"):
            assert failed == 0  # nobody lists packs in order to read


def test_a_save_into_a_store_whose_listing_is_not_whole(empty: Callable[[], Storage]) -> None:
    """Packs that no listing shows are not used; a run whose slots are not shown still gets the next one."""
    inner = fill(empty())
    storage = ShortListing(inner, set(keys(inner)))
    client = Client(storage, namespace=NAMESPACE)
    holdall.save(VALUES["raw"], "later/raw", client=client)

    assert Client(inner, namespace=NAMESPACE).load("later/raw") == VALUES["raw"]
    assert check(inner) == 0


def test_a_damaged_collectors_log_stops_saves_that_reuse(empty: Callable[[], Storage]) -> None:
    """Where it cannot be told what is condemned, nothing is committed that could refer to it; reading goes on."""
    storage = fill(empty())
    record = GcRecord(holdall=1, log="gc", event="condemn", slot=0, write_id="x", time="")
    storage.create("gc/00000000", [seal(record)[:-10]])
    with pytest.raises(IntegrityError, match="gc/00000000"):
        holdall.save(VALUES["raw"], "later/raw", client=Client(storage, namespace=NAMESPACE))
    storage.delete(["gc/00000000"])
    storage.create("gc/00000001", [seal(record)])
    with pytest.raises(IntegrityError, match="lacks slot 0"):
        holdall.save(VALUES["raw"], "even/raw", client=Client(storage, namespace=NAMESPACE))

    assert check(storage) == 0


def test_a_damaged_store_object_stops_saves_only(empty: Callable[[], Storage]) -> None:
    """Without the object that says what the store is, nothing is added to it; what is there loads."""
    storage = fill(empty())
    damages: Mapping[str, Fault] = {"flipped": FlipBits("holdall.json", 5), "torn": Truncate("holdall.json", 30)}
    for name, fault in damages.items():
        faulty = FaultyStorage(storage, [fault])
        with pytest.raises(IntegrityError, match="holdall.json"):
            holdall.save(1, f"{name}/x", client=Client(faulty, namespace=NAMESPACE))
        assert check(faulty) == 0
