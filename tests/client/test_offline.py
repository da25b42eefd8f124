"""Requests that loads from a bucket cost, and loads that cost none: by the cache, and offline."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.engine._remote import Remote

import holdall
from holdall import Client, OfflineError
from holdall._cli import main
from holdall_store.storage import Storage

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

ARRAY = np.arange(1 << 17, dtype="f8") ** 1.5


class Far:
    """A store somewhere else, and the requests that it was asked."""

    def __init__(self, storage: Storage, count: Callable[[], list[str]], options: dict[str, Any] | None = None) -> None:
        self.storage = storage
        self.count = count
        self.options = options

    def client(self, **options: Any) -> Client:
        """Return a client as a new process has it."""
        namespace = options.pop("namespace", "team:a")
        if self.options is None:
            return Client(self.storage, namespace=namespace, **options)
        return Client(self.storage.url, namespace=namespace, storage_options=self.options, **options)

    def requests(self, work: Callable[[], Any]) -> list[str]:
        """Return what is asked of the store while `work` is done."""
        before = len(self.count())
        work()
        return self.count()[before:]


class Listed(Remote):
    """Notes each call in order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def _count(self, counter: Any, verb: str, count: int = 1) -> None:
        if counter is self.calls:
            self.asked.append(verb.removesuffix("_folders").upper())
        super()._count(counter, verb, count)


@pytest.fixture(params=["memory", "bucket"])
def far(request: pytest.FixtureRequest) -> Iterator[Far]:
    """Return an empty store in memory that counts its calls, and one behind HTTP."""
    if request.param == "memory":
        storage = Listed()
        yield Far(storage, lambda: list(storage.asked))
    else:
        bucket: Bucket = request.getfixturevalue("bucket")
        yield Far(bucket.empty(), lambda: list(bucket.server.verbs), bucket.options)


@pytest.fixture
def run(far: Far) -> str:
    """Save a run, point an alias at it, without leaving anything in the cache, and return its id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDALL_CACHE_SIZE", "0")
        client = far.client()
        with holdall.run("churn", client=client) as active:
            active.save(small={"depth": 3}, array=ARRAY)
        holdall.alias("churn", "champion", client=client)
    return active.id


def references(run: str) -> dict[str, str]:
    """Return the ways to name a run."""
    return {
        "newest": "churn/{}",
        "alias": "churn/{}:champion",
        "id": f"churn/{{}}@{run}",
        "start": f"churn/{{}}@{run[:-2]}",
    }


@pytest.mark.parametrize(
    ("how", "first", "second"),
    [
        ("newest", ["LIST", "GET"], ["LIST"]),
        ("alias", ["LIST", "GET", "LIST", "GET"], ["LIST"]),
        ("id", ["LIST", "GET"], []),
        ("start", ["LIST", "GET"], ["LIST"]),
    ],
)
def test_requests_of_a_small_artifact(far: Far, run: str, how: str, first: list[str], second: list[str]) -> None:
    """A small value travels with the record of its run: at most four round trips, and none for what cannot change."""
    name = references(run)[how].format("small")

    assert far.requests(lambda: far.client().load(name)) == first
    assert far.requests(lambda: far.client().load(name)) == second
    assert far.client().load(name) == {"depth": 3}


@pytest.mark.parametrize(
    ("how", "second"), [("newest", ["LIST"]), ("alias", ["LIST"]), ("id", []), ("start", ["LIST"])]
)
def test_requests_of_an_array(far: Far, run: str, how: str, second: list[str]) -> None:
    """A megabyte comes with the table of its pack; the second time it is a map."""
    name = references(run)[how].format("array")

    first = far.requests(lambda: far.client().load(name))
    assert first.count("LIST") <= 2
    assert len(first) == (5 if how == "alias" else 3)
    assert far.requests(lambda: far.client().load(name)) == second
    loaded = far.client().load(name)
    assert np.array_equal(loaded, ARRAY)
    loaded[0] = -1
    assert np.array_equal(far.client().load(name), ARRAY)


def test_requests_of_a_model_in_many_packs(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many arrays in several packs cost one request for each pack, after those that find the run."""
    monkeypatch.setattr("holdall_store.storage._object.PACK_BYTES", 1 << 20)
    rng = np.random.default_rng(0)
    model = {f"layer{n}": rng.standard_normal(1 << 14).astype("f4") for n in range(64)}
    with holdall.run("model", client=far.client()) as active:
        active.save(weights=model)
    packs = len({ref.name for ref in far.client().run("model")["weights"]._stored.packs})
    assert packs >= 4
    name = f"team:a/model/weights@{active.id}"

    first = far.requests(lambda: far.client().load(name))
    assert first == ["GET"] * packs  # the record is there since the run was looked at
    assert far.requests(lambda: far.client(namespace=None).load(name)) == []
    assert far.requests(lambda: far.client().run(f"model/{active.id}")["weights"]["layer7"]) == []
    loaded = far.client().load(name)
    assert all(np.array_equal(loaded[key], model[key]) for key in model)


