"""Deleting and keeping: what is hidden at once, what protects a run, how it comes back, and what a collection takes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine._engine import Ticking, keys
from tests.engine._remote import Remote

import holdall
from holdall._deleting import deletion_of
from holdall_store.repository import Collection, Collector
from holdall_store.storage import LocalStorage, Storage

ARRAY = np.arange(1 << 16, dtype="f8") ** 1.5
READER = Path(__file__).resolve().parents[2] / "docs" / "reader.py"


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return an empty storage on this disk, and one far away whose records are cached."""
    return LocalStorage(tmp_path / "s") if request.param == "local" else Remote(place=str(tmp_path))


def client(storage: Storage) -> holdall.Client:
    """Return a client as a new process has it."""
    return holdall.Client(storage, namespace="team:a")


def record(storage: Storage, **saved: Any) -> str:
    """Record a run, and return its id."""
    with holdall.run("churn", client=client(storage), tags=["begun"]) as run:
        run.log(auc=0.5)
        run.save(saved)
    return run.id


def collect(storage: Storage) -> Collection:
    """Collect a store."""
    collector = Collector(storage, Ticking(50))
    return collector.apply(collector.plan())


def test_a_deleted_run_is_gone_at_once(storage: Storage) -> None:
    """No way of looking finds it: by name, by id, newest, listed, searched, by tag; and undoing brings all of it back."""
    first, second = record(storage, model=1), record(storage, model=2)
    flow = client(storage).flow("churn")
    assert flow.runs(where="metrics.auc > 0").count() == 2  # it is remembered
    flow[second].delete(note="a trial")

    for found in (flow, client(storage).flow("churn")):
        assert found.latest_run.id == found.latest_successful_run.id == first
        assert [run.id for run in found.runs()] == [run.id for run in found] == [first]
        assert [run.id for run in found.runs("begun")] == [first]
        assert [run.id for run in found.runs(where="metrics.auc > 0")] == [first]
        assert found.runs().to_pandas()["run"].tolist() == [first]
        assert found.client.load("churn/model") == 1
        for text in (second, second[:-2]):
            with pytest.raises(holdall.RunNotFoundError, match=r"was deleted .*client\.undelete\('team:a/churn@"):
                _ = found[text]
        assert second not in found
    restored = client(storage).undelete(f"churn@{second}", note="it was none")
    assert (restored.id, restored.data.model, restored.tags) == (second, 2, {"begun"})
    for found in (flow, client(storage).flow("churn")):
        assert found.latest_run.id == second
        assert found.runs(where="metrics.auc > 0").count() == 2
    history = [r.note for r in flow.client.repository.tags.history("team:a", "churn", second)]
    assert history == ["deleted: a trial", "restored: it was none"]
    assert flow.latest_run.duration == restored.duration


def test_an_artifact(storage: Storage) -> None:
    """An artifact is deleted alone, and comes back alone."""
    run_id = record(storage, model=1, report=2)
    other = record(storage, model=3)
    client(storage).artifact(f"churn/model@{other}").delete()
    assert client(storage).load("churn/model") == 1
    run = client(storage).run(f"churn@{other}")
    assert (run.keys(), run.successful, run.metrics) == ([], True, {"auc": 0.5})
    with pytest.raises(holdall.ArtifactNotFoundError, match="no artifact 'model' in run"):
        client(storage).artifact(f"churn/model@{other}")
    assert client(storage).flow("churn").runs(where="'model' in artifacts").count() == 1
    assert client(storage).undelete(f"churn/model@{other}").keys() == ["model"]
    assert client(storage).load("churn/model") == 3
    with pytest.raises(holdall.NotFoundError, match="no artifact of that name was deleted"):
        client(storage).undelete(f"churn/report@{run_id}")


