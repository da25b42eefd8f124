"""Steps and tasks: recorded by one process, looked up, and shown."""

from __future__ import annotations

import concurrent.futures
import pickle
from xml.etree import ElementTree

import pytest

import holdall
from holdall_store.storage import MemoryStorage
from holdall_store.testing import CountingStorage

pytestmark = pytest.mark.usefixtures("workdir")


def newest(flow: str = "churn") -> holdall.Run:
    """Return the newest run."""
    return holdall.Flow(flow).latest_run


def test_steps_follow_each_other() -> None:
    """A step saves, logs and loads as a run does; the run shows what its steps saved, and what comes after what."""
    with holdall.run("churn") as run:
        with run.step("prepare") as step:
            step.save(rows=[4, 2])
            step.log(rows=2)
        with run.step("train") as step:
            assert step.parents == ("prepare",)
            step.save(model=sum(step.load("rows")))
    found = newest()

    assert found.keys() == ["rows", "model"]
    assert (found.data.model, holdall.load("churn/model"), holdall.load(f"churn/rows@{run.id}")) == (6, 6, [4, 2])
    assert [step.name for step in found.steps] == ["prepare", "train"]
    train = found.steps["train"]
    assert [step.name for step in train.parents] == ["prepare"]
    assert [step.name for step in found.steps["prepare"].children] == ["train"]
    assert (train.status, train.successful, train.finished, train.exception) == ("succeeded", True, True, None)
    assert (train.data.model, train.task.data.model, train.task.name) == (6, 6, "main")
    assert found.steps["prepare"].task.metrics == {"rows": 2}
    assert train.created_at <= train.finished_at  # type: ignore[operator]


def test_tasks_of_a_step() -> None:
    """Tasks are found by name, iterated in the order in which they began, and each has what it saved."""
    with holdall.run("churn") as run, run.step("folds") as step:
        for number in (10, 2):
            with step.task(number) as task:
                task.save(score=number / 2)
                task.log(auc=number)
    folds = newest().steps["folds"]

    assert [task.name for task in folds] == [task.id for task in folds.tasks()] == ["10", "2"]
    assert (folds["2"].data.score, folds.tasks[10]["score"].load()) == (1.0, 5.0)
    assert ("2" in folds, "3" in folds, "2" in folds.tasks, len(folds.tasks)) == (True, False, True, 2)
    assert folds.task == folds["2"]
    assert folds["2"].metric("auc")[0].value == 2
    assert folds["10"].step == folds == holdall.Step(folds.pathspec)
    assert holdall.Task(f"churn/{run.id[:15]}/folds/10").data.score == 5.0
    assert holdall.load("churn/score") == 1.0  # of the newest task


@pytest.mark.parametrize("name", ["2024", "00000000", "%", "-x", ".hidden", "Train", "größe", "訓練", "a^2", "^", "_"])
def test_any_name_will_do(name: str) -> None:
    """Steps and tasks may have any name that a flow may have, also one that looks like a slot of a log."""
    with holdall.run("churn") as run:
        run.save(own=1)
        run.flush()
        with run.step(name) as step, step.task(name) as task:
            task.save(x=name)
    with holdall.run("churn") as run:
        pass
    older = list(holdall.Flow("churn"))[1]

    assert (older.steps.keys(), older.steps[name].tasks.keys()) == ([name], [name])
    assert older.keys() == ["x", "own"]
    assert holdall.load(older.steps[name][name]["x"].reference) == name


def test_what_cannot_name_a_step_or_a_task() -> None:
    """Names are checked as those of flows are, when the step or the task is made; nothing is recorded then."""
    with holdall.run("churn") as run:
        for bad in ("", "a/b", "a:b", "a@b", " x", "\x00", 7, None, "x" * 129):
            with pytest.raises(holdall.InvalidNameError):
                run.step(bad)  # type: ignore[arg-type]
        step = run.step("train")
        for wrong in ("", "a/b", True, 1.5, None):
            with pytest.raises(holdall.InvalidNameError):
                step.task(wrong)  # type: ignore[arg-type]
        with pytest.raises(holdall.InvalidNameError, match="that is the step itself"):
            step.task("main")

    assert newest().steps.keys() == []


