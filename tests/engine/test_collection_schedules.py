"""The real collector beside writers, readers and other collectors, in many orders of their requests."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.engine._engine import Ticking, copy, source, stretch, value
from tests.engine._simulator import Actor, Choice, Killed, Simulation, at_random, replay, switching

from holdall_store.config import Settings
from holdall_store.errors import HoldallError
from holdall_store.format import run_prefix
from holdall_store.repository import Collector, Repository, RunHead, RunWriter
from holdall_store.repository._index import ChunkIndex
from holdall_store.storage import MemoryStorage, Storage

DEAD, SHARED, KEPT, NEW = (stretch(seed, 20_000) for seed in (1, 2, 3, 4))
SCHEDULES_RANDOM = int(os.environ.get("HOLDALL_TEST_SCHEDULES", "300"))
"""Of each kind; the nightly target asks for far more."""

RUNS = {name: f"20261123T08140212345{number}-abcdef" for number, name in enumerate(("old", "kept", "w0", "w1"))}


def head(name: str) -> RunHead:
    """Return what is known of a run when it begins."""
    return RunHead("user:ana", "flow", RUNS[name], "2026-11-23T08:14:02+00:00")


def write(storage: Storage, name: str, *buffers: bytes, kind: type[RunWriter] = RunWriter, seed: int = 0) -> None:
    """Save one artifact in a run of its own."""
    index = ChunkIndex(None)
    run = kind(storage, lambda: index, head(name), clock=Ticking(seed), ratio_max=0.0, info=dict, create=lambda: None)
    run.save({"a": value(*(source(buffer) for buffer in buffers))})
    run.end("succeeded")
    index.close()


def base() -> MemoryStorage:
    """Return a store with a pack that is wholly dead, and one of which half is dead."""
    storage = MemoryStorage()
    write(storage, "old", DEAD, seed=1)
    write(storage, "kept", KEPT, SHARED, seed=2)
    for name in ("old", "kept"):
        storage.delete([info.key for info in storage.list(run_prefix("user:ana", "flow", RUNS[name]))])
    write(storage, "kept", KEPT, seed=3)
    return storage


BASE = base()


def writer(name: str, *buffers: bytes, kind: type[RunWriter] = RunWriter) -> Actor:
    """Return an actor that saves what the store may or may not hold."""
    return lambda storage: write(storage, name, *buffers, kind=kind, seed=10 + ord(name[-1]))


def collect(seed: int, kind: type[Collector] = Collector) -> Actor:
    """Return an actor that collects once."""

    def act(storage: Storage) -> None:
        collector = kind(storage, Ticking(seed))
        collector.apply(collector.plan())

    return act


def reader(storage: Storage) -> None:
    """Read what has been there all the time, twice; a store that is open keeps what it knows of packs."""
    store = Repository(storage, Settings(home=None, compression="auto"), Ticking(7))
    artifact = store.catalog.run("user:ana", "flow", RUNS["kept"]).artifacts["a"]
    for _ in range(2):
        assert [bytes(part) for part in store.read_buffers(artifact, [0])] == [KEPT]


def relevant(verb: str, key: str) -> bool:
    """Tell whether a request can be affected by a collector, or affects one."""
    return key.startswith(("gc/", "packs/", "runs/")) and verb != "head"


def lost(storage: Storage, expected: dict[str, Sequence[bytes]]) -> list[str]:
    """Return the runs of which something is not there."""
    store = Repository(storage, Settings(home=None, compression="auto"), Ticking(8))
    missing = []
    for name, buffers in expected.items():
        artifact = store.catalog.run("user:ana", "flow", RUNS[name]).artifacts["a"]
        try:
            if [bytes(part) for part in store.read_buffers(artifact, range(len(buffers)))] != list(buffers):
                missing.append(name)
        except HoldallError:
            missing.append(name)
    return missing


def play(actors: Sequence[Actor], choose: Choice, kill: tuple[int, int] | None = None) -> tuple[Storage, Simulation]:
    """Let the actors run by a schedule on a copy of the store."""
    storage = copy(BASE, MemoryStorage())
    return storage, Simulation(storage, actors, choose, counts=relevant, kill=kill).run()


def schedules(actors: int, turns: int, switches: int) -> Iterator[Choice]:
    """Yield every schedule in which actors are interrupted at most `switches` times, and random ones."""
    for first in range(actors):
        for count in range(switches + 1):
            for at in itertools.combinations(range(1, turns), count):
                yield switching(first, at)


def check(actors: Sequence[Actor], expected: dict[str, Sequence[bytes]], choices: Iterator[Choice]) -> list[list[int]]:
    """Return the schedules after which something is lost, or an actor failed."""
    bad = []
    for choose in choices:
        storage, simulation = play(actors, choose)
        if simulation.errors or lost(storage, expected):
            bad.append(simulation.trace)
    return bad


def randoms(number: int = SCHEDULES_RANDOM) -> Iterator[Choice]:
    """Yield random schedules."""
    return (at_random(seed) for seed in range(number))


PAIR = [writer("w0", DEAD, SHARED, NEW), collect(20)]
EXPECTED: dict[str, Sequence[bytes]] = {"w0": (DEAD, SHARED, NEW), "kept": (KEPT,)}


def test_a_collection_frees_what_is_dead() -> None:
    """Alone, it deletes the dead pack, takes the other apart, and leaves nothing for the next."""
    storage, simulation = play([collect(20)], replay(()))

    assert simulation.errors == {}
    assert lost(storage, {"kept": (KEPT,)}) == []
    assert not Collector(storage, Ticking(30)).plan()
    assert sum(info.size for info in storage.list("packs/")) < 22_000


@pytest.mark.parametrize("first", [0, 1])
def test_a_writer_and_a_collector(first: int) -> None:
    """Whoever is interrupted where, once or twice, nothing that was committed is lost."""
    turns = len(play(PAIR, switching(first, ()))[1].trace)
    choices = [switching(first, at) for count in range(3) for at in itertools.combinations(range(1, turns + 2), count)]

    assert len(choices) > 150
    assert check(PAIR, EXPECTED, iter(choices)) == []


@pytest.mark.parametrize(
    "actors",
    [
        pytest.param([*PAIR, collect(40)], id="two collectors"),
        pytest.param([writer("w0", DEAD, SHARED, NEW), writer("w1", SHARED, NEW), collect(20)], id="two writers"),
        pytest.param([*PAIR, reader], id="a reader"),
        pytest.param([*PAIR, collect(40), collect(60)], id="three collectors"),
    ],
)
def test_more_actors_at_random(actors: Sequence[Actor]) -> None:
    """In random schedules of three or four, nothing is lost, and nobody fails."""
    expected = EXPECTED | ({"w1": (SHARED, NEW)} if len(actors) == 3 and actors[1] is not PAIR[1] else {})

    assert check(actors, expected, randoms()) == []


def test_a_collector_that_dies_anywhere(subtests: pytest.Subtests) -> None:
    """Another goes on where it died; the writer beside them loses nothing, and in the end no garbage is left."""
    turns = sum(1 for number, _, _ in play([PAIR[0], PAIR[1]], replay(()))[1].calls if number == 1)
    for call in range(1, turns + 1):
        with subtests.test(call=call):
            storage, simulation = play(PAIR, at_random(call), kill=(1, call))
            assert isinstance(simulation.errors.pop(1, Killed()), Killed)
            assert simulation.errors == {}
            for seed in (70, 71):
                collector = Collector(storage, Ticking(seed))
                collector.apply(collector.plan())
            assert lost(storage, EXPECTED) == []
            assert not Collector(storage, Ticking(72)).plan()


# Mutants: each leaves one rule out, and is caught.


class NoSecondLook(RunWriter):
    """Does not read the collector's log again before it commits."""

    def _replace_condemned(self) -> None:
        assert self._lock is not None


