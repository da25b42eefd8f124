"""``holdall exec`` and ``holdall graph``, and what ``holdall show`` tells of steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import holdall
from holdall._cli import main

TASK = """
import sys, holdall
with holdall.join().step("folds").task(sys.argv[1]) as task:
    task.save(score=int(sys.argv[1]))
"""

pytestmark = pytest.mark.usefixtures("workdir")


def newest() -> holdall.Run:
    """Return the newest run."""
    return holdall.Flow("churn").latest_run


def test_a_shell_loop(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What a command starts records tasks of the run, which ends as the command does; parameters are JSON where they can be."""
    (tmp_path / "task.py").write_text(TASK)
    loop = f"for i in 1 2; do {sys.executable} task.py $i; done"
    options = ["--tag", "nightly", "--param", "lr=0.5", "--param", "kind=big", "--param", "depths=[1, 2]"]

    assert main(["exec", *options, "churn", "--", "sh", "-c", loop]) == 0

    run = newest()
    assert (run.status, run.tags) == ("succeeded", {"nightly"})
    assert dict(run.params) == {"lr": 0.5, "kind": "big", "depths": [1, 2]}
    assert [(task.name, task.data.score) for task in run.steps["folds"]] == [("1", 1), ("2", 2)]
    assert f"run {run.pathspec}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["sh", "-c", "exit 3"], 3, "sh ended with exit code 3"),
        (["sh", "-c", "kill -TERM $$"], 128 + signal.SIGTERM, "sh was ended by signal 15"),
        (["./no-such-command"], 127, "could not be started: No such file"),
    ],
)
def test_a_command_that_fails(command: list[str], code: int, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The run has failed, and says how; the exit code is that which a shell would give."""
    assert main(["exec", "churn", "--", *command]) == code
    assert newest().status == "failed"
    assert told in newest().exception.message  # type: ignore[union-attr]
    assert told in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["exec", "churn"],
        ["exec", "churn", "--"],
        ["exec", "--param", "x", "churn", "true"],
        ["exec", "churn", "--param", "a=1", "--", "true"],
        ["exec", "churn", "--tag=nightly", "true"],
    ],
)
def test_a_command_line_that_makes_no_sense(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is recorded without a command, with a parameter that is none, or with options behind the flow."""
    assert main(arguments) == 2
    assert "holdall: " in capfd.readouterr().err
    assert not Path(".holdall").exists()


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_goes_to_the_command() -> None:
    """Where Ctrl-C ends the command, the run is failed and recorded."""
    command = [sys.executable, "-m", "holdall", "exec", "churn", "--", "sh", "-c", "echo begun; exec sleep 30"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begun\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 128 + signal.SIGINT
    process.stdout.close()

    assert newest().status == "failed"


def test_graph_and_show(capsys: pytest.CaptureFixture[str]) -> None:
    """Steps are lines, JSON or a drawing; a run that is shown has them, too."""
    with holdall.run("churn") as run:
        with run.step("prepare"):
            pass
        with run.step("folds") as step:
            for number in range(2):
                with step.task(number):
                    pass
    lines = "✓ prepare  1 task\n✓ folds    2 tasks  after prepare\n"

    assert main(["graph", "churn"]) == 0
    assert capsys.readouterr().out == lines
    assert main(["show", f"churn@{run.id}"]) == 0
    assert lines in capsys.readouterr().out
    assert main(["graph", f"churn@{run.id}", "--svg"]) == 0
    assert ElementTree.fromstring(capsys.readouterr().out).tag.endswith("svg")
    assert main(["graph", "churn", "--json"]) == 0
    nodes = json.loads(capsys.readouterr().out)
    assert nodes[1] == {"name": "folds", "parents": ["prepare"], "tasks": 2, "status": "succeeded"}
    assert main(["show", f"churn@{run.id}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == nodes


def test_a_graph_of_what_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    """An artifact has no graph: the message says what has."""
    holdall.save(1, "churn/x")

    assert main(["graph", "churn/x"]) == 2
    assert "is no run" in capsys.readouterr().err
