"""One fault at each request of a save and of the end of a run: what was durable stays, nothing is there by half."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.engine._engine import copy, repository
from tests.faults._ledger import SCENARIOS, Ledger, prepare

from holdall_store.storage import LocalStorage, MemoryStorage, Storage
from holdall_store.testing import CrashAfter, CrashBefore, FailWith, Fault, FaultyStorage, LostAnswer, SimulatedCrash

FAULTS: dict[str, Callable[[int], Fault]] = {
    "crash before": CrashBefore,
    "crash after": CrashAfter,
    "lost answer": LostAnswer,
    "disk full": lambda call: FailWith(call, errno.ENOSPC),
    "I/O error": lambda call: FailWith(call, errno.EIO),
    "denied": lambda call: FailWith(call, errno.EACCES),
}


def attempt(name: str, storage: Storage, home: Path, ledger: Ledger, tries: int) -> None:
    """Play a scenario until it ends or the process dies."""
    store = repository(storage, home)
    try:
        SCENARIOS[name](store, ledger, tries)
    finally:
        store.close()


class Played:
    """A scenario that can be played many times, each time from the same beginning."""

    def __init__(self, name: str, home: Path, empty: Callable[[], Storage]) -> None:
        self._empty = empty
        self._base = MemoryStorage()
        self._ledger = prepare(name, self._base, home)
        inner, ledger = self.begin()
        storage = FaultyStorage(inner)
        attempt(name, storage, home / "count", ledger, 1)
        assert ledger.errors == []
        ledger.check(inner, home / "checked")
        self.verbs = [call.verb for call in storage.calls]

    def begin(self) -> tuple[Storage, Ledger]:
        """Return what it begins with, and what is known of that."""
        return copy(self._base, self._empty()), self._ledger.copy()


DISKS_ALONE = ("disk full", "I/O error")
PLACES = [(fault, "memory") for fault in FAULTS] + [(fault, "bucket") for fault in FAULTS if fault not in DISKS_ALONE]


@pytest.mark.parametrize(("fault", "empty"), PLACES, indirect=["empty"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_every_request(name: str, fault: str, empty: Callable[[], Storage], tmp_path: Path) -> None:
    """The process that comes after it finds every durable save bit by bit, no save in part, and a store that works."""
    played = Played(name, tmp_path, empty)
    crashed = 0
    for number, verb in enumerate(played.verbs):
        home = tmp_path / str(number)
        inner, ledger = played.begin()
        before = len(ledger.durable)
        with contextlib.suppress(SimulatedCrash):
            attempt(name, FaultyStorage(inner, [FAULTS[fault](number)]), home / "first", ledger, 1)
            crashed -= 1
        crashed += 1
        if fault in ("disk full", "I/O error", "denied") and verb == "create":
            # The caller hears of it, with the reason.
            assert [getattr(error, "errno", None) for error in ledger.errors[:1]] != [None]
            assert ledger.errors
        if fault == "lost answer" and verb == "create":
            assert ledger.errors == []
        assert len(ledger.durable) >= before
        ledger.check(inner, home / "second")

    # The first look for a store that is not there yet has no effect after which to die.
    assert crashed >= len(played.verbs) - 1 if fault.startswith("crash") else crashed == 0


@pytest.mark.parametrize(
    ("fault", "empty"), [case for case in PLACES if case[0] in ("disk full", "I/O error", "lost answer")],
    indirect=["empty"],
)  # fmt: skip
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_run_goes_on_after_a_fault(
    name: str, fault: str, empty: Callable[[], Storage], tmp_path: Path
) -> None:
    """Once there is space again, the same call on the same run succeeds, and all is there."""
    played = Played(name, tmp_path, empty)
    for number in range(len(played.verbs)):
        home = tmp_path / str(number)
        inner, ledger = played.begin()
        attempt(name, FaultyStorage(inner, [FAULTS[fault](number)]), home / "first", ledger, 2)

        assert len(ledger.errors) <= 1
        missing = [group for group in ledger.groups if group not in ledger.durable]
        assert all(names.keys() <= {"pending", "too", "one", "last"} for names in missing)
        ledger.check(inner, home / "second")


@pytest.mark.parametrize("name", ["first save", "second save"])
@pytest.mark.parametrize("fault", ["crash before", "crash after"])
def test_a_crash_at_every_request_to_a_disk(name: str, fault: str, tmp_path: Path) -> None:
    """The same on a local disk, where buffers are mapped and packs are not parted."""
    numbers = itertools.count()
    played = Played(name, tmp_path, lambda: LocalStorage(tmp_path / f"s{next(numbers)}"))
    for number in range(len(played.verbs)):
        home = tmp_path / str(number)
        inner, ledger = played.begin()
        with contextlib.suppress(SimulatedCrash):
            attempt(name, FaultyStorage(inner, [FAULTS[fault](number)]), home / "first", ledger, 1)
        ledger.check(inner, home / "second")