class NoFence(Collector):
    """Does not make open logs look."""

    def _fence(self) -> None:
        assert self._marks is not None


class NoSecondMark(Collector):
    """Decides by what was referred to when the plan was made."""

    def _fence(self) -> None:
        super()._fence()
        self._marks.look = lambda storage: None  # type: ignore[method-assign]


class DeletesBeforeItCondemns(Collector):
    """Deletes what the plan says at once."""

    def apply(self, plan: Any) -> Any:
        self._delete([pack.name for pack in plan.delete])
        return super().apply(plan)


class DeletesBeforeItDecides(Collector):
    """Deletes what it copied before the log says where the copies are."""

    def _done(self, condemned: Any, spared: Any, moved: Any, targets: Any) -> Any:
        self._delete(moved)
        return super()._done(condemned, spared, moved, targets)


@pytest.mark.parametrize(
    ("actors", "what"),
    [
        pytest.param([writer("w0", DEAD, SHARED, NEW, kind=NoSecondLook), PAIR[1]], "writer", id="no second look"),
        pytest.param([PAIR[0], collect(20, NoFence)], "collector", id="no fence"),
        pytest.param([PAIR[0], collect(20, NoSecondMark)], "collector", id="no second mark"),
        pytest.param([PAIR[0], collect(20, DeletesBeforeItCondemns)], "collector", id="deletes before it condemns"),
        pytest.param([reader, collect(20, DeletesBeforeItDecides)], "collector", id="deletes before it decides"),
    ],
)
def test_who_leaves_a_rule_out_is_caught(actors: Sequence[Actor], what: str) -> None:
    """With one interruption or two, there are schedules in which it loses data or makes a reader fail."""
    expected: dict[str, Sequence[bytes]] = EXPECTED if actors[0] is not reader else {"kept": (KEPT,)}
    turns = len(play(actors, switching(0, ()))[1].trace)
    caught = any(check(actors, expected, iter([choice])) for choice in schedules(2, turns + 2, 2))

    assert caught, what