def test_names_that_are_too_long_together() -> None:
    """Names that make no key together, though each would do, are refused before anything of the task is recorded."""
    client = holdall.Client(namespace=f"team:{'ß' * 35}")
    with holdall.run("ß" * 40, client=client) as run:
        step = run.step("é" * 40)
        with pytest.raises(holdall.InvalidNameError, match="longer than 900 bytes"):
            step.task("ü" * 40)


def test_an_attempt_that_failed_is_followed_by_another() -> None:
    """A task of the same name is another attempt; the newest that succeeded counts, and all can be looked up."""
    with holdall.run("churn") as run, run.step("train") as step:
        for number in range(3):
            try:
                with step.task("fit") as task:
                    task.save(x=number)
                    if number != 1:
                        raise ValueError(f"no {number}")
                assert task.attempt == 1
            except ValueError:
                continue
    fit = newest().steps["train"]["fit"]

    assert (fit.attempt, fit.status, fit.data.x) == (1, "succeeded", 1)
    assert [(one.attempt, one.status, one.data.x) for one in fit.attempts] == [
        (0, "failed", 0),
        (1, "succeeded", 1),
        (2, "failed", 2),
    ]
    assert newest().data.x == 1
    assert holdall.Task(fit.pathspec, attempt=2).exception.message == "no 2"  # type: ignore[union-attr]
    assert holdall.load(f"{newest().pathspec}/train/fit:2/x") == 2
    assert holdall.load(f"{newest().pathspec}/train/fit/x") == 1
    with pytest.raises(holdall.TaskNotFoundError, match="attempts are: 0, 1, 2"):
        holdall.Task(fit.pathspec, attempt=3)


def test_a_failure_is_told_by_task_step_and_run() -> None:
    """An error that leaves the blocks leaves all of them failed, with what was saved until then."""
    with pytest.raises(ZeroDivisionError), holdall.run("churn") as run, run.step("train") as step:
        with step.task("good") as task:
            task.save(x=1)
        with step.task("bad") as task:
            task.save(rows=[0])
            _ = 1 / 0
    found = newest()
    train = found.steps["train"]

    assert (found.status, train.status, train["bad"].status, train["good"].status) == (
        "failed",
        "failed",
        "failed",
        "succeeded",
    )
    assert "1 / 0" in train["bad"].exception.traceback  # type: ignore[union-attr]
    assert train.exception == train["bad"].exception
    assert found.data.rows == [0]


def test_joins_have_several_parents() -> None:
    """Steps that go on side by side have one parent, and the step after them has both, without a word of it."""
    with holdall.run("churn") as run:
        with run.step("start"):
            pass
        with run.step("a") as a, run.step("b") as b:
            a.save(x="a")
            b.save(x="b")
        with run.step("join") as join:
            assert join.parents == ("b", "a")
        with run.step("end", parents=["start", join]):
            pass
    steps = newest().steps

    assert {step.name: [parent.name for parent in step.parents] for step in steps} == {
        "start": [],
        "a": ["start"],
        "b": ["start"],
        "join": ["b", "a"],
        "end": ["start", "join"],
    }
    assert [step.name for step in steps["start"].children] == ["a", "b", "end"]


def test_parents_are_steps_that_there_are() -> None:
    """A parent that is no step of the run, or the step itself, is refused with the nearest name."""
    with holdall.run("churn") as run:
        with run.step("prepare"):
            pass
        with pytest.raises(holdall.InvalidNameError, match="Did you mean 'prepare'"):
            run.step("train", parents=["prepre"])
        with pytest.raises(holdall.InvalidNameError, match=r"write parents=\['prepare'\]"):
            run.step("train", parents="prepare")
        with pytest.raises(holdall.InvalidNameError, match="not an int"):
            run.step("train", parents=[3])
        with pytest.raises(holdall.InvalidNameError, match="after itself"):
            run.step("prepare", parents=["prepare"])
        assert run.step("train", parents=[]).parents == ()


