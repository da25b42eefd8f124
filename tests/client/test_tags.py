"""Tags that come and go after a run has begun, of one run and of many; what is kept; and what reading them costs."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine._engine import keys
from tests.engine._remote import Remote

import holdall
from holdall_store.storage import MemoryStorage

pytestmark = pytest.mark.usefixtures("workdir")


def record(client: holdall.Client | None = None, *tags: str, flow: str = "churn") -> holdall.Run:
    """Record a run with a metric, and return it as it is found."""
    with holdall.run(flow, tags=tags, client=client) as run:
        run.log(auc=0.5)
    return (client or holdall.Client()).run(f"{flow}@{run.id}")


def test_the_verbs_of_metaflow() -> None:
    """Tags are added, removed and replaced, one or several; what is there or is not there already is no error."""
    run = record(None, "nightly")
    run.add_tag("eu")
    run.add_tags(["eu", "good"])
    assert run.tags == holdall.Flow("churn").latest_run.tags == {"nightly", "eu", "good"}
    run.remove_tag("nightly")
    run.remove_tags(["nightly", "absent"])
    assert run.reload().tags == {"eu", "good"}
    run.replace_tag("good", "best")
    run.replace_tags(["eu", "best"], ["us"])
    assert run.tags == run.reload().tags == {"us"}
    run.remove_tag("us")
    assert run.reload().tags == frozenset()


def test_what_changes_nothing_writes_nothing(workdir: Path) -> None:
    """A tag that is there, or one that is not, costs a look and no record."""
    run = record(None, "nightly")
    run.add_tag("nightly")
    run.remove_tag("absent")
    run.unkeep()
    assert not (workdir / ".holdall" / "tags").exists()


def test_tags_of_a_run_that_goes_on() -> None:
    """A run that is being recorded can be tagged, by itself and by others, and loses nothing of either."""
    with holdall.run("churn", tags=["a"]) as active:
        active.add_tag("b")
        active.flush()
        holdall.Run(active.pathspec).add_tag("c")
        assert active.tags == {"a", "b"}  # as it knows them
        active.remove_tag("a")
        assert active.tags == {"b", "c"}
    assert holdall.Flow("churn").latest_run.tags == {"b", "c"}


def test_filters_see_them() -> None:
    """``runs`` finds what carries a tag now, whether or not it began with it."""
    first, second, third = (record(None, "nightly") for _ in range(3))
    flow = holdall.Flow("churn")
    assert flow.tag([first, second.id], add=["good"], remove=["nightly"]) == 2
    assert list(flow.runs("good")) == [second, first]
    assert list(flow.runs("nightly")) == [third]
    assert list(flow.runs("good", limit=1)) == [second]
    assert [run.tags for run in flow.runs()] == [{"nightly"}, {"good"}, {"good"}]


def test_history_says_who_and_what(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change is a record that says who made it, and what it changed."""
    monkeypatch.setenv("HOLDALL_USER", "bob")
    run = record(None, "a")
    run.replace_tags(["a"], ["b"])
    run.keep(note="for the audit")
    history = run.client.repository.tags.history(run.namespace, run.flow, run.id)
    assert [(r.slot, r.who, r.added, r.removed, r.tags, r.kept, r.note) for r in history] == [
        (0, "bob", ("b",), ("a",), ("b",), False, ""),
        (1, "bob", (), (), ("b",), True, "for the audit"),
    ]
    assert run.kept
    run.unkeep()
    assert not run.reload().kept


def test_bad_input(workdir: Path) -> None:
    """What is no tag, or contradicts itself, is refused before anything is written."""
    run, flow = record(), holdall.Flow("churn")
    with pytest.raises(holdall.InvalidNameError, match=r"write tags=\['good'\]"):
        run.add_tags("good")
    with pytest.raises(holdall.InvalidNameError, match="'' is no tag"):
        run.add_tag("")
    with pytest.raises(holdall.InvalidNameError, match="'a' is to be added and removed by one change"):
        run.replace_tags(["a"], ["a"])
    with pytest.raises(holdall.InvalidNameError, match="at most 256 tags; it would have 257"):
        run.add_tags(str(number) for number in range(257))
    with pytest.raises(holdall.InvalidNameError, match="Several runs are given as a list"):
        flow.tag(run, add=["a"])  # type: ignore[arg-type]
    with pytest.raises(holdall.RunNotFoundError):
        flow.tag(["20200101"], add=["a"])
    other = record(flow="prices")
    with pytest.raises(holdall.InvalidNameError, match="is no run of flow 'churn'"):
        flow.tag([other], add=["a"])
    assert not (workdir / ".holdall" / "tags").exists()


