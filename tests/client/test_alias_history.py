"""The history of aliases: who moved what when, the way back, removal; and what all that costs on a bucket."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.engine._remote import Remote

import holdall
from holdall_store.format import AliasRecord
from holdall_store.repository import Log

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

pytestmark = pytest.mark.usefixtures("workdir")


def record(value: object, client: holdall.Client | None = None) -> str:
    """Record a run with a model, and return its id."""
    with holdall.run("churn", client=client) as run:
        run.save(model=value)
    return run.id


def test_history_says_who_when_from_to_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change names who made it, what the alias meant before and after, and why, in order."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    first, second = record(1), record(2)
    holdall.alias(f"churn@{first}", "champion", note="passed")
    monkeypatch.setenv("HOLDALL_USER", "bob")
    holdall.alias(f"user:ana/churn@{second}", "champion")
    alias = holdall.Client(namespace="user:ana").flow("churn").aliases["champion"]
    alias.remove(note="not needed")

    history = alias.history
    assert [(change.who, change.previous, change.run, change.note) for change in history] == [
        ("ana", None, first, "passed"),
        ("bob", first, second, ""),
        ("bob", second, None, "not needed"),
    ]
    assert history == sorted(history, key=lambda change: change.when)
    assert f"bob  {first} -> {second}" in str(history[1])
    assert (alias.run_id, alias.who, alias.note, alias.namespace) == (second, "bob", "", "user:ana")
    assert repr(alias) == f"Alias(user:ana/churn:champion -> {second})"


def test_removed() -> None:
    """A removed alias means nothing, is not listed, and can be set again; its history goes on."""
    first = record(1)
    holdall.alias("churn", "champion")
    aliases = holdall.Flow("churn").aliases
    aliases["champion"].remove()
    assert (list(aliases), len(aliases), "champion" in aliases) == ([], 0, False)
    with pytest.raises(holdall.AliasNotFoundError, match="'champion' of flow 'churn' points at no run: .* removed it"):
        holdall.load("churn/model:champion")
    with pytest.raises(holdall.AliasNotFoundError, match="removed it"):
        _ = aliases["champion"]
    holdall.alias("churn", "champion")
    assert [change.run for change in aliases["champion"].history] == [first, None, first]
    with pytest.raises(holdall.AliasNotFoundError, match="Did you mean 'champion'"):
        _ = aliases["champoin"]


def test_mapping_of_a_flow() -> None:
    """A flow's aliases are a mapping by name, of what they mean now."""
    first, second = record(1), record(2)
    for name, run_id in (("prod", second), ("beta", first)):
        holdall.alias(f"churn@{run_id}", name)
    aliases = holdall.Flow("churn").aliases
    assert {name: alias.run_id for name, alias in aliases.items()} == {"beta": first, "prod": second}
    assert list(aliases) == ["beta", "prod"] == [alias.name for alias in aliases.values()]
    assert aliases["beta"].run.data.model == 1
    assert "beta" in aliases
    assert 3 not in aliases
    assert repr(aliases) == f"FlowAliases('churn': beta -> {first}, prod -> {second})"


def test_each_rollback_goes_one_step_further_back() -> None:
    """A rollback restores what the alias meant before; the next one never brings back what was rolled back."""
    ids = [record(number) for number in range(4)]
    for run_id in (ids[0], ids[1], ids[1], ids[2]):
        holdall.alias(f"churn@{run_id}", "champion")
    champion = holdall.Flow("churn").aliases["champion"]

    assert champion.rollback(note="slow").id == ids[1]
    assert champion.rollback().id == ids[0]
    with pytest.raises(holdall.ConflictError, match=f"meant no other run before {ids[0]}"):
        champion.rollback()
    holdall.alias(f"churn@{ids[3]}", "champion")
    champion = holdall.Flow("churn").aliases["champion"]
    assert champion.rollback().id == ids[0]
    assert holdall.load("churn/model:champion") == 0
    assert [change.run for change in champion.history][-2:] == [ids[3], ids[0]]
    assert champion.history[4].note == "slow"


class _Moved(Log[AliasRecord]):
    """Another's change comes between what was read and what is written."""

    def create(self, number: int, record: AliasRecord) -> bool:
        if record.back_to is not None:
            super().create(number, AliasRecord(**{**_members(record), "back_to": None, "who": "bob", "write_id": "x"}))
        return super().create(number, record)


