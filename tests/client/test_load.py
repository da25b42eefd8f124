"""Loading: which run is meant, and what is read of it."""

from __future__ import annotations

import contextlib
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import holdall
from holdall_store.storage import LocalStorage, MemoryStorage
from holdall_store.testing import CountingStorage

pytestmark = pytest.mark.usefixtures("workdir")


class Opaque:
    """An object that only pickle can save."""

    def __init__(self, size: int = 0) -> None:
        self.data = np.zeros(size)

    def __reduce__(self) -> tuple[object, ...]:
        return Opaque, (len(self.data),)


def record(flow: str = "churn", *, fail: bool = False, **objects: object) -> str:
    """Record a run, and return its id."""
    with contextlib.suppress(ValueError), holdall.run(flow) as run:
        run.save(objects)
        if fail:
            raise ValueError("on purpose")
    return run.id


def test_newest_successful_run_that_holds_it() -> None:
    """Without a selector it is the newest successful run that holds the artifact: not failed ones, nor those without."""
    record(model="old", extra=1)
    record(model="good")
    failed = record(model="failed", broken=2, fail=True)
    record(other=1)

    assert holdall.load("churn/model") == "good"
    assert holdall.load("churn/extra") == 1
    assert holdall.load(f"churn/model@{failed}") == "failed"
    assert holdall.Flow("churn").latest_successful_run.keys() == ["other"]
    with pytest.raises(
        holdall.ArtifactNotFoundError, match=f"{failed}, which is failed, holds it: 'churn/broken@{failed}'"
    ):
        holdall.load("churn/broken")


def test_running_runs_do_not_count() -> None:
    """A run that is still going on is found by others by its id alone."""
    client = holdall.Client()
    with holdall.run("churn") as run:
        run.save(model=1)
        run.flush()
        with pytest.raises(holdall.ArtifactNotFoundError, match="which is running"):
            client.load("churn/model")
        assert client.load(f"churn/model@{run.id}") == 1


def test_aliases_and_runs() -> None:
    """A selector names an alias or a run, by its id or the beginning of it."""
    first, second = record(model=1), record(model=2)
    holdall.alias(f"churn@{first}", "champion")

    assert holdall.load("churn/model:champion") == 1
    assert holdall.load("churn/model:latest") == holdall.load("churn/model") == 2
    assert holdall.load(f"churn/model@{first}") == 1
    assert holdall.load(f"churn/model@{second[:-3]}") == 2
    assert holdall.Run(f"churn/{first}") == holdall.Run(f"churn@{first}") == holdall.Run("churn:champion")
    with pytest.raises(holdall.RunNotFoundError, match=r"beginning of several runs of 'churn'") as caught:
        holdall.load("churn/model@20")
    assert first in str(caught.value)
    assert second in str(caught.value)
    with pytest.raises(holdall.RunNotFoundError, match=f"no run '1999' in namespace .*The newest is {second}"):
        holdall.load("churn/model@1999")


def test_run_that_holds_an_artifact() -> None:
    """A run named by an artifact is the newest successful one that holds it."""
    first = record(model=1)
    record(other=1)

    assert holdall.Run("churn/model").id == first
    with pytest.raises(holdall.ArtifactNotFoundError, match="Did you mean 'model'"):
        holdall.Run("churn/modle")
    with pytest.raises(holdall.InvalidNameError, match="not 5"):
        holdall.Run(5)  # type: ignore[arg-type]


def test_namespaces_in_references() -> None:
    """A reference may name the namespace; it holds for this one look alone."""
    ana, bob = holdall.Client(namespace="user:ana"), holdall.Client(namespace="user:bob")
    holdall.save("ana's", "churn/model", client=ana)
    holdall.save("bob's", "churn/model", client=bob)

    assert ana.load("user:bob/churn/model") == holdall.load("user:bob/churn/model") == "bob's"
    assert ana.load("churn/model") == "ana's"
    assert ana.load_many(["user:bob/churn/model", "churn/model"]) == ["bob's", "ana's"]
    assert holdall.Run("user:bob/churn").namespace == "user:bob"
    assert holdall.Run(f"user:bob/churn/{holdall.Run('user:bob/churn').id}").namespace == "user:bob"


def test_load_many() -> None:
    """Objects come in the order asked for; references, plain handles and repetitions may be mixed."""
    values = {f"x{number}": np.full(5000, number) for number in range(20)}
    with holdall.run("churn") as run:
        saved = run.save(values)
    wanted = [f"churn/x{number}" for number in (7, 3, 3, 19)] + [saved["x5"]]

    assert [int(array[0]) for array in holdall.load_many(wanted)] == [7, 3, 3, 19, 5]
    assert holdall.load_many([]) == []
    assert holdall.load_many(iter(["churn/x1"]))[0][0] == 1
    for wrong in ("churn/x1", saved["x1"], [5]):
        with pytest.raises(holdall.InvalidNameError, match=r"references?\b"):
            holdall.load_many(wrong)  # type: ignore[arg-type]
        with pytest.raises(holdall.InvalidNameError, match=r"references?\b"):
            holdall.Client().load_many(wrong)  # type: ignore[arg-type]
    with pytest.raises(holdall.ArtifactNotFoundError, match="x99"):
        holdall.load_many(["churn/x1", "churn/x99"])


