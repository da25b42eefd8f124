"""The writer's half of the protocol: the order of its requests, and what it does about a collector and lost answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.engine._collector import Collector, Gated
from tests.engine._engine import begin, keys, latest, names_of, pack_bytes, read, repository, save, stretch, value

from holdall_store.errors import AlreadyExistsError, ConflictError, RunStateError, StorageError
from holdall_store.format import RunRecord, seal, slot_key
from holdall_store.repository import Repository, RunWriter
from holdall_store.storage import Buffer, Storage
from holdall_store.testing import FaultyStorage, LostAnswer, StaleListing, WrappedStorage

OLD, NEW = stretch(1, 300_000), stretch(2, 100_000)


def orphan(storage: Storage, home: Path) -> set[str]:
    """Leave a pack with `OLD` in it to which no record refers, and return its name."""
    store = repository(storage, home, seed=7)
    run = begin(store)
    names = names_of(run.save({"a": value(OLD)}).values())
    storage.delete(keys(storage, "runs/"))
    store.close()
    return names


def trace(storage: FaultyStorage) -> list[str]:
    """Return the requests that the protocol is about, in their order, with the run's own key left out."""
    named = []
    for call in storage.calls:
        place, _, rest = call.key.partition("/")
        if place == "runs":
            named.append(f"{call.verb} slot {int(rest[-8:])}" if rest[-1:].isdigit() else f"{call.verb} slots")
        elif place == "gc" or (place == "packs" and call.verb in ("list", "create")):
            named.append(f"{call.verb} {place}")
    return named


def assert_order(storage: FaultyStorage, *expected: str) -> None:
    """Assert what was asked, in its order; which packs there are is looked up while the log is opened, or after that."""
    found = trace(storage)
    assert found.index("list packs") < found.index("create packs")
    assert [call for call in found if call != "list packs"] == [call for call in expected if call != "list packs"]
    assert found.count("list packs") == expected.count("list packs")


def gated(storage: Storage, home: Path, verb: str, prefix: str, action: Callable[[], None], nth: int = 1) -> Repository:
    """Return the store, seen so that `action` happens before request number `nth` of `verb` under `prefix`."""
    count = 0

    def gate(called: str, key: str) -> None:
        nonlocal count
        if called == verb and key.startswith(prefix):
            count += 1
            if count == nth:
                action()

    return repository(Gated(storage, gate), home)


