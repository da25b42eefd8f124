"""What a collection does: frees, spares, takes apart, gives up, finishes what others left, and refuses to guess."""

from __future__ import annotations

import datetime as dt
import errno
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.engine._collector import Gated
from tests.engine._engine import Ticking, begin, copy, keys, names_of, pack_bytes, repository, stretch, value

from holdall_store.errors import IntegrityError, RunStateError, StorageError
from holdall_store.format import RunRecord, pack_key, run_prefix
from holdall_store.repository import Collection, Collector, Log, Repository, RunWriter
from holdall_store.storage import Buffer, LocalStorage, MemoryStorage, Storage
from holdall_store.testing import CrashAfter, CrashBefore, FaultyStorage, LostAnswer, SimulatedCrash, WrappedStorage

A, B, C = (stretch(seed, 700_000) for seed in (1, 2, 3))


def collect(storage: Storage, seed: int = 50, **options: dt.timedelta) -> Collection:
    """Collect a store."""
    collector = Collector(storage, Ticking(seed), **options)
    return collector.apply(collector.plan())


@pytest.fixture(params=["mapped", "memory", "bucket"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    """Return what makes empty storages: on the disk, in memory, and in a bucket."""
    if request.param == "bucket":
        made: Callable[[], Storage] = request.getfixturevalue("bucket").empty
        return made
    numbers = itertools.count()
    return MemoryStorage if request.param == "memory" else lambda: LocalStorage(tmp_path / f"s{next(numbers)}")


def latest(store: Repository, flow: str = "flow") -> dict[str, list[bytes]]:
    """Return what the newest run holds, read as a new process without a cache reads it."""
    fresh = Repository(store.storage, replace(store.settings, cache_bytes=0))
    view = next(fresh.catalog.newest("user:ana", flow))
    return {
        name: [bytes(part) for part in fresh.read_buffers(artifact, range(len(artifact.record.buffers)))]
        for name, artifact in view.artifacts.items()
    }


def forget(storage: Storage, run: RunWriter) -> None:
    """Leave nothing of a run but its packs."""
    storage.delete(keys(storage, run_prefix(run.head.namespace, run.head.flow, run.head.run)))


def saved(store: Repository, flow: str = "flow", **values: bytes) -> RunWriter:
    """Save in a run of its own, and return its writer."""
    run = begin(store, flow)
    run.save({name: value(data) for name, data in values.items()})
    run.end("succeeded")
    return run


def test_what_is_referred_to_stays(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A store without garbage has nothing to collect, and a collection of it writes nothing."""
    storage = empty()
    store = repository(storage, tmp_path)
    saved(store, a=A, b=B)
    before = keys(storage)
    plan = Collector(storage, store.clock).plan()

    assert not plan
    assert (plan.packs, plan.dead_bytes, plan.bytes) == (len(keys(storage, "packs/")), 0, pack_bytes(storage))
    assert collect(storage) == Collection((), (), (), ())
    assert keys(storage) == before


def test_what_nothing_refers_to_goes(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """The plan names the packs and their bytes, and does nothing; to apply it deletes them and nothing else."""
    storage = empty()
    store = repository(storage, tmp_path)
    forget(storage, saved(store, "other", c=C))
    garbage = set(keys(storage, "packs/"))
    saved(store, a=A)
    collector = Collector(storage, store.clock)
    plan = collector.plan()

    assert {pack_key(pack.name) for pack in plan.delete} == garbage <= set(keys(storage))
    assert plan.dead_bytes == sum(pack.bytes for pack in plan.delete) > len(C)
    assert {pack_key(name) for name in collector.apply(plan).deleted} == garbage
    assert not garbage & set(keys(storage))
    assert latest(store) == {"a": [A]}


def test_a_pack_that_is_half_dead_is_taken_apart(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Its live chunks are found where they lie now, by readers that were there before and by new ones, and again later."""
    storage = empty()
    store = repository(storage, tmp_path)
    first = saved(store, a=A, b=B, c=C)
    kept = saved(store, "kept", b=B)
    mine = store.catalog.run("user:ana", "kept", kept.head.run).artifacts["b"]
    assert [bytes(part) for part in store.read_buffers(mine, [0])] == [B]
    before = names_of([mine])
    forget(storage, first)
    done = collect(storage)

    assert set(done.moved) == before
    assert pack_bytes(storage) < len(B) * 1.05
    for reader in (store, repository(storage, tmp_path / "new")):
        assert [bytes(part) for part in reader.read_buffers(mine, [0])] == [B]
        assert bytes(reader.read_range(mine, 0, 300_000, 1000)) == B[300_000:301_000]
    again = saved(repository(storage, tmp_path / "third", seed=9), "again", b=B, c=C)
    assert pack_bytes(storage) < len(B + C) * 1.05  # what was moved is found by those who save the same
    forget(storage, again)
    collect(storage, 60)
    assert not Collector(storage, Ticking(61)).plan()
    fresh = repository(storage, tmp_path / "fourth")
    assert [bytes(part) for part in fresh.read_buffers(mine, [0])] == [B]
    forget(storage, kept)
    collect(storage, 70)
    assert keys(storage, "packs/") == []


def test_a_pack_is_moved_twice(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """What was moved may be moved again when less of it is alive."""
    storage = empty()
    store = repository(storage, tmp_path)
    first = saved(store, a=A, b=B, c=C)
    second, third = saved(store, "second", a=A, b=B), saved(store, "third", b=B)
    mine = store.catalog.run("user:ana", "third", third.head.run).artifacts["b"]
    sizes = [pack_bytes(storage)]
    for seed, run in ((50, first), (60, second)):
        forget(storage, run)
        collect(storage, seed)
        sizes.append(pack_bytes(storage))
        assert [bytes(part) for part in store.read_buffers(mine, [0])] == [B]

    assert sizes[0] > len(A + B + C) > sizes[1] > len(A + B) > sizes[2] > len(B)


def test_what_was_moved_can_be_promoted(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A promotion refers to where the chunks lie now, and a later collection keeps them for it."""
    storage = empty()
    store = repository(storage, tmp_path)
    first = saved(store, a=A, b=B, c=C)
    second, kept = saved(store, "second", a=A, b=B), saved(store, "kept", b=B)
    for seed, run in ((50, first), (60, second)):
        forget(storage, run)
        collect(storage, seed)
    view = store.catalog.run("user:ana", "kept", kept.head.run)
    promoted = store.promote(view, "production:kept")
    forget(storage, kept)
    collect(storage, 70)

    fresh = repository(storage, tmp_path / "fresh")
    found = fresh.catalog.run("production:kept", "kept", promoted.run).artifacts["b"]
    assert [bytes(part) for part in fresh.read_buffers(found, [0])] == [B]
    assert found.record.digest == view.artifacts["b"].record.digest
    assert {pack_key(name) for name in names_of([found])} <= set(keys(storage))
    assert len(B) < pack_bytes(storage) < len(B) * 1.05


def test_an_open_run_keeps_its_packs(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Packs of a run that goes on are not collected, whatever refers to them."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(A)})
    run.save({"a": value(B)})  # nothing means A any more, but in earlier records
    assert not Collector(storage, store.clock).plan()
    run.end("succeeded")
    collect(storage)

    assert latest(store) == {"a": [B]}


def test_a_run_that_died_is_given_up(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """After the time that is told, it counts as failed; what it committed is kept, and what it only stored goes."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(A)})
    packs = run._begin(0)
    packs.write([value(B).buffers[0]])  # stored, and the process died before the commit
    collector = Collector(storage, Ticking(24 * 40))
    plan = collector.plan()
    assert len(plan.abandon) == 1
    done = collector.apply(plan)

    assert done.abandoned == tuple(log.prefix for log in plan.abandon)
    assert pack_bytes(storage) < len(A) * 1.05
    view = next(store.catalog.newest("user:ana", "flow"))
    assert (view.status, view.ended) == ("failed", True)
    assert latest(store) == {"a": [A]}
    with pytest.raises(RunStateError, match="given up"):
        run.save({"c": value(C)})


def test_who_was_heard_of_after_all_is_not_given_up(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A run that commits between the plan and its application goes on, with all that it owns."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(A)})
    collector = Collector(storage, Ticking(24 * 40))
    plan = collector.plan()
    run.save({"b": value(B)})
    done = collector.apply(plan)
    run.save({"c": value(C)})
    run.end("succeeded")

    assert (done.abandoned, done.deleted) == ((), ())
    assert latest(store) == {"a": [A], "b": [B], "c": [C]}


@pytest.mark.parametrize("fault", [CrashBefore, CrashAfter, LostAnswer])
def test_faults_at_every_call(tmp_path: Path, empty: Callable[[], Storage], fault: type) -> None:
    """Wherever a collector dies or an answer is lost, the next one finishes its work, and nothing else is touched."""

    def prepare(folder: Path) -> tuple[Storage, Repository]:
        storage = empty()
        store = repository(storage, folder)
        gone = saved(store, a=A, c=C)
        saved(store, "kept", a=A)
        forget(storage, gone)
        forget(storage, saved(store, "other", b=B))
        return storage, store

    storage, _ = prepare(tmp_path / "count")
    counting = FaultyStorage(storage)
    collect(counting)
    calls = len(counting.calls)
    assert calls > 10
    for number in range(calls):
        storage, store = prepare(tmp_path / str(number))
        try:
            collect(FaultyStorage(storage, [fault(number)]))
        except (SimulatedCrash, StorageError):
            assert fault is not LostAnswer or counting.calls[number].verb != "create"
        assert latest(store, "kept") == {"a": [A]}
        collect(storage, 60)
        collect(storage, 70)
        assert latest(store, "kept") == {"a": [A]}
        assert pack_bytes(storage) < len(A) * 1.05
        store.close()


def test_a_damaged_pack_is_left_alone(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Damage is never copied: the pack stays, and the collection says why."""
    storage = empty()
    store = repository(storage, tmp_path)
    first = saved(store, a=A, b=B)
    saved(store, "kept", b=B)
    forget(storage, first)
    (key,) = keys(storage, "packs/") if len(keys(storage, "packs/")) == 1 else keys(storage, "packs/")[-1:]
    data = bytearray(storage.get(key))
    data[-60_000 if len(data) < len(B) else 1_000_000] ^= 1
    storage.delete([key])
    storage.create(key, [data])
    done = collect(storage)

    if done.damaged:
        assert set(done.damaged) <= set(done.spared)
        assert all("damaged" in why for why in done.damaged.values())
        assert key in keys(storage)
    with pytest.raises(IntegrityError):
        latest(store, "kept")


def test_a_log_that_lacks_a_record_stops_everything(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Nothing is deleted where it is not known what is referred to."""
    storage = empty()
    store = repository(storage, tmp_path)
    forget(storage, saved(store, "other", c=C))
    run = begin(store)
    run.save({"a": value(A)})
    run.save({"b": value(B)})
    storage.delete([f"{run_prefix('user:ana', 'flow', run.head.run)}00000001"])
    before = keys(storage, "packs/")

    with pytest.raises(IntegrityError, match="lacks record 1"):
        collect(storage)
    assert keys(storage, "packs/") == before


def test_what_else_lies_among_the_packs_is_not_ours(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A file that is no pack of holdall's is left where it is."""
    storage = empty()
    store = repository(storage, tmp_path)
    saved(store, a=A)
    storage.create("packs/README", [b"keep me"])

    assert not Collector(storage, store.clock).plan()
    assert "packs/README" in keys(storage)


def say(storage: Storage, run: RunWriter, event: str, *names: str) -> None:
    """Append to the log of a run that it, or artifacts of it, are deleted or restored."""
    log = Log(storage, run_prefix(run.head.namespace, run.head.flow, run.head.run), RunRecord)
    last = log.read(log.slots()[-1])
    record = RunRecord(holdall=1, log="run", event=event, slot=last.slot + 1, write_id=event, time=last.time,
                       namespace=last.namespace, flow=last.flow, run=last.run, names=names)  # fmt: skip
    assert log.create(record.slot, record)


def test_deleted_runs_count_no_more(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Neither does an artifact that was deleted from a run; what was restored counts again."""
    storage = empty()
    store = repository(storage, tmp_path)
    gone, back, part = saved(store, "gone", a=A), saved(store, "back", b=B), saved(store, "part", a=B, c=C)
    say(storage, gone, "deleted")
    say(storage, back, "deleted")
    say(storage, back, "restored")
    say(storage, part, "deleted", "c")
    collect(storage)

    assert latest(store, "back") == {"b": [B]}
    assert latest(store, "part") == {"a": [B]}
    assert pack_bytes(storage) < len(B) * 1.05
    assert not Collector(storage, Ticking(60)).plan()


def test_what_is_restored_before_the_decision_is_spared(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A run that is restored between the plan and the decision keeps all that it refers to."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = saved(store, a=A)
    say(storage, run, "deleted")
    collector = Collector(storage, Ticking(50))
    plan = collector.plan()
    assert plan.dead_bytes > len(A)
    say(storage, run, "restored")
    done = collector.apply(plan)

    assert (done.deleted, len(done.spared)) == ((), len(keys(storage, "packs/")))
    assert latest(store) == {"a": [A]}


def test_an_artifact_deleted_from_a_run_that_goes_on(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """What the run's last record will tell again is kept until then."""
    storage = empty()
    store = repository(storage, tmp_path)
    base = saved(store, "base", a=A)
    run = begin(store)
    run.save({"a": value(A), "b": value(B)})
    say(storage, base, "deleted")
    done = collect(storage)
    assert not done.deleted
    run.save({"c": value(C)})
    run.end("succeeded")

    assert latest(store) == {"a": [A], "b": [B], "c": [C]}


def test_what_was_restored_from_a_copy_stays(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A pack that was deleted once, and came back together with a run that refers to it, is not deleted again."""
    storage = empty()
    store = repository(storage, tmp_path)
    whole, part = saved(store, "whole", a=A), saved(store, "part", b=B, c=C)
    saved(store, "kept", b=B)
    backup = copy(storage, MemoryStorage())
    for run in (whole, part):
        forget(storage, run)
    assert collect(storage).moved
    here = set(keys(storage))
    copy(backup, storage, [key for key in keys(backup) if key not in here])
    for seed in (60, 70):
        collect(storage, seed)

    assert latest(store, "whole") == {"a": [A]}
    assert latest(store, "part") == {"b": [B], "c": [C]}
    assert latest(store, "kept") == {"b": [B]}


def test_a_full_disk_is_made_empty(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Where there is no room to copy, what is wholly dead goes all the same, and then there is."""

    class Full(WrappedStorage):
        full = True

        def create(self, key: str, parts: Iterable[Buffer]) -> int:
            if self.full and key.startswith("packs/"):
                raise StorageError(errno.ENOSPC, "No space left on device.")
            return self.inner.create(key, parts)

    inner = empty()
    store = repository(inner, tmp_path)
    part = saved(store, "part", b=B, c=C)
    saved(store, "kept", b=B)
    forget(inner, saved(store, "gone", a=A))
    forget(inner, part)
    full = Full(inner)
    done = collect(full)

    assert len(done.deleted) == 1 or store.storage.traits.concurrency
    assert (done.moved, set(done.damaged)) == ((), set(done.damaged) & set(done.spared))
    assert all("No space" in why for why in done.damaged.values())
    assert latest(store, "kept") == {"b": [B]}
    full.full = False
    collect(full, 60)
    assert pack_bytes(inner) < len(B) * 1.05
    assert latest(store, "kept") == {"b": [B]}


def test_a_run_that_is_removed_meanwhile(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Whoever removes runs by hand while a collection reads them does not make it fail."""
    inner = empty()
    store = repository(inner, tmp_path)
    first, second = saved(store, "first", a=A), saved(store, "second", b=B)
    saved(store, "kept", c=C)
    open_run = begin(store, "open")
    open_run.save({"a": value(A)})
    removed: list[str] = []

    def gate(verb: str, key: str) -> None:
        if verb == "get" and key.startswith("runs/") and not removed:
            removed.append(key)
            for run in (first, second, open_run):
                forget(inner, run)

    collect(Gated(inner, gate))
    collect(inner, 60)

    assert removed
    assert latest(store, "kept") == {"c": [C]}
    assert pack_bytes(inner) < len(C) * 1.05
