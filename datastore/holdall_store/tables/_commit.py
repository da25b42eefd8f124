"""A commit: what is there, what it makes of it, and the one slot of the log that makes it so."""

from __future__ import annotations

import datetime as dt
import decimal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from holdall_store.errors import AlreadyExistsError, FormatError, HoldallError, InvalidNameError, StorageError
from holdall_store.format import seal, slot_key, unseal
from holdall_store.tables._as_of import time_text
from holdall_store.tables._fit import fit_schema, narrowed
from holdall_store.tables._live import is_data, look_around
from holdall_store.tables._log import (
    LOG_PREFIX,
    FileEntry,
    State,
    TableRecord,
    columns_of,
    is_ours,
    make_record,
    pack_schema,
    state_of,
    unpack_schema,
)
from holdall_store.tables._partitions import parse_folders
from holdall_store.tables._resolve import refuse_logs
from holdall_store.tables._source import Found
from holdall_store.tables._target import Target

__all__ = ["Clock", "Commit", "Intent", "Scene", "commit", "look"]

LATE_LOOKS: Final = 20
"""So often a log is looked at in which a slot is taken that no listing shows yet."""

LATE_S: Final = 0.25


class Clock(Protocol):
    """What the time is, and something that nobody else has."""

    def now(self) -> dt.datetime:
        """Return the time, in UTC."""
        ...

    def token(self, length: int) -> str:
        """Return `length` random characters of base 32."""
        ...


@dataclass(frozen=True)
class Scene:
    """What is there: the log and its newest state, the one its next record builds on, and the files that are listed."""

    name: str
    state: State
    base: State | None
    there: Mapping[str, Found]
    """Files that could be rows, by their paths."""

    @property
    def foreign(self) -> dict[str, FileEntry]:
        """The files of others that are rows."""
        return {
            path: FileEntry(path, found.size, version=found.version)
            for path, found in self.there.items()
            if not is_ours(path) and not self.state.hides(path, found.size, found.version)
        }

    @property
    def exists(self) -> bool:
        """Whether there is a table."""
        return self.state.version >= 0 or bool(self.foreign)


@dataclass(frozen=True)
class Intent:
    """What a commit is to do with files that are stored already. ``schema`` is that of all columns."""

    mode: str
    schema: Any
    partition_by: tuple[str, ...]
    files: tuple[FileEntry, ...]
    merge: bool = False
    keep_replaced: bool = False
    seen: int = -1
    """The version at which the rows that are there were seen to have room in the schema."""


@dataclass(frozen=True)
class Commit:
    """What a commit did: the state that it made, and the files that are rows no longer."""

    state: State
    replaced: tuple[str, ...]
    doomed: tuple[str, ...]
    """Files to be deleted: of this commit, and of earlier ones that did not come to it."""


def look(target: Target, name: str, at_least: int = -1) -> Scene:
    """Look at a table's folder. The slot `at_least` is known to be taken, whatever a listing says."""
    seen = look_around(target.source, target.root)
    for _ in range(LATE_LOOKS):
        if seen.history.newest >= at_least:
            break
        time.sleep(LATE_S)
        seen = look_around(target.source, target.root)
    else:
        raise StorageError(f"{name}: the record {at_least} of its log is there, and no listing shows it.")
    history = seen.history
    refuse_logs(seen.listed, target.root, name)
    cut = len(target.root)
    there = {found.key[cut:]: found for found in seen.listed if is_data(found, target.root)}
    if not history.slots:
        return Scene(name, State(), None, there)
    record = history.record(history.newest)
    base = state_of(history.record(record.base), None, name)
    return Scene(name, base if record.base == record.slot else state_of(record, base, name), base, there)


def commit(
    target: Target, scene: Scene, intent: Intent, clock: Clock, on_refused: Callable[[], None] = lambda: None
) -> Commit:
    """Make the commit that `intent` says, after all that others made meanwhile.

    What no longer can be raises, after a call of `on_refused`: then nothing was committed, and nothing will be. After any
    other error nobody knows.

    Two writers at once: one gets the slot, and the other looks anew and takes the next one. So commits have an order, and
    each does what it says to all that came before it: an append adds, an overwrite replaces whatever is there by then.
    """
    write_id = clock.token(26)

    def is_ours_too(raw: memoryview) -> bool:
        return unseal(raw, TableRecord, scene.name).write_id == write_id

    while True:
        try:
            made = _advance(scene, intent, clock.now())
        except HoldallError:
            on_refused()
            raise
        new = made.state
        summary = {
            "files": len(intent.files),
            "rows": sum(entry.rows for entry in intent.files),
            "bytes": sum(entry.bytes for entry in intent.files),
            "replaced": len(made.replaced),
        }
        columns = columns_of(intent.schema)
        record = make_record(new, scene.base, intent.mode, write_id, summary=summary, columns=columns)
        if target.create(slot_key(LOG_PREFIX, new.version), seal(record), is_ours_too):
            return made
        scene = look(target, scene.name, new.version)


