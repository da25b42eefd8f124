"""What was saved, what of it must be there, and whether it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.engine._engine import begin, read, repository, save, stretch, value

from holdall_store.errors import HoldallError
from holdall_store.repository import Repository, RunWriter
from holdall_store.storage import Storage

Parts = list[bytes]

BIG, MORE = stretch(1, 150_000), stretch(2, 90_000)


class Ledger:
    """Saves groups of values, and remembers which saves returned."""

    def __init__(self) -> None:
        self.groups: list[dict[str, Parts]] = []
        self.durable: list[dict[str, Parts]] = []
        self.errors: list[HoldallError] = []

    def copy(self) -> Ledger:
        """Return one that knows the same, and goes on by itself."""
        other = Ledger()
        other.groups, other.durable, other.errors = [*self.groups], [*self.durable], [*self.errors]
        return other

    def save(self, run: RunWriter, group: dict[str, Parts], *, commit: bool = True, tries: int = 1) -> None:
        """Save `group` in one call, at most `tries` times; errors of ours are noted, crashes pass through."""
        self.groups.append(group)
        for _ in range(tries):
            try:
                run.save({name: value(*parts) for name, parts in group.items()}, commit=commit)
            except HoldallError as error:
                self.errors.append(error)
            else:
                if commit:
                    self.durable.append(group)
                return

    def end(self, run: RunWriter, pending: dict[str, Parts] | None = None, *, tries: int = 1) -> None:
        """End the run; what waits for that is durable then."""
        for _ in range(tries):
            try:
                run.end("succeeded")
            except HoldallError as error:
                self.errors.append(error)
            else:
                if pending is not None:
                    self.durable.append(pending)
                return

    def check(self, storage: Storage, home: Path) -> None:
        """Look with new eyes: all that was durable is there, no save is there in part, and the store can be used."""
        store = repository(storage, home, seed=500)
        found: dict[str, Parts] = {}
        for namespace in store.catalog.namespaces():
            for flow in store.catalog.flows(namespace):
                for view in store.catalog.newest(namespace, flow):
                    for name, artifact in view.artifacts.items():
                        assert name not in found
                        found[name] = read(store, artifact)
        known = {name: parts for group in self.groups for name, parts in group.items()}
        assert found == {name: known[name] for name in found}
        for group in self.groups:
            there = [name in found for name in group]
            assert all(there) or not any(there)
        for group in self.durable:
            assert group.keys() <= found.keys()
        again = {f"again {name}": value(*parts) for name, parts in known.items()}
        saved = save(store, again, "next run")
        assert {name: read(store, saved[f"again {name}"]) for name in known} == known
        store.close()


Scenario = Callable[[Repository, Ledger, int], None]


def first_save(store: Repository, ledger: Ledger, tries: int) -> None:
    """The first save into a fresh store: two values in one call."""
    run = begin(store)
    ledger.save(run, {"big": [BIG], "small": [b"1"], "both": [MORE, b"", b"2"]}, tries=tries)
    ledger.end(run, tries=tries)


def second_save(store: Repository, ledger: Ledger, tries: int) -> None:
    """A save of something that another run stored, with something new."""
    run = begin(store, "second")
    ledger.save(run, {"reused": [BIG, MORE], "new": [stretch(3, 60_000)]}, tries=tries)
    ledger.save(run, {"reused again": [MORE]}, tries=tries)
    ledger.end(run, tries=tries)


def run_end(store: Repository, ledger: Ledger, tries: int) -> None:
    """Small values that wait for the end of a run with larger ones."""
    run = begin(store, "third")
    ledger.save(run, {"large": [stretch(4, 50_000)]}, tries=tries)
    ledger.save(run, {"pending": [b"3"], "too": [b"4"]}, commit=False)
    ledger.end(run, {"pending": [b"3"], "too": [b"4"]}, tries=tries)


def small_values(store: Repository, ledger: Ledger, tries: int) -> None:
    """A run of small values, one of them at once, the others at its end."""
    run = begin(store, "fourth")
    ledger.save(run, {"one": [b"5"]}, commit=False)
    ledger.save(run, {"at once": [b"6"]}, tries=tries)
    ledger.save(run, {"last": [b"7"]}, commit=False)
    ledger.end(run, {"last": [b"7"]}, tries=tries)


SCENARIOS: dict[str, Scenario] = {
    "first save": first_save,
    "second save": second_save,
    "run end": run_end,
    "small values": small_values,
}


def prepare(name: str, storage: Storage, home: Path) -> Ledger:
    """Fill `storage` with what scenario `name` begins with, and return what is known of it."""
    ledger = Ledger()
    if name != "first save":
        store = repository(storage, home / "before", seed=100)
        first_save(store, ledger, 1)
        store.close()
    return ledger
