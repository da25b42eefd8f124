"""The log of a table that holdall writes: which files are its rows, version by version. Pure: no storage here.

The log is a folder of write-once records, ``_holdall/00000000``, ``_holdall/00000001``, …: JSON that a person can read.
Names that begin with ``_`` are no data for any other engine. A record says what its commit changed since the record
`base`, which says everything: so any version takes two records, and a table of many files has small commits.

Files whose names are ours are rows only if the log names them: others are of a write that did not come to its end. Files
with other names are rows as everywhere, unless a commit has replaced them.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from holdall_store.errors import FormatError
from holdall_store.format import FORMAT_VERSION, LogHead

__all__ = [
    "LOG_PREFIX",
    "Change",
    "FileEntry",
    "State",
    "TableRecord",
    "columns_of",
    "data_name",
    "data_time",
    "is_ours",
    "make_record",
    "pack_schema",
    "state_of",
    "unpack_schema",
]

LOG_PREFIX: Final = "_holdall/"
"""On disk: the folder of the log, below that of the table. It must not change."""

CHANGES_MAX: Final = 256
"""So many changes since the base are told again by each record; with more, a record says everything: one of 10 000 files
has about a megabyte, and is written once for so many."""

_NAME: Final = re.compile(r"holdall-[0-9]{8}T[0-9]{12}-[a-z2-7]{12}-[0-9]{5,}\.parquet")
"""On disk: how a data file of ours is called. It must not change: what it does not fit counts without a log."""


class FileEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file: its path below the table, and what tells its content from any other under that path.

    ``rows`` are told of ours. ``kept`` says of a replaced file of others that it is hidden, and is to stay.
    """

    path: str
    bytes: int
    rows: int = -1
    version: str = ""
    kept: bool = False


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came to a list of files, or is told anew, and which of the base are no longer in it."""

    added: tuple[FileEntry, ...] = ()
    dropped: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many changes these are."""
        return len(self.added) + len(self.dropped)


class TableRecord(LogHead, kw_only=True, omit_defaults=True):
    """One commit. Events: ``append``, ``overwrite``, ``overwrite_partitions``, ``error``, ``vacuum``: the modes of writing.

    ``files`` are those of ours that are rows, ``foreign`` those of others that the commit saw, and ``replaced`` those
    that are rows no longer, and may still be there. All three are told as changes since the record of slot ``base``,
    whose ``schema`` and ``partition_by`` hold here, too; where that is the record itself, they are told whole.
    """

    base: int
    summary: dict[str, int] = msgspec.field(default_factory=dict)
    """What this commit did: files, rows and bytes that came, files that were replaced."""
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    """Names and types of the columns, for people."""
    partition_by: tuple[str, ...] = ()
    schema: str = ""
    """The schema as Arrow serializes it, in base64."""
    files: Change = Change()
    foreign: Change = Change()
    replaced: Change = Change()


@dataclass(frozen=True)
class State:
    """What a table consists of at a version; before the first one, that is -1."""

    version: int = -1
    time: str = ""
    schema: str = ""
    partition_by: tuple[str, ...] = ()
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    foreign: Mapping[str, FileEntry] = field(default_factory=dict)
    replaced: Mapping[str, FileEntry] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows the files of ours have."""
        return sum(entry.rows for entry in self.files.values())

    def hides(self, path: str, size: int, version: str) -> bool:
        """Tell whether a file of others was replaced: another one of the same name is a new one."""
        entry = self.replaced.get(path)
        return entry is not None and entry.bytes == size and entry.version == version


def data_name(stamp: str, token: str, number: int) -> str:
    """Return the name of data file `number` of a write."""
    name = f"holdall-{stamp}-{token}-{number:05d}.parquet"
    assert _NAME.fullmatch(name), name
    return name


def is_ours(path: str) -> bool:
    """Tell whether a file has a name of ours: then it counts only if a commit names it."""
    return _NAME.fullmatch(path.rpartition("/")[2]) is not None


def data_time(path: str) -> dt.datetime:
    """Return when the write began that a file of ours is of."""
    stamp = path.rpartition("/")[2].split("-")[1]
    return dt.datetime.strptime(stamp, "%Y%m%dT%H%M%S%f").replace(tzinfo=dt.UTC)


def pack_schema(schema: Any) -> str:
    """Return a schema as text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def unpack_schema(text: str, where: str) -> Any:
    """Return the schema that `pack_schema` wrote."""
    import pyarrow as pa

    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FormatError(f"{where}: its record holds no schema that Arrow understands: {error}") from error


def columns_of(schema: Any) -> dict[str, str]:
    """Return the names and types of columns as a person reads them."""
    return {column.name: str(column.type) for column in schema}


def make_record(
    new: State, base: State | None, event: str, write_id: str, summary: dict[str, int], columns: dict[str, str]
) -> TableRecord:
    """Return the record of `new`, as what changed since `base` where that is short."""
    files, foreign, replaced = (Change(tuple(entries.values())) for entries in (new.files, new.foreign, new.replaced))
    whole = True
    if base is not None and base.schema == new.schema and base.partition_by == new.partition_by:
        changes = (
            _change(base.files, new.files),
            _change(base.foreign, new.foreign),
            _change(base.replaced, new.replaced),
        )
        if sum(change.count for change in changes) <= CHANGES_MAX:
            files, foreign, replaced = changes
            whole = False
    return TableRecord(
        holdall=FORMAT_VERSION,
        log="table",
        event=event,
        slot=new.version,
        write_id=write_id,
        time=new.time,
        base=new.version if whole or base is None else base.version,
        summary=summary,
        columns=columns,
        partition_by=new.partition_by if whole else (),
        schema=new.schema if whole else "",
        files=files,
        foreign=foreign,
        replaced=replaced,
    )


def _change(old: Mapping[str, FileEntry], new: Mapping[str, FileEntry]) -> Change:
    added = tuple(entry for path, entry in new.items() if old.get(path) != entry)
    return Change(added, tuple(path for path in old if path not in new))


def state_of(record: TableRecord, base: State | None, where: str) -> State:
    """Return what a record says, given the state of its base unless it says everything itself."""
    if record.base != record.slot and (base is None or base.version != record.base):
        raise FormatError(f"{where}: the record {record.slot} builds on {record.base}, which is another.")
    if record.base == record.slot:
        base = State(schema=record.schema, partition_by=record.partition_by)
    assert base is not None
    return State(
        record.slot,
        record.time,
        base.schema,
        base.partition_by,
        _apply(base.files, record.files),
        _apply(base.foreign, record.foreign),
        _apply(base.replaced, record.replaced),
    )


def _apply(entries: Mapping[str, FileEntry], change: Change) -> dict[str, FileEntry]:
    gone = set(change.dropped)
    found = {path: entry for path, entry in entries.items() if path not in gone}
    found.update(by_path(change.added))
    return found


def by_path(entries: Iterable[FileEntry]) -> dict[str, FileEntry]:
    """Return entries by their paths."""
    return {entry.path: entry for entry in entries}
