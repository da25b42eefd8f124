"""Runs that are chosen among many: by time, status, tags and filters; what is remembered of them, and what it costs."""

from __future__ import annotations

import datetime as dt
import random
import sqlite3
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.engine._remote import Remote

import holdall
from holdall_store.format import RunRecord, make_run_id, run_prefix, seal, slot_key
from holdall_store.repository import Repository
from holdall_store.storage import LocalStorage, MemoryStorage, Storage

NAMESPACE, FLOW = "team:a", "churn"
NEWEST = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)


def put(storage: Storage, number: int, *, event: str = "end", namespace: str = NAMESPACE, **members: Any) -> str:
    """Write the only record of a run that began `number` minutes before the newest, and return its id."""
    moment = NEWEST - dt.timedelta(minutes=number)
    rng = random.Random(number)
    run_id = make_run_id(moment, "".join(rng.choices("abcdefgh", k=6)))
    whole: dict[str, Any] = {
        "holdall": 1,
        "log": "run",
        "event": event,
        "slot": 0,
        "write_id": "w" * 16,
        "time": (moment + dt.timedelta(seconds=number % 7)).isoformat(timespec="microseconds"),
        "started": moment.isoformat(timespec="microseconds"),
        "namespace": namespace,
        "flow": FLOW,
        "run": run_id,
        "status": "failed" if number % 10 == 3 else "succeeded",
        "tags": ("even",) if number % 2 == 0 else (),
        "summary": {"auc": number / 1000},
        "info": {"user": f"u{number % 3}"},
        "complete": event == "end",
    }
    record = RunRecord(**{**whole, **members})
    storage.create(slot_key(run_prefix(namespace, FLOW, run_id), 0), [seal(record)])
    return run_id


def fill(storage: Storage, count: int) -> list[str]:
    """Write many runs, newest first, and return their ids."""
    Repository(storage).create()
    return [put(storage, number) for number in range(count)]


def flow(storage: Storage) -> holdall.Flow:
    """Return the flow as a new process sees it."""
    return holdall.Client(storage, namespace=NAMESPACE).flow(FLOW)


