"""Steps and tasks of one run that other processes and machines record."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import joblib
import pytest

import holdall
from holdall_store.testing import CountingStorage

if TYPE_CHECKING:
    from tests.storage._bucket import Bucket

pytestmark = pytest.mark.usefixtures("workdir")

TASK = """
import sys
import holdall

with holdall.join().step("folds").task(sys.argv[1]) as task:
    task.save(score=int(sys.argv[1]) / 2, rows=holdall.load("rows"))
"""


def fit(step: holdall.ActiveStep, number: int) -> int:
    """Record a task, as a function of some module does."""
    with step.task(f"fold-{number}") as task:
        task.save(score=number / 2, pid=os.getpid(), large=bytes(range(256)) * 100 * (number + 1))
        holdall.log(auc=number)
    return number


def run_script(text: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the working directory."""
    return subprocess.run(
        [sys.executable, "-c", text, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def newest(flow: str = "churn") -> holdall.Run:
    """Return the newest run."""
    return holdall.Flow(flow).latest_run


def check_scores(count: int = 4) -> list[int]:
    """Check that the newest run has the tasks of `fit`, and return the processes that recorded them."""
    folds = newest().steps["folds"]
    assert folds.successful
    assert {task.name: task.data.score for task in folds} == {f"fold-{number}": number / 2 for number in range(count)}
    assert [folds[f"fold-{number}"].metrics["auc"] for number in range(count)] == list(range(count))
    assert newest().data.score in [number / 2 for number in range(count)]
    return [task.data.pid for task in folds]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_process_pools(method: str) -> None:
    """A step that is sent to the processes of a pool records their tasks into the one run."""
    context = multiprocessing.get_context(method)
    pool = concurrent.futures.ProcessPoolExecutor(2, mp_context=context)
    with holdall.run("churn") as run, run.step("folds") as step, pool:
        assert list(pool.map(fit, [step] * 4, range(4))) == [0, 1, 2, 3]

    assert os.getpid() not in check_scores()


def test_thread_pools() -> None:
    """Threads begin tasks of the step as it is."""
    with holdall.run("churn") as run, run.step("folds") as step, concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, [step] * 4, range(4)))

    assert set(check_scores()) == {os.getpid()}


def test_joblib() -> None:
    """Joblib's workers record tasks of the step that they are handed."""
    with holdall.run("churn") as run, run.step("folds") as step:
        joblib.Parallel(n_jobs=2)(joblib.delayed(fit)(step, number) for number in range(4))

    check_scores()


def test_dask() -> None:
    """Dask's workers, here processes, record tasks of the step that their calls are handed."""
    dask = pytest.importorskip("dask")
    with holdall.run("churn") as run, run.step("folds") as step:
        calls = [dask.delayed(fit)(step, number) for number in range(4)]
        dask.compute(*calls, scheduler="processes", num_workers=2)

    assert os.getpid() not in check_scores()


@pytest.mark.slow
def test_ray() -> None:
    """Ray's workers record tasks of the step that their calls are handed."""
    ray = pytest.importorskip("ray")
    path = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=path)
    try:
        with holdall.run("churn") as run, run.step("folds") as step:
            remote = ray.remote(fit)
            assert ray.get([remote.remote(step, number) for number in range(4)]) == [0, 1, 2, 3]
    finally:
        ray.shutdown()

    assert os.getpid() not in check_scores()


def test_forked_children() -> None:
    """A child that was forked records tasks of the step that it inherited; the parent's run is not the worse for it."""
    with holdall.run("churn") as run, run.step("folds") as step:
        children = []
        for number in range(2):
            child = os.fork()
            if child == 0:
                try:
                    fit(step, number)
                finally:
                    os._exit(0)
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]

    check_scores(2)


