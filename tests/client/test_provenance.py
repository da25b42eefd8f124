"""What a run records of the process that made it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import holdall
from holdall._provenance import mask_secrets

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_script_that_git_does_not_know(tmp_path: Path) -> None:
    """The commit does not hold the code that ran, so the working tree is dirty; other new files do not matter."""
    git("init", "-q")
    Path(".gitignore").write_text(".holdall/\n")
    script = "import holdall\nwith holdall.run('churn'):\n    pass\n"
    Path("known.py").write_text(script)
    git("add", ".")
    git("commit", "-qm", "first")
    Path("new.py").write_text(script)
    dirty = []
    for name in ("known.py", "new.py"):
        subprocess.run([sys.executable, name], check=True)
        dirty.append(holdall.Run("churn").info["git"]["dirty"])

    assert dirty == [False, True]


def info() -> dict[str, object]:
    """Record a run, and return what it says of this process."""
    with holdall.run("churn") as run:
        begun = run.id
    found = holdall.Run("churn")
    assert found.id == begun
    return dict(found.info)


def git(*arguments: str) -> str:
    """Run git in the working directory, deaf to the user's own settings."""
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{role}_NAME": "Ana", f"GIT_{role}_EMAIL": "ana@example.com"}
    done = subprocess.run(["git", *arguments], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def no_git_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let git look for no repository above the test's folder."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


def test_fields(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    """A run says who, where, how and with what."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    monkeypatch.setattr(sys, "argv", ["/home/ana/secret project/train.py", "--lr", "0.1", "--password", "hunter2"])
    found = info()

    assert found["command"] == ["train.py", "--lr", "0.1", "--password", "***"]
    assert (found["user"], found["host"], found["pid"]) == ("ana", socket.gethostname(), os.getpid())
    assert (found["folder"], found["python"]) == (workdir.name, platform.python_version())
    assert str(found["platform"]).startswith(platform.system())
    packages = found["packages"]
    assert isinstance(packages, dict)
    assert packages["numpy"] == np.__version__
    assert "msgspec" in packages
    assert "git" not in found


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_git(workdir: Path) -> None:
    """In a git repository a run says which commit and branch it ran, and whether files were changed since."""
    git("init", "-q", "-b", "main")
    (workdir / "train.py").write_text("1\n")
    git("add", "train.py")
    git("commit", "-q", "-m", "first")
    commit = git("rev-parse", "HEAD")

    assert info()["git"] == {"commit": commit, "branch": "main", "dirty": False}
    (workdir / "train.py").write_text("2\n")
    assert info()["git"] == {"commit": commit, "branch": "main", "dirty": True}
    git("checkout", "-q", "--detach", "-f")
    assert info()["git"] == {"commit": commit, "dirty": False}


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_repository_without_a_commit() -> None:
    """A repository that has no commit yet has nothing to say."""
    git("init", "-q")
    assert "git" not in info()


def test_no_git(monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    """Where git is not installed, a run says nothing of it."""
    monkeypatch.setenv("PATH", str(workdir))
    assert "git" not in info()


@pytest.mark.parametrize("text", ["exit 1", "exit 0", "printf '\\377\\376'"])
def test_broken_git(text: str, monkeypatch: pytest.MonkeyPatch, workdir: Path) -> None:
    """Whatever git answers, the run is recorded."""
    (workdir / "bin").mkdir()
    (workdir / "bin" / "git").write_text(f"#!/bin/sh\n{text}\n")
    (workdir / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(workdir / "bin"))
    assert "git" not in info()


def test_text_that_is_no_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments and names that no encoding explains do not keep a run from being recorded."""
    monkeypatch.setattr(sys, "argv", ["train.py", "\udcff\udcfe"])
    machine = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((machine.sysname, "h\udcff", *machine[2:])))
    found = info()
    assert (found["command"], found["host"]) == (["train.py", "??"], "h?")


MASKED = [
    (["--password", "x"], ["--password", "***"]),
    (["--db-password=x"], ["--db-password=***"]),
    (["--password=correct horse battery"], ["--password=***"]),
    (["--api_key", "x", "y"], ["--api_key", "***", "y"]),
    (["--apikey=x"], ["--apikey=***"]),
    (["-token", "x"], ["-token", "***"]),
    (["--hf-token", "x"], ["--hf-token", "***"]),
    (["--AWS_SECRET_ACCESS_KEY=x"], ["--AWS_SECRET_ACCESS_KEY=***"]),
    (["auth.token=x", "lr=1"], ["auth.token=***", "lr=1"]),
    (["--private-key", "x"], ["--private-key", "***"]),
    (["--credentials", "x"], ["--credentials", "***"]),
    (["s3://key:x@host/path"], ["s3://key:***@host/path"]),
    (["postgresql://ana:x@host/db"], ["postgresql://ana:***@host/db"]),
    (["https://host/?token=x&a=b"], ["https://host/?token=***"]),
    (['{"password": "x y", "a": 1}'], ['{"password": ***']),
    (["line one\npassword=x\nmore"], ["line one\npassword=***"]),
    (["--pwd", "x", "--db-pwd=x"], ["--pwd", "***", "--db-pwd=***"]),
    (["--auth", "Bearer x"], ["--auth", "***"]),
    (["-H", "Authorization: Bearer x"], ["-H", "Authorization: Bearer ***"]),
    (["Basic dXNlcjpwYXNz"], ["Basic ***"]),
    (["--author", "ana", "basic model"], ["--author", "ana", "basic model"]),
    (["--token", "--verbose"], ["--token", "--verbose"]),
    (["--token"], ["--token"]),
    (["--tokenizer", "bert", "--tokenizer=bert"], ["--tokenizer", "bert", "--tokenizer=bert"]),
    (["--lr", "0.1", "https://host/path", "a:b@c"], ["--lr", "0.1", "https://host/path", "a:b@c"]),
    ([], []),
]


@pytest.mark.parametrize(("arguments", "masked"), MASKED, ids=[" ".join(map(repr, a)) for a, _ in MASKED])
def test_secrets(arguments: list[str], masked: list[str]) -> None:
    """What sounds like a secret is not recorded; the rest of the command line is."""
    assert mask_secrets(arguments) == masked
