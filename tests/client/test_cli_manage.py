"""``holdall runs``, ``alias``, ``tag``, ``promote`` and ``rm``: what they do, tell, and refuse."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest

import holdall
from holdall._cli import main

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.fixture(autouse=True)
def ids(workdir: object, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record three runs of ana's, and return their ids, oldest first."""
    assert workdir
    monkeypatch.setenv("HOLDALL_USER", "ana")
    made = []
    for number in range(3):
        with holdall.run("churn", params={"lr": number / 10}, tags=["nightly"]) as run:
            run.log(auc=0.5 + number / 10)
            run.save(model=number)
        made.append(run.id)
    return made


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Run a command and return what it wrote."""
    capsys.readouterr()
    assert main(list(words)) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.err


def told(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Run a command and return its JSON."""
    return json.loads(said(capsys, *words, "--json"))


def test_runs(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The runs that match are listed, for people, for programs, and for pipes."""
    table = said(capsys, "runs", "churn", "--where", "metrics.auc > 0.55 and params.lr < 0.2")
    assert ids[1] in table
    assert ids[0] not in table
    assert ids[2] not in table
    assert [run["run"] for run in told(capsys, "runs", "churn", "--tag", "nightly", "--since", "1h")] == ids[::-1]
    assert said(capsys, "runs", "churn", "-q", "--limit", "1", "--status", "succeeded") == f"user:ana/churn@{ids[2]}\n"
    assert told(capsys, "runs", "churn", "--until", "2020-01-01") == []


def test_runs_that_cannot_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """A filter that cannot be read is exit code 2, with a caret below the place; what is not there is 3."""
    error = said(capsys, "runs", "churn", "--where", "metric.auc > 1", code=2)
    assert "Did you mean 'metrics.auc'?" in error
    assert "\n  metric.auc > 1\n  ^" in error
    assert "'failled' is no status" in said(capsys, "runs", "churn", "--status", "failled", code=2)
    assert "'soon' is no time" in said(capsys, "runs", "churn", "--since", "soon", code=2)
    assert "is no flow" in said(capsys, "runs", "churn/model", code=2)
    assert "no flow 'chrun'" in said(capsys, "runs", "chrun", code=3)


def test_alias(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An alias is set, listed, rolled back and removed, and its history told."""
    assert ids[0] in said(capsys, "alias", f"churn@{ids[0]}", "champion", "--note", "first")
    said(capsys, "alias", "churn", "champion")
    (listed,) = told(capsys, "alias", "churn")
    assert (listed["reference"], listed["run"], listed["who"]) == ("user:ana/churn:champion", ids[2], "ana")
    assert said(capsys, "alias", "churn:champion", "--rollback", "--note", "slow") == f"user:ana/churn@{ids[0]}\n"
    history = told(capsys, "alias", "churn:champion", "--history")
    assert [(change["previous"], change["run"], change["note"]) for change in history] == [
        (None, ids[0], "first"),
        (ids[0], ids[2], ""),
        (ids[2], ids[0], "slow"),
    ]
    assert "slow" in said(capsys, "alias", "churn:champion", "--history")
    said(capsys, "alias", "churn:champion", "--remove")
    assert said(capsys, "alias", "churn", "-q") == ""
    for words, code, message in [
        (("alias", "churn:champion", "--history"), 3, "removed it"),
        (("alias", "churn", "--history"), 2, "is no alias: write FLOW:ALIAS"),
        (("alias", "churn", "x", "--remove"), 2, "--remove takes FLOW:ALIAS alone"),
        (("alias", "churn:x", "--remove", "--rollback"), 2, "do not go together"),
        (("alias", f"churn@{ids[0]}"), 2, "'holdall alias REF NAME' sets one"),
        (("alias", "churn", "latest"), 1, "always means the newest"),
    ]:
        assert message in said(capsys, *words, code=code)


def test_tag(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Tags of several runs are changed, and told."""
    words = [f"churn@{ids[0]}", f"churn@{ids[1]}"]
    assert "good" in said(capsys, "tag", *words, "--add", "good", "--remove", "nightly")
    assert told(capsys, "tag", *words) == [{"reference": f"user:ana/{word}", "tags": ["good"]} for word in words]
    assert said(capsys, "tag", words[0], "-q") == f"user:ana/{words[0]}\n"
    assert "names no run" in said(capsys, "tag", "churn", "--add", "x", code=2)
    assert "to be added and removed" in said(capsys, "tag", words[0], "--add", "x", "--remove", "x", code=2)


def test_promote(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A promoted run is told by its reference, and an alias means it."""
    words = ("promote", f"churn@{ids[1]}", "production:churn", "--alias", "champion", "--note", "good")
    reference = said(capsys, *words).strip()
    assert reference.startswith("production:churn/churn@")
    assert holdall.load("production:churn/churn/model:champion") == 1
    assert told(capsys, "promote", f"churn@{ids[1]}", "production:churn")["namespace"] == "production:churn"
    assert "write kind:name" in said(capsys, "promote", f"churn@{ids[1]}", "production", code=2)


def test_rm(ids: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is deleted without a word; what is, comes back with --undo."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))  # no terminal
    assert "Nothing was deleted. --yes" in said(capsys, "rm", f"churn@{ids[2]}", code=1)
    assert holdall.load("churn/model") == 2
    said(capsys, "rm", f"churn@{ids[2]}", "--yes", "--note", "a trial")
    assert holdall.load("churn/model") == 1
    assert "was deleted" in said(capsys, "show", f"churn@{ids[2]}", code=3)
    assert said(capsys, "rm", "--undo", f"churn@{ids[2]}") == f"user:ana/churn@{ids[2]}\n"
    assert holdall.load("churn/model") == 2
    said(capsys, "rm", "-y", f"churn/model@{ids[2]}")
    assert holdall.load("churn/model") == 1
    assert "names" not in said(capsys, "rm", "-y", "-q", "churn")
    assert list(holdall.Flow("churn").runs()) == []


def test_rm_asks(ids: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it asks, and takes only a yes for one."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, code, left in [("n\n", 1, 2), ("", 1, 2), ("Y\n", 0, 1)]:
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        capsys.readouterr()
        assert main(["rm", f"churn@{ids[2]}"]) == code
        assert f"Delete user:ana/churn@{ids[2]}? [y/N]" in capsys.readouterr().err
        assert holdall.load("churn/model") == left


def test_rm_refuses(ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What an alias points at, what may mean another run tomorrow, and namespaces are refused."""
    holdall.alias(f"churn@{ids[0]}", "champion")
    assert "What an alias points at is not deleted" in said(capsys, "rm", "-y", f"churn@{ids[0]}", code=1)
    assert "means another run tomorrow" in said(capsys, "rm", "-y", "churn/model", code=2)
    assert "is a namespace" in said(capsys, "rm", "-y", "user:ana", code=2)
    assert len(list(holdall.Flow("churn").runs())) == 3