def test_processes_that_join_by_the_environment(tmp_path: Path) -> None:
    """A process that is given the run's environment joins it, wherever it runs, and loads what the run holds."""
    with holdall.run("churn") as run:
        run.save(rows=[1, 2])
        for number in range(2):
            elsewhere = tmp_path / str(number)
            elsewhere.mkdir()
            done = subprocess.run(
                [sys.executable, "-c", TASK, str(number)],
                env={**os.environ, **run.environment()},
                cwd=elsewhere,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")

    folds = newest().steps["folds"]
    assert [(task.name, task.data.score, task.data.rows) for task in folds] == [("0", 0.0, [1, 2]), ("1", 0.5, [1, 2])]
    assert newest().keys() == ["score", "rows"]


def test_joining_by_name() -> None:
    """A run that goes on is joined by its reference or its pathspec; its parameters and tags are there."""
    with holdall.run("churn", params={"lr": 0.1}, tags=["nightly"]) as run:
        joined = holdall.join(run.reference)
        assert (joined.pathspec, joined.params, joined.tags) == (run.pathspec, {"lr": 0.1}, {"nightly"})
        assert (joined.joined, run.joined) == (True, False)
        with holdall.join(run.pathspec) as again:
            assert holdall.current_run() is again
            with again.step("train", parents=["prepare"]) as step:
                step.save(x=1)
            with pytest.raises(holdall.RunStateError, match="saved to there"):
                holdall.save(1, "y")
        assert pickle.loads(pickle.dumps(joined)).id == run.id
        assert repr(joined) == f"JoinedRun({run.pathspec!r})"
    assert (newest().data.x, newest().status) == (1, "succeeded")

    with pytest.raises(holdall.RunStateError, match="has ended"):
        holdall.join(run.reference)
    with pytest.raises(holdall.RunNotFoundError):
        holdall.join("churn@20200101")
    with pytest.raises(holdall.RunStateError, match="HOLDALL_RUN is not set"):
        holdall.join()


def test_joined_steps_leave_no_trace_of_their_own() -> None:
    """Many processes that join a step to record a task of it each leave that task alone."""
    with holdall.run("churn") as run:
        for number in range(3):
            with holdall.join(run.reference).step("folds") as step, step.task(number) as task:
                task.save(x=number)
        with (
            pytest.raises(ValueError, match="no"),
            holdall.join(run.reference).step("folds") as step,
            step.task(3),
        ):
            raise ValueError("no")

    folds = newest().steps["folds"]
    assert [found.task for found in folds._found] == ["0", "1", "2", "3"]
    assert (folds.status, folds.exception.message) == ("failed", "no")  # type: ignore[union-attr]


def test_two_processes_begin_the_same_task() -> None:
    """Both are recorded, as two attempts, and nothing of either is lost."""
    with holdall.run("churn") as run:
        run.save(rows=[1])
        processes = [
            subprocess.Popen([sys.executable, "-c", TASK, "7"], env={**os.environ, **run.environment()})
            for _ in range(3)
        ]
        assert [process.wait() for process in processes] == [0, 0, 0]

    attempts = newest().steps["folds"]["7"].attempts
    assert [(one.attempt, one.status, one.data.score) for one in attempts] == [
        (number, "succeeded", 3.5) for number in range(3)
    ]


KILLED = """
import os, signal
import holdall

with holdall.join().step("folds").task("fit") as task:
    holdall.save([1, 2], "rows")
    task.save(lost=1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_task_that_is_killed() -> None:
    """What it had made durable is there; another attempt succeeds and counts."""
    with holdall.run("churn") as run:
        assert run_script(KILLED, **run.environment()).returncode == -signal.SIGKILL
        with run.step("folds") as step, step.task("fit") as task:
            assert task.attempt == 1
            task.save(rows=[3])
    first, second = newest().steps["folds"]["fit"].attempts

    assert (first.successful, first.keys(), first.data.rows) == (False, ["rows"], [1, 2])
    assert (second.status, newest().steps["folds"].status, newest().data.rows) == ("succeeded", "succeeded", [3])


def test_requests_of_a_process_that_joins(bucket: Bucket) -> None:
    """On a bucket, a task of another process takes one request where it is small, and four beside its pack where it is large.

    The first large one of a process takes two more: for the store's record, and for where the packs are.
    """
    storage = bucket.empty()
    with holdall.run("churn", client=holdall.Client(storage)) as run:
        run.save(big=bytes(range(256)) * 999)
        step = pickle.dumps(run.step("folds"))
        counts = []
        for size in (1, 100_000):
            fresh = CountingStorage(bucket.at(storage.url.removeprefix("s3://bucket/")))
            joined = pickle.loads(step)
            joined._run._client = holdall.Client(fresh)
            other = holdall.ActiveStep(joined._run, "folds", ())
            for number in range(2):
                with other.task(f"{size}-{number}") as task:
                    task.save(x=os.urandom(size))
                counts.append(sum(fresh.calls.values()))
                fresh.reset()

    assert counts == [1, 1, 7, 5]