def test_save_and_load_mean_the_innermost_block() -> None:
    """`holdall.save`, `log` and `load` of a plain name mean the task, then its step, then the run and its steps."""
    with holdall.run("churn") as run:
        holdall.save("run", "x")
        with run.step("prepare"):
            holdall.save("prepared", "y")
        with run.step("train") as step:
            assert holdall.load("x") == "run"
            holdall.save("step", "x")
            with step.task("fit") as task:
                assert (holdall.load("x"), holdall.load("y")) == ("step", "prepared")
                holdall.save("task", "x")
                holdall.log(auc=1)
                assert (holdall.load("x"), holdall.load("churn/x"), task["x"].load()) == ("task", "task", "task")
                assert holdall.current_run() is run
            assert holdall.load("x") == "step"
        assert holdall.load("x") == "run"
    train = newest().steps["train"]

    assert holdall.current_run() is None
    assert (newest().data.x, train["main"].data.x, train["fit"].data.x) == ("run", "step", "task")
    assert train["fit"].metrics == {"auc": 1}


def test_a_task_is_begun_once() -> None:
    """A block is entered once; what is saved after its end is refused; to send a task is refused, and its step is not."""
    with holdall.run("churn") as run:
        step = run.step("train")
        with step.task("fit") as task:
            with pytest.raises(holdall.RunStateError, match=r"step\.task\('fit'\) again"):
                task.__enter__()
            with pytest.raises(holdall.RunStateError, match="Send its step"):
                pickle.dumps(task)
        with pytest.raises(holdall.RunStateError, match="has ended"):
            task.save(x=1)
        task.end()
        with step, pytest.raises(holdall.RunStateError, match=r"run\.step\('train'\) again"):
            step.__enter__()


def test_threads_record_tasks_of_one_step() -> None:
    """Sixty-four tasks of sixteen threads, some of one name, are all there, and each has what it saved."""
    with holdall.run("churn") as run, run.step("folds") as step:

        def fit(number: int) -> int:
            with step.task(number % 60) as task:
                holdall.save(number, "number")
                return task.attempt

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            attempts = list(pool.map(fit, range(64)))
    folds = newest().steps["folds"]

    assert sorted(attempts) == [0] * 60 + [1] * 4
    assert sorted(one.data.number for task in folds for one in task.attempts) == list(range(64))


def test_requests_of_many_tasks() -> None:
    """Each of 64 concurrent tasks takes one request where what it saves is small, and four beside its pack where it is large.

    The end of the run looks once for the tasks of others, and once at what is condemned where it refers to their packs.
    """
    storage = CountingStorage(MemoryStorage())
    client = holdall.Client(storage)
    counts = []
    for saved in (b"small", bytes(range(256)) * 400):
        with holdall.run("churn", client=client) as run:
            run.save(first=saved * 2)
            run.flush()
            with run.step("folds") as step:

                def fit(number: int) -> None:
                    with step.task(number) as task:
                        task.save(x=str(number).encode() + saved)

                fit(-1 if saved == b"small" else 64)
                storage.reset()
                with concurrent.futures.ThreadPoolExecutor(64) as pool:
                    list(pool.map(fit, range(64)))
                counts.append(sum(storage.calls.values()) / 64)
            storage.reset()
        counts.append(storage.calls["list"])
        assert len(client.flow("churn").latest_run.steps["folds"].tasks) == 65

    assert counts == [1, 1, 5, 2]


def test_a_running_run_shows_what_its_tasks_saved() -> None:
    """While a run goes on, what its tasks saved is found in it; its own artifacts come before those."""
    with holdall.run("churn") as run:
        run.save(x="run")
        run.flush()
        with run.step("train") as step, step.task("fit") as task:
            task.save(x="task", y="task")
        found = newest()
        assert found.status == "running"
        assert (found.data.x, found.data.y, found.keys()) == ("run", "task", ["x", "y"])
        assert found["y"].reference.endswith(f"{run.id}/train/fit:0/y")


