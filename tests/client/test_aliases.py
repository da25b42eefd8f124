"""Aliases: names for runs that can be moved, with their history."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


def record(value: object, client: holdall.Client | None = None) -> str:
    """Record a run with a model, and return its id."""
    with holdall.run("churn", client=client) as run:
        run.save(model=value)
    return run.id


def test_moving(monkeypatch: pytest.MonkeyPatch) -> None:
    """An alias means the run that it was set to last; what it meant before stays in its history."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    first, second = record(1), record(2)
    holdall.alias(f"churn@{first}", "champion", note="passed the shadow test")
    assert holdall.load("churn/model:champion") == 1
    holdall.alias("churn", "champion")
    assert holdall.load("churn/model:champion") == 2
    holdall.alias(f"churn/model@{first}", "champion", note="rolled back")
    holdall.alias("churn:champion", "also")

    aliases = holdall.Client().aliases
    assert holdall.Run("churn:champion").id == holdall.Run("churn:also").id == first
    history = aliases.history("user:ana", "churn", "champion")
    assert [(entry.run, entry.who, entry.note) for entry in history] == [
        (first, "ana", "passed the shadow test"),
        (second, "ana", ""),
        (first, "ana", "rolled back"),
    ]
    assert [entry.time for entry in history] == sorted(entry.time for entry in history)
    assert aliases.names("user:ana", "churn") == ["also", "champion"]
    assert aliases.history("user:ana", "churn", "nothing") == []


def test_artifact_of_an_alias() -> None:
    """An alias of an artifact's reference means the newest run that holds the artifact."""
    first = record(1)
    with holdall.run("churn") as run:
        run.save(other=1)
    holdall.alias("churn/model", "champion")

    assert holdall.Run("churn:champion").id == first
    with pytest.raises(holdall.ArtifactNotFoundError, match=f"no artifact 'other' in run {first}"):
        holdall.load("churn/other:champion")


def test_failed_runs_can_have_an_alias() -> None:
    """An alias may point at any run that is named, also at a failed one."""
    with pytest.raises(ZeroDivisionError), holdall.run("churn") as run:
        _ = run.save(model=1), 1 / 0
    holdall.alias(f"churn@{run.id}", "broken")
    assert holdall.load("churn/model:broken") == 1


def test_namespaces() -> None:
    """An alias lies in the namespace of its run; without a namespace it is looked for in all."""
    bob = holdall.Client(namespace="user:bob")
    record(1, bob)
    holdall.alias("user:bob/churn", "champion")

    assert holdall.load("user:bob/churn/model:champion") == 1
    assert holdall.Client(namespace=None).load("churn/model:champion") == 1
    record(2)
    with pytest.raises(holdall.AliasNotFoundError, match="There is one in 'user:bob': 'user:bob/churn:champion'"):
        holdall.load("churn/model:champion")


def test_unknown() -> None:
    """An alias that is not there is told with the nearest one and all that there are."""
    record(1)
    holdall.alias("churn", "champion")
    holdall.alias("churn", "previous")
    with pytest.raises(
        holdall.AliasNotFoundError,
        match=r"Flow 'churn' has no alias 'champoin' \(file://.*\)\. Did you mean 'champion'\? It has: champion, previous",
    ):
        holdall.load("churn/model:champoin")


def test_records_that_are_gone(workdir: Path) -> None:
    """An alias without records is not said to be there."""
    record(1)
    holdall.alias("churn", "champion")
    for path in (workdir / ".holdall").rglob("aliases/**/*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(
        holdall.AliasNotFoundError, match="'champion' of flow 'churn' points at no run: its records are gone"
    ):
        holdall.load("churn/model:champion")


def test_latest_is_taken() -> None:
    """``latest`` always means the newest successful run."""
    record(1)
    with pytest.raises(holdall.ConflictError, match="'latest' always means the newest successful run"):
        holdall.alias("churn", "latest")


def test_what_does_not_exist() -> None:
    """An alias cannot be given to what is not there."""
    record(1)
    for reference, error in [
        ("chrun", holdall.FlowNotFoundError),
        ("churn/modle", holdall.ArtifactNotFoundError),
        ("churn@1999", holdall.RunNotFoundError),
        ("churn:nobody", holdall.AliasNotFoundError),
    ]:
        with pytest.raises(error):
            holdall.alias(reference, "champion")
    assert holdall.Client().aliases.names(str(holdall.get_namespace()), "churn") == []


def test_two_at_once() -> None:
    """Several that set an alias at the same time all come into its history, and one of them holds."""
    ids = [record(number) for number in range(4)]
    start = threading.Barrier(4)

    def work(run_id: str) -> None:
        start.wait(60)
        for _ in range(5):
            holdall.alias(f"churn@{run_id}", "champion")

    threads = [threading.Thread(target=work, args=(run_id,)) for run_id in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    history = holdall.Client().aliases.history(str(holdall.get_namespace()), "churn", "champion")
    assert sorted(entry.run for entry in history) == sorted(ids * 5)
    assert [entry.slot for entry in history] == list(range(20))
    assert holdall.Run("churn:champion").id == history[-1].run
