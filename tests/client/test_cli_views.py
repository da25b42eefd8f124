"""``holdall ls`` and ``holdall show``: what they tell, to people and to programs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import holdall
from holdall import _cli_find
from holdall._cli import main
from holdall.store import AccessDeniedError
from holdall_store.storage import LocalStorage

BRIEF = {"kind", "reference", "run", "status", "started"}
RUN = BRIEF | {
    "namespace",
    "flow",
    "finished",
    "seconds",
    "tags",
    "params",
    "metrics",
    "exception",
    "info",
    "artifacts",
}
ARTIFACT = {
    "kind",
    "reference",
    "namespace",
    "flow",
    "run",
    "artifact",
    "type",
    "bytes",
    "new_bytes",
    "digest",
    "saved",
    "libraries",
    "runs_code",
}


@pytest.fixture(autouse=True)
def store(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a good and a failed run of ana's, and one run of production's."""
    monkeypatch.setenv("HOLDALL_USER", "ana")
    with holdall.run("churn", params={"lr": 0.1, "day": dt.date(2026, 11, 23)}, tags=["nightly"]) as run:
        run.log(auc=0.91)
        run.save(model={"depth": 3}, train=[1, 2])
    with contextlib.suppress(ValueError), holdall.run("churn") as run:
        run.log(loss=math.nan)
        run.save(model={"depth": 4})
        raise ValueError("loss is nan")
    holdall.save("live", "serving/model", client=holdall.Client(namespace="production:churn"))
    return workdir


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return the JSON that a command writes."""
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def written(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Return the lines that a command writes to standard output."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out.splitlines()


def test_flows(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an argument, ls lists the flows of the namespace with their newest runs."""
    heads, *rows = written(capsys, "ls")

    newest = holdall.Flow("churn").latest_run
    assert heads.split("  ")[0] == "FLOW"
    assert [row.split()[:4] for row in rows] == [["churn", "2", newest.id, "failed"]]


def test_flows_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of a flow names its runs, and the newest one."""
    (flow,) = told(capsys, "ls")

    newest = holdall.Flow("churn").latest_run
    assert set(flow) == {"kind", "reference", "flow", "namespaces", "runs", "more_runs", "latest_run"}
    assert (flow["reference"], flow["runs"], flow["more_runs"]) == ("user:ana/churn", 2, False)
    assert set(flow["latest_run"]) == BRIEF
    assert flow["latest_run"]["reference"] == f"user:ana/churn@{newest.id}"
    assert dt.datetime.fromisoformat(flow["latest_run"]["started"]) == newest.created_at


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        ([], ["user:ana/churn"]),
        (["--all-namespaces"], ["user:ana/churn", "production:churn/serving"]),
        (["-n", "production:churn"], ["production:churn/serving"]),
        (["production:churn"], ["production:churn/serving"]),
        (["production:churn/"], ["production:churn/serving"]),
        (["--limit", "1", "--all-namespaces"], ["user:ana/churn"]),
    ],
)
def test_namespaces(arguments: list[str], listed: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A namespace can be an argument or an option; quiet lines are references."""
    assert written(capsys, "ls", "-q", *arguments) == listed


def test_all_namespaces_have_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    """Where flows of several namespaces are listed, each row names its own."""
    heads, *rows = written(capsys, "ls", "--all-namespaces")

    assert heads.endswith("NAMESPACE")
    assert [row.split()[-1] for row in rows] == ["user:ana", "production:churn"]


