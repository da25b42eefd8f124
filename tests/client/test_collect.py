"""Collections, seen by users: what is deleted gives its space back, and everything else loads as it was."""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

import holdall
from holdall._cli import main

pytestmark = pytest.mark.usefixtures("workdir")


def noise(seed: int, size: int = 100_000) -> np.ndarray:
    """Return numbers that nothing compresses."""
    return np.random.default_rng(seed).random(size)


def pack_bytes(store: str = ".holdall") -> int:
    """Return the bytes of all packs."""
    return sum(path.stat().st_size for path in Path(store, "packs").iterdir())


def forget(run: holdall.Run) -> None:
    """Remove the records of a run, as people do by hand."""
    (folder,) = Path(".holdall/runs").glob(f"*/{run.flow}/*{run.id[-6:]}")
    shutil.rmtree(folder)


def test_a_plan_tells_and_does_nothing() -> None:
    """The plan says what would go, in numbers and words; nothing goes before it is applied, and then just that."""
    with holdall.run("old") as run:
        run.save(a=noise(1))
    with holdall.run("kept") as kept:
        kept.save(b=noise(2))
    forget(holdall.Run(run.pathspec))
    before = pack_bytes()
    plan = holdall.Client().collect()

    assert (len(plan.delete), len(plan.repack), plan.packs, plan.bytes_left) == (1, 0, 2, 0)
    assert plan.bytes_before == before == pack_bytes()
    assert repr(plan) == "CollectionPlan(1 pack to delete; 800 kB of 1.6 MB given back)"
    done = plan.apply()
    assert done.deleted == (plan.delete[0].name,)
    assert pack_bytes() == before - plan.bytes
    assert not holdall.Client().collect()
    assert (holdall.load("kept/b") == noise(2)).all()


def test_everything_that_refers_keeps() -> None:
    """Runs, tasks of steps, promoted runs, resumed runs and frames all keep what they refer to, when the first saver is gone."""
    with holdall.run("first") as first:
        first.save(**{f"part{number}": noise(number) for number in range(6)})
    with holdall.run("steps") as run, run.step("folds") as step:
        for number in (0, 1):
            with step.task(number) as task:
                task.save(**{f"fold{number}": noise(number)})
    with holdall.run("source") as source:
        source.save(model=noise(2))
    holdall.Run(source.pathspec).promote("production:source")
    with pytest.raises(ZeroDivisionError), holdall.run("broken") as broken:
        broken.save(rows=noise(3))
        _ = 1 / 0
    with holdall.resume(f"broken@{broken.id}") as resumed:
        assert (resumed.cached("rows", lambda: None) == noise(3)).all()
    for each in (first, source, broken):
        forget(holdall.Run(each.pathspec))
    before = pack_bytes()
    done = holdall.Client().collect().apply()

    assert done.moved
    assert pack_bytes() < before * 0.75
    fresh = holdall.Client()
    for number in (0, 1):
        assert (fresh.load(f"steps/fold{number}") == noise(number)).all()
    assert (fresh.load("production:source/source/model") == noise(2)).all()
    assert (fresh.load("broken/rows") == noise(3)).all()
    assert not holdall.Client().collect()


def save_some(store: str, number: int) -> None:
    """Save what others save, too, and what only this process does."""
    client = holdall.Client(store)
    for turn in range(4):
        with holdall.run(f"flow{number}", client=client) as run:
            run.save(common=noise(1), shared=noise(100 + turn), own=noise(1000 * number + turn))


def test_collections_beside_savers(tmp_path: Path) -> None:
    """Processes that save, and collections all the time: nothing that was saved is lost."""
    store = str(tmp_path / "store")
    client = holdall.Client(store)
    with holdall.run("base", client=client) as run:
        run.save(common=noise(1), gone=noise(2))
    client.run(run.pathspec)
    shutil.rmtree(next(Path(store, "runs").glob(f"*/base/*{run.id[-6:]}")))
    context = multiprocessing.get_context("spawn")
    savers = [context.Process(target=save_some, args=(store, number)) for number in (1, 2)]
    for saver in savers:
        saver.start()
    rounds = 0
    while any(saver.is_alive() for saver in savers) or not rounds:
        holdall.Client(store).collect().apply()
        rounds += 1
    for saver in savers:
        saver.join()
        assert saver.exitcode == 0
    holdall.Client(store).collect().apply()

    assert not holdall.Client(store).collect()
    for number in (1, 2):
        runs = list(holdall.Client(store).flow(f"flow{number}").runs())
        assert [run.status for run in runs] == ["succeeded"] * 4
        for turn, each in enumerate(reversed(runs)):
            assert (each.data.common == noise(1)).all()
            assert (each.data.shared == noise(100 + turn)).all()
            assert (each.data.own == noise(1000 * number + turn)).all()


@pytest.mark.parametrize("after", [3, "7 days", dt.timedelta(minutes=1)])
def test_bad_times(after: object) -> None:
    """How long a silent run is waited for is a timedelta that is not too short."""
    holdall.save(1, "churn/x")
    with pytest.raises(holdall.InvalidNameError, match="timedelta"):
        holdall.Client().collect(abandon_after=after)  # type: ignore[arg-type]


def test_no_store(tmp_path: Path) -> None:
    """Where there is no store there is nothing to collect, and none is made."""
    with pytest.raises(holdall.StoreNotFoundError):
        holdall.Client(tmp_path / "none").collect()
    assert not (tmp_path / "none").exists()


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`holdall gc` tells, for people and programs, and acts with --yes alone."""
    with holdall.run("old") as run:
        run.save(a=noise(1))
    holdall.Run(run.pathspec).delete()
    before = pack_bytes()
    assert main(["gc"]) == 0
    told = capsys.readouterr()
    assert "1 pack, 800 kB" in told.out
    assert "With --yes" in told.err
    assert main(["gc", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["done"], shown["packs"], shown["dead_bytes"], len(shown["delete"])) == (False, 1, before, 1)
    assert pack_bytes() == before
    assert main(["gc", "--yes"]) == 0
    assert "given back" in capsys.readouterr().out
    assert pack_bytes() == 0
    with pytest.raises(holdall.ConflictError):
        holdall.Client().undelete(f"old@{run.id}")
    assert main(["gc", "--abandon-after", "soon"]) == 2


def test_a_deleted_run_with_tasks_goes_whole() -> None:
    """What the tasks of a deleted run saved goes with it; where it is restored in time, all of it is there."""
    with holdall.run("steps") as run, run.step("folds") as step:
        for number in (0, 1):
            with step.task(number) as task:
                task.save(**{f"fold{number}": noise(number)})
    client = holdall.Client()
    client.run(run.pathspec).delete()
    assert client.collect().bytes == pack_bytes() > 1_600_000
    client.undelete(f"steps@{run.id}")
    assert not client.collect()
    assert (holdall.Flow("steps").latest_run.steps["folds"]["1"].data.fold1 == noise(1)).all()
    client.run(run.pathspec).delete()
    client.collect().apply()

    assert pack_bytes() == 0
