"""Clients, flows and runs: light handles that compare, hash, pickle, and read what they are asked for."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

import holdall
from holdall_store.storage import LocalStorage, MemoryStorage
from holdall_store.testing import CountingStorage

pytestmark = pytest.mark.usefixtures("workdir")


def record(client: holdall.Client, flow: str = "churn", tags: tuple[str, ...] = (), **objects: object) -> str:
    """Record a run, and return its id."""
    with holdall.run(flow, client=client, tags=tags) as run:
        run.save(objects)
    return run.id


def test_missing_store(workdir: Path) -> None:
    """Where there is no store, looking says so and what to do, and makes none."""
    client = holdall.Client("nowhere")
    for look in (
        lambda: client.load("churn/model"),
        lambda: client.flow("churn"),
        lambda: client.run("churn"),
        lambda: client["churn"],
        lambda: holdall.load("churn/model"),
        lambda: holdall.Flow("churn"),
        lambda: holdall.Run("churn"),
        lambda: holdall.Artifact("churn/model"),
        lambda: holdall.alias("churn", "champion"),
        lambda: holdall.Client(namespace=None).load("churn/model"),
    ):
        with pytest.raises(
            holdall.StoreNotFoundError, match=r"no store at file://.* first save makes one: holdall\.save"
        ):
            look()

    for listing in (lambda: client.namespaces, lambda: client.flows, lambda: list(client.in_namespace(None))):
        with pytest.raises(holdall.StoreNotFoundError, match="no store at file://.*/nowhere"):
            listing()
    assert "churn" not in client
    default = holdall.Client()
    assert (default.namespaces, default.flows, default.in_namespace(None).flows) == ([], [], [])
    assert "nowhere" in repr(client)
    assert list(workdir.iterdir()) == []


def test_file_as_a_store(workdir: Path) -> None:
    """A file is no store."""
    (workdir / "notes.txt").write_text("x")
    with pytest.raises(holdall.StoreNotFoundError, match=r"notes\.txt is a file; a store is a folder"):
        _ = holdall.Client("notes.txt").flows


def test_hints_of_lookups() -> None:
    """A name in another case is the nearest one; a list that is cut says so; a selector goes last."""
    with holdall.run("churn") as run:
        run.save({f"model{number}": number for number in range(26)})
    with pytest.raises(holdall.FlowNotFoundError, match="Did you mean 'churn'"):
        holdall.load("CHURN/model1")
    with pytest.raises(holdall.ArtifactNotFoundError, match=r"Did you mean 'model7'.* model9, … \(26 in all\)"):
        holdall.Run(run.pathspec)["MODEL7"]
    with pytest.raises(holdall.InvalidNameError, match="A selector goes last: 'churn/model1:champ'"):
        holdall.load("churn:champ/model1")
    assert holdall.load(f"{run.pathspec}/model3") == 3
    assert holdall.load(f"{run.namespace}/{run.pathspec}/model3") == 3


@pytest.mark.parametrize("store", ["", "  ", 5, b"store"])
def test_refused_stores(store: Any) -> None:
    """What is no path or URL is refused when the client is made."""
    with pytest.raises(holdall.InvalidNameError, match="no place for a store"):
        holdall.Client(store)


def test_unknown_scheme() -> None:
    """A URL that nothing opens names what is understood."""
    with pytest.raises(holdall.InvalidNameError, match=r"memori.*Did you mean 'memory'"):
        holdall.Client("memori://x").load("churn/model")


def test_stays_where_it_is(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of a relative path means the same folder when the working directory changes."""
    client = holdall.Client("store", namespace="user:ana")
    (workdir / "other").mkdir()
    monkeypatch.chdir(workdir / "other")
    record(client, model=1)

    assert (workdir / "store" / "holdall.json").is_file()
    assert holdall.Client(workdir / "store", namespace="user:ana") == client
    assert holdall.Client("store", namespace="user:ana") != client


