"""Runs as ``with`` blocks: how they end, what they keep, and what they refuse."""

from __future__ import annotations

import contextlib
import contextvars
import errno
import pickle
import threading
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np
import pytest

import holdall
from holdall import _keeper
from holdall_store.errors import StorageError
from holdall_store.storage import Buffer, MemoryStorage
from holdall_store.testing import WrappedStorage

pytestmark = pytest.mark.usefixtures("workdir")


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.005)


def test_success() -> None:
    """A block that ends well is a successful run with all that it saved and logged."""
    with holdall.run("churn", params={"lr": 0.1}, tags=["nightly"]) as run:
        assert repr(run) == f"ActiveRun('churn/{run.id}', running)"
        assert (run.flow, run.pathspec, dict(run.params)) == ("churn", f"churn/{run.id}", {"lr": 0.1})
        saved = run.save(model=[1, 2], note="first")
        run.log(auc=0.9)
    assert "ended" in repr(run)

    found = holdall.Flow("churn").latest_successful_run
    assert (found.id, found.status, found.successful, found.finished) == (run.id, "succeeded", True, True)
    assert found.exception is None
    assert (found.params, found.metrics) == ({"lr": 0.1}, {"auc": 0.9})
    assert found.tags == {"nightly"}
    assert {name: artifact.load() for name, artifact in saved.items()} == {"model": [1, 2], "note": "first"}
    assert found.artifacts == list(saved.values())
    assert found.finished_at is not None
    assert found.created_at <= found.finished_at
    assert found.duration == found.finished_at - found.created_at


def test_failure() -> None:
    """A block that raises is a failed run: with its exception, and with what it had saved until then."""
    with pytest.raises(ValueError, match="no such column"), holdall.run("churn") as run:
        run.save(small=1, large=np.arange(10_000))
        run.log(auc=0.5)
        raise ValueError("no such column")

    found = holdall.Flow("churn").latest_run
    assert (found.id, found.status, found.successful, found.finished) == (run.id, "failed", False, True)
    assert found.exception is not None
    assert (found.exception.type, found.exception.message) == ("ValueError", "no such column")
    assert 'raise ValueError("no such column")' in found.exception.traceback
    assert "test_runs.py" in found.exception.traceback
    assert (found["small"].load(), found["large"].load().sum(), found.metrics["auc"]) == (1, 49995000, 0.5)
    with pytest.raises(holdall.RunNotFoundError, match=f"{run.id}, is failed.*latest_run"):
        _ = holdall.Flow("churn").latest_successful_run


def test_one_name_twice_in_a_call_is_refused() -> None:
    """What one call names both in its mapping and by keyword is refused: one of the two would be lost."""
    with holdall.run("churn") as run:
        with pytest.raises(holdall.InvalidNameError, match="'a' is named twice"):
            run.save({"a": 1}, a=2)
        with pytest.raises(holdall.InvalidNameError, match="'loss' is named twice"):
            run.log({"loss": 1}, loss=2)
        assert "a" not in run


@pytest.mark.parametrize(
    ("tags", "error"),
    [
        (5, r"list of strings, such as .*, not 5"),
        ({"env": "eu"}, r"not a dict; write tags=\['env=eu'\], or give it as params"),
        ("nightly", r"write tags=\['nightly'\]"),
        (["x" * 300], r"'x{57}…' is no tag"),
    ],
)
def test_tags_that_are_no_list_of_strings(tags: Any, error: str) -> None:
    """Tags of another shape are refused with the way to write them."""
    with pytest.raises(holdall.InvalidNameError, match=error):
        holdall.run("churn", tags=tags)


def test_active_run_stays_in_its_process() -> None:
    """A run that is sent elsewhere records steps there, and nothing else; it cannot be part of an artifact."""
    with holdall.run("churn") as run:
        for sent in (pickle.loads(pickle.dumps(run)).save, pickle.loads(pickle.dumps(run.save))):
            with pytest.raises(holdall.RunStateError, match=r"begun by another process.*run\.step\('train'\)"):
                sent(x=1)
        with pytest.raises(holdall.UnsupportedTypeError, match=r"x\['runs'\]\[0\].*cannot be part of an artifact"):
            run.save(x={"runs": [run]})


