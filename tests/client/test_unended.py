"""Runs that were begun and never ended, and runs whose store cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import holdall
from holdall import _cli, _keeper
from holdall_store.errors import AccessDeniedError
from holdall_store.storage import MemoryStorage, Storage
from holdall_store.testing import ReadOnlyStorage

pytestmark = pytest.mark.usefixtures("workdir")

ENTERED = """
import contextlib, holdall
stack = contextlib.ExitStack()
run = stack.enter_context(holdall.run("churn"))
run.save(model=[1, 2])
run.log(auc=0.9)
"""


def script(text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the working directory."""
    return subprocess.run(
        [sys.executable, "-c", text], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_what_a_run_holds_that_never_ends_is_kept() -> None:
    """The process ends well, the run is there with what it was given, and a warning says that it did not end."""
    done = script(ENTERED)

    assert done.returncode == 0
    assert "was begun and never ended" in done.stderr
    run = holdall.Flow("churn").latest_run
    assert (run.data.model, run.metrics, run.successful) == ([1, 2], {"auc": 0.9}, False)
    assert run.status == ("died" if run.info["process"] else "running")


def test_a_run_that_ended_is_not_warned_of() -> None:
    """`end` is as good as a block."""
    done = script(ENTERED + "run.end()\n")

    assert (done.returncode, done.stderr) == (0, "")
    assert holdall.Flow("churn").latest_run.successful


def test_a_forked_child_says_nothing_of_its_parents_runs() -> None:
    """Only the process that began a run warns of it."""
    done = script(ENTERED + "import os\nif os.fork() == 0:\n    raise SystemExit\nos.wait()\nrun.end()\n")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_store_that_cannot_be_written_is_told_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the block goes on, a warning says once that what was saved is not durable; its end raises."""
    monkeypatch.setattr(_keeper, "ANNOUNCE_SECONDS", 0.01)
    heard: list[str] = []

    def hear(message: Warning | str, *rest: object, **more: object) -> None:
        heard.append(str(message))

    monkeypatch.setattr(warnings, "showwarning", hear)
    warnings.simplefilter("always")
    storage: Storage = ReadOnlyStorage(MemoryStorage())
    with pytest.raises(AccessDeniedError), holdall.run("churn", client=holdall.Client(storage)) as run:
        run.log(auc=0.9)
        while not heard:
            run.log(auc=0.8)

    assert len(heard) == 1
    assert f"Small values of run {run.id} of churn are not durable yet" in heard[0]


def test_what_is_no_client_is_refused(tmp_path: Path) -> None:
    """A path in the place of a client gets an error that says how a client of it is made."""
    for act in (
        lambda: holdall.save(1, "churn/x", client=str(tmp_path)),  # type: ignore[arg-type]
        lambda: holdall.load("churn/x", client=str(tmp_path)),  # type: ignore[arg-type]
        lambda: holdall.run("churn", client=str(tmp_path)),  # type: ignore[arg-type]
        lambda: holdall.alias("churn", "champion", client=str(tmp_path)),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError, match=r"client= takes a holdall\.Client: holdall\.Client\('"):
            act()
    with pytest.raises(TypeError, match="this is an int"):
        holdall.load("churn/x", client=5)  # type: ignore[arg-type]


def test_an_artifact_is_loaded_as_a_reference_is() -> None:
    """What `save` returned can be given to `load`."""
    assert holdall.load(holdall.save([1, 2], "churn/x")) == [1, 2]


@pytest.mark.parametrize("limit", ["a", -1, 1.5, True])
def test_a_limit_is_a_number(limit: object) -> None:
    """What is no number of runs is refused at once, not when the first run is asked for."""
    flow = holdall.Flow(holdall.save(1, "churn/x").flow)
    with pytest.raises(holdall.InvalidNameError, match="limit is the number of runs"):
        flow.runs(limit=limit)  # type: ignore[arg-type]


def test_a_result_whose_keys_are_no_names_is_one_artifact() -> None:
    """A function that returns such a dict has not worked for nothing."""

    @holdall.run("train")
    def train() -> dict[str, float]:
        return {"train/loss": 0.5}

    train()
    assert holdall.load("train/result") == {"train/loss": 0.5}


def test_options_before_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """What may stand before the command does the same there as after it."""
    holdall.save(1, "churn/x")
    answers = []
    for arguments in (["--json", "ls"], ["ls", "--json"], ["-q", "ls"], ["ls", "-q"]):
        assert _cli.main(arguments) == 0
        answers.append(capsys.readouterr().out)

    assert answers[0] == answers[1] != ""
    assert answers[2] == answers[3] != ""
    assert answers[2].endswith("/churn\n")


def test_a_run_with_many_artifacts_is_one_row(capsys: pytest.CaptureFixture[str]) -> None:
    """The first names are listed, and how many there are."""
    with holdall.run("churn") as run:
        run.save({f"x{number:03d}": number for number in range(500)})
    assert _cli.main(["ls", "churn"]) == 0

    written = capsys.readouterr().out
    assert "x029, … (500 in all)" in written
    assert "x030" not in written


def test_metrics_may_have_slashes() -> None:
    """``train/loss`` is how metrics are called."""
    with holdall.run("churn") as run:
        run.log({"train/loss": 0.5, "val/loss": 0.6})

    assert holdall.Run("churn").metrics == {"train/loss": 0.5, "val/loss": 0.6}


def test_a_call_that_lacks_an_argument_names_the_function() -> None:
    """As without the decorator."""

    @holdall.run("train")
    def train(depth: int) -> None:
        raise AssertionError(depth)

    with pytest.raises(TypeError, match=r"train\(\) missing a required argument: 'depth'"):
        train()  # type: ignore[call-arg]
