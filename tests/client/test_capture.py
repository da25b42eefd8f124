"""What a run wrote to standard output and standard error, and how it is seen that its process died."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys

import pytest

import holdall
from holdall._capture import TAIL_BYTES

pytestmark = pytest.mark.usefixtures("workdir")


def run_script(text: str) -> subprocess.CompletedProcess[str]:
    """Run a script in the working directory."""
    return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)


def newest(flow: str = "churn") -> holdall.Run:
    """Return the newest run."""
    return holdall.Flow(flow).latest_run


def test_what_a_process_and_its_children_write() -> None:
    """Python's streams, the descriptors and child processes are heard, and all is passed on; what comes later is not kept."""
    done = run_script("""
import os, subprocess, sys, holdall
print("before")
try:
    with holdall.run("churn", capture=True):
        print("hello")
        sys.stdout.flush()
        subprocess.run(["sh", "-c", "echo child; echo child of err >&2"])
        os.write(1, b"raw")
        print("last", file=sys.stderr)
        raise ValueError("no")
except ValueError:
    print("after")
""")
    run = newest()

    assert (done.returncode, done.stdout) == (0, "before\nhello\nchild\nraw" + "after\n")
    assert done.stderr == "child of err\nlast\n"
    assert (run.status, run.stdout, run.stderr) == ("failed", "hello\nchild\nraw", "child of err\nlast\n")
    assert sorted(run.log_tail()) == sorted(run.stdout + run.stderr)
    assert "last" in str(run.debug())


def test_the_last_of_very_much_is_kept() -> None:
    """Of each stream the last 64 KiB are kept, so that much of one does not push out the other."""
    done = run_script("""
import sys, holdall
with holdall.run("churn", capture=True):
    print("early", file=sys.stderr)
    for number in range(50_000):
        print("line", number)
""")
    run = newest()

    assert done.stdout.count("\n") == 50_000
    assert len(run.stdout) == TAIL_BYTES
    assert run.log_tail(2) == "line 49998\nline 49999\n"
    assert run.stderr == "early\n"


def test_runs_inside_of_each_other() -> None:
    """Each keeps what was written while it went on, in whichever order they end; the descriptors are then what they were."""
    done = run_script("""
import os, holdall
before = os.fstat(1).st_ino, sorted(os.listdir("/proc/self/fd"))
outer = holdall.run("outer", capture=True).__enter__()
print("one", flush=True)
inner = holdall.run("inner", capture=True).__enter__()
print("two", flush=True)
outer.end()
print("three", flush=True)
inner.end()
print("four", os.fstat(1).st_ino == before[0])
""")

    assert (done.stdout, done.stderr) == ("one\ntwo\nthree\nfour True\n", "")
    assert (newest("outer").stdout, newest("inner").stdout) == ("one\ntwo\n", "two\nthree\n")


def test_streams_that_are_no_descriptors() -> None:
    """Where Python's stream leads elsewhere, as in a notebook, what is printed is heard, and goes where it went."""
    with contextlib.redirect_stdout(io.StringIO()) as elsewhere:
        with holdall.run("churn", capture=True):
            print("in a cell")
        assert sys.stdout is elsewhere

    assert (elsewhere.getvalue(), newest().stdout) == ("in a cell\n", "in a cell\n")


def test_a_run_that_was_not_captured_has_no_output() -> None:
    """Without the word, nothing is listened to, and nothing is kept."""
    done = run_script("import holdall\nwith holdall.run('churn'):\n    print('quiet')")

    assert done.stdout == "quiet\n"
    assert (newest().stdout, newest().stderr, newest().log_tail(), newest().keys()) == ("", "", "", [])


def test_a_process_that_is_killed_leaves_what_it_wrote() -> None:
    """From time to time what was captured is saved: of a process that was killed it is there, and the run has died."""
    done = run_script("""
import os, signal, holdall
from holdall import _keeper
_keeper.ANNOUNCE_SECONDS = _keeper.OUTPUT_SECONDS = 0.01
with holdall.run("churn", capture=True) as run:
    print("out of memory soon", flush=True)
    while "captured.log" not in run:
        pass
    run.flush()
    os.kill(os.getpid(), signal.SIGKILL)
""")
    run = newest()

    assert done.returncode == -signal.SIGKILL
    assert (run.status, run.finished, run.successful, run.finished_at) == ("died", True, False, None)
    assert run.stdout == "out of memory soon\n"
    with pytest.raises(holdall.RunNotFoundError, match="no successful run"):
        _ = holdall.Flow("churn").latest_successful_run


def test_a_process_that_goes_on_has_not_died() -> None:
    """While the process is there its run is running, and so it is where nothing can be known of the process."""
    with holdall.run("churn") as run:
        run.flush()
        found = newest()
        assert found.status == "running"
        for info in ({}, {**found.info, "process": "of another machine/1/2"}, {"pid": "x", "process": 3}):
            found._view.info = info
            assert found.status == "running"
        found._view.info = {**newest().info, "process": newest().info["process"] + "0"}
        assert found.status == ("died" if newest().info["process"] else "running")


def test_a_task_whose_process_was_killed_has_died() -> None:
    """The task and its step tell that it died, while the run itself goes on."""
    script = """
import os, signal, holdall
with holdall.join().step("folds").task("fit") as task:
    task.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with holdall.run("churn") as run:
        subprocess.run([sys.executable, "-c", script], env={**os.environ, **run.environment()}, check=False)
        step = newest().steps["folds"]
        assert (newest().status, step.status, step["fit"].status, step.finished) == ("running", "died", "died", True)
        assert str(newest().graph()) == "✗ folds  1 task"