@pytest.mark.parametrize("far", ["bucket"], indirect=True)
def test_handles_that_travel_cost_nothing(far: Far, run: str) -> None:
    """A run or an artifact that is pickled and comes back is loaded without a request."""
    artifact = far.client().artifact("churn/array")
    artifact.load()
    text = pickle.dumps(artifact)

    assert far.requests(lambda: pickle.loads(text).load()) == []


def test_listing_runs_reads_each_once(far: Far) -> None:
    """Runs are listed with one listing, and a record that was read before is not read again."""
    for number in range(6):
        with holdall.run("many", client=far.client()) as active:
            active.save(number=number)

    def look() -> list[int]:
        return [run["number"].load() for run in far.client().flow("many")]

    assert look() == [5, 4, 3, 2, 1, 0]
    assert far.requests(look) == ["LIST", "LIST"]


def test_runs_that_go_on_are_looked_at_each_time(far: Far) -> None:
    """A run that has not ended may grow: what it says now is asked each time, and what was read of it is not."""
    with holdall.run("open", client=far.client()) as active:
        active.save(a=1)
        active.flush()
        assert far.client().load(f"open/a@{active.id}") == 1
        assert far.requests(lambda: far.client().load(f"open/a@{active.id}")) == ["LIST"]
        active.save(b=2)
        active.flush()
        assert far.client().load(f"open/b@{active.id}") == 2
    assert far.client().run(f"open/{active.id}").status == "succeeded"
    assert far.requests(lambda: far.client().load(f"open/b@{active.id}")) == []


def test_a_moved_alias_is_seen(far: Far, run: str) -> None:
    """An alias means what it means now, though the record that it had before is in the cache."""
    assert far.client().load("churn/small:champion") == {"depth": 3}
    with holdall.run("churn", client=far.client()) as active:
        active.save(small={"depth": 4})
    holdall.alias(f"churn@{active.id}", "champion", client=far.client())

    assert far.client().load("churn/small:champion") == {"depth": 4}
    assert far.client().load("churn/small") == {"depth": 4}


def test_a_client_costs_nothing(far: Far, run: str) -> None:
    """To make a client, and to name a flow, asks for nothing or for the flow."""
    assert far.requests(far.client) == []
    assert far.requests(lambda: far.client().flow("churn")) == ["LIST"]
    assert far.requests(lambda: far.client().flows) == ["LIST"]


@pytest.mark.parametrize("how", ["newest", "alias", "id", "start"])
def test_offline_gives_what_was_read(far: Far, run: str, how: str) -> None:
    """Offline, every way to name a run that was read works, and nothing is asked."""
    for name in ("small", "array"):
        far.client().load(references(run)[how].format(name))
        far.client().load(references(run)["alias"].format(name))

    def load() -> None:
        client = far.client(offline=True)
        assert client.load(references(run)[how].format("small")) == {"depth": 3}
        assert np.array_equal(client.load(references(run)[how].format("array")), ARRAY)
        assert np.array_equal(client.flow("churn").latest_run.data.array, ARRAY)

    assert far.requests(load) == []


