"""A disk that fails at each system call of a save: the caller hears of it, and the store stays good."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.engine._engine import repository
from tests.faults._ledger import SCENARIOS, Ledger, prepare

from holdall_store.errors import HoldallError
from holdall_store.storage import LocalStorage

CALLS = ("open", "mkdir", "write", "fsync", "link", "preadv", "stat", "scandir")


class Disk:
    """Stands between the store and the system: counts calls, and fails one of them."""

    def __init__(self, patch: pytest.MonkeyPatch, fail_at: int = -1, number: int = 0) -> None:
        self.log: list[str] = []
        self._fail_at = fail_at
        self._number = number
        for name in CALLS:
            patch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if name == "mkdir" and "dir_fd" not in options:
                return real(*args, **options)  # the cache's: nobody needs it
            self.log.append(name)
            if len(self.log) - 1 == self._fail_at:
                raise OSError(self._number, os.strerror(self._number))
            return real(*args, **options)

        return call


def play(name: str, folder: Path, fail_at: int, number: int, tries: int) -> tuple[Ledger, list[str]]:
    """Play a scenario on a disk that fails at one call; return what it did, and the calls."""
    storage = LocalStorage(folder / "s")
    ledger = prepare(name, storage, folder)
    store = repository(storage, folder / "home")
    store.settings.cache_folder().mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, fail_at, number)
        SCENARIOS[name](store, ledger, tries)
    store.close()
    return ledger, disk.log


@pytest.mark.parametrize(
    ("name", "number"), [("first save", errno.EIO), ("second save", errno.ENOSPC), ("run end", errno.EIO)]
)
def test_a_failure_at_every_system_call(name: str, number: int, tmp_path: Path) -> None:
    """Whichever call fails: an error of ours with its number, or none; nothing by half; the same call succeeds then."""
    _, calls = play(name, tmp_path / "count", -1, 0, 1)
    assert {"open", "write", "fsync", "link"} <= set(calls)
    for at, call in enumerate(calls):
        folder = tmp_path / str(at)
        ledger, _ = play(name, folder, at, number, 2)

        assert len(ledger.errors) <= 1
        for error in ledger.errors:
            assert isinstance(error, HoldallError)
            assert getattr(error, "errno", number) == number
        if call in ("write", "fsync", "link", "mkdir"):
            assert ledger.errors, f"{call}, call {at}, failed unseen"
        ledger.check(LocalStorage(folder / "s"), folder / "after")
        assert list(folder.rglob(".tmp-*")) == []