def _advance(scene: Scene, intent: Intent, now: dt.datetime) -> Commit:
    """Return what comes of a table by a commit."""
    old, foreign, added = scene.state, scene.foreign, {entry.path: entry for entry in intent.files}
    check_mode(scene, intent.mode)
    schema, partition_by = pack_schema(intent.schema), intent.partition_by
    gone: dict[str, FileEntry] = {}
    if intent.mode == "overwrite":
        gone = {**old.files, **foreign}
    else:
        schema = _common_schema(scene, intent)
        if intent.mode == "overwrite_partitions":
            gone = _in_same_partitions({**old.files, **foreign}, added, partition_by, unpack_schema(schema, scene.name))
    replaced = {path: entry for path, entry in old.replaced.items() if _still(entry, scene.there.get(path))}
    for path, entry in gone.items():
        if path in scene.there and not (intent.keep_replaced and is_ours(path)):
            replaced[path] = _replaced(entry, kept=intent.keep_replaced)
    state = State(
        old.version + 1,
        _later(old.time, now),
        schema,
        partition_by,
        {path: entry for path, entry in old.files.items() if path not in gone} | added,
        {path: entry for path, entry in foreign.items() if path not in gone},
        replaced,
    )
    doomed = tuple(path for path, entry in replaced.items() if not entry.kept)
    return Commit(state, tuple(gone), doomed)


def check_mode(scene: Scene, mode: str) -> None:
    """Raise `AlreadyExistsError` where there is a table, and there was to be none."""
    if mode == "error" and scene.exists:
        raise AlreadyExistsError(
            f"There already is a table at {scene.name}: say mode='append' to add to it, or mode='overwrite' to replace it."
        )


def _common_schema(scene: Scene, intent: Intent) -> str:
    """Return the schema of a table with new files, which were made for what the table was when they were begun."""
    old = scene.state
    if old.version < 0:
        return pack_schema(intent.schema)
    if old.partition_by != intent.partition_by:
        raise wrong_partitions(scene.name, old.partition_by, intent.partition_by)
    packed = pack_schema(intent.schema)
    if packed == old.schema:
        return packed
    known = unpack_schema(old.schema, scene.name)
    both = fit_schema(intent.schema, known, scene.name, intent.partition_by, merge=True)
    moved = old.version != intent.seen
    if narrow := [*narrowed(intent.schema, both), *(narrowed(known, both) if moved else ())]:
        raise FormatError(
            f"Another writer changed {scene.name} meanwhile, and whether the values of {narrow[0]!r:.200} have room in "
            f"{both.field(narrow[0]).type} is not known: write again."
        )
    if not intent.merge and not both.equals(known):
        fit_schema(intent.schema, known, scene.name, intent.partition_by, merge=False)
    return old.schema if both.equals(known) else pack_schema(both)


def wrong_partitions(name: str, known: tuple[str, ...], given: tuple[str, ...]) -> InvalidNameError:
    """Return what is raised where a table has other partition columns than those that are given."""
    return InvalidNameError(
        f"{name} is partitioned by {', '.join(known) or 'nothing'}, and not by {', '.join(given) or 'nothing'}: leave "
        "partition_by out to append to it as it is, or overwrite it."
    )


def _in_same_partitions(
    entries: Mapping[str, FileEntry], added: Mapping[str, FileEntry], names: tuple[str, ...], schema: Any
) -> dict[str, FileEntry]:
    """Return those of `entries` that lie in a partition that has new files, however their folders spell it."""
    paths = [*entries, *added]
    folders = parse_folders(paths, paths, "hive" if names else (), schema)
    kinds = [schema.field(name).type for name in folders.names]
    rows = [tuple(map(_equal, row, kinds)) for row in folders.values]
    values = dict(zip(paths, rows, strict=True))
    touched = {values[path] for path in added}
    return {path: entry for path, entry in entries.items() if values[path] in touched}


def _equal(value: Any, kind: Any) -> Any:
    """Return what is equal for equal values of a partition column: 0.0 and -0.0 have two folders, and are one number."""
    import pyarrow as pa

    if isinstance(value, str) and pa.types.is_floating(kind):
        number = float(value)
        return number if number == number else "nan"
    if isinstance(value, str) and pa.types.is_decimal(kind):
        return decimal.Decimal(value)
    return value


def _still(entry: FileEntry, found: Found | None) -> bool:
    """Tell whether a replaced file is still there, and no other one under its name."""
    return found is not None and found.size == entry.bytes and entry.version in ("", found.version)


def _replaced(entry: FileEntry, *, kept: bool) -> FileEntry:
    """Return an entry that says whether its file is to stay."""
    return FileEntry(entry.path, entry.bytes, version=entry.version, kept=kept)


def _later(before: str, now: dt.datetime) -> str:
    """Return a time after `before`, so that the versions of a table have times that ascend, whatever clocks say."""
    if before and time_text(now) <= before:
        return time_text(dt.datetime.fromisoformat(before) + dt.timedelta(microseconds=1))
    return time_text(now)
