"""Saves, crashes, reopenings and aliases in any order, against a plain dictionary."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.engine._collector import Collector
from tests.engine._engine import Unmappable, stretch

import holdall
from holdall import Client
from holdall_store.errors import StorageError
from holdall_store.storage import LocalStorage, MemoryStorage, Storage
from holdall_store.testing import CrashAfter, CrashBefore, FailWith, FaultyStorage, SimulatedCrash

flows = st.sampled_from(("churn", "Churn", "fraud/.."[:5]))
names = st.sampled_from(("model", "Model", "data set", "…"))
spaces = st.sampled_from(("user:ana", "production:x"))
values = st.one_of(
    st.integers(-5, 5),
    st.lists(st.text(max_size=3), max_size=3),
    st.builds(lambda seed, size, tail: stretch(seed, size) + tail, st.integers(0, 2), st.sampled_from((0, 5000, 120_000)),
              st.sampled_from((0, 1, 90_000)).map(bytes)),
)  # fmt: skip

Place = tuple[str, str]


class Store(RuleBasedStateMachine):
    """What is durable of a store, and the store."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.storage: Storage = MemoryStorage()
        self.runs: dict[Place, list[tuple[str, dict[str, Any]]]] = {}
        self.aliases: dict[tuple[str, str, str], str] = {}

    @initialize(kind=st.sampled_from(("memory", "local", "small packs")))
    def choose(self, kind: str) -> None:
        """Begin with an empty store."""
        if kind == "local":
            self.storage = LocalStorage(self.folder / "s")
        elif kind == "small packs":
            self.storage = Unmappable(MemoryStorage(), 70_000)

    @rule(space=spaces, flow=flows, objects=st.dictionaries(names, values, min_size=1, max_size=3), more=values)
    def save(self, space: str, flow: str, objects: dict[str, Any], more: Any) -> None:
        """A run of two saves, the second of which replaces one name."""
        with holdall.run(flow, client=self.client(space)) as run:
            run.save(objects)
            name = next(iter(objects))
            run.save({name: more})
        self.note(space, flow, run.id, {**objects, name: more})

    @rule(space=spaces, flow=flows, name=names, value=values)
    def save_alone(self, space: str, flow: str, name: str, value: Any) -> None:
        """The shortest form, whose run goes on."""
        artifact = holdall.save(value, f"{flow}/{name}", client=self.client(space))
        place = self.runs.setdefault((space, flow), [])
        earlier = next((held for run_id, held in place if run_id == artifact.run_id), None)
        if earlier is None:
            self.note(space, flow, artifact.run_id, {name: value})
        else:
            earlier[name] = value

    @rule(space=spaces, flow=flows, objects=st.dictionaries(names, values, max_size=2))
    def fail(self, space: str, flow: str, objects: dict[str, Any]) -> None:
        """A run that raises keeps what it had saved, and counts for nothing else."""
        with contextlib.suppress(ZeroDivisionError), holdall.run(flow, client=self.client(space)) as run:
            if objects:
                run.save(objects)
            raise ZeroDivisionError
        found = self.client(space).flow(flow)[run.id]
        assert found.status == "failed"
        assert {artifact.name: artifact.load() for artifact in found} == objects

    @rule(
        space=spaces, flow=flows, value=values, call=st.integers(0, 14), kind=st.sampled_from((CrashBefore, CrashAfter))
    )
    def crash(self, space: str, flow: str, value: Any, call: int, kind: Any) -> None:
        """A process dies at some request: what it saved is there, or not."""
        client = Client(FaultyStorage(self.storage, [kind(call)]), namespace=space)
        begun = []
        with contextlib.suppress(SimulatedCrash), holdall.run(flow, client=client) as run:
            begun.append(run.id)
            run.save(crashed=value)
        self.settle(space, flow, begun, value)

    @rule(space=spaces, flow=flows, value=values, call=st.integers(0, 14), number=st.sampled_from((5, 28)))
    def full(self, space: str, flow: str, value: Any, call: int, number: int) -> None:
        """The disk fails once: the caller hears of it, and the store goes on."""
        client = Client(FaultyStorage(self.storage, [FailWith(call, number)]), namespace=space)
        begun = []
        with contextlib.suppress(StorageError), holdall.run(flow, client=client) as run:
            begun.append(run.id)
            run.save(crashed=value)
        self.settle(space, flow, begun, value)

    @rule()
    def collect(self) -> None:
        """A collection, by the book."""
        collector = Collector(self.storage)
        for step in collector.steps:
            step()

    @rule(data=st.data())
    @precondition(lambda self: any(self.runs.values()))
    def alias(self, data: st.DataObject) -> None:
        """An alias points at a run."""
        space, flow = data.draw(st.sampled_from(sorted(place for place, held in self.runs.items() if held)))
        run_id, _ = data.draw(st.sampled_from(self.runs[space, flow]))
        holdall.alias(f"{flow}@{run_id}", "best", client=self.client(space))
        self.aliases[space, flow, "best"] = run_id

    @invariant()
    def all_is_there(self) -> None:
        """Everything that was durable loads, by run, by alias and as the newest."""
        for (space, flow), held in self.runs.items():
            client = self.client(space)
            found = client.flow(flow)
            for run_id, objects in held:
                run = found[run_id]
                assert {artifact.name: artifact.load() for artifact in run} == objects
            newest = max(held)
            assert found.latest_successful_run.id == newest[0]
            for name, value in newest[1].items():
                assert client.load(f"{flow}/{name}") == value
        for (space, flow, name), run_id in self.aliases.items():
            assert self.client(space).run(f"{flow}:{name}").id == run_id

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def client(self, space: str) -> Client:
        """Return a client as a new process has it."""
        return Client(self.storage, namespace=space)

    def note(self, space: str, flow: str, run_id: str, objects: dict[str, Any]) -> None:
        """Remember a run that succeeded."""
        self.runs.setdefault((space, flow), []).append((run_id, objects))

    def settle(self, space: str, flow: str, begun: list[str], value: Any) -> None:
        """Look what became of a run that may have been cut short: all of its save is there, or nothing."""
        client = self.client(space)
        if flow not in client or not begun or begun[0] not in client.flow(flow):
            return
        found = client.flow(flow)[begun[0]]
        assert {artifact.name: artifact.load() for artifact in found} in ({"crashed": value}, {})
        if found.status == "succeeded":
            self.note(space, flow, found.id, {artifact.name: artifact.load() for artifact in found})


Store.TestCase.settings = settings(max_examples=12, stateful_step_count=12)
TestStore = Store.TestCase