def test_home_in_paths(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may begin with the home folder, also after pickling."""
    monkeypatch.setenv("HOME", str(workdir / "home"))
    client = pickle.loads(pickle.dumps(holdall.Client("~/store", namespace="user:ana")))
    record(client, model=1)

    assert (workdir / "home" / "store" / "holdall.json").is_file()


def test_equality() -> None:
    """Clients are equal that look at the same store from the same namespace with the same trust."""
    client = holdall.Client("store", namespace="user:ana")
    same = holdall.Client(Path("store"), namespace="user:ana")
    others = [
        holdall.Client("other", namespace="user:ana"),
        holdall.Client("store", namespace="user:bob"),
        holdall.Client("store", namespace=None),
        holdall.Client("store", namespace="user:ana", trust=True),
        holdall.Client(MemoryStorage(), namespace="user:ana"),
        holdall.Client(MemoryStorage(), namespace="user:ana"),
    ]

    assert client == same
    assert hash(client) == hash(same)
    assert len({client, same, *others}) == 1 + len(others)
    assert client != "store"
    assert client.in_namespace("user:bob") == others[1]
    assert client.in_namespace("user:bob").in_namespace("user:ana") == client


@pytest.mark.parametrize("attribute", ["url", "namespace", "settings", "trust", "repository"])
def test_immutable(attribute: str) -> None:
    """What a client looks at cannot be changed."""
    with pytest.raises(AttributeError):
        setattr(holdall.Client("store"), attribute, "x")


def test_handles_pickle() -> None:
    """Clients, flows, runs and artifacts pickle and copy, with equal hashes, and work afterwards."""
    client = holdall.Client("store", namespace="user:ana", trust=True)
    record(client, model=[1, 2])
    run = client.run("churn")
    for handle in (client, client.flow("churn"), run, run["model"]):
        for again in (pickle.loads(pickle.dumps(handle)), copy.copy(handle), copy.deepcopy(handle)):
            assert again == handle
            assert hash(again) == hash(handle)
    assert pickle.loads(pickle.dumps(run)).data.model == [1, 2]
    assert pickle.loads(pickle.dumps(run["model"])).load() == [1, 2]
    assert pickle.loads(pickle.dumps(client)).trusted


def test_handle_of_a_name_that_is_saved_again() -> None:
    """A pickled handle goes on meaning the object that it was made for."""
    first = holdall.save("first", "churn/x")
    text = pickle.dumps(first)
    second = holdall.save("second", "churn/x")

    assert pickle.loads(text).load() == "first"
    assert pickle.loads(text) == first != second
    assert second == holdall.Artifact("churn/x")


def test_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles that are sent to another process work there."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    client = holdall.Client("store", namespace="user:ana")
    record(client, model=[1, 2])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        results = [
            pool.apply_async(holdall.Client.load, (client, "churn/model")),
            pool.apply_async(holdall.Artifact.load, (client.artifact("churn/model"),)),
            pool.apply_async(holdall.Run.keys, (client.run("churn"),)),
        ]
        assert [result.get(120) for result in results] == [[1, 2], [1, 2], ["model"]]


def test_errors_pickle() -> None:
    """Errors survive the way back from another process."""
    holdall.save(1, "churn/model")
    with pytest.raises(holdall.ArtifactNotFoundError) as caught:
        holdall.load("churn/modle")
    again = pickle.loads(pickle.dumps(caught.value))

    assert (type(again), str(again)) == (holdall.ArtifactNotFoundError, str(caught.value))


def test_looking_up() -> None:
    """A client lists its flows by name; flows and their names are found in it."""
    client = holdall.Client("store", namespace="user:ana")
    record(client, "zebra")
    record(client, "apple")

    assert [flow.name for flow in client] == [flow.name for flow in client.flows] == ["apple", "zebra"]
    assert all(flow in client for flow in client)
    assert "apple" in client
    assert not any(name in client for name in ("pear", "", "a/b", 5, None))
    assert client["apple"] == client.flow("apple") != client["zebra"]
    assert client["apple"].id == client["apple"].name == "apple"
    assert client.namespaces == ["user:ana"]


def test_context_manager() -> None:
    """A client may be closed, by hand or by a block, and goes on when it is asked again."""
    with holdall.Client("store", namespace="user:ana") as client:
        record(client, model=1)
    client.close()
    assert client.load("churn/model") == 1


def test_several_namespaces() -> None:
    """Without a namespace, the runs of all are one sequence, newest first."""
    ana, bob = (holdall.Client("store", namespace=f"user:{name}") for name in ("ana", "bob"))
    ids = [record(client, model=number) for number, client in enumerate((ana, bob, ana, bob))]
    record(bob, "bobs")
    everywhere = holdall.Client("store", namespace=None)

    flow = everywhere.flow("churn")
    assert [run.id for run in flow] == ids[::-1]
    assert [run.namespace for run in flow.runs(limit=2)] == ["user:bob", "user:ana"]
    assert flow.namespaces == ("user:ana", "user:bob")
    assert everywhere.load("churn/model") == 3
    assert everywhere.load(f"churn/model@{ids[0]}") == 0
    assert [found.name for found in everywhere.flows] == ["bobs", "churn"]
    assert everywhere.namespaces == ["user:ana", "user:bob"]
    assert [run.id for run in ana.flow("churn")] == [ids[2], ids[0]]
    with pytest.raises(
        holdall.FlowNotFoundError,
        match=r"in namespace 'user:ana'.*there is one in 'user:bob'.*Client\(namespace='user:bob'\)",
    ):
        ana.flow("bobs")


def test_saving_without_a_namespace() -> None:
    """A client that looks everywhere saves into the namespace of the user."""
    saved = holdall.save(1, "churn/x", client=holdall.Client("store", namespace=None))
    assert saved.namespace == holdall.get_namespace()


def test_constructors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flow, Run and Artifact look in the default store and namespace."""
    monkeypatch.setenv("HOLDALL_STORE", "here")
    monkeypatch.setenv("HOLDALL_NAMESPACE", "team:x")
    run_id = record(holdall.Client(), model=1)

    assert holdall.Flow("churn").latest_run.id == run_id
    assert holdall.Flow("churn").client == holdall.Client("here", namespace="team:x")
    assert holdall.Run(f"churn/{run_id}") == holdall.Run("churn") == holdall.Flow("churn")[run_id[:9]]
    artifact = holdall.Artifact("churn/model")
    assert artifact == holdall.Run("churn")["model"]
    assert artifact.reference == f"team:x/churn/model@{run_id}"
    assert holdall.load(artifact.reference) == 1
    assert {holdall.Run("churn"), holdall.Run("churn")} == {holdall.Flow("churn").latest_run}


def test_latest() -> None:
    """The latest run is the newest one, the latest successful run the newest that went well."""
    client = holdall.Client("store", namespace="user:ana")
    good = record(client, model=1)
    with pytest.raises(ZeroDivisionError), holdall.run("churn", client=client) as bad:
        _ = 1 / 0

    assert client.flow("churn").latest_run.id == bad.id
    assert client.flow("churn").latest_successful_run.id == good
    assert client.run("churn").id == good


def test_runs() -> None:
    """Runs come newest first, those that carry all of the tags, and no more than wanted."""
    client = holdall.Client("store", namespace="user:ana")
    tags = [("a",), ("a", "b"), (), ("b", "a", "c")]
    ids = [record(client, tags=each) for each in tags]
    flow = client.flow("churn")

    assert [run.id for run in flow.runs()] == [run.id for run in flow] == ids[::-1]
    assert [run.id for run in flow.runs("a")] == [ids[3], ids[1], ids[0]]
    assert [run.id for run in flow.runs("a", "b")] == [ids[3], ids[1]]
    assert [run.id for run in flow.runs("a", limit=1)] == [ids[3]]
    assert [len(list(flow.runs(limit=limit))) for limit in (0, 2, 99)] == [0, 2, 4]
    assert list(flow.runs("unknown")) == []
    assert all(run in flow and run.id in flow for run in flow)
    assert "2" not in flow
    assert "nonsense" not in flow
    assert all(flow.runs())
    with pytest.raises(holdall.InvalidNameError, match="one by one"):
        next(flow.runs(["a", "b"]))  # type: ignore[arg-type]


def test_looking_at_the_newest_reads_little() -> None:
    """However many runs there are, the latest is one listing and one read."""
    storage = CountingStorage(LocalStorage("store"))
    client = holdall.Client(storage, namespace="user:ana")
    for _ in range(10):
        record(client, model=1)
    flow = client.flow("churn")
    storage.reset()
    assert flow.latest_successful_run.keys() == ["model"]
    assert storage.calls["get"] <= 1
    assert storage.calls["list"] <= 1


def test_data() -> None:
    """Artifacts are attributes of ``data``, loaded once; one that is missing is told as an attribute is."""
    client = holdall.Client("store", namespace="user:ana")
    with holdall.run("churn", client=client) as recorded:
        recorded.save({"model": [1], "two words": 2, "keys": 3})
    run = client.run("churn")

    data = run.data
    assert data.model is data.model
    assert data["model"] == [1]
    assert (data["two words"], data.keys) == (2, 3)
    assert list(data) == ["model", "two words", "keys"]
    assert set(dir(data)) >= {"model", "two words"}
    assert "model" in data
    assert not hasattr(data, "modle")
    assert not hasattr(data, "__array__")
    assert getattr(data, "other", "default") == "default"
    assert repr(data) == "RunData(model, two words, keys)"
    with pytest.raises(AttributeError, match=r"Did you mean 'model'.*holds: model, two words, keys") as caught:
        _ = data.modle
    kinds = type(caught.value).__mro__
    assert LookupError in kinds
    assert holdall.ArtifactNotFoundError in kinds
    assert dict(run) == {name: run[name] for name in run.keys()}  # noqa: SIM118 - as for a mapping
    assert all(artifact in run for artifact in run)
