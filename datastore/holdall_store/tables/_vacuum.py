"""Removing files that no version of a table needs any more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from holdall_store.errors import InvalidNameError, TableNotFoundError
from holdall_store.tables._as_of import time_text
from holdall_store.tables._live import is_data, look_around
from holdall_store.tables._log import data_time, is_ours
from holdall_store.tables._resolve import Address
from holdall_store.tables._target import open_target

__all__ = ["KEEP_DAYS", "vacuum"]

KEEP_DAYS: Final = 7
"""A write that is under way for longer is refused before it commits, so that its files are not taken for leftovers."""


def vacuum(
    address: Address, older_than: Any, storage_options: Mapping[str, Any] | None, now: dt.datetime | None = None
) -> int:
    """Delete the files that were rows of no version since `older_than`, and return how many they were."""
    age = dt.timedelta(days=KEEP_DAYS) if older_than is None else older_than
    if isinstance(age, dt.timedelta) and age < dt.timedelta(0):
        raise InvalidNameError(
            f"older_than={older_than!r:.80} is a time to come: give an age, datetime.timedelta(days=7), say."
        )
    if not isinstance(age, dt.timedelta):
        raise InvalidNameError(f"older_than={older_than!r:.80} is no timedelta: give datetime.timedelta(days=7), say.")
    target = open_target(address, storage_options)
    since = (now or dt.datetime.now(dt.UTC)) - age
    seen = look_around(target.source, target.root)
    history = seen.history
    if not history.slots:
        raise TableNotFoundError(f"{address.text} is no table that Table.write wrote: there is nothing to be removed.")
    newest = history.state(history.newest)
    needed = {*newest.files}
    for version in sorted(history.slots, reverse=True):
        state = history.state(version)
        needed |= {*state.files, *state.foreign}
        if state.time <= time_text(since):
            break  # what was there then is the first that is kept
    doomed = []
    for found in seen.listed:
        path = found.key[len(target.root) :]
        if not is_data(found, target.root) or path in needed:
            continue
        if data_time(path) < since if is_ours(path) else newest.hides(path, found.size, found.version):
            doomed.append(path)
    target.delete(doomed)
    return len(doomed)
