"""Mistakes around runs that are recorded or searched: each is told with its way out."""

from __future__ import annotations

import warnings

import pytest

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.mark.parametrize("value", ["garbage", "a/b/c/d/e/f", "team:a/churn:champion"])
def test_a_variable_that_names_no_run(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HOLDALL_RUN says is told where it is wrong, whether there is a store or not."""
    monkeypatch.setenv("HOLDALL_RUN", value)
    for _ in range(2):
        with pytest.raises(
            holdall.RunStateError, match=rf"HOLDALL_RUN is '{value}', which names no run in .*environment"
        ):
            holdall.join()
        holdall.save(1, "churn/x")  # and there is one


def test_a_key_that_there_is_not() -> None:
    """A wrong key of an artifact is answered with the nearest one and with those that there are."""
    artifact = holdall.save({"alpha": 1, "beta": [1] * 5000}, "churn/weights")
    with pytest.raises(holdall.NotFoundError, match=r"no key 'alpah'\. Did you mean 'alpha'\? It has: alpha, beta\."):
        artifact["alpah"]
    many = holdall.save({f"k{number}": number for number in range(30)}, "churn/many")
    with pytest.raises(
        holdall.NotFoundError, match=r"no key 7\. Did you mean 'k7'\? It has: k0, .*k9, … \(30 in all\)"
    ):
        many[7]


def test_what_is_more_than_a_run_is_no_run() -> None:
    """The artifact of a task is not taken for its run."""
    with holdall.run("churn") as run, run.step("fit") as step:
        step.save(x=1)
    with pytest.raises(holdall.InvalidNameError, match="names the artifact of a task; a run is written flow/run"):
        holdall.Client().run(f"{run.pathspec}/fit/main/x")


def test_dots_in_the_names_of_parameters() -> None:
    """A filter finds parameters whose names have dots, alone and nested, however the dots are meant."""
    with holdall.run("churn", params={"a.b": 1, "opt": {"lr.x": 2, "y": {"z": 3}}, "c.d": {"e.f": 4}}):
        pass
    flow = holdall.Flow("churn")
    for where in ("params.a.b == 1", 'params."a.b" == 1', 'params.opt."lr.x" == 2', "params.opt.lr.x == 2"):
        assert flow.runs(where=where).count() == 1
    assert flow.runs(where='params.opt.y.z == 3 and params."c.d"."e.f" == 4').count() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.runs(where="params.c.d.e.f > 5").count() == 0


def test_no_step_is_begun_in_a_run_that_ended() -> None:
    """A step or task of a run that has ended is refused, with the way out; what was begun before is kept."""
    with holdall.run("churn") as run:
        before, step = run.step("before"), run.step("fit").__enter__()
        begun = step.task("begun").__enter__()
    for begin in (lambda: run.step("late"), lambda: step.task("late"), before.__enter__):
        with pytest.raises(
            holdall.RunStateError, match=rf"has ended: no step or task.*holdall\.resume\('{run.pathspec}'\)"
        ):
            begin()
    begun.save(x=1)
    begun.end()
    step.end()

    assert holdall.Run(run.pathspec).steps["fit"]["begun"].data.x == 1
    assert holdall.Run(run.pathspec).steps.keys() == ["fit"]


def test_a_misspelt_name_in_the_first_run_of_a_flow() -> None:
    """The nearest artifact of the run that is being recorded is named, rather than other flows."""
    with holdall.run("first") as run:
        with pytest.raises(holdall.ArtifactNotFoundError, match=r"holds no artifact 'x', .*It holds none yet"):
            run.load("x")
        run.save(model=1)
        with pytest.raises(holdall.ArtifactNotFoundError, match=r"'modle'.*Did you mean 'model'\? It holds: model\."):
            run.load("modle")
        with run.step("fit") as step:
            step.save(score=1)
            with pytest.raises(holdall.ArtifactNotFoundError, match=r"Did you mean 'score'\? It holds: model, score\."):
                holdall.load("scoer")
    with holdall.run("first") as run:
        run.save(report=1)
        with pytest.raises(holdall.ArtifactNotFoundError, match=r"Did you mean 'report'"):
            run.load("reprot")