def test_the_order_of_a_save_that_reuses(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Open, look what is condemned, see which packs there are, store the rest, look again, commit."""
    storage = FaultyStorage(empty())
    orphan(storage, tmp_path)
    storage.calls.clear()
    store = repository(storage, tmp_path)
    saved = begin(store).save({"a": value(OLD, NEW)})["a"]

    assert_order(storage, "create slot 0", "list gc", "list packs", "create packs", "list gc", "create slot 1")
    assert 100_000 <= saved.record.new < 101_000
    assert read(store, saved) == [OLD, NEW]


def test_the_order_of_a_save_of_own_chunks(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """An open log protects its own packs: who refers to no others does not look again, and looks once in a run."""
    storage = FaultyStorage(empty())
    run = begin(repository(storage, tmp_path))
    run.save({"a": value(OLD)})
    assert_order(storage, "create slot 0", "list gc", "list packs", "create packs", "create slot 1")
    storage.calls.clear()
    run.save({"b": value(OLD, NEW)})
    run.save({"c": value(b"small")})
    run.end("succeeded")
    assert trace(storage) == ["create packs", "create slot 2", "create slot 3"]


def test_a_run_of_small_values_is_one_create(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """No open slot, no pack, no look."""
    storage = FaultyStorage(empty())
    run = begin(repository(storage, tmp_path))
    run.save({"a": value(b"1")})
    run.save({"b": value(b"2")})
    run.end("succeeded")

    assert [call.verb for call in storage.calls] == ["get", "create", "create"]
    assert trace(storage) == ["create slot 0"]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_pack_that_is_condemned_is_not_referred_to(tmp_path: Path, empty: Callable[[], Storage], nth: int) -> None:
    """Condemned before the first look: not reused. Condemned before the second: stored again, whole, before the commit."""
    storage = empty()
    condemned = orphan(storage, tmp_path)
    collector = Collector(storage)

    def condemn() -> None:
        collector.list_packs()
        collector.read_logs()
        collector.condemn()

    store = gated(storage, tmp_path, "list", "gc/", condemn, nth)
    run = begin(store)
    saved = run.save({"a": value(OLD, NEW)})["a"]
    assert collector.candidates == condemned
    assert not names_of([saved]) & condemned
    collector.fence()
    collector.mark_again()
    collector.delete_and_done()
    run.save({"b": value(OLD)})
    run.end("succeeded")

    assert collector.spared == set()
    assert latest(store) == {"a": [OLD, NEW], "b": [OLD]}


def test_what_was_condemned_and_spared_may_be_used_again(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A done record that spares a pack frees it."""
    storage = empty()
    spared = orphan(storage, tmp_path)
    collector = Collector(storage)
    for step in (collector.list_packs, collector.read_logs, collector.condemn):
        step()
    collector.spared = set(spared)
    collector.delete_and_done()
    saved = save(repository(storage, tmp_path), {"a": value(OLD)})["a"]

    assert names_of([saved]) == spared


def test_a_fence_is_learnt_before_the_second_look(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A taken slot is read first; only then does the writer look at the collector's log, and take the next slot."""
    storage = empty()
    condemned = orphan(storage, tmp_path)
    collector = Collector(storage)

    def condemn_and_fence() -> None:
        for step in (collector.list_packs, collector.read_logs, collector.condemn, collector.fence):
            step()

    seen = FaultyStorage(storage)
    slots = 0

    def gate(verb: str, key: str) -> None:
        nonlocal slots
        if verb == "create" and key.startswith("runs/"):
            slots += 1
            if slots == 2:  # the commit, after all has been looked at
                condemn_and_fence()

    store = repository(Gated(seen, gate), tmp_path)
    saved = begin(store).save({"a": value(OLD)})["a"]
    order = trace(seen)
    taken = order.index("create slot 1")

    assert not names_of([saved]) & condemned
    assert order[taken : taken + 2] == ["create slot 1", "get slot 1"]
    assert order.index("get slot 1") < order.index("list gc", taken) < order.index("create slot 2")
    assert order.index("list gc", taken) < order.index("create packs") < order.index("create slot 2")
    assert latest(store) == {"a": [OLD]}


def test_many_fences_are_learnt_one_after_the_other(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """However many collections passed since the last record, the next free slot is found."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(OLD)})
    for _ in range(5):
        Collector(storage).fence()
    run.save({"b": value(NEW)})
    run.end("succeeded")

    assert latest(store) == {"a": [OLD], "b": [NEW]}
    assert [int(key[-8:]) for key in keys(storage, "runs/")] == list(range(9))


def test_a_pack_condemned_again_and_again_is_an_error(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A collector that condemns everything all the time cannot make the writer commit, nor try forever."""
    storage = empty()
    orphan(storage, tmp_path)
    copies = [stretch(1, 300_000)]

    class Unlucky(RunWriter):
        def _store(self, items: object) -> None:
            # Another writer stores the same meanwhile, so that there is always something to refer to.
            helper = repository(storage, tmp_path / str(len(copies)), seed=100 + len(copies))
            copies.append(b"")
            begin(helper, "other").save({"x": value(OLD)})
            storage.delete(keys(storage, "runs/user%3aana/other/"))
            helper.close()
            self._packs = None if self._packs is None else self._packs
            self._make_index().refresh(storage)
            super()._store(items)  # type: ignore[arg-type]

    def gate(verb: str, key: str) -> None:
        if verb == "list" and key == "gc/":
            collector = Collector(storage)
            collector.list_packs()
            collector.read_logs()
            collector.condemn()

    store = repository(Gated(storage, gate), tmp_path / "own", seed=3)
    run = begin(store)
    unlucky = Unlucky(
        store.storage, store.index, run.head, clock=store.clock, ratio_max=0, info=dict, create=store.create
    )
    unlucky._begin(0)
    assert unlucky._opening is not None
    unlucky._opening.wait()
    with pytest.raises(ConflictError, match="condemned 5 times"):
        unlucky.save({"a": value(OLD)})
    assert unlucky.view_pending() == {}


def test_an_abandoned_run_takes_nothing_more(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """The writer learns at its next record; what was committed stays; ending says nothing more."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(OLD)})
    Collector(storage).abandon()
    with pytest.raises(RunStateError, match="given up"):
        run.save({"b": value(NEW)})
    with pytest.raises(RunStateError, match="has ended"):
        run.save({"c": value(b"3")})
    run.end("succeeded")
    view = next(store.catalog.newest("user:ana", "flow"))

    assert latest(store) == {"a": [OLD]}
    assert (view.status, view.ended) == ("failed", True)
    assert view.exception is not None
    assert view.exception.type == "Abandoned"


def test_a_stranger_in_the_log_is_an_error(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A record of another writer under the same run means that ids are not unique: nothing is mixed."""
    storage = empty()
    store = repository(storage, tmp_path)
    run = begin(store)
    run.flush()
    prefix = keys(storage, "runs/")[0][:-8]
    head = run.head
    stranger = RunRecord(holdall=1, log="run", event="commit", slot=1, write_id="x", time="", namespace=head.namespace,
                         flow=head.flow, run=head.run, writer="z" * 16)  # fmt: skip
    storage.create(slot_key(prefix, 1), [seal(stranger)])
    with pytest.raises(ConflictError, match="Somebody else"):
        run.save({"a": value(b"1")}, commit=True)


# Answers that are lost, or lie.


def scenario(storage: Storage, home: Path, seed: int = 0) -> Repository:
    """Save in two runs, the second one with what the first stored."""
    store = repository(storage, home, seed=seed)
    first = begin(store)
    first.save({"a": value(OLD), "s": value(b"small")})
    first.end("succeeded")
    second = begin(store)
    second.save({"b": value(OLD, NEW)})
    second.save({"t": value(b"tiny")}, commit=True)
    second.end("succeeded")
    return store


def test_a_lost_answer_to_any_create_changes_nothing(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Every create may have taken effect though it failed: it is looked up, and nothing is written twice."""
    whole = FaultyStorage(empty())
    scenario(whole, tmp_path / "whole").close()
    creates = [number for number, call in enumerate(whole.calls) if call.verb == "create"]
    assert len(creates) == 10

    for number in creates:
        inner = empty()
        store = scenario(FaultyStorage(inner, [LostAnswer(number)]), tmp_path / str(number))
        assert keys(inner) == keys(whole.inner)
        assert latest(store) == {"b": [OLD, NEW], "t": [b"tiny"]}
        store.close()


class Refusing(WrappedStorage):
    """Says "already there" to some creates that have no effect, as a server does when two are in each other's way."""

    def __init__(self, inner: Storage, refused: set[int]) -> None:
        super().__init__(inner)
        self.refused = refused
        self.creates = 0

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        self.creates += 1
        if self.creates - 1 in self.refused:
            for _ in parts:
                continue
            raise AlreadyExistsError(f"There already is an object {key!r}.")
        return self.inner.create(key, parts)


def test_already_there_is_believed_only_where_something_is(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A refused create of a record is tried again; a refused pack is an error, and the next save stores it."""
    for number in range(10):
        inner = empty()
        storage = Refusing(inner, {number})
        failed = False
        for seed in range(2):
            try:
                store = scenario(storage, tmp_path / str(number), seed)
            except AlreadyExistsError:
                failed = True
            else:
                break
        assert failed == (number in (2, 6))  # the packs
        assert latest(store) == {"b": [OLD, NEW], "t": [b"tiny"]}
        store.close()
    with pytest.raises(AlreadyExistsError):
        scenario(Refusing(empty(), set(range(20))), tmp_path / "all")


def test_a_record_that_landed_although_its_create_failed(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """Where even the look fails, the save raises; the run goes on, and nothing is there twice."""

    class Broken(WrappedStorage):
        broken = False

        def create(self, key: str, parts: Iterable[Buffer]) -> int:
            size = self.inner.create(key, parts)
            if self.broken and key.startswith("runs/"):
                raise StorageError(5, f"Cannot create {key!r}: Input/output error.")
            return size

    inner = empty()
    storage = Broken(inner)
    store = repository(storage, tmp_path)
    run = begin(store)
    run.save({"a": value(OLD)})
    storage.broken = True
    with pytest.raises(StorageError):
        run.save({"b": value(NEW)})
    storage.broken = False
    before = pack_bytes(inner)
    run.save({"b": value(NEW)})
    assert pack_bytes(inner) == before
    storage.broken = True
    with pytest.raises(StorageError):
        run.end("succeeded")
    storage.broken = False
    with pytest.raises(RunStateError, match="has ended"):
        run.save({"c": value(NEW)}, commit=True)
    run.end("succeeded")

    assert [int(key[-8:]) for key in keys(inner, "runs/")] == [0, 1, 2, 3, 4]
    assert latest(store) == {"a": [OLD], "b": [NEW]}
    assert next(store.catalog.newest("user:ana", "flow")).status == "succeeded"


def test_a_late_listing_of_a_log_does_not_hold_the_writer(tmp_path: Path, empty: Callable[[], Storage]) -> None:
    """A taken slot is found though no listing shows it yet."""
    inner = empty()
    run = begin(repository(FaultyStorage(inner, [StaleListing(1000)]), tmp_path))
    run.save({"a": value(OLD)})
    Collector(inner).fence()
    run.save({"b": value(NEW)})
    run.end("succeeded")

    assert latest(repository(inner, tmp_path)) == {"a": [OLD], "b": [NEW]}