def test_small_values_are_loaded_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decoded at once does not wait for another thread; large ones are loaded by several."""
    with holdall.run("churn") as run:
        saved = run.save(
            {f"x{number}": [number] for number in range(20)}, big=np.zeros(100_000), large=np.ones(100_000)
        )
    threads: dict[str, int] = {}
    load = holdall.Artifact.load

    def noting(artifact: holdall.Artifact, **options: Any) -> Any:
        threads[artifact.name] = threading.get_ident()
        return load(artifact, **options)

    monkeypatch.setattr(holdall.Artifact, "load", noting)
    loaded = holdall.load_many([saved["big"], *saved.values()])

    assert [value[0] for value in loaded] == [0, *range(20), 0, 1]
    here = threading.get_ident()
    assert {name for name, thread in threads.items() if thread != here} == {"big", "large"}


def test_whose_a_store_is_matters_for_code_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who may write to the packs and logs is looked up only where loading runs code: it takes longer than a small value."""
    holdall.save({"a": [1], "b": np.zeros(3)}, "churn/plain")
    holdall.save(Opaque(), "churn/model")

    def asked(*_: object) -> bool:
        raise AssertionError("it was asked")

    monkeypatch.setattr(LocalStorage, "private", asked)
    assert holdall.load("churn/plain")["a"] == [1]
    with pytest.raises(AssertionError, match="it was asked"):
        holdall.load("churn/model")


def test_columns() -> None:
    """Only the wanted columns of a table are read, in the order asked for; what has none says so."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=20_000) for name in "abcdefgh"})
    storage = CountingStorage(MemoryStorage("columns"))
    with holdall.run("churn", client=holdall.Client(storage, namespace="user:ana")) as run:
        run.save(frame=frame, number=1)
    client = holdall.Client(storage, namespace="user:ana")

    storage.reset()
    assert client.load("churn/frame", columns=["c"]).shape == (20_000, 1)
    assert 160_000 <= storage.bytes["get"] < 500_000  # of 1.3 MB
    pd.testing.assert_frame_equal(client.load("churn/frame", columns=["c", "a"]), frame[["c", "a"]])
    with pytest.raises(holdall.NotFoundError, match="zz"):
        client.load("churn/frame", columns=["zz"])
    with pytest.raises(holdall.UnsupportedTypeError, match=r"columns=\['c'\]"):
        client.load("churn/frame", columns="c")
    with pytest.raises(holdall.InvalidNameError, match="names 'a' twice"):
        client.load("churn/frame", columns=["a", "c", "a"])
    for wrong in (5, True, [["c"]], [{"c"}]):
        with pytest.raises(holdall.UnsupportedTypeError, match=r"columns is a list of names.*, not "):
            client.load("churn/frame", columns=wrong)  # type: ignore[arg-type]
    pd.testing.assert_frame_equal(client.load("churn/frame", columns=frame.columns[:2]), frame[["a", "b"]])
    with pytest.raises(holdall.UnsupportedTypeError, match=r"churn/number@.*no"):
        client.load("churn/number", columns=["a"])


def test_arrays_are_the_callers_own() -> None:
    """A loaded array may be written to; the store, and who loads it next, see nothing of that."""
    holdall.save(np.arange(100_000), "churn/x")
    for verify in (True, False):
        first = holdall.load("churn/x", verify=verify)
        first[:] = -1
        assert holdall.load("churn/x", verify=verify)[5] == 5


def test_verify(workdir: Path) -> None:
    """A byte that is not what was saved is an error that names the artifact; without the check it is not seen."""
    holdall.save(np.random.default_rng(0).integers(0, 255, 1_000_000, dtype="u1"), "churn/x")
    (pack,) = (workdir / ".holdall" / "packs").rglob("*-*")
    pack.chmod(stat.S_IRUSR | stat.S_IWUSR)
    data = bytearray(pack.read_bytes())
    data[500_000] ^= 1
    pack.write_bytes(data)

    with pytest.raises(holdall.IntegrityError, match="churn/x@"):
        holdall.load("churn/x")
    assert holdall.load("churn/x", verify=False).shape == (1_000_000,)


@pytest.fixture
def shared(workdir: Path) -> CountingStorage:
    """Return a store that others can write to, with a pickle, plain data, and a dict that holds both."""
    client = holdall.Client("shared", namespace="user:ana")
    with holdall.run("churn", client=client) as run:
        run.save(model=Opaque(50_000), plain=np.arange(50_000), mixed={"plain": np.arange(50_000), "model": Opaque(9)})
    (workdir / "shared").chmod(0o777)
    return CountingStorage(LocalStorage("shared"))


@pytest.mark.parametrize("name", ["model", "mixed"])
def test_pickles_are_refused(shared: CountingStorage, name: str) -> None:
    """From a store that is not the caller's alone no pickle is loaded, and not a byte of it is fetched."""
    client = holdall.Client(shared, namespace="user:ana")
    artifact = client.artifact(f"churn/{name}")
    assert artifact.runs_code
    assert not client.trusted

    shared.reset()
    with pytest.raises(holdall.UnsafeLoadError, match=f"churn/{name}@.*pickle.*not yours alone") as caught:
        artifact.load()
    assert (shared.calls["get"], shared.calls["map"]) == (0, 0)
    assert "trust=True" in str(caught.value)
    assert "HOLDALL_TRUST=1" in str(caught.value)
    with pytest.raises(holdall.UnsafeLoadError):
        client.load_many([f"churn/{name}"])


