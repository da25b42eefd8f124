"""What others do to a store that one works in: newer runs, foreign files, damage, removal, writable folders."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import holdall

pytestmark = pytest.mark.usefixtures("workdir")


def newest_run(flow: str) -> Path:
    """Return the folder of the newest run of `flow`."""
    (namespace,) = (Path(".holdall") / "runs").iterdir()
    return min((namespace / flow).iterdir())


def test_what_was_saved_last_is_loaded_whoever_saved_in_between() -> None:
    """A plain save after somebody else's is the newest again, in this process and in others."""
    holdall.save("first", "churn/model")
    script = "import holdall; holdall.save('theirs', 'churn/model')"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert holdall.load("churn/model") == "theirs"
    again = holdall.save("last", "churn/model")
    assert holdall.load("churn/model") == "last"
    assert again.run_id == holdall.Flow("churn").latest_run.id
    one_more = holdall.save("still", "churn/other")
    assert one_more.run_id == again.run_id


def test_files_of_other_programs_are_passed_over() -> None:
    """A file that a synchronizing program left beside the records changes nothing."""
    with holdall.run("churn") as run:
        run.save(model=[1, 2])
    (newest_run("churn") / "00000000 (conflicted copy)").write_text("x")
    (newest_run("churn") / "desktop.ini").write_text("x")
    assert holdall.load("churn/model") == [1, 2]
    assert [run.id for run in holdall.Flow("churn").runs()] == [run.id]


def test_a_damaged_run_hides_no_other() -> None:
    """The newest run is damaged: to load from it is an error that names it, and the others are listed with a warning."""
    with holdall.run("churn") as good:
        good.save(model="old", other="kept")
    with holdall.run("churn") as bad:
        bad.save(model="new")
    record = newest_run("churn") / "00000000"
    record.chmod(0o644)
    record.write_bytes(record.read_bytes() + b"x")
    with pytest.raises(holdall.IntegrityError, match=rf"{bad.id}.*name one, as in 'churn@<run>'"):
        holdall.load("churn/model")
    with pytest.warns(UserWarning, match=bad.id):
        assert [run.id for run in holdall.Flow("churn").runs()] == [good.id]
    assert holdall.load(f"churn/other@{good.id}") == "kept"


def test_a_missing_record_in_the_middle_is_named() -> None:
    """A record that is gone from the middle of a log is an error that says which."""
    with holdall.run("churn") as run:
        run.save(a=np.arange(5000))
    (newest_run("churn") / "00000001").unlink()
    with pytest.raises(holdall.IntegrityError, match="00000001 is missing"):
        holdall.Flow("churn").latest_run.reload()


def test_a_store_that_is_removed_during_a_run_is_told() -> None:
    """The next save says that the store is gone, instead of beginning half a store."""
    with pytest.raises(holdall.RunStateError, match="was removed while run"), holdall.run("churn") as run:
        run.save(a=np.arange(5000))
        shutil.rmtree(".holdall")
        run.save(b=np.arange(6000))
    assert not Path(".holdall").exists()


@pytest.mark.parametrize("where", ["runs", "packs", "runs/*/churn", "packs/*"])
def test_pickles_that_others_can_have_written_are_not_run(where: str) -> None:
    """One folder or file within one's own store that others may write to is enough to ask for trust."""
    holdall.save({"function": lambda: 1, "large": np.arange(5000)}, "churn/function")
    assert holdall.load("churn/function")["function"]() == 1
    (place, *_) = Path(".holdall").glob(where)
    place.chmod(0o775)
    with pytest.raises(holdall.UnsafeLoadError, match="is not yours alone"):
        holdall.load("churn/function")
    assert holdall.load("churn/function", trust=True)["function"]() == 1
    assert holdall.save([1], "churn/plain").load() == [1]


def test_a_cache_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache cannot be, the error names it, the variable that moves it, and the way without it."""
    Path("report.txt").write_text("hello")
    Path("home").write_text("a file")
    artifact = holdall.save_file("report.txt", "churn/report")
    monkeypatch.setenv("HOLDALL_HOME", str(Path("home").absolute()))
    with pytest.raises(holdall.StorageError, match="HOLDALL_HOME"):
        holdall.Client().artifact(artifact.reference).path()
    assert holdall.Client().artifact(artifact.reference).path("copy.txt").read_text() == "hello"
