"""Namespaces: counted, found from elsewhere, and nobody else's affair while a thread looks in another one."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.engine._remote import Remote

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


def record(namespace: str, flow: str = "churn", storage: Remote | None = None) -> str:
    """Record a run in a namespace, and return its id."""
    with holdall.run(flow, client=holdall.Client(storage, namespace=namespace)) as run:
        run.save(model=1)
    return run.id


def test_counts() -> None:
    """Each namespace is listed with its flows and runs."""
    storage = Remote()
    for namespace, flow in [("user:ana", "a"), ("user:ana", "a"), ("user:ana", "b"), ("production:x", "a")]:
        record(namespace, flow, storage)
    client = holdall.Client(storage, namespace="user:ana")
    storage.reset()
    assert client.namespace_counts() == {"production:x": (1, 1, False), "user:ana": (2, 3, False)}
    assert dict(storage.calls) == {"list_folders": 6}
    assert holdall.Client(namespace="user:ana").namespace_counts() == {}


def test_more_runs_than_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are very many runs, it is said that there are more."""
    monkeypatch.setattr("holdall._client.RUNS_COUNTED_MAX", 2)
    for _ in range(3):
        record("user:ana")
    assert holdall.Client().namespace_counts() == {"user:ana": (1, 2, True)}


def test_what_lies_elsewhere() -> None:
    """A run, an alias or a flow of another namespace is not found, and it is said where it is and how to get there."""
    mine, theirs = record("user:ana"), record("user:bob")
    holdall.alias(f"user:bob/churn@{theirs}", "champion")
    ana = holdall.Client(namespace="user:ana")
    with pytest.raises(holdall.RunNotFoundError, match=f"There is one in 'user:bob': 'user:bob/churn@{theirs}'"):
        ana.run(f"churn@{theirs}")
    with pytest.raises(holdall.AliasNotFoundError, match="There is one in 'user:bob': 'user:bob/churn:champion'"):
        ana.load("churn/model:champion")
    record("user:bob", "other")
    with pytest.raises(holdall.FlowNotFoundError, match=r"holdall\.namespace\('user:bob'\), or 'user:bob/other'"):
        ana.flow("other")
    assert ana.run(f"churn@{mine}").id == mine


def test_threads_do_not_see_each_other() -> None:
    """A block, and a call in a thread that is not the main one, hold for that thread alone."""
    seen: dict[str, str | None] = {}
    inside, done = threading.Event(), threading.Event()

    def block() -> None:
        with holdall.namespace("team:block"):
            seen["block"] = holdall.get_namespace()
            inside.set()
            done.wait(60)

    def call() -> None:
        holdall.namespace("team:call")
        seen["call"] = holdall.get_namespace()
        with holdall.namespace("team:inner"):
            seen["inner"] = holdall.get_namespace()
        seen["after"] = holdall.get_namespace()

    before = holdall.get_namespace()
    first = threading.Thread(target=block)
    first.start()
    inside.wait(60)
    second = threading.Thread(target=call)
    second.start()
    second.join(60)
    assert holdall.get_namespace() == before
    done.set()
    first.join(60)
    assert seen == {"block": "team:block", "call": "team:call", "inner": "team:inner", "after": "team:call"}
    assert holdall.get_namespace() == before


def test_tasks_do_not_see_each_other() -> None:
    """A block holds for its task, while others of the same thread go on in theirs."""

    async def look(name: str | None) -> list[str | None]:
        with holdall.namespace(name):
            found = []
            for _ in range(3):
                found.append(holdall.get_namespace())
                await asyncio.sleep(0)
            return found

    async def both() -> list[list[str | None]]:
        return list(await asyncio.gather(look("team:a"), look("team:b"), look(None)))

    before = holdall.get_namespace()
    assert asyncio.run(both()) == [["team:a"] * 3, ["team:b"] * 3, [None] * 3]
    assert holdall.get_namespace() == before