def test_run_without_its_block() -> None:
    """What belongs to the run, asked of what begins it, is answered with the block; any other name as usual."""
    context: Any = holdall.run("churn")
    for name in ("save", "save_file", "save_dir", "log", "flush", "end", "id", "params"):
        with pytest.raises(AttributeError, match=rf"`with holdall.run\('churn'\) as run:`, and in it run\.{name}$"):
            getattr(context, name)
    with pytest.raises(AttributeError, match=r"^'RunContext' object has no attribute 'sve'$"):
        _ = context.sve


def test_data_is_read_only() -> None:
    """What is set on the data of a run that was looked up would be lost, and is refused with the way to save it."""
    with holdall.run("churn") as run:
        run.save(z=1)
    found: Any = holdall.Run(run.pathspec)
    with pytest.raises(AttributeError, match=r"read-only.*run\.save\(z=…\)"):
        found.data.z = 2
    assert found.data.z == 1


class BrokenError(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("not even this")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (SystemExit(), "succeeded", None),
        (SystemExit(0), "succeeded", None),
        (SystemExit(1), "failed", "SystemExit"),
        (SystemExit("no data"), "failed", "SystemExit"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt"),
        (GeneratorExit(), "failed", "GeneratorExit"),
        (ExceptionGroup("two", [ValueError(1), TypeError(2)]), "failed", "ExceptionGroup"),
        (UnicodeError("\ud800"), "failed", "UnicodeError"),
        (ValueError("x" * 1_000_000), "failed", "ValueError"),
        (BrokenError(), "failed", f"{__name__}.BrokenError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_kinds_of_ends(error: BaseException, status: str, kind: str | None) -> None:
    """Whatever ends a block goes on to the caller, and the run says what it was; exit code 0 is a success."""
    with pytest.raises(type(error)) as caught, holdall.run("churn") as run:
        run.save(x=1)
        raise error

    found = holdall.Flow("churn").latest_run
    assert caught.value is error
    assert not getattr(error, "__notes__", [])
    assert (found.status, found.exception and found.exception.type) == (status, kind)
    assert found.exception is None or len(found.exception.message) < 10_000
    assert found["x"].load() == 1


def test_nested() -> None:
    """The innermost block is the current run, and each keeps what was saved to it."""
    assert holdall.current_run() is None
    with holdall.run("outer") as outer:
        with pytest.raises(ZeroDivisionError), holdall.run("inner") as inner:
            assert holdall.current_run() is inner
            holdall.save("in", "x")
            outer.save(y="out")
            _ = 1 / 0
        assert holdall.current_run() is outer
        holdall.save("out", "x")
    assert holdall.current_run() is None

    assert (holdall.Run("outer").keys(), holdall.load("outer/x")) == (["y", "x"], "out")
    assert (holdall.Flow("inner").latest_run.status, holdall.load(f"inner/x@{inner.id}")) == ("failed", "in")


def test_nested_in_one_flow() -> None:
    """Two runs of one flow at once are two runs; the one that began last is the latest."""
    with holdall.run("churn") as first:
        with holdall.run("churn") as second:
            second.save(x=2)
        first.save(x=1)

    assert [run.id for run in holdall.Flow("churn")] == [second.id, first.id]
    assert holdall.load("churn/x") == 2


def test_context_used_again() -> None:
    """One context object can be entered again, even within itself: each time it is a new run."""
    context = holdall.run("churn", params={"lr": 1}, tags=["a"])
    with context as first:
        first.save(x=1)
        with context as second:
            second.save(x=2)
        assert holdall.current_run() is first
    with context as third:
        third.save(x=3)

    runs = list(holdall.Flow("churn"))
    assert [run.id for run in runs] == [third.id, second.id, first.id]
    assert [run["x"].load() for run in runs] == [3, 2, 1]
    assert all(run.successful and run.params == {"lr": 1} and run.tags == {"a"} for run in runs)


def test_context_of_several_threads() -> None:
    """Threads that entered the same context object each leave their own run, in whatever order."""
    context = holdall.run("churn")
    entered, leave_first = threading.Barrier(2), threading.Event()
    ids: dict[str, str] = {}

    def work(name: str) -> None:
        with contextlib.suppress(ValueError), context as run:
            ids[name] = run.id
            run.save(who=name)
            entered.wait(60)
            if name == "second":
                leave_first.wait(60)
            else:
                raise ValueError(name)
        leave_first.set()

    threads = [threading.Thread(target=work, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    runs = {run.id: run for run in holdall.Flow("churn")}
    assert {name: (runs[ids[name]]["who"].load(), runs[ids[name]].status) for name in ids} == {
        "first": ("first", "failed"),
        "second": ("second", "succeeded"),
    }


def test_left_from_another_context() -> None:
    """A run in a generator that is closed from another context is ended all the same."""

    def steps() -> Generator[str, None, None]:
        with holdall.run("churn") as run:
            run.save(x=1)
            yield run.id

    generator = steps()
    contextvars.copy_context().run(next, generator)
    generator.close()

    assert holdall.Flow("churn").latest_run.status == "failed"


class FillingUp(WrappedStorage):
    """A storage in memory that cannot be written to from a moment on."""

    def __init__(self) -> None:
        super().__init__(MemoryStorage("filling-up"))
        self.full = False
        self.error: Exception = StorageError(errno.ENOSPC, "No space left on device")

    def create(self, key: str, parts: Iterable[Buffer]) -> int:
        """Refuse, where the storage is full."""
        if self.full:
            raise self.error
        return super().create(key, parts)


def test_failure_that_cannot_be_recorded() -> None:
    """Where a failure cannot be written down either, the first error is the one that is raised, with a note."""
    storage = FillingUp()
    with pytest.raises(ZeroDivisionError) as caught, holdall.run("churn", client=holdall.Client(storage)) as run:
        run.save(x=1)
        storage.full = True
        _ = 1 / 0

    (note,) = caught.value.__notes__
    assert "could not record this failure" in note
    assert run.id in note
    assert "No space left" in note
    assert holdall.current_run() is None


def test_failure_that_cannot_be_recorded_for_any_reason() -> None:
    """Not even an error that nobody foresaw hides the first one."""
    storage = FillingUp()
    storage.error = RuntimeError("a bug")
    with pytest.raises(ZeroDivisionError) as caught, holdall.run("churn", client=holdall.Client(storage)):
        storage.full = True
        _ = 1 / 0

    assert "a bug" in caught.value.__notes__[0]


def test_end_that_cannot_be_recorded() -> None:
    """A block that went well, but whose end cannot be written down, raises; nothing of it is visible."""
    storage = FillingUp()
    client = holdall.Client(storage)
    with pytest.raises(StorageError, match="No space left"), holdall.run("churn", client=client) as run:
        run.save(x=1)
        storage.full = True

    assert client.repository.catalog.namespaces() == []


def test_save_that_fails_is_taken_back() -> None:
    """After a save that the storage refused, the run goes on, and knows nothing of the refused objects."""
    storage = FillingUp()
    client = holdall.Client(storage)
    with holdall.run("churn", client=client) as run:
        run.save(before=1)
        storage.full = True
        with pytest.raises(StorageError):
            run.save(large=np.arange(100_000), small=2)
        storage.full = False
        assert "large" not in run
        assert "small" not in run
        run.save(after=3)

    assert client.run("churn").keys() == ["before", "after"]


def test_all_or_nothing() -> None:
    """Where one of several objects cannot be saved, the error names it, and none of them is."""
    with holdall.run("churn") as run:
        run.save(kept=0)
        with pytest.raises(holdall.UnsupportedTypeError, match=r"config\['loaders'\]\[1\]"):
            run.save(good=1, large=np.arange(100_000), config={"loaders": [1, (n for n in range(3))]})
        with pytest.raises(holdall.InvalidNameError, match="'a/b'"):
            run.save({"good": 1, "a/b": 2})
        assert [artifact.name for artifact in run] == ["kept"]

    assert holdall.Run("churn").keys() == ["kept"]


def test_last_save_of_a_name_wins() -> None:
    """A name that is saved again means the new object; a handle of the old one still gives the old one."""
    with holdall.run("churn") as run:
        old = run.save(x=np.zeros(10_000), y=1)["x"]
        new = run.save(x="new")["x"]
        assert run["x"] == new != old
        assert (run["x"].load(), old.load().sum()) == ("new", 0)

    assert holdall.load("churn/x") == "new"
    assert old.load().shape == (10_000,)


@pytest.mark.parametrize(
    "act",
    [
        lambda run: run.save(x=1),
        lambda run: run.save(x=np.zeros(10_000)),
        lambda run: run.save_file(__file__),
        lambda run: run.log(x=1),
    ],
)
def test_after_the_end(act: Callable[[holdall.ActiveRun], object]) -> None:
    """Nothing can be added to a run that has ended; the error says which one it is. Ending and flushing do nothing."""
    with holdall.run("churn") as run:
        run.save(x=0)

    with pytest.raises(holdall.RunStateError, match=f"{run.id} of churn has ended"):
        act(run)
    run.flush()
    run.end()
    run.end(ValueError())
    assert (holdall.Run("churn").status, holdall.load("churn/x"), holdall.Run("churn").metrics) == ("succeeded", 0, {})


@pytest.mark.parametrize("value", [[1, 2], "model", np.arange(3), 5])
def test_object_without_a_name(value: object) -> None:
    """An object that is given without a name is refused, with the way to give one."""
    with holdall.run("churn") as run, pytest.raises(holdall.UnsupportedTypeError, match=r"run\.save\(name="):
        run.save(value)  # type: ignore[arg-type]


def test_flush() -> None:
    """What was flushed is visible to others while the run goes on."""
    with holdall.run("churn") as run:
        run.save(x=1)
        assert holdall.Client().namespaces == []
        run.flush()
        seen = holdall.Flow("churn").latest_run
        assert (seen.status, seen.finished, seen.finished_at, seen["x"].load()) == ("running", False, None, 1)
        run.save(y=2)
        assert "y" not in seen.reload()
        run.flush()
        assert "y" not in seen
        assert seen.reload()["y"].load() == 2
    assert seen.reload().successful


def test_long_runs_announce_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run becomes visible after a while though it has saved nothing, and its small values become durable."""
    monkeypatch.setattr(_keeper, "ANNOUNCE_SECONDS", 0.01)
    monkeypatch.setattr(_keeper, "FLUSH_SHARE", 0.0)
    with holdall.run("churn", params={"lr": 1}) as run:
        wait_for(lambda: "churn" in holdall.Client() and any(holdall.Flow("churn").runs()))
        seen = holdall.Flow("churn").latest_run
        assert (seen.id, seen.status, dict(seen.params)) == (run.id, "running", {"lr": 1})
        run.save(x=1)
        run.log(loss=0.5)
        wait_for(lambda: "x" in seen.reload() and "loss" in seen.reload().metrics)

    assert holdall.Run("churn")["x"].load() == 1


def test_small_values_that_cannot_be_flushed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble in the background is logged, not raised; the end of the run writes what is still pending."""
    monkeypatch.setattr(_keeper, "ANNOUNCE_SECONDS", 0.01)
    monkeypatch.setattr(_keeper, "FLUSH_SHARE", 0.0)
    storage = FillingUp()
    storage.full = True
    client = holdall.Client(storage)
    with holdall.run("churn", client=client) as run:
        run.save(x=1)
        wait_for(lambda: any(run.id in record.getMessage() for record in caplog.records))
        storage.full = False

    assert client.load("churn/x") == 1


def test_empty_run() -> None:
    """A run that saves nothing is recorded all the same."""
    with holdall.run("churn") as run:
        assert list(run) == []

    found = holdall.Run("churn")
    assert found.id == run.id
    assert (found.keys(), len(found), list(found), found.metrics) == ([], 0, [], {})
    with pytest.raises(holdall.ArtifactNotFoundError, match="holds none"):
        found["model"]


def test_block_in_a_namespace() -> None:
    """The name of a flow may carry its namespace."""
    with holdall.run("production:eu/churn") as run:
        run.save(x=1)
        assert holdall.load("x") == 1

    assert (run.namespace, run.flow) == ("production:eu", "churn")
    assert holdall.load("production:eu/churn/x") == 1


@pytest.mark.parametrize("flow", ["churn/model", "churn:champion", "churn@2026", "", "a/b/c", 5])
def test_refused_flows(flow: object) -> None:
    """What is no name of a flow is refused when the context is made."""
    with pytest.raises(holdall.InvalidNameError):
        holdall.run(flow)  # type: ignore[arg-type]


def test_an_empty_id_names_no_run() -> None:
    """An empty run id is refused, also where the flow has a single run that it could be the beginning of."""
    with holdall.run("churn") as run:
        assert run.id
    with pytest.raises(holdall.RunNotFoundError, match="empty id"):
        holdall.Flow("churn")[""]


def test_artifacts_keep_the_order_of_saving() -> None:
    """Small and large values of one run are listed in the order in which they were given."""
    with holdall.run("churn") as run:
        run.save(small=1, large=np.arange(5000), last="x")
        run.save(again=np.arange(6000), end=2)
    assert holdall.Flow("churn").latest_run.keys() == ["small", "large", "last", "again", "end"]