def _members(record: AliasRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def test_rollback_of_what_was_moved_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback that was decided on an old history is refused: two at once go one step back, not two."""
    ids = [record(number) for number in range(3)]
    for run_id in ids:
        holdall.alias(f"churn@{run_id}", "champion")
    champion = holdall.Flow("churn").aliases["champion"]
    with monkeypatch.context() as patch:
        patch.setattr("holdall._aliases.Log", _Moved)
        with pytest.raises(holdall.ConflictError, match=f"moved to {ids[1]} by bob meanwhile"):
            champion.rollback()
    assert [change.run for change in champion.history] == [*ids, ids[1]]


def test_bad_notes() -> None:
    """What is no note, or none for a history, is refused before anything is written."""
    record(1)
    with pytest.raises(holdall.InvalidNameError, match="A note is a string that says why, not an int"):
        holdall.alias("churn", "champion", note=3)  # type: ignore[arg-type]
    with pytest.raises(holdall.InvalidNameError, match="at most 1000 characters; this one has 1001"):
        holdall.alias("churn", "champion", note="x" * 1001)
    assert list(holdall.Flow("churn").aliases) == []


def test_requests() -> None:
    """On a bucket an alias is set with four requests, and looked up with two more than a run by its id."""
    storage = Remote()
    client = holdall.Client(storage, namespace="team:a")
    run_id = record(1, client)
    storage.reset()
    holdall.alias(f"team:a/churn@{run_id}", "champion", client=holdall.Client(storage, namespace="team:a"))
    assert dict(storage.calls) == {"list": 2, "get": 1, "create": 1}
    for number in range(5):
        holdall.alias(f"team:a/churn@{run_id}", f"other{number}", client=client)
    storage.reset()
    assert len(client.flow("churn").aliases.items()) == 6
    assert storage.calls["list"] == 1


def test_aliases_that_differ_by_case() -> None:
    """Names that differ by case are two aliases, also on a file system that does not tell them apart."""
    first, second = record(1), record(2)
    holdall.alias(f"churn@{first}", "Champion")
    holdall.alias(f"churn@{second}", "champion")
    assert (holdall.load("churn/model:Champion"), holdall.load("churn/model:champion")) == (1, 2)
    folders = {path.name.casefold() for path in Path(".holdall/aliases").glob("*/*/*")}
    assert len(folders) == 2


SETTER = """
import json, sys
import holdall
store, options, run_id, count = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], int(sys.argv[4])
client = holdall.Client(store, namespace="team:a", storage_options=options)
sys.stdin.readline()
for number in range(count):
    holdall.alias(f"churn@{run_id}", "champion", note=f"{run_id} {number}", client=client)
"""

PROCESSES = 16


@pytest.mark.parametrize("kind", ["disk", "bucket"])
def test_sixteen_processes_set_one_alias(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """All changes of sixteen processes are in the history, each process's in its order, and the last one holds."""
    import json

    url, options = str(tmp_path / "s"), None
    if kind == "bucket":
        bucket: Bucket = request.getfixturevalue("bucket")
        url, options = bucket.empty().url, bucket.options
    client = holdall.Client(url, namespace="team:a", storage_options=options)
    ids = [record(number, client) for number in range(PROCESSES)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SETTER, url, json.dumps(options), run_id, "2"], stdin=subprocess.PIPE, text=True
        )
        for run_id in ids
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.close()
    assert [process.wait(120) for process in processes] == [0] * PROCESSES

    history = client.flow("churn").aliases["champion"].history
    assert [change.previous for change in history] == [None, *(change.run for change in history[:-1])]
    for run_id in ids:
        notes = [change.note for change in history if change.run == run_id]
        assert notes == [f"{run_id} 0", f"{run_id} 1"]
    assert len(history) == 2 * PROCESSES
    assert client.run("churn:champion").id == history[-1].run


def test_two_promoters_at_once() -> None:
    """Two who promote and set an alias at the same time are both in its history, and both runs are there."""
    storage = Remote()
    client = holdall.Client(storage, namespace="user:ana")
    runs = [client.run(f"churn@{record(number, client)}") for number in range(4)]
    start = threading.Barrier(4)

    def work(run: holdall.Run) -> None:
        start.wait(60)
        run.promote("production:churn", alias="champion", note=run.id)

    threads = [threading.Thread(target=work, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    production = client.in_namespace("production:churn").flow("churn")
    history = production.aliases["champion"].history
    assert sorted(change.note for change in history) == sorted(run.id for run in runs)
    assert {change.run for change in history} == {run.id for run in production.runs()}
    assert production.aliases["champion"].run_id == history[-1].run


def test_a_rollback_to_a_run_that_was_deleted() -> None:
    """It is refused before anything is moved, and says how to go on; once the run is back it works."""
    first, second = record(1), record(2)
    for run_id in (first, second):
        holdall.alias(f"churn@{run_id}", "champion")
    holdall.Run(f"churn/{first}").delete()
    champion = holdall.Flow("churn").aliases["champion"]
    for _ in range(2):
        with pytest.raises(holdall.RunNotFoundError, match=rf"still means {second}.*undelete.*holdall\.alias\("):
            champion.rollback()

    assert (holdall.load("churn/model:champion"), len(champion.history)) == (2, 2)
    holdall.Client().undelete(f"churn@{first}")
    assert (champion.rollback().id, holdall.load("churn/model:champion")) == (first, 1)


def test_a_rollback_by_a_handle_that_saw_another_state() -> None:
    """Who looked before somebody else went back is refused, until they look again."""
    ids = [record(value) for value in range(3)]
    for run_id in ids:
        holdall.alias(f"churn@{run_id}", "champion")
    mine, other = (holdall.Flow("churn").aliases["champion"] for _ in range(2))
    assert len(mine.history) == len(other.history) == 3
    mine.rollback()
    with pytest.raises(holdall.ConflictError, match=f"was moved to {ids[1]} by .* meanwhile. Look"):
        other.rollback()

    assert holdall.load("churn/model:champion") == 1
    assert other.history[-1].run == ids[1]
    assert other.rollback().id == ids[0]
