"""One fault at each request of a save whose log is opened by a second thread: nothing durable is lost."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from tests.faults._ledger import SCENARIOS
from tests.faults.test_every_call import FAULTS, Played, attempt

from holdall_store.repository import _run_writer
from holdall_store.storage import MemoryStorage
from holdall_store.testing import FaultyStorage, SimulatedCrash


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fault_at_every_request_of_two_threads(
    name: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of the two threads' requests may differ each time; what was durable is there each time."""
    monkeypatch.setattr(_run_writer, "BACKGROUND_BYTES_MIN", 0)
    played = Played(name, tmp_path, MemoryStorage)
    for number in range(len(played.verbs)):
        home = tmp_path / str(number)
        inner, ledger = played.begin()
        before = len(ledger.durable)
        with contextlib.suppress(SimulatedCrash):
            attempt(name, FaultyStorage(inner, [FAULTS[fault](number)]), home / "first", ledger, 1)

        assert len(ledger.durable) >= before
        ledger.check(inner, home / "second")
