"""Runs that go on from another one, and what to do about a run that went wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import holdall
from holdall_store.storage import MemoryStorage
from holdall_store.testing import CountingStorage

pytestmark = pytest.mark.usefixtures("workdir")

LARGE = bytes(range(256)) * 400


def newest(flow: str = "churn") -> holdall.Run:
    """Return the newest run."""
    return holdall.Flow(flow).latest_run


def work(context: Any, calls: list[str], *, broken: int = -1) -> None:
    """Record a run of three steps, the second of three tasks, of which one may fail."""
    with context as run:
        with run.step("prepare") as step:
            if not step.done:
                calls.append("prepare")
                step.save(rows=[1, 2, 3], large=LARGE)
        with run.step("folds") as step:
            for number in range(3):
                with step.task(number) as task:
                    if not task.done:
                        calls.append(f"fold {number}")
                        if number == broken:
                            raise ValueError("broken")
                        task.log(auc=number)
                        task.save(score=sum(step.load("rows")) * number)
        with run.step("choose") as step:
            calls.append("choose")
            step.save(best=max(task.data.score for task in run.steps["folds"]))


def test_what_succeeded_is_reused() -> None:
    """Steps and tasks that succeeded are taken over by reference, without a byte of a pack; the others are done again."""
    storage = CountingStorage(MemoryStorage())
    client = holdall.Client(storage)
    calls: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        work(holdall.run("churn", params={"lr": 0.1}, client=client), calls, broken=2)
    failed = client.flow("churn").latest_run
    assert calls == ["prepare", "fold 0", "fold 1", "fold 2"]

    calls.clear()
    before = [info.key for info in storage.inner.list("packs/")]
    work(holdall.resume(failed, client=client), calls)
    found = client.flow("churn").latest_run

    assert calls == ["fold 2", "choose"]
    assert [info.key for info in storage.inner.list("packs/")] == before
    assert (found.status, found.data.best, found.data.large, dict(found.params)) == (
        "succeeded",
        12,
        LARGE,
        {"lr": 0.1},
    )
    assert (found.origin.reference, found.origin.how) == (failed.reference, "resumed")  # type: ignore[union-attr]
    assert [step.name for step in found.steps] == ["prepare", "folds", "choose"]
    folds = found.steps["folds"]
    assert [(task.name, task.attempt, task.data.score) for task in folds] == [("0", 0, 0), ("1", 0, 6), ("2", 0, 12)]
    assert [point.value for point in folds["1"].metric("auc")] == [1]
    assert folds["1"].metrics == {"auc": 1}


def test_a_run_that_was_resumed_twice() -> None:
    """A run that resumes one that resumed another has what the first one did."""
    calls: list[str] = []
    with pytest.raises(ValueError, match="broken"):
        work(holdall.run("churn"), calls, broken=1)
    with pytest.raises(ValueError, match="broken"):
        work(holdall.resume(newest().pathspec), calls, broken=2)
    work(holdall.run("churn", resume=newest()), calls)

    assert calls == ["prepare", "fold 0", "fold 1", "fold 1", "fold 2", "fold 2", "choose"]
    assert newest().data.best == 12
    assert newest().steps["folds"]["1"].metric("auc")[0].value == 1


def test_a_step_that_is_done_has_its_tasks() -> None:
    """A step all of whose tasks succeeded is done as a whole: its tasks are there without being begun."""
    with pytest.raises(ValueError, match="no"), holdall.run("churn") as run:
        with run.step("folds") as step:
            for number in range(3):
                with step.task(number) as task:
                    task.save(score=number, large=LARGE)
        raise ValueError("no")
    with holdall.resume(newest()) as run, run.step("folds") as step:
        assert step.done
        assert [task.data.score for task in run.steps["folds"]] == [0, 1, 2]
        with step.task(1) as task:
            task.save(score=10)
    folds = newest().steps["folds"]

    assert (folds["0"].data.large, folds["1"].attempt, folds["1"].data.score) == (LARGE, 1, 10)


def test_cached_values() -> None:
    """`cached` makes a value once in a run, and not again in one that resumes it, with or without steps."""
    calls: list[int] = []

    def make(value: int) -> int:
        calls.append(value)
        return value

    with pytest.raises(ValueError, match="no"), holdall.run("churn") as run:
        assert (run.cached("x", make, 1), run.cached("x", make, 2)) == (1, 1)
        with run.step("train") as step, step.task("fit") as task:
            assert task.cached("y", make, 3) == 3
            raise ValueError("no")
    with holdall.resume(newest()) as run:
        assert run.cached("x", make, 4) == 1
        with run.step("train") as step, step.task("fit") as task:
            assert not task.done
            assert task.cached("y", make, 5) == 3
            assert task.cached("z", make, 6) == 6

    assert calls == [1, 3, 6]
    assert (newest().keys(), newest().steps["train"]["fit"].status) == (["y", "z", "x"], "succeeded")


def test_a_plain_run_has_nothing_to_go_on_from() -> None:
    """Without a run to resume nothing is done, and no request asks whether it is."""
    storage = CountingStorage(MemoryStorage())
    with holdall.run("churn", client=holdall.Client(storage)) as run, run.step("a") as step, step.task("b") as task:
        assert (step.done, task.done) == (False, False)
        assert storage.calls["list"] == 0


def test_other_processes_go_on_from_it_too() -> None:
    """A process that joins a run that resumes another sees what is done."""
    script = """