def test_runs_are_counted_up_to_a_bound(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow with very many runs is not counted to the end, and says so."""
    monkeypatch.setattr(_cli_find, "RUN_COUNT_MAX", 1)

    assert written(capsys, "ls")[1].split()[1] == "1+"
    assert told(capsys, "ls")[0]["more_runs"] is True


def test_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The runs of a flow come newest first, with what was logged and saved."""
    heads, failed, good = written(capsys, "ls", "churn")

    assert heads.split() == ["RUN", "STATUS", "BEGAN", "TOOK", "METRICS", "TAGS", "ARTIFACTS"]
    assert failed.split()[1] == "failed"
    assert "loss=nan" in failed
    assert good.split()[1] == "succeeded"
    assert "auc=0.91" in good
    assert "nightly" in good
    assert good.endswith("model, train")


def test_runs_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of a run has all that is known of it; what JSON lacks is text."""
    failed, good = told(capsys, "ls", "churn")

    assert set(failed) == set(good) == RUN
    assert good["params"] == {"lr": 0.1, "day": "2026-11-23"}
    assert (good["metrics"], failed["metrics"]) == ({"auc": 0.91}, {"loss": "nan"})
    assert (good["tags"], good["exception"], good["info"]["user"]) == (["nightly"], None, "ana")
    assert failed["exception"]["type"] == "ValueError"
    assert "loss is nan" in failed["exception"]["traceback"]
    assert [artifact["artifact"] for artifact in good["artifacts"]] == ["model", "train"]


def test_tags_and_limit(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs can be chosen by tag, and rows limited; what is left out is told beside the data."""
    good = holdall.Flow("churn").latest_successful_run

    assert written(capsys, "ls", "churn", "--tag", "nightly", "-q") == [f"user:ana/churn@{good.id}"]
    assert main(["ls", "churn", "--limit", "1", "-q"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert err == "There are more runs: --limit 0 lists them all.\n"
    assert len(written(capsys, "ls", "churn", "--limit", "0", "-q")) == 2
    assert written(capsys, "ls", "churn:latest", "--limit", "1", "-q") == [good["model"].reference]


def test_a_run_without_artifacts_is_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """The newest run of a flow is listed even if it saved nothing."""
    with holdall.run("empty") as run:
        run.log(steps=1)

    assert written(capsys, "ls")[-1].split()[:4] == ["empty", "1", run.id, "succeeded"]
    assert told(capsys, "ls", "empty")[0]["artifacts"] == []


@pytest.mark.parametrize("reference", ["churn:latest", "churn@{id}", "churn/{id}", "user:ana/churn@{id}", "churn:good"])
def test_artifacts_of_a_run(reference: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Any reference of a run lists its artifacts."""
    good = holdall.Flow("churn").latest_successful_run
    holdall.alias(f"churn@{good.id}", "good")

    heads, *rows = written(capsys, "ls", reference.format(id=good.id))

    assert heads.split() == ["ARTIFACT", "TYPE", "SIZE", "NEW", "DIGEST", "SAVED"]
    assert [row.split()[:2] for row in rows] == [["model", "dict"], ["train", "list"]]


def test_versions_of_an_artifact(capsys: pytest.CaptureFixture[str]) -> None:
    """An artifact without a selector is listed in every run that holds it; with one, alone."""
    failed, good = holdall.Flow("churn").runs()

    every = told(capsys, "ls", "churn/model")

    assert [set(each) for each in every] == [ARTIFACT, ARTIFACT]
    assert [each["run"] for each in every] == [failed.id, good.id]
    assert written(capsys, "ls", "churn/model:latest", "-q") == [good["model"].reference]
    assert written(capsys, "ls", "churn/model")[0].split()[-1] == "RUN"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ls", "-n", "user:bo"], "No flows in user:bo"),
        (["ls", "churn", "--tag", "weekly"], "No runs of flow 'churn' with these tags."),
        (["ls", "empty:latest"], "holds no artifacts."),
    ],
)
def test_nothing_is_no_error(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty list is an answer: no data, a message beside it, and exit code 0."""
    with holdall.run("empty"):
        holdall.log(steps=1)

    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_show_flow(capsys: pytest.CaptureFixture[str]) -> None:
    """A flow shows its aliases and its newest runs."""
    good = holdall.Flow("churn").latest_successful_run
    holdall.alias(f"churn@{good.id}", "champion")

    text = "\n".join(written(capsys, "show", "churn"))
    flow = told(capsys, "show", "churn")

    assert f"latest successful  {good.id}" in text
    assert f"champion -> {good.id}" in text
    assert flow["aliases"] == {"champion": f"user:ana/churn@{good.id}"}
    assert flow["latest_successful_run"]["run"] == good.id


def test_show_flow_without_success(capsys: pytest.CaptureFixture[str]) -> None:
    """A flow that never succeeded says so."""
    with pytest.raises(ValueError, match="no"), holdall.run("bad"):
        raise ValueError("no")

    assert told(capsys, "show", "bad")["latest_successful_run"] is None
    assert "latest successful  none" in written(capsys, "show", "bad")


def test_show_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A run shows who made it with what, its parameters and its artifacts."""
    lines = written(capsys, "show", "churn:latest")

    facts = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines}
    assert (facts["status"], facts["user"], facts["tags"]) == ("succeeded", "ana", "nightly")
    assert (facts["lr"], facts["day"], facts["auc"]) == ("0.1", "datetime.date(2026, 11, 23)", "0.91")
    assert facts["train"].startswith("list")


def test_show_failed_run(capsys: pytest.CaptureFixture[str]) -> None:
    """A failed run shows its traceback."""
    run = holdall.Flow("churn").latest_run

    lines = written(capsys, "show", run.pathspec)

    assert "ValueError: loss is nan" in lines
    assert "  Traceback (most recent call last):" in lines
    assert set(told(capsys, "show", run.pathspec)) == RUN


def test_show_artifact(capsys: pytest.CaptureFixture[str]) -> None:
    """An artifact shows the line that loads it, and the line does."""
    lines = written(capsys, "show", "churn/model")

    facts = {line.partition(" ")[0]: line.partition(" ")[2].strip() for line in lines}
    assert facts["type"] == "dict"
    assert eval(facts["load"]) == {"depth": 3}
    assert set(told(capsys, "show", "churn/model")) == ARTIFACT


@pytest.mark.parametrize("target", ["churn", "churn:latest", "churn/model"])
def test_show_quietly(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet, show gives the one reference, which means the same."""
    (reference,) = written(capsys, "show", "-q", target)

    assert reference.startswith("user:ana/churn")
    assert written(capsys, "show", "-q", reference) == [reference]


@pytest.fixture
def damaged(store: Path) -> str:
    """The id of churn's newest run, whose records are cut; an older one of it and another flow are whole."""
    newest = holdall.Flow("churn").latest_run
    holdall.save(1, "other/value")
    for record in (store / ".holdall" / "runs" / "user%3aana" / "churn").glob(f"*{newest.id[-6:]}/*"):
        record.chmod(0o644)
        record.write_bytes(record.read_bytes()[:-20])
    return newest.id


def test_a_damaged_run_hides_no_flow(damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A flow whose newest run cannot be read is a row that says so; the others are listed, and the exit code is 1."""
    assert main(["ls"]) == 1
    out, err = capsys.readouterr()

    assert [row.split()[:4] for row in out.splitlines()[1:]] == [
        ["churn", "2", damaged, "damaged"],
        ["other", "1", holdall.Flow("other").latest_run.id, "succeeded"],
    ]
    assert err.startswith(f"user:ana/churn@{damaged} is damaged: ")
    assert err.count("\n") == 1
    assert main(["ls", "--json"]) == 1
    flows = json.loads(capsys.readouterr().out)
    assert set(flows[0]["latest_run"]) == BRIEF
    assert (flows[0]["latest_run"]["status"], flows[0]["latest_run"]["started"]) == ("damaged", None)
    assert main(["ls", "-q"]) == 0  # names alone: no run is read for them
    assert capsys.readouterr().out == "user:ana/churn\nuser:ana/other\n"


@pytest.mark.parametrize("command", ["ls", "show"])
def test_a_damaged_run_hides_no_run(command: str, damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Among the runs of a flow, one that cannot be read is a row; the older ones follow."""
    assert main([command, "churn"]) == 1
    out, err = capsys.readouterr()

    assert [line.split()[1] for line in out.splitlines()[-2:]] == ["damaged", "succeeded"]
    assert out.splitlines()[-2].split()[0] == damaged
    assert f"churn@{damaged} is damaged" in err


@pytest.mark.parametrize("arguments", [["du"], ["du", "churn"], ["du", "churn/model"]])
def test_a_damaged_run_is_not_counted(arguments: list[str], damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be read is named beside the sizes of the rest, and the exit code is 1."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()

    assert "churn" in out
    assert err.startswith(f"user:ana/churn@{damaged} is damaged: ")


def test_a_damaged_run_for_programs(damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged run has the members of a run, empty, and one that says why; `show` finds the newest good one."""
    assert main(["ls", "churn", "--json"]) == 1
    bad, good = json.loads(capsys.readouterr().out)
    assert set(bad) == RUN | {"error"}
    assert (bad["run"], bad["status"], bad["artifacts"]) == (damaged, "damaged", [])
    assert set(good) == RUN
    assert main(["show", "churn", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["latest_successful_run"]["run"] == good["run"]


def test_a_damaged_run_hides_no_version(damaged: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The versions of an artifact are those that can be read; a run that cannot is named."""
    assert main(["ls", "churn/model", "-q"]) == 1

    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert f"churn@{damaged} is damaged" in err


def test_an_unreadable_flow_hides_no_other(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A flow whose folder may not be read is a row without a run; the others are listed, and the exit code is 1."""
    holdall.save(1, "other/value")

    def guarded(allowed: Callable[..., Any]) -> Callable[..., Any]:
        def look(storage: LocalStorage, prefix: str, *rest: object) -> Any:
            if prefix.endswith("/churn/"):
                raise AccessDeniedError("not yours")
            return allowed(storage, prefix, *rest)

        return look

    for name in ("list", "list_folders"):
        monkeypatch.setattr(LocalStorage, name, guarded(getattr(LocalStorage, name)))

    assert main(["ls"]) == 1
    out, err = capsys.readouterr()
    assert [row.split()[:3] for row in out.splitlines()[1:]] == [
        ["churn", "0+", "unreadable"],
        ["other", "1", holdall.Flow("other").latest_run.id],
    ]
    assert err == "user:ana/churn is unreadable: not yours\n"


def test_new_bytes_of_what_lives_in_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    """A small value adds nothing to the packs and says that it lives in the record; what was there already adds 0 B."""
    for _ in range(2):
        with holdall.run("sizes") as run:
            run.save(small={"depth": 3}, text="x" * 50_000)

    _, small, text = written(capsys, "ls", "sizes:latest")

    assert " –  " in small
    assert " 0 B  " in text
    assert any("(kept in the record of the run)" in line for line in written(capsys, "show", "sizes/small"))
    assert any("(0 B new)" in line for line in written(capsys, "show", "sizes/text"))


def test_keys_that_would_be_one_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A parameter whose keys would collide as text is told as Python writes it."""
    with holdall.run("params", params={"a": {1: "x", "1": "y"}, "b": {1: "x"}}):
        holdall.log(steps=1)

    assert told(capsys, "show", "params:latest")["params"] == {"a": "{1: 'x', '1': 'y'}", "b": {"1": "x"}}