def test_many_at_once() -> None:
    """Of changes that several make at the same time none is lost."""
    storage = Remote()
    run = record(holdall.Client(storage, namespace="team:a"), "begun")
    start = threading.Barrier(8)

    def work(number: int) -> None:
        found = holdall.Client(storage, namespace="team:a").run(f"churn@{run.id}")
        start.wait(60)
        for turn in range(3):
            found.add_tag(f"{number}-{turn}")
        found.remove_tag(f"{number}-0")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wanted = {"begun", *(f"{number}-{turn}" for number in range(8) for turn in (1, 2))}
    assert run.reload().tags == wanted
    assert len(keys(storage, "tags/")) == 32


class Together(Remote):
    """Lets no read end before so many of them are there at once."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.barrier = threading.Barrier(count)
        self.armed = False

    def get(self, key: str, start: int = 0, length: int | None = None) -> memoryview:
        if self.armed:
            self.barrier.wait(60)
        return super().get(key, start, length)


def test_round_trips_of_the_newest_fifty() -> None:
    """The newest 50 runs with metrics and tags take two listings and two rounds of reads, each of which goes at once."""
    storage = Together(50)
    client = holdall.Client(storage, namespace="team:a")
    runs = [record(client) for _ in range(60)]
    assert client.flow("churn").tag(runs, add=["good"]) == 60
    fresh = holdall.Client(storage, namespace="team:a", offline=False)
    fresh.repository.cache = None
    fresh.repository.catalog._cache = fresh.repository.tags._cache = None  # nothing was read here before
    storage.reset()
    storage.armed = True
    storage.barrier = threading.Barrier(50)
    flow = fresh._flow_in("team:a", "churn")
    newest = list(flow.runs(limit=50))
    assert [run.metrics["auc"] for run in newest] == [0.5] * 50
    assert dict(storage.calls) == {"list": 1, "get": 50}
    storage.barrier = threading.Barrier(60)
    assert [run.tags for run in newest] == [{"good"}] * 50
    assert dict(storage.calls) == {"list": 2, "get": 110}


def test_the_newest_run_costs_what_it_did() -> None:
    """``latest_run`` takes a listing and a read, however many tags there are; to look at its tags, one of each more."""
    storage = Remote(place="")
    client = holdall.Client(storage, namespace="team:a")
    runs = [record(client) for _ in range(3)]
    client.flow("churn").tag(runs, add=["good"])
    flow = client.flow("churn")
    storage.reset()
    latest = flow.latest_run
    assert dict(storage.calls) == {"list": 1, "get": 1}
    assert latest.tags == latest.tags == {"good"}
    assert dict(storage.calls) == {"list": 2, "get": 2}


def test_requests_of_many() -> None:
    """To tag a run takes a listing and a create, and a read where it was tagged before."""
    storage = Remote(place="")
    client = holdall.Client(storage, namespace="team:a")
    runs = [record(client) for _ in range(5)]
    flow = client.flow("churn")
    storage.reset()
    flow.tag(runs, add=["good"])
    assert dict(storage.calls) == {"list": 5, "create": 5}
    storage.reset()
    flow.tag(runs, add=["better"])
    assert dict(storage.calls) == {"list": 5, "get": 5, "create": 5}


def test_in_views() -> None:
    """A notebook's view of a flow and of a run shows the tags of now."""
    run = record(None, "begun")
    run.replace_tag("begun", "reviewed")
    flow = holdall.Flow("churn")
    for html in (flow._repr_html_(), flow.latest_run._repr_html_()):
        assert "reviewed" in html
        assert "begun" not in html


@given(
    st.lists(
        st.tuples(st.integers(0, 7), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("efgh"))), max_size=12
    ),
    st.lists(st.integers(0, 7), max_size=6),
)
def test_the_reader_tells_what_each_run_tells(changes: list[tuple[int, set[str], set[str]]], asked: list[int]) -> None:
    """Whatever was changed, and in whatever order one asks, a listing's tags are those of the runs themselves."""
    storage = MemoryStorage()
    client = holdall.Client(storage, namespace="team:a")
    runs = [record(client, "a", "e") for _ in range(8)]
    wanted = [{"a", "e"} for _ in runs]
    for number, add, remove in changes:
        runs[number].replace_tags(remove, add)
        wanted[number] = (wanted[number] | add) - remove
    listed = {run.id: run for run in client.flow("churn").runs()}
    for number in asked:
        assert listed[runs[number].id].tags == wanted[number]
    assert [run.reload().tags for run in runs] == wanted
    found = list(client.flow("churn").runs("a", "e"))
    assert found == [run for run, tags in zip(reversed(runs), reversed(wanted), strict=True) if {"a", "e"} <= tags]