@pytest.fixture(params=["local", "remote"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Return an empty storage on this disk, and one far away."""
    return LocalStorage(tmp_path / "s") if request.param == "local" else Remote(place="")


def numbers(runs: Sequence[holdall.Run] | Any, ids: list[str]) -> list[int]:
    """Return which runs these are."""
    return [ids.index(run.id) for run in runs]


def test_choosing(storage: Storage) -> None:
    """Tags, status, times, filters and a limit choose together, newest first, cold and warm alike."""
    ids = fill(storage, 150)
    for _ in ("cold", "warm"):
        found = flow(storage)
        assert numbers(found.runs(status="failed", limit=3), ids) == [3, 13, 23]
        assert numbers(found.runs(status=["failed", "running"], where="metrics.auc > 0.12"), ids) == [123, 133, 143]
        assert numbers(found.runs("even", where="user == 'u1' and metrics.auc < 0.02"), ids) == [4, 10, 16]
        assert numbers(found.runs(tags=["even"], limit=2), ids) == [0, 2]
        assert numbers(found.runs(where="duration == 6", limit=2), ids) == [6, 13]
        assert list(found.runs(where="metrics.auc > 1")) == []
        assert found.runs(where="metrics.auc >= 0.1").count() == 50
    client = holdall.Client(storage, namespace=None)
    put(storage, 1000, namespace="team:b", summary={"auc": 5.0})
    assert [run.namespace for run in client.flow(FLOW).runs(where="metrics.auc > 0.148")] == [NAMESPACE, "team:b"]


def test_times(storage: Storage) -> None:
    """``since`` is included and ``until`` is not, however they are written."""
    ids = fill(storage, 30)
    found = flow(storage)
    ten, five = NEWEST - dt.timedelta(minutes=10), NEWEST - dt.timedelta(minutes=5)
    for where in (None, "metrics.auc >= 0"):
        assert numbers(found.runs(since=ten, until=five, where=where), ids) == [6, 7, 8, 9, 10]
        assert numbers(found.runs(since=ten.isoformat(), until="2026-11-23T08:55:00+01:00", where=where), ids) == [
            6,
            7,
            8,
            9,
            10,
        ]
        assert numbers(found.runs(until=NEWEST, where=where, limit=1), ids) == [1]
        assert numbers(found.runs(since="2026-11-23 08:00", where=where), ids) == [0]
    assert list(found.runs(since=dt.timedelta(days=0))) == []
    assert len(list(found.runs(since="5200w"))) == 30
    assert repr(found.runs("even", since=ten, status="failed", where="metrics.auc > 0", limit=1)) == (
        "Runs('churn', tags=['even'], since=2026-11-23T07:50:00+0000, status=['failed'], where='metrics.auc > 0', limit=1)"
    )


def test_a_sequence_that_reads_as_it_goes(storage: Storage) -> None:
    """It can be gone through again, indexed and sliced, asked whether there is any, and stepped through."""
    ids = fill(storage, 20)
    runs = flow(storage).runs(where="metrics.auc > 0.009")
    assert numbers(runs, ids) == numbers(runs, ids) == list(range(10, 20))
    assert (ids.index(runs[0].id), ids.index(runs[-1].id)) == (10, 19)
    assert numbers(runs[1:3], ids) == [11, 12]
    assert numbers(runs[-2:], ids) == [18, 19]
    assert bool(runs)
    assert not flow(storage).runs(where="metrics.auc > 1")
    assert numbers([next(runs), next(runs)], ids) == [10, 11]
    with pytest.raises(IndexError, match="There are no 11 runs"):
        _ = runs[10]
    html = runs._repr_html_()
    assert ids[10] in html
    assert "metrics.auc &gt; 0.009" in html


def test_to_pandas(storage: Storage) -> None:
    """A frame has a row for each run, with its metrics and parameters, and tells what lacks."""
    fill(storage, 3)
    put(storage, 5, summary={"loss": 1.5}, info={})
    frame = flow(storage).runs().to_pandas()
    assert list(frame.columns) == [
        "run",
        "namespace",
        "status",
        "started",
        "seconds",
        "user",
        "tags",
        "metrics.auc",
        "metrics.loss",
    ]
    assert frame["metrics.auc"].tolist()[:3] == [0.0, 0.001, 0.002]
    assert frame["metrics.loss"].isna().tolist() == [True, True, True, False]
    assert str(frame["started"].dtype).startswith("datetime64[")
    assert (frame["started"][0], frame["seconds"][1]) == (NEWEST, 1.0)
    assert len(flow(storage).runs(where="metrics.auc > 9").to_pandas()) == 0


def test_parameters_of_any_kind() -> None:
    """Numbers, texts, nested values and times are searched; what is none of these is not, and hurts nobody."""
    client = holdall.Client(MemoryStorage(), namespace=NAMESPACE)
    params = {
        "lr": 0.1,
        "opt": {"name": "adam"},
        "day": dt.date(2026, 11, 1),
        "sizes": (1, 2),
        "inf": float("inf"),
        "z": 1j,
    }
    with holdall.run(FLOW, params={**params, "long": "x" * 1000}, client=client) as run:
        run.save(model=1)
    found = client.flow(FLOW)
    for where in (
        "params.lr == 0.1 and params.opt.name == 'adam'",
        "params.day >= '2026-11-01'",
        "params.inf > 1e300",
        "params.z == None and params.long == None",
        "'model' in artifacts",
    ):
        assert [each.id for each in found.runs(where=where)] == [run.id]


def test_a_run_that_goes_on(storage: Storage) -> None:
    """What has not ended is read at each search; what it becomes is seen."""
    client = holdall.Client(storage, namespace=NAMESPACE)
    with holdall.run(FLOW, client=client) as run:
        run.log(auc=0.1)
        run.flush()
        assert [each.id for each in flow(storage).runs(status="running")] == [run.id]
        run.log(auc=0.9)
    assert [each.id for each in flow(storage).runs(where="metrics.auc == 0.9")] == [run.id]
    assert list(flow(storage).runs(status="running")) == []


def test_tags_that_change(storage: Storage) -> None:
    """Tags are those of now, also of runs that are remembered."""
    ids = fill(storage, 40)
    assert flow(storage).runs("good").count() == 0
    flow(storage).tag(list(flow(storage).runs(where="metrics.auc > 0.037")), add=["good"], remove=["even"])
    for _ in ("read", "remembered"):
        assert numbers(flow(storage).runs("good"), ids) == [38, 39]
        assert flow(storage).runs("even", where="'good' not in tags").count() == 19
        assert sorted(flow(storage).runs("good").to_pandas()["tags"][0]) == ["good"]
    flow(storage)[ids[38]].remove_tag("good")
    assert numbers(flow(storage).runs("good"), ids) == [39]


def test_unknown_names_are_told(storage: Storage) -> None:
    """Where nothing matches because no run has such a metric, a warning names the nearest one."""
    fill(storage, 5)
    with pytest.warns(UserWarning, match=r"No run was found that has metrics\.acu\. Did you mean 'auc'\?"):
        assert list(flow(storage).runs(where="metrics.acu > 0")) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(flow(storage).runs(where="metrics.auc > 9")) == []


def test_damaged_runs_are_left_out(tmp_path: Path) -> None:
    """A damaged run is left out with a warning, at each search, and hides no other."""
    storage = LocalStorage(tmp_path / "s")
    ids = fill(storage, 5)
    path = next((tmp_path / "s").rglob("0000000[0]"))
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"auc"', b'"auk"'))
    for _ in range(2):
        with pytest.warns(UserWarning, match="Left out: .* cannot be read"):
            assert len(list(flow(storage).runs(where="metrics.auc >= 0"))) == len(ids) - 1


def test_bad_input(storage: Storage) -> None:
    """What cannot be meant is refused at once, with the nearest right thing."""
    fill(storage, 1)
    found = flow(storage)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"status": "failled"}, "'failled' is no status. Did you mean 'failed'"),
        ({"status": 3}, "status is one of succeeded, failed, running"),
        ({"since": "yesterday"}, "'yesterday' is no time"),
        ({"until": [1]}, "is no time"),
        ({"where": "auc > 1"}, "There is no field 'auc'"),
        ({"where": 3}, "takes a filter as text"),
        ({"tags": "nightly"}, r"write tags=\['nightly'\]"),
        ({"limit": -1}, "limit is the number of runs"),
        ({"since": dt.timedelta(days=10**8)}, "before the year 1"),
    ]
    for arguments, message in cases:
        with pytest.raises(holdall.InvalidNameError, match=message):
            found.runs(**arguments)


class Gets(Remote):
    """Counts the reads of each key."""

    def __init__(self) -> None:
        super().__init__(place="")
        self.read: list[str] = []

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        self.read.append(key)
        return super().get(key, start, length)


def test_requests_cold_and_warm() -> None:
    """Cold, each run is read once; warm, none is: a search is two listings, in parts of some hundred runs."""
    storage = Gets()
    fill(storage, 3000)
    storage.reset()
    storage.read.clear()
    assert flow(storage).runs(where="metrics.auc > 2.9").count() == 99
    assert len([key for key in storage.read if key.startswith("runs/")]) == 3000
    storage.reset()
    storage.read.clear()
    assert flow(storage).runs(where="metrics.auc > 2.9").count() == 99
    assert storage.read == ["holdall.json"]
    # The flow's place, the tags, and four stretches of the runs that are remembered.
    assert 3 <= storage.calls["list"] + storage.calls["list_folders"] <= 7
    storage.read.clear()
    assert len(list(flow(storage).runs(where="metrics.auc > 2.9", limit=2))) == 2
    assert len([key for key in storage.read if key.startswith("runs/")]) <= 2


def test_what_a_limit_reads() -> None:
    """With a limit, no more is read of a cold store than it takes to find so many."""
    storage = Gets()
    fill(storage, 500)
    storage.read.clear()
    assert len(list(flow(storage).runs(where="metrics.auc >= 0", limit=5))) == 5
    assert len([key for key in storage.read if key.startswith("runs/")]) == 64


class Together(Remote):
    """Lets no read end before so many of them are there at once."""

    barrier: threading.Barrier | None = None

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        if self.barrier is not None and key.startswith("runs/"):
            self.barrier.wait(60)
        return super().get(key, start, length)


def test_cold_reads_go_together() -> None:
    """Records that were never read are read 64 at once."""
    storage = Together(place="")
    fill(storage, 128)
    found = flow(storage)
    storage.barrier = threading.Barrier(64)
    assert found.runs(where="metrics.auc >= 0.1").count() == 28


def index_files(home: Path) -> list[Path]:
    """Return the files of the index."""
    return sorted((home / "cache" / "runs").glob("*.sqlite"))


def test_a_damaged_index(isolated: Path, storage: Storage) -> None:
    """An index that is damaged, or in another's hands, is no reason to fail: all is read again."""
    ids = fill(storage, 30)
    assert flow(storage).runs(where="metrics.auc > 0.02").count() == 9
    (path,) = index_files(isolated)
    for extra in isolated.rglob("*.sqlite-*"):
        extra.unlink()
    path.write_bytes(b"nothing that SQLite wrote" * 100)
    assert flow(storage).runs(where="metrics.auc > 0.02").count() == 9
    assert numbers(flow(storage).runs(status="failed"), ids) == [3, 13, 23]
    connection = sqlite3.connect(index_files(isolated)[0])
    with connection:
        connection.execute("UPDATE runs SET row = x'00'")
    connection.close()
    assert numbers(flow(storage).runs(status="failed"), ids) == [3, 13, 23]


def test_the_index_is_bounded(storage: Storage, monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    """No more runs are remembered than the bound says; the newest are kept, and searches find all the same."""
    monkeypatch.setattr("holdall_store.repository._run_index.ROWS_MAX", 40)
    monkeypatch.setattr("holdall_store.repository._run_index.PRUNE_EVERY", 10)
    fill(storage, 100)
    for _ in range(2):
        assert flow(storage).runs(where="metrics.auc >= 0").count() == 100
    connection = sqlite3.connect(index_files(isolated)[0])
    assert connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0] <= 40
    connection.close()


def test_an_index_that_cannot_be_written(isolated: Path, storage: Storage) -> None:
    """Where there can be no folder for it, the index is in memory."""
    ids = fill(storage, 20)
    (isolated / "cache").mkdir(exist_ok=True)
    (isolated / "cache" / "runs").write_bytes(b"a file")
    assert numbers(flow(storage).runs(status="failed"), ids) == [3, 13]


def test_copies_of_a_store_do_not_share_what_is_remembered(tmp_path: Path) -> None:
    """Two copies of a store have one id, and may go apart: each is remembered by its place."""
    import shutil

    storage = LocalStorage(tmp_path / "s")
    ids = fill(storage, 12)
    assert numbers(flow(storage).runs(status="failed"), ids) == [3]
    shutil.copytree(tmp_path / "s", tmp_path / "copy")
    copy = LocalStorage(tmp_path / "copy")
    put(copy, 13)
    assert flow(copy).runs(status="failed").count() == 2
    assert flow(storage).runs(status="failed").count() == 1


def test_runs_that_come_late(storage: Storage) -> None:
    """A run whose clock was a year behind, and one a year ahead, are found by the search after they came."""
    fill(storage, 10)
    assert flow(storage).runs(where="metrics.auc >= 0").count() == 10
    late, early = put(storage, 60 * 24 * 366), put(storage, -60 * 24 * 366, summary={"auc": 1.0})
    found = [run.id for run in flow(storage).runs(where="metrics.auc >= 0")]
    assert (found[0], found[-1], len(found)) == (early, late, 12)


def test_many_threads(storage: Storage) -> None:
    """Several threads search with one client at once, and all find the same."""
    ids = fill(storage, 300)
    found, start = flow(storage), threading.Barrier(6)
    results: list[list[int]] = []

    def work() -> None:
        start.wait(60)
        results.append(numbers(found.runs(status="failed"), ids))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results == [list(range(3, 300, 10))] * 6


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs there are, the rows of one stretch of them are in memory."""
    monkeypatch.setattr("holdall_store.repository._search.CHUNK_RUNS", 50)
    monkeypatch.setattr("holdall._runs._first", lambda wanted: 50)
    storage = Remote(place="")
    fill(storage, 400)
    found = flow(storage)
    search = found.client.repository.search()
    largest = 0
    whole = type(search._index).rows

    def rows(*arguments: Any) -> dict[str, Any]:
        nonlocal largest
        got = whole(*arguments)
        largest = max(largest, len(got))
        return got

    monkeypatch.setattr("holdall_store.repository._run_index.RunIndex.rows", rows)
    for _ in ("cold", "warm"):
        assert found.runs(where="metrics.auc >= 0").count() == 400
    assert largest == 50