def test_what_tasks_save_after_the_run_ended_is_kept() -> None:
    """A run that succeeded shows nothing of a task that had not: what that saves is found in it alone."""
    with holdall.run("churn") as run:
        step = run.step("train")
        task = step.task("late").__enter__()
        task.save(x=1)
        task.flush()
    assert newest().keys() == []
    assert newest().steps["train"].status == "running"
    task.save(y=2)
    task.end()
    found = newest()

    assert (found.keys(), found.steps["train"]["late"].keys()) == ([], ["x", "y"])
    assert (found.status, found.steps["train"].status) == ("succeeded", "succeeded")


def test_runs_with_many_tasks_are_listed_as_quickly() -> None:
    """Two runs of three thousand tasks each cost a listing of the flow what runs without tasks cost, and a page."""
    from holdall_store.format import make_run_id, slot_key, task_prefix

    storage = CountingStorage(MemoryStorage())
    client = holdall.Client(storage, namespace="user:ana")
    ids = []
    for _ in range(3):
        with holdall.run("churn", client=client) as run:
            run.save(x=1)
        ids.append(run.id)
        for number in range(3000):
            storage.inner.create(
                slot_key(task_prefix("user:ana", "churn", run.id, "folds", str(number)), 0), [b"no record"]
            )
    flow = client.flow("churn")
    assert make_run_id(flow.latest_run.created_at, run.id[-6:]) == run.id

    storage.reset()
    assert flow.latest_successful_run.id == ids[-1]
    assert (storage.calls["list"], storage.calls["get"], storage.keys["list"] < 10) == (1, 1, True)
    storage.reset()
    assert [found.id for found in flow] == ids[::-1]
    assert storage.keys["list"] <= 3 * 510
    storage.reset()
    assert flow[ids[0]].data.x == 1
    assert storage.keys["list"] < 5


def test_what_is_not_there() -> None:
    """A step or a task that is not there is told with the nearest name; a pathspec that is none with an example."""
    with holdall.run("churn") as run, run.step("train") as step, step.task("fold-3"):
        pass
    with pytest.raises(holdall.TaskNotFoundError, match="no step 'trian'.*Did you mean 'train'"):
        newest().steps["trian"]
    with pytest.raises(holdall.TaskNotFoundError, match="no task 'fold-4'.*Did you mean 'fold-3'"):
        newest().steps["train"]["fold-4"]
    with pytest.raises(holdall.TaskNotFoundError, match="no step 'x'"):
        holdall.load(f"{run.pathspec}/x/y/z")
    with pytest.raises(holdall.ArtifactNotFoundError, match="no artifact 'z' in task"):
        holdall.load(f"{run.pathspec}/train/fold-3/z")
    with pytest.raises(holdall.InvalidNameError, match="is no attempt"):
        holdall.load(f"{run.pathspec}/train/fold-3:one/z")
    for bad in ("train", "", None, 3, "a//b"):
        with pytest.raises(holdall.InvalidNameError, match=r"named by a string such as"):
            holdall.Task(bad)  # type: ignore[arg-type]
        with pytest.raises(holdall.InvalidNameError, match=r"named by a string such as"):
            holdall.Step(bad)  # type: ignore[arg-type]


def test_handles_pickle_and_say_what_they_are() -> None:
    """Steps and tasks pickle, compare, hash, and have a repr that shows their state."""
    with holdall.run("churn") as run:
        with run.step("train") as step:
            assert repr(step) == f"ActiveStep('{run.pathspec}/train', running)"
            with step.task("fit") as task:
                task.save(x=1)
                assert repr(task) == f"ActiveTask('{run.pathspec}/train/fit', running)"
        assert repr(task) == f"ActiveTask('{run.pathspec}/train/fit', ended)"
    train = newest().steps["train"]
    fit = train["fit"]

    assert pickle.loads(pickle.dumps(train)) == train
    assert pickle.loads(pickle.dumps(fit)).data.x == 1
    assert len({train, newest().steps["train"]}) == 1
    assert repr(train) == f"Step('{run.pathspec}/train', 1 task)"
    assert repr(fit) == f"Task('{run.pathspec}/train/fit', namespace={run.namespace!r}, succeeded, 1 artifact)"
    assert repr(newest().steps) == "Steps(train)"
    assert repr(train.tasks) == "Tasks(fit)"