def test_protected(storage: Storage) -> None:
    """What an alias points at or what is kept is not deleted, and nothing that was to be deleted with it is."""
    ids = [record(storage, model=number) for number in range(3)]
    flow = client(storage).flow("churn")
    holdall.alias(f"churn@{ids[1]}", "champion", client=client(storage))
    with pytest.raises(holdall.ConflictError, match=rf"champion -> {ids[1]} of team:a/churn. Move or remove the alias"):
        flow[ids[1]].delete()
    with pytest.raises(holdall.ConflictError, match="champion"):
        flow[ids[1]]["model"].delete()
    with pytest.raises(holdall.ConflictError, match="champion"):
        flow.delete()
    flow.aliases["champion"].remove()
    flow[ids[0]].keep(note="for the audit")
    with pytest.raises(holdall.ConflictError, match=r"is kept \(for the audit\): run\.unkeep\(\)"):
        flow.delete()
    assert len(list(flow.runs())) == 3
    flow[ids[0]].unkeep()
    assert flow.delete(note="over") == 3
    assert list(client(storage).flow("churn").runs()) == []
    with pytest.raises(holdall.RunNotFoundError):
        _ = flow.latest_run


def test_running(storage: Storage) -> None:
    """A run that goes on is deleted only on request, and its recorder is told."""
    with (
        pytest.raises(holdall.RunStateError, match="was deleted while it was recorded"),
        holdall.run("churn", client=client(storage)) as run,
    ):
        run.save(model=1)
        run.flush()
        found = client(storage).run(f"churn@{run.id}")
        with pytest.raises(holdall.RunStateError, match="still running, or its process died"):
            found.delete()
        with pytest.raises(holdall.RunStateError, match="still running"):
            found["model"].delete()
        found.delete(even_running=True)
    assert list(client(storage).flow("churn").runs()) == []


def test_twice_and_wrong(storage: Storage) -> None:
    """To delete what is deleted does nothing more; what cannot be meant is told."""
    run_id = record(storage, model=1)
    run = client(storage).run(f"churn@{run_id}")
    run.delete()
    run.delete()  # as it was when it was looked up
    slots = client(storage).repository.catalog.run("team:a", "churn", run_id, deleted=True).slots
    assert slots == 2
    for reference, error in [
        ("churn", holdall.InvalidNameError),
        ("churn/model", holdall.InvalidNameError),
        ("churn@1999", holdall.RunNotFoundError),
    ]:
        with pytest.raises(error):
            client(storage).undelete(reference)
    assert client(storage).undelete(f"churn@{run_id[:20]}").id == run_id
    assert client(storage).undelete(f"churn@{run_id}").id == run_id  # it is there: nothing to do
    with pytest.raises(holdall.InvalidNameError, match="A note is a string"):
        client(storage).run(f"churn@{run_id}").delete(note=1)  # type: ignore[arg-type]


def test_what_was_looked_up_before(storage: Storage) -> None:
    """A run that was looked up before an artifact of it was deleted is deleted all the same; not one that came back since."""
    run_id = record(storage, model=1, note=2)
    run = client(storage).run(f"churn@{run_id}")
    run["note"].delete()
    run.delete()
    assert list(client(storage).flow("churn").runs()) == []
    client(storage).undelete(f"churn@{run_id}")
    with pytest.raises(holdall.RunStateError, match=r"was changed meanwhile \(restored\)"):
        deletion_of(client(storage)).delete(_before(run, 3))
    assert client(storage).undelete(f"churn/note@{run_id}").keys() == ["model", "note"]


def _before(run: holdall.Run, slots: int) -> Any:
    """Return what was known of a run when it had so many records."""
    import dataclasses

    return dataclasses.replace(run._view, slots=slots)