def test_trust(shared: CountingStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader's own word allows it: for one call, for a client, for all; and plain data needs none."""
    client = holdall.Client("shared", namespace="user:ana")
    assert client.load("churn/plain").sum() == 1249975000
    assert isinstance(client.load("churn/model", trust=True), Opaque)
    assert isinstance(holdall.load("churn/model", client=client, trust=True), Opaque)
    assert isinstance(client.load_many(["churn/model"], trust=True)[0], Opaque)
    assert isinstance(holdall.Client("shared", namespace="user:ana", trust=True).run("churn").data.model, Opaque)
    with pytest.raises(holdall.UnsafeLoadError):
        client.load("churn/model")

    monkeypatch.setenv("HOLDALL_TRUST", "1")
    trusting = holdall.Client("shared", namespace="user:ana")
    assert trusting.trusted
    assert isinstance(trusting.load("churn/model"), Opaque)
    with pytest.raises(holdall.UnsafeLoadError):
        trusting.load("churn/model", trust=False)
    with pytest.raises(holdall.UnsafeLoadError):
        holdall.Client("shared", namespace="user:ana", trust=False).load("churn/model")


def test_parts_need_trust_where_they_run_code(shared: CountingStorage) -> None:
    """Of a dict that holds a pickle, the plain parts can be loaded without trust."""
    artifact = holdall.Client(shared, namespace="user:ana").artifact("churn/mixed")
    assert list(artifact) == ["plain", "model"]
    assert artifact["plain"].sum() == 1249975000
    with pytest.raises(holdall.UnsafeLoadError, match="churn/mixed@"):
        artifact["model"]


def test_own_store_is_trusted() -> None:
    """What lies in a folder that only the caller can write to is loaded without asking, unless told otherwise."""
    holdall.save(Opaque(), "churn/model")
    assert holdall.Client().trusted
    assert isinstance(holdall.load("churn/model"), Opaque)
    with pytest.raises(holdall.UnsafeLoadError):
        holdall.load("churn/model", trust=False)


def test_a_pack_that_is_gone_is_no_question_of_trust(workdir: Path) -> None:
    """A pickle of one's own store whose pack was removed is lost, and what needs no lost pack is loaded."""
    holdall.save({"model": Opaque(), "data": bytes(100_000)}, "churn/lost")
    before = set((workdir / ".holdall" / "packs").iterdir())
    holdall.save({"model": Opaque(), "data": np.random.default_rng(0).bytes(100_000)}, "churn/kept")
    holdall.save(Opaque(), "churn/inline")
    for pack in before:
        pack.unlink()

    attempts: list[Callable[[], object]] = [
        lambda: holdall.load("churn/lost"),
        lambda: holdall.load("churn/lost", trust=True),
        lambda: holdall.Client().artifact("churn/lost")["model"],
    ]
    for load in attempts:
        with pytest.raises(holdall.store.ObjectNotFoundError, match=r"churn/lost@.*packs/.*bytes are lost"):
            load()
    with pytest.raises(holdall.UnsafeLoadError, match=r"trust=True"):
        holdall.load("churn/lost", trust=False)
    assert isinstance(holdall.load("churn/kept")["model"], Opaque)
    assert isinstance(holdall.load("churn/inline"), Opaque)


@pytest.mark.parametrize("value", ["maybe", "2"])
def test_trust_variable_that_means_nothing(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that is neither yes nor no is refused by its name."""
    monkeypatch.setenv("HOLDALL_TRUST", value)
    with pytest.raises(holdall.InvalidNameError, match="HOLDALL_TRUST"):
        holdall.Client()