def graph_of_a_join() -> holdall.Run:
    """Return a run of four steps, one of which failed and has a name that is no text for a page."""
    with pytest.raises(ValueError, match="no"), holdall.run("churn") as run:
        with run.step("start"):
            pass
        with run.step("<b>&", parents=["start"]) as step:
            for number in range(3):
                with step.task(number):
                    pass
        with run.step("b", parents=["start"]):
            pass
        with run.step("join", parents=["<b>&", "b"]):
            raise ValueError("no")
    return newest()


def test_the_graph_as_text() -> None:
    """Each step is a line: how it went, its tasks, what it comes after."""
    graph = graph_of_a_join().graph()

    assert str(graph).splitlines() == [
        "✓ start  1 task",
        "✓ <b>&   3 tasks  after start",
        "✓ b      1 task  after start",
        "✗ join   1 task  after <b>&, b",
    ]
    assert graph.edges == [("start", "<b>&"), ("start", "b"), ("<b>&", "join"), ("b", "join")]
    assert "4 steps" in repr(graph)


def test_the_graph_as_svg() -> None:
    """The drawing is well-formed, escaped, without a script, and has a box for each step and a line for each edge."""
    graph = graph_of_a_join().graph()
    drawn = ElementTree.fromstring(graph.svg)
    space = "{http://www.w3.org/2000/svg}"

    assert graph._repr_html_() == graph.svg
    assert [text.text for text in drawn.iter(f"{space}text")][::2] == ["start", "<b>&", "b", "join"]
    assert len(list(drawn.iter(f"{space}path"))) == 4
    boxes = [(int(box.attrib["x"]), int(box.attrib["y"])) for box in drawn.iter(f"{space}rect")]
    assert len(set(boxes)) == 4
    assert boxes[0][0] < boxes[1][0] == boxes[2][0] < boxes[3][0]
    assert "script" not in graph.svg


def test_views_in_notebooks() -> None:
    """A run shows its steps, a step its tasks, a task what it saved and why it failed; names are escaped."""
    run = graph_of_a_join()
    step = run.steps["<b>&"]

    assert "&lt;b&gt;&amp;" in run._repr_html_()
    assert "<b>&" not in run._repr_html_()
    assert step._repr_html_().count("✓") == 4
    assert "ValueError" in run.steps["join"].task._repr_html_()
    assert "<script" not in run._repr_html_() + step._repr_html_()


def test_a_run_without_steps_never_hears_of_them() -> None:
    """A plain run writes and reads what it did, and has no steps; its end takes no look for tasks."""
    storage = CountingStorage(MemoryStorage())
    client = holdall.Client(storage)
    with holdall.run("churn", client=client) as run:
        run.save(x=1)

    assert (storage.calls["create"], storage.calls["list"]) == (2, 0)
    found = client.flow("churn").latest_run
    assert (found.steps.keys(), list(found.steps), str(found.graph()), found.keys()) == ([], [], "no steps", ["x"])
    assert "step" not in found._repr_html_()


def test_steps_of_a_run_that_goes_on() -> None:
    """In its block, a run gives what its steps and tasks hold, for a step that joins them."""
    with holdall.run("churn") as run:
        with run.step("folds") as step:
            for number in range(3):
                with step.task(number) as task:
                    task.save(score=number)
        with run.step("choose") as step:
            step.save(best=max(task.data.score for task in run.steps["folds"]))

    assert newest().data.best == 2


def test_a_run_is_known_before_its_tasks() -> None:
    """When the first record of a task is there, the run is, too: what a killed process leaves is found."""
    with holdall.run("churn") as run, run.step("train") as step, step.task("fit") as task:
        task.save(x=1)
        task.flush()
        assert newest().id == run.id
        assert newest().data.x == 1
