"""The shortest forms: saving and loading without a run, in this process and in others."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import holdall
from holdall import _session
from holdall_store.repository import SystemClock
from holdall_store.storage import MemoryStorage

pytestmark = pytest.mark.usefixtures("workdir")

ROOTS = os.pathsep.join(str(Path(__file__).resolve().parents[2] / name) for name in ("datastore", "client"))


def python(*arguments: str, code: str | None = None, **environment: str) -> str:
    """Run Python in the working directory, and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=code,
        env={**os.environ, "PYTHONPATH": ROOTS, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(autouse=True)
def script(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let this process be a script called ``train.py``."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "/home/ana/train.py", raising=False)
    return "train"


def test_save_and_load() -> None:
    """What was saved under a plain name, or with a flow, is loaded by it; each flow has one run a process."""
    first = holdall.save([1], "model")
    second = holdall.save([2], "other/model")
    third = holdall.save(np.arange(10_000), "data")

    assert (holdall.load("model"), holdall.load("train/model"), holdall.load("other/model")) == ([1], [1], [2])
    assert (first.flow, second.flow, first.run_id) == ("train", "other", third.run_id)
    assert [run.status for run in holdall.Flow("train")] == ["succeeded"]
    assert holdall.Run("train").keys() == ["model", "data"]
    assert holdall.load_many(["model", "other/model", first]) == [[1], [2], [1]]


def test_each_save_is_durable() -> None:
    """Another client sees each save at once, small or large."""
    for number in range(3):
        holdall.save(number, "model")
        assert holdall.Client(".holdall").load("train/model") == number
    holdall.log(auc=0.5)
    holdall.log({"auc": 0.6}, step=5)
    assert [point[:2] for point in holdall.Client(".holdall").run("train").metric("auc")] == [(0.5, 0), (0.6, 5)]


def test_inside_a_block(tmp_path: Path) -> None:
    """Inside a block, plain names and those with its own flow belong to its run; others do not."""
    (tmp_path / "report.txt").write_text("fine")
    holdall.save("before", "x")
    with holdall.run("churn") as run:
        assert holdall.save(1, "x").run_id == run.id
        assert holdall.save(2, "churn/y").run_id == run.id
        assert holdall.save_file("report.txt", "report").run_id == run.id
        holdall.log(auc=1)
        other = holdall.save(3, "other/x")
        assert other.run_id != run.id
        assert (holdall.load("x"), holdall.load("y"), holdall.load("train/x")) == (1, 2, "before")
        assert holdall.load_many(["x", "other/x"]) == [1, 3]
        assert (holdall.load("churn/x"), holdall.load(f"churn/x@{run.id}")) == (1, 1)  # as they were saved
        with pytest.raises(holdall.ArtifactNotFoundError, match=f"{run.id}, which is running, holds it"):
            holdall.Client().load("churn/x")  # to others, this run has not succeeded yet
        assert holdall.Client().load(f"churn/x@{run.id}") == 1  # and yet it is there for others

    assert (holdall.load("churn/x"), holdall.load("x"), holdall.Run("churn").metrics) == (1, "before", {"auc": 1})


def test_plain_names_in_a_block_mean_its_flow() -> None:
    """A plain name that the run does not hold means an earlier run of its flow, where that run lies."""
    client = holdall.Client("memory://blocks", namespace="production:x")
    with holdall.run("churn", client=client) as run:
        run.save(model="first")
    with holdall.run("churn", client=client):
        assert holdall.load("model") == "first"
        with pytest.raises(holdall.ArtifactNotFoundError, match="flow of this run, 'churn'"):
            holdall.load("modle")


def test_another_client_in_a_block() -> None:
    """Inside a block, a client that is given is the one that is asked and saved to."""
    elsewhere = holdall.Client("memory://elsewhere")
    with holdall.run("churn") as run:
        run.save(x=1)
        holdall.save(2, "churn/x", client=elsewhere)
        assert holdall.load("churn/x", client=elsewhere) == 2
        holdall.save(3, "x", client=elsewhere)
        assert holdall.load("x", client=elsewhere) == 3
        assert holdall.load("x") == 1


def test_a_name_that_is_saved_again_is_another_version() -> None:
    """Each save of a name has a reference of its own, which goes on meaning what was saved then."""
    first = holdall.save("first", "nb/model")
    beside = holdall.save("beside", "nb/note")
    second = holdall.save("second", "nb/model")

    assert first.run_id == beside.run_id != second.run_id
    assert first.reference != second.reference
    assert (first.load(), holdall.load(first.reference)) == ("first", "first")
    assert (holdall.load("nb/model"), holdall.load("nb/note")) == ("second", "beside")
    assert [run.successful for run in holdall.Flow("nb")] == [True, True]


def test_threads_that_save_the_same_name_lose_nothing() -> None:
    """Every save of every thread can be loaded by its reference, though each ends the run of another."""
    with ThreadPoolExecutor(8) as pool:
        saved = list(pool.map(lambda number: holdall.save(number, f"same/x{number % 2}"), range(60)))

    assert [artifact.load() for artifact in saved] == list(range(60))
    assert len({artifact.reference for artifact in saved}) == 60


def test_each_place_has_its_own_run() -> None:
    """Stores, namespaces and flows are told apart, also stores in memory that have no name."""
    one, two = holdall.Client(MemoryStorage()), holdall.Client(MemoryStorage())
    holdall.save(1, "churn/x", client=one)
    holdall.save(2, "churn/x", client=two)
    holdall.save(3, "user:zoe/churn/x", client=one)
    holdall.save(4, "churn/y", client=one)
    with holdall.namespace("user:joe"):
        holdall.save(5, "churn/x")

    assert (one.load("churn/x"), one.load("churn/y"), two.load("churn/x"), one.load("user:zoe/churn/x")) == (1, 4, 2, 3)
    assert len(list(one.flow("churn"))) == 1
    assert holdall.load("user:joe/churn/x") == 5


@pytest.mark.parametrize("name", ["model:champion", "churn/model@2026", "a/b/c", "", "user:ana/"])
def test_refused_names(name: str) -> None:
    """What is saved is named by ``name`` or ``flow/name``."""
    with pytest.raises(holdall.InvalidNameError):
        holdall.save(1, name)
    assert not Path(".holdall").exists()


def test_store_removed_in_between() -> None:
    """Where the store was removed, the next save makes a new one that is whole."""
    holdall.save(1, "x")
    shutil.rmtree(".holdall")
    holdall.save(2, "x")
    assert (holdall.load("x"), len(list(holdall.Flow("train")))) == (2, 1)

    shutil.rmtree(".holdall")
    holdall.save(np.arange(100_000), "y")
    assert holdall.load("y").sum() == 4999950000


def test_store_replaced_in_between() -> None:
    """Where another store has taken the place of the first, what is saved next goes to it as a whole."""
    holdall.save(1, "x")
    shutil.rmtree(".holdall")
    with holdall.run("other") as run:
        run.save(y=1)
    holdall.save(2, "x")

    assert (holdall.load("x"), holdall.load("other/y")) == (2, 1)


def test_removed_store_stays_removed() -> None:
    """A store that is removed before the process ends does not come into being again."""
    python("-c", "import holdall, shutil; holdall.save(1, 'x'); shutil.rmtree('.holdall')")
    assert not Path(".holdall").exists()


def test_replaced_store_is_left_alone() -> None:
    """The end of the process writes nothing into a store that has taken the place of its own."""
    python(
        "-c",
        "import holdall, shutil, subprocess, sys\n"
        "holdall.save(1, 'x/y')\n"
        "shutil.rmtree('.holdall')\n"
        "subprocess.run([sys.executable, '-c', 'import holdall; holdall.save(2, \"new/y\")'], check=True)\n",
    )
    assert [flow.name for flow in holdall.Client().flows] == ["new"]


def test_scripts(workdir: Path) -> None:
    """A script's flow is its name without the suffix; another script sees what it saved, and each has its own run."""
    (workdir / "my train.v2.py").write_text("import holdall\nholdall.save([1, 2], 'model')\n")
    (workdir / "package").mkdir()
    (workdir / "package" / "__main__.py").write_text("import holdall\nholdall.save(3, 'model')\n")
    (workdir / "read.py").write_text(
        "import holdall\nprint(holdall.load('my train.v2/model'), holdall.load('package/model'))\n"
    )
    python("my train.v2.py")
    python("my train.v2.py")
    python("-m", "package")
    python("package")

    assert python("read.py") == "[1, 2] 3\n"
    runs = list(holdall.Flow("my train.v2"))
    assert [run.successful for run in runs] == [True, True]
    assert all(run.finished and run.info["command"] == ["my train.v2.py"] for run in runs)
    assert len(list(holdall.Flow("package"))) == 2


@pytest.mark.parametrize("how", [("-c", "import holdall; holdall.save(1, 'x')"), ("-",), ("-i",)])
def test_without_a_script(how: tuple[str, ...]) -> None:
    """Without a script the flow is called ``interactive``."""
    code = None if how[0] == "-c" else "import holdall; saved = holdall.save(1, 'x')\n"
    if how == ("-i",):
        done = subprocess.run(
            [sys.executable, "-i", "-q"],
            input=code,
            env={**os.environ, "PYTHONPATH": ROOTS},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0
    else:
        python(*how, code=code)

    assert holdall.load("interactive/x") == 1


@pytest.mark.parametrize(
    "file", ["/x/a:b@c\\d.py", "/x/" + "long " * 60 + ".py", "/x/\udcff.py", "/x/....py", "/x/größe\x85.py"]
)
def test_odd_scripts(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script may have any name: what no reference bears is replaced."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", file)
    saved = holdall.save(1, "x")

    assert holdall.load("x") == holdall.load(f"{saved.flow}/x") == 1


def test_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook the flow is called ``notebook``, or as the editor says; a script that uses its libraries is a script."""
    main = sys.modules["__main__"]
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    assert holdall.save(1, "x").flow == "train"
    monkeypatch.delattr(main, "__file__")
    assert holdall.save(1, "x").flow == "notebook"
    monkeypatch.setattr(main, "__vsc_ipynb_file__", "/home/ana/Explore churn.ipynb", raising=False)
    assert holdall.save(1, "x").flow == "Explore churn"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each child process has its own implicit run, though the parent has one already; none loses anything."""
    monkeypatch.delattr(sys.modules["__main__"], "__file__")  # a spawned child would look for it
    mine = holdall.save("parent", "child/x")
    with multiprocessing.get_context(method).Pool(2, maxtasksperchild=1) as pool:
        saved = pool.starmap_async(holdall.save, [(n, f"child/x{n}") for n in range(3)], chunksize=1).get(120)
    assert holdall.save("more", "child/y").run_id == mine.run_id

    assert len({mine.run_id, *(artifact.run_id for artifact in saved)}) == 4
    assert holdall.load_many([f"child/x{number}" for number in range(3)]) == [0, 1, 2]
    assert (holdall.load("child/x"), holdall.load("child/y")) == ("parent", "more")


def _in_fork(work: Callable[[], object]) -> str:
    """Return what `work` returns, or the error that it raises, in a forked child."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(work())
        except BaseException as error:  # noqa: BLE001 - told to the parent
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


def test_forked_inside_a_block() -> None:
    """A run belongs to the process that began it: a child that saves to it is told so; the run goes on."""
    with holdall.run("churn") as run:
        run.save(x=1)
        for act in (lambda: holdall.save(2, "x"), lambda: run.log(a=1), run.flush, run.end):
            text = _in_fork(act)
            assert text.startswith("RunStateError: Run ")
            assert "holdall.run(...)" in text
        run.save(y=2)

    assert (holdall.Run("churn").keys(), holdall.Run("churn").status) == (["x", "y"], "succeeded")


def test_forked_while_a_lock_is_held() -> None:
    """A child can save though another thread of its parent was about to when it was forked."""
    with _session._lock:
        assert _in_fork(lambda: holdall.save(5, "churn/x").load()) == "5"


def test_two_processes_at_once() -> None:
    """Two processes that save into one flow at the same time both keep all they saved."""
    code = "import holdall, sys\nfor n in range(20): holdall.save([n], f'churn/{sys.argv[1]}{n}')"
    processes = [
        subprocess.Popen([sys.executable, "-c", code, name], env={**os.environ, "PYTHONPATH": ROOTS}) for name in "ab"
    ]
    assert [process.wait(120) for process in processes] == [0, 0]

    runs = list(holdall.Flow("churn"))
    assert [(run.status, len(run)) for run in runs] == [("succeeded", 20)] * 2
    assert holdall.load_many([f"churn/{name}{n}" for name in "ab" for n in range(20)]) == [[n] for n in range(20)] * 2


def test_exit_after_an_error() -> None:
    """What was saved before a script died of an error stays, and counts."""
    done = subprocess.run(
        [sys.executable, "-c", "import holdall; holdall.save(1, 'churn/x'); 1/0"],
        env={**os.environ, "PYTHONPATH": ROOTS},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert holdall.load("churn/x") == 1


def test_nothing_is_printed() -> None:
    """Saving and loading print nothing, neither to the output nor to the error stream."""
    code = (
        "import holdall, numpy\nholdall.save(numpy.arange(10**5), 'churn/x'); holdall.load('churn/x'); holdall.log(a=1)"
    )
    assert python("-c", code) == ""


class Ahead(SystemClock):
    """A clock that is so far ahead."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ahead = dt.timedelta(seconds=seconds)

    def now(self) -> dt.datetime:
        """Return the wrong time."""
        return super().now() + self._ahead


@pytest.mark.parametrize("seconds", [3600, 20])
def test_a_run_of_a_clock_that_is_ahead(seconds: float) -> None:
    """Who saves a name that a run of an hour later holds is warned that this one stays the newest; of seconds, nobody is."""
    ahead = holdall.Client()
    ahead.repository.clock = Ahead(seconds)
    holdall.save("x", "churn/other")
    with holdall.run("churn", client=ahead) as run:
        run.save(model="of another machine")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        saved = holdall.save("mine", "churn/model")

    told = [str(each.message) for each in caught if each.category is RuntimeWarning]
    assert [text.count(run.id) for text in told] == ([1] if seconds > 60 else [])
    assert all(each.filename == __file__ for each in caught)
    assert holdall.load("churn/model") == "of another machine"
    assert holdall.load(saved.reference) == "mine"