def test_offline_looks_around_in_the_cache(far: Far, run: str) -> None:
    """Offline, namespaces, flows and runs are those that were read."""
    with holdall.run("unread", client=far.client()) as active:
        active.save(a=1)
    far.client().load("churn/small")

    def look() -> None:
        client = far.client(offline=True, namespace=None)
        assert client.namespaces == ["team:a"]
        assert [flow.name for flow in client.flows] == ["churn"]
        assert [found.id for found in client.flow("churn")] == [run]

    assert far.requests(look) == []


def test_offline_the_newest_is_the_newest_that_was_read(far: Far, run: str) -> None:
    """Offline, a newer run that nobody read here is not known."""
    far.client().load("churn/small")
    with holdall.run("churn", client=far.client()) as active:
        active.save(small={"depth": 4})

    assert far.client(offline=True).load("churn/small") == {"depth": 3}
    assert far.client().load("churn/small") == {"depth": 4}
    assert far.client(offline=True).load("churn/small") == {"depth": 4}


MISSING: dict[str, Callable[[Client, str], Any]] = {
    "flow": lambda client, run: client.load("other/model"),
    "run": lambda client, run: client.load("churn/small@20200101T000000000000-aaaaaa"),
    "start": lambda client, run: client.run("churn/2020"),
    "alias": lambda client, run: client.load("churn/small:nobody"),
    "artifact": lambda client, run: client.flow("churn").latest_run_with("nothing"),
    "data": lambda client, run: client.load("churn/array"),
    "part": lambda client, run: client.run(f"churn/{run}")["array"].load(verify=False),
    "everything": lambda client, run: client.in_namespace("team:b").run("churn"),
}


@pytest.mark.parametrize("what", MISSING)
def test_offline_says_what_is_missing(far: Far, run: str, what: str) -> None:
    """What is not in the cache is an error that names it, and says how it gets there."""
    far.client().load("churn/small")

    def load() -> None:
        with pytest.raises(OfflineError, match="online") as caught:
            MISSING[what](far.client(offline=True), run)
        assert isinstance(caught.value, ConnectionError)
        assert far.storage.url in str(caught.value)

    assert far.requests(load) == []


def test_offline_nothing_is_saved(far: Far, run: str) -> None:
    """Offline, saving and aliasing are refused before anything is asked."""
    far.client().load("churn/small")

    def save() -> None:
        client = far.client(offline=True)
        with pytest.raises(OfflineError, match="Nothing can be saved"):
            holdall.save(1, "churn/x", client=client)
        with pytest.raises(OfflineError, match="Nothing can be saved"), holdall.run("churn", client=client) as active:
            active.save(x=1)
        with pytest.raises(OfflineError, match="Nothing can be saved"):
            holdall.alias(f"churn@{run}", "other", client=client)

    assert far.requests(save) == []