def test_an_alias_that_comes_in_between(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias that is set while its run is deleted wins: the deletion is taken back, and refused."""
    run_id = record(storage, model=1)
    run = client(storage).run(f"churn@{run_id}")
    from holdall_store.repository._deletion import Deletion

    before = Deletion.delete

    def delete(self: Deletion, view: Any, *args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(Deletion, "delete", before)
        holdall.alias(f"churn@{run_id}", "champion", client=client(storage))
        before(self, view, *args, **kwargs)

    monkeypatch.setattr(Deletion, "delete", delete)
    with pytest.raises(holdall.ConflictError, match="champion"):
        run.delete()
    assert client(storage).load("churn/model:champion") == 1


def test_a_collection_takes_what_was_deleted(storage: Storage) -> None:
    """Its packs go with the collection, what others share stays, and it cannot be brought back after that."""
    first = record(storage, model=ARRAY, other=ARRAY + 1)
    with holdall.run("churn", client=client(storage)) as run:
        run.save(model=ARRAY)
    client(storage).run(f"churn@{first}").delete()
    assert keys(storage, "packs/")
    collect(storage)
    np.testing.assert_array_equal(client(storage).load("churn/model"), ARRAY)
    with pytest.raises(holdall.ConflictError, match="cannot be brought back: a collection has taken 1 of the packs"):
        client(storage).undelete(f"churn@{first}")
    assert [found.id for found in client(storage).flow("churn").runs()] == [run.id]
    client(storage).run(f"churn@{run.id}").delete()
    collect(storage)
    assert keys(storage, "packs/") == []


def test_a_collection_spares_what_was_restored(storage: Storage) -> None:
    """What is brought back before a collection decides is whole after it; artifacts that were deleted alone go alone."""
    first, second = record(storage, model=ARRAY), record(storage, model=ARRAY + 1, note=ARRAY + 2)
    client(storage).run(f"churn@{first}").delete()
    collector = Collector(storage, Ticking(50))
    plan = collector.plan()
    client(storage).undelete(f"churn@{first}")
    collector.apply(plan)
    np.testing.assert_array_equal(client(storage).load(f"churn/model@{first}"), ARRAY)
    client(storage).artifact(f"churn/note@{second}").delete()
    collect(storage)
    np.testing.assert_array_equal(client(storage).load(f"churn/model@{second}"), ARRAY + 1)
    with pytest.raises(holdall.ConflictError, match="a collection has taken"):
        client(storage).undelete(f"churn/note@{second}")


def test_a_promoted_run_outlives_its_origin(storage: Storage) -> None:
    """To delete a run takes nothing from the runs that were promoted from it."""
    run = client(storage).run(f"churn@{record(storage, model=ARRAY)}")
    promoted = run.promote("production:churn")
    run.delete()
    collect(storage)
    np.testing.assert_array_equal(promoted.reload().data.model, ARRAY)


def test_requests() -> None:
    """The newest run costs a listing and a read where nothing was deleted, and one round more for each deleted one before it."""
    storage = Remote(place="")
    ids = [record(storage, model=number) for number in range(4)]
    flow = client(storage).flow("churn")
    flow[ids[0]].delete()
    storage.reset()
    assert flow.latest_run.id == ids[3]
    assert dict(storage.calls) == {"list": 1, "get": 1}
    flow[ids[3]].delete()
    storage.reset()
    assert flow.latest_run.id == ids[2]
    assert storage.calls["list"] == 1
    assert storage.calls["get"] <= 3
    storage.reset()
    flow[ids[2]].delete()
    # The run; its aliases and tags, before and after; the tags again, to change them; and the two records.
    assert sum(storage.calls.values()) <= 12


def test_a_process_that_dies_in_between(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion of which only the first record was written has not happened, whatever is remembered."""
    from holdall_store.repository import TagLogs

    run_id = record(storage, model=1)
    flow = client(storage).flow("churn")
    assert flow.runs(where="metrics.auc > 0").count() == 1
    change = TagLogs.change

    def change_and_die(*args: Any, **kwargs: Any) -> None:
        change(*args, **kwargs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TagLogs, "change", change_and_die)
        with pytest.raises(KeyboardInterrupt):
            flow[run_id].delete()
    for _ in range(2):
        assert [run.id for run in client(storage).flow("churn").runs(where="metrics.auc > 0")] == [run_id]
    flow[run_id].delete()
    assert flow.runs(where="metrics.auc > 0").count() == 0


def test_the_independent_reader_hides_them(tmp_path: Path) -> None:
    """A reader that knows nothing but the specification does not list what was deleted."""
    storage = LocalStorage(tmp_path / "s")
    ids = [record(storage, model=number, note=number) for number in range(3)]
    client(storage).run(f"churn@{ids[0]}").delete()
    client(storage).artifact(f"churn/note@{ids[1]}").delete()
    client(storage).run(f"churn@{ids[2]}").delete()
    client(storage).undelete(f"churn@{ids[2]}")
    done = subprocess.run([sys.executable, READER, str(tmp_path / "s")], capture_output=True, text=True, check=True)
    rows = {line.split("\t")[2]: line.split("\t")[3:] for line in done.stdout.splitlines()}
    assert rows == {ids[1]: ["succeeded", "model"], ids[2]: ["succeeded", "model", "note"]}
    assert re.fullmatch(r"[0-9]{8}T[0-9]{12}-[a-z2-7]{6}", next(iter(rows)))
