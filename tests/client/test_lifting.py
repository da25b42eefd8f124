"""What a run shows of its tasks: what succeeded counts, before what failed, died or goes on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

import holdall

pytestmark = pytest.mark.usefixtures("workdir")

DIES = """
import os, holdall
with holdall.join().step("fit") as step, step.task("dies") as task:
    task.save(model="DEAD", half=1)
    task.flush()
    os._exit(3)
"""


def newest() -> holdall.Run:
    """Return the newest run."""
    return holdall.Flow("churn").latest_run


def test_what_a_task_saved_that_failed_is_not_the_runs() -> None:
    """A run that succeeded shows the last that a task saved which succeeded; the rest is found in the tasks."""
    with holdall.run("churn") as run, run.step("fit") as step:
        with step.task("t0") as task:
            task.save(model="good")
        with contextlib.suppress(ValueError), step.task("t1") as task:
            task.save(model="BAD", only_bad=1)
            raise ValueError("no")
        assert step.load("model") == "good"
    found = newest()

    assert (found.status, holdall.load("churn/model"), found.keys()) == ("succeeded", "good", ["model"])
    assert found.steps["fit"]["t1"].data.model == "BAD"
    assert found.steps["fit"].data.model == "good"


def test_what_a_step_saved_that_failed_is_not_the_runs() -> None:
    """A step whose error was caught does not hide what an earlier one saved, neither from a later step nor in the run."""
    with holdall.run("churn") as run:
        with run.step("a") as step:
            step.save(model="good")
        with contextlib.suppress(ValueError), run.step("b") as step:
            step.save(model="BAD")
            raise ValueError("no")
        with run.step("c") as step:
            assert step.load("model") == "good"
            assert newest().data.model == "good"

    assert (newest().data.model, newest().steps["b"].data.model) == ("good", "BAD")


def test_what_a_task_saved_that_died_is_not_the_runs() -> None:
    """A worker that died leaves its artifacts in its task; a run that succeeded does not show them."""
    with holdall.run("churn") as run:
        with run.step("fit") as step, step.task("good") as task:
            task.save(model="good")
        done = subprocess.run([sys.executable, "-c", DIES], env={**os.environ, **run.environment()}, check=False)
        assert done.returncode == 3
        assert (newest().keys(), newest().data.model) == (["model", "half"], "good")  # while it goes on

    assert (newest().status, newest().keys(), newest().data.model) == ("succeeded", ["model"], "good")
    assert newest().steps["fit"]["dies"].data.half == 1


def test_a_run_that_failed_shows_what_there_is() -> None:
    """Of a failed run all is shown that was saved, and what succeeded comes first."""
    with pytest.raises(ValueError, match="no"), holdall.run("churn") as run, run.step("fit") as step:
        with step.task("t0") as task:
            task.save(model="good")
        with step.task("t1") as task:
            task.save(model="BAD", only_bad=1)
            raise ValueError("no")

    assert (newest().status, newest().keys()) == ("failed", ["model", "only_bad"])
    assert (newest().data.model, newest().data.only_bad) == ("good", 1)


def test_the_last_values_of_metrics_are_the_runs_too() -> None:
    """What tasks logged is found by the run's metrics, filters and tables; its own values and those that succeeded count."""
    with holdall.run("churn") as run:
        run.log(own=1)
        with run.step("fit") as step:
            with step.task("t0") as task:
                task.log(auc=0.5)
                task.log(auc=0.9, own=7)
            with contextlib.suppress(ValueError), step.task("t1") as task:
                task.log(auc=0.1, only_bad=1)
                raise ValueError("no")
        assert newest().metrics == {"own": 1, "auc": 0.9, "only_bad": 1}
        assert [point.value for point in newest().metric("auc")] == [0.5, 0.9]
    found, flow = newest(), holdall.Flow("churn")

    assert found.metrics == {"own": 1, "auc": 0.9}
    assert [point.value for point in found.metric("auc")] == [0.5, 0.9]
    assert [point.value for point in found.metric("own")] == [1]
    assert flow.runs(where="metrics.auc > 0.8").count() == 1
    assert flow.runs().to_pandas()["metrics.auc"].tolist() == [0.9]


def test_metrics_of_tasks_are_followed_to_where_they_were_logged() -> None:
    """A run that was promoted, and one that resumes another, give the points that tasks of the first logged."""
    with holdall.run("churn") as run, run.step("fit") as step:
        step.log(auc=0.5)
        step.log(auc=0.9)
    promoted = newest().promote("production:churn")
    with holdall.resume(newest()) as again, again.step("fit"):
        pass

    assert [point.value for point in promoted.metric("auc")] == [0.5, 0.9]
    assert newest().metrics == {"auc": 0.9}
    assert [point.value for point in newest().metric("auc")] == [0.5, 0.9]


LOGS = """
import holdall
with holdall.join().step("fit") as step:
    with step.task("t") as task:
        task.save(x=1)
    step.log(auc=0.5)
"""


def test_metrics_of_a_step_that_was_joined_are_kept() -> None:
    """What another process logs to a step itself is recorded, also where it saves nothing there but in tasks."""
    with holdall.run("churn") as run:
        subprocess.run([sys.executable, "-c", LOGS], env={**os.environ, **run.environment()}, check=True)

    assert newest().metrics == {"auc": 0.5}