def test_offline_by_the_environment(far: Far, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``HOLDALL_OFFLINE`` holds for every client that does not say otherwise, and a pickle keeps what was said."""
    far.client().load("churn/small")
    monkeypatch.setenv("HOLDALL_OFFLINE", "1")

    assert far.requests(lambda: far.client().load("churn/small")) == []
    assert far.requests(lambda: far.client(offline=False).load("churn/small")) == ["LIST"]
    if far.options is not None:
        client = far.client(offline=False)
        assert pickle.loads(pickle.dumps(client)) == client
        assert pickle.loads(pickle.dumps(client)).settings.offline is False


def test_offline_local_stores_are_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on this disk needs no network: it is read and written offline, too."""
    monkeypatch.setenv("HOLDALL_OFFLINE", "1")
    client = Client(tmp_path / "store", offline=True)

    holdall.save(ARRAY, "churn/array", client=client)

    assert np.array_equal(client.load("churn/array"), ARRAY)
    assert client.repository.offline is None


def test_offline_files(far: Far, tmp_path: Path) -> None:
    """Copies of files and folders that were made before are there offline, and cost nothing."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number}.txt").write_bytes(os.urandom(300))
    (folder / "large").write_bytes(os.urandom(9_000_000))
    with holdall.run("files", client=far.client()) as active:
        active.save_dir(folder)
        active.save_file(folder / "large", "file")
    reference = f"files/folder@{active.id}"
    first = far.client().load(reference)
    assert (first / "7.txt").read_bytes() == (folder / "7.txt").read_bytes()
    assert (first / "large").read_bytes() == (folder / "large").read_bytes()

    assert far.requests(lambda: far.client(offline=True).load(reference)) == []
    assert far.requests(lambda: far.client().load(reference)) == []
    with pytest.raises(OfflineError, match="file@"):
        far.client(offline=True).load(f"files/file@{active.id}")


def test_points_of_metrics_that_were_read(far: Far) -> None:
    """All points of a metric are there once they were asked for; where earlier records are missing, that is said."""
    with holdall.run("long", client=far.client()) as active:
        for step in range(3):
            active.log(loss=1.0 / (step + 1), step=step)
            active.flush()
    name = f"long/{active.id}"
    assert far.client().run(name).metrics["loss"] == 1 / 3
    with pytest.raises(OfflineError, match="online"):
        far.client(offline=True).run(name).metric("loss")

    def points() -> list[float]:
        return [point.value for point in far.client().run(name).metric("loss")]

    assert points() == [1.0, 1 / 2, 1 / 3]
    assert far.requests(points) == []
    assert [point.step for point in far.client(offline=True).run(name).metric("loss")] == [0, 1, 2]


def test_history_of_an_alias(far: Far, run: str) -> None:
    """The records of an alias are read once; offline there are those that were read."""
    assert [record.run for record in far.client().aliases.history("team:a", "churn", "champion")] == [run]
    assert far.requests(lambda: far.client().aliases.history("team:a", "churn", "champion")) == ["LIST"]
    assert [r.run for r in far.client(offline=True).aliases.history("team:a", "churn", "champion")] == [run]


def test_several_loads_at_once(far: Far, run: str) -> None:
    """What is loaded together offline is what was loaded together before."""
    names = [f"churn/{name}@{run}" for name in ("array", "small", "array")]
    far.client().load_many(names)

    first, second, third = far.client(offline=True).load_many(names)

    assert np.array_equal(first, ARRAY)
    assert second == {"depth": 3}
    assert np.array_equal(third, ARRAY)


def test_offline_a_folder_that_others_can_write_is_refused(far: Far, run: str, isolated: Path) -> None:
    """Offline, nothing is believed that others can have put there; it is said how to mend that."""
    far.client().load("churn/small")
    (isolated / "cache" / "remote").chmod(0o777)

    with pytest.raises(OfflineError, match="chmod 700"):
        far.client(offline=True).load("churn/small")


def test_offline_the_doctor_asks_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The diagnosis says what the cache holds of a store, and whether the cache is used."""
    storage = bucket.empty()
    client = Client(storage.url, namespace="team:a", storage_options=bucket.options)
    holdall.save(1, "churn/a", client=client)
    assert client.load("churn/a") == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", bucket.options["endpoint_url"])
    monkeypatch.setenv("HOLDALL_STORE", storage.url)
    monkeypatch.setenv("HOLDALL_OFFLINE", "1")
    before = len(bucket.server.log)

    assert main(["doctor"]) == 0

    assert "offline: not asked; the cache holds runs of 1 flow" in capsys.readouterr().out
    assert len(bucket.server.log) == before


def test_home_moves_the_cache(far: Far, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``HOLDALL_HOME`` says where it all lies: with another one, nothing is there."""
    far.client().load(f"churn/small@{run}")
    monkeypatch.setenv("HOLDALL_HOME", str(tmp_path / "other"))

    assert far.requests(lambda: far.client().load(f"churn/small@{run}")) == ["LIST", "GET"]
    assert (tmp_path / "other" / "cache" / "remote").is_dir()
