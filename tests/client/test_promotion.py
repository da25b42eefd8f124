"""Promotion: a run becomes a run of another namespace, by reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine._engine import keys
from tests.engine._remote import Remote

import holdall
from holdall_store.format import GC_PREFIX, GcRecord, RunRecord, run_prefix
from holdall_store.repository import Log, Repository
from holdall_store.storage import MemoryStorage, Storage

ARRAY = np.arange(1 << 16, dtype="f8") ** 1.5


@pytest.fixture
def storage() -> Remote:
    """Return an empty store far away."""
    return Remote()


def ana(storage: Storage) -> holdall.Client:
    """Return Ana's client."""
    return holdall.Client(storage, namespace="user:ana")


def record(client: holdall.Client, **saved: Any) -> holdall.Run:
    """Record a run with parameters and metrics, and return it as a new process sees it."""
    with holdall.run("churn", params={"lr": 0.1}, tags=["nightly"], client=client) as run:
        run.log(auc=0.5)
        run.save(saved)
        run.log(auc=0.9)
    return holdall.Client(client._storage, namespace=client.namespace).run(f"churn@{run.id}")


def test_a_promoted_run(storage: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds what the run holds, is the newest of its namespace, and says where it came from."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    run = record(ana(storage), model=ARRAY, note="small")
    packs = keys(storage, "packs/")
    promoted = run.promote("production:churn", note="passed the shadow test")

    production = holdall.Client(storage, namespace="production:churn")
    found = production.flow("churn").latest_successful_run
    assert found == promoted != run
    assert (found.namespace, found.flow, found.status) == ("production:churn", "churn", "succeeded")
    assert found.origin == (f"user:ana/churn@{run.id}", "ana", "passed the shadow test", "promoted")
    assert run.origin is None
    assert (found.params, found.metrics, found.tags) == ({"lr": 0.1}, {"auc": 0.9}, {"nightly"})
    assert found.info == run.info
    assert promoted.tags == {"nightly"}
    assert found.keys() == ["model", "note"]
    np.testing.assert_array_equal(production.load("churn/model"), ARRAY)
    assert [point.value for point in found.metric("auc")] == [0.5, 0.9]
    assert keys(storage, "packs/") == packs
    assert found["model"].digest == run["model"].digest
    assert ana(storage).flow("churn").latest_run == run


def test_requests(storage: Remote) -> None:
    """On a bucket it takes four requests, and two where all values are small; with an alias two more."""
    client = ana(storage)
    large, small = record(client, model=ARRAY), record(client, model=1)
    storage.reset()
    large.promote("production:churn")
    assert dict(storage.calls) == {"create": 2, "list": 2}
    storage.reset()
    small.promote("production:churn")
    assert dict(storage.calls) == {"create": 1, "list": 1}
    storage.reset()
    small.promote("production:churn", alias="champion")
    assert dict(storage.calls) == {"create": 2, "list": 1}


def test_promoted_twice_over(storage: Remote) -> None:
    """A promoted run can be promoted further; points of metrics are found where they were logged."""
    run = record(ana(storage), model=ARRAY)
    staged = run.promote("staging:churn")
    found = staged.promote("production:churn").reload()
    assert found.origin is not None
    assert found.origin.reference == f"staging:churn/churn@{staged.id}"
    assert [point.value for point in found.metric("auc")] == [0.5, 0.9]


def test_failed_and_running(storage: Remote) -> None:
    """A failed run keeps its status and its exception; one that goes on is refused."""
    client = ana(storage)
    with pytest.raises(ZeroDivisionError), holdall.run("churn", client=client) as run:
        _ = run.save(model=1), 1 / 0
    promoted = client.run(f"churn@{run.id}").promote("team:x")
    assert promoted.status == "failed"
    assert promoted.exception is not None
    assert promoted.exception.type == "ZeroDivisionError"
    with holdall.run("churn", client=client) as active:
        active.flush()
        running = client.run(f"churn@{active.id}")
        with pytest.raises(holdall.RunStateError, match="still running: promote it when it has ended"):
            running.promote("team:x")


def test_bad_input(storage: Remote) -> None:
    """A namespace that is none, one's own, and an alias that cannot be are refused before anything is written."""
    run = record(ana(storage), model=1)
    before = keys(storage)
    for namespace, error, text in [
        ("production", holdall.InvalidNameError, "write kind:name"),
        (None, holdall.InvalidNameError, "Namespaces are strings"),
        ("user:ana", holdall.InvalidNameError, "lies in user:ana already"),
    ]:
        with pytest.raises(error, match=text):
            run.promote(namespace)  # type: ignore[arg-type]
    with pytest.raises(holdall.ConflictError, match="'latest' always means"):
        run.promote("production:churn", alias="latest")
    with pytest.raises(holdall.InvalidNameError, match="A note is a string"):
        run.promote("production:churn", note=1)  # type: ignore[arg-type]
    assert keys(storage) == before


def condemn(storage: Storage, packs: list[str], slot: int = 0) -> None:
    """Write what a collection writes before it deletes packs."""
    names = tuple(key.removeprefix("packs/") for key in packs)
    log = Log(storage, GC_PREFIX, GcRecord)
    record = GcRecord(holdall=1, log="gc", event="condemn", slot=slot, write_id="w" * 16, time="", packs=names)
    assert log.create(slot, record)


def test_condemned_packs(storage: Remote) -> None:
    """What a collection has condemned is not referred to: the promotion fails, and says so in its own log, too."""
    run = record(ana(storage), model=ARRAY)
    condemn(storage, keys(storage, "packs/"))
    with pytest.raises(holdall.ConflictError, match="a collection is deciding about 1 of the packs"):
        run.promote("production:churn")
    left = holdall.Client(storage, namespace="production:churn").flow("churn").latest_run
    assert (left.status, left.keys()) == ("failed", [])
    spared = GcRecord(
        holdall=1,
        log="gc",
        event="done",
        slot=1,
        write_id="v" * 16,
        time="",
        spared=tuple(key.removeprefix("packs/") for key in keys(storage, "packs/")),
    )
    assert Log(storage, GC_PREFIX, GcRecord).create(1, spared)
    assert run.promote("production:churn").successful


class _Fencing(MemoryStorage):
    """A collector condemns and fences between the opening of a promotion's log and its commit."""

    armed = False

    def create(self, key: str, parts: Any) -> int:
        if self.armed and key.startswith("runs/production") and key.endswith("00000001"):
            self.armed = False
            head = run_prefix("production:churn", "churn", _run_of(key))
            fence = RunRecord(
                holdall=1,
                log="run",
                event="fence",
                slot=1,
                write_id="f" * 16,
                time="",
                namespace="production:churn",
                flow="churn",
                run=_run_of(key),
            )
            condemn(self, keys(self, "packs/"))
            Log[RunRecord](self, head, RunRecord).create(1, fence)
        return super().create(key, parts)


def _run_of(key: str) -> str:
    from holdall_store.format import segment_run_id

    return segment_run_id(key.split("/")[3])


def test_a_collection_in_between(isolated: Path) -> None:
    """A fence makes a promotion look again: what was condemned meanwhile is not committed."""
    assert isolated.is_dir()
    storage = _Fencing(pack_bytes=1 << 20)
    run = record(ana(storage), model=ARRAY)
    storage.armed = True
    with pytest.raises(holdall.ConflictError, match="a collection is deciding"):
        run.promote("production:churn")
    view = next(Repository(storage).catalog.newest("production:churn", "churn"))
    assert (view.status, view.slots, dict(view.artifacts)) == ("failed", 3, {})


def test_offline(tmp_path: Path) -> None:
    """Offline nothing is promoted."""
    storage = Remote(place=str(tmp_path))
    run = record(ana(storage), model=1)
    offline = holdall.Client(storage, namespace="user:ana", offline=True).run(f"churn@{run.id}")
    with pytest.raises(holdall.OfflineError, match="Nothing can be saved"):
        offline.promote("production:churn")