import holdall
with holdall.join().step("folds").task("a") as task:
    assert task.done
    print(task.load("x"))
"""
    with pytest.raises(ValueError, match="no"), holdall.run("churn") as run:
        with run.step("folds") as step, step.task("a") as task:
            task.save(x=7)
        raise ValueError("no")
    with holdall.resume(newest()) as run:
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, **run.environment()},
            capture_output=True,
            text=True,
            check=False,
        )

    assert (done.stderr, done.stdout) == ("", "7\n")
    assert newest().steps["folds"]["a"].data.x == 7


def test_what_cannot_be_resumed(tmp_path: Path) -> None:
    """A run that is not there, of another store, or no run at all is refused before anything is recorded."""
    with holdall.run("churn") as run:
        pass
    with pytest.raises(holdall.RunNotFoundError), holdall.resume("churn@20200101"):
        pass
    with pytest.raises(holdall.InvalidNameError, match="lies in"):
        holdall.resume(newest(), client=holdall.Client(tmp_path / "other")).__enter__()
    with pytest.raises(holdall.InvalidNameError, match="not an int"):
        holdall.resume(3).__enter__()  # type: ignore[arg-type]

    assert newest().id == run.id


def test_how_to_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    """`debug` tells what failed, what was saved, and how to do it again; what differs here is named."""
    subprocess.run(["git", "init", "-q"], check=True)
    Path("a").write_text("a")
    subprocess.run(["git", "add", "a"], check=True)
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *names, "commit", "-q", "-m", "a"], check=True)
    script = """
import holdall
with holdall.run("churn", params={"lr": 0.1}) as run:
    with run.step("train") as step:
        step.save(rows=[1, 0])
        1 / 0
"""
    Path("train.py").write_text(script)
    assert subprocess.run([sys.executable, "train.py", "--fast"], check=False, capture_output=True).returncode == 1
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    run = newest()

    # What earlier tests imported may have put more packages on this process's path.
    packages = dict(run.info["packages"])
    monkeypatch.setattr("holdall._debug.installed_packages", lambda: packages)
    text = str(run.debug())
    for told in (
        f"run {run.pathspec}",
        "ZeroDivisionError: division by zero",
        "1 / 0",
        "steps that did not succeed: train",
        f"rows = holdall.load('{run.reference.replace('churn@', 'churn/rows@')}')",
        "lr = 0.1",
        f"git checkout {commit}",
        "were changes",
        "python train.py --fast",
        f"holdall.resume('{run.reference}')",
        "nothing that is recorded",
    ):
        assert told in text

    run._view.info = {**run.info, "python": "3.9.1", "packages": {**run.info["packages"], "numpy": "1.0", "gone": "2"}}
    debug = run.debug()
    assert debug.packages["gone"] == ("2", "")
    assert set(debug.packages) == {"numpy", "gone"}
    assert "Python 3.9.1, here" in repr(debug)
    assert "pip install gone==2 numpy==1.0" in debug.text
