"""Which files of a folder are the rows of a table, where a log may say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from holdall_store.errors import IntegrityError, TableNotFoundError
from holdall_store.tables._as_of import AsOf
from holdall_store.tables._history import History
from holdall_store.tables._log import LOG_PREFIX, FileEntry, State, is_ours
from holdall_store.tables._source import Found, Source

__all__ = ["Look", "is_data", "live_files", "look_around"]

LOOKS_MAX: Final = 4
"""So often a folder is listed whose files were replaced while they were listed."""

_NAMES_SHOWN: Final = 3


@dataclass(frozen=True)
class Look:
    """What was seen of a folder: all its files, and the log, which was looked at last."""

    listed: list[Found]
    history: History
    moved: bool
    """Whether the log had gone on since the files were listed."""


def look_around(source: Source, root: str, listed: list[Found] | None = None) -> Look:
    """List a folder, unless somebody did already, and its log.

    The log is seen last: a commit deletes what it replaced after its record is there, so whoever misses a file that was
    replaced sees the record that did it. A listing that is of one moment needs no second look.
    """
    listed = list(source.list(root)) if listed is None else listed
    history = History(source, root, listed)
    if source.is_of_one_moment(len(listed)):
        return Look(listed, history, moved=False)
    later = History(source, root, list(source.list(root + LOG_PREFIX)))
    return Look(listed, later, moved=later.newest != history.newest)


def is_data(found: Found, root: str) -> bool:
    """Tell whether a file below `root` is one with rows: as everywhere, ``_`` and ``.`` hide a name."""
    rest = found.key[len(root) :]
    if not rest or rest.endswith(("/", "_$folder$")):
        return False
    return not any(name.startswith((".", "_")) and "=" not in name for name in rest.split("/"))


def live_files(source: Source, root: str, look: Look, as_of: AsOf) -> tuple[State, list[Found]]:
    """Return what the log says of a folder, and the files that are rows, sorted by key."""
    for trial in range(1, LOOKS_MAX + 1):
        history = look.history
        version = history.version_of(as_of)
        state = history.state(version)
        there = {found.key[len(root) :]: found for found in look.listed if is_data(found, root)}
        missing = [path for path in state.files if path not in there]
        if as_of is not None:
            missing += [path for path, entry in state.foreign.items() if not _same(entry, there.get(path))]
            _check_kept(missing, history, version)
        elif missing and not look.moved:
            # Files that came since the listing passed their place, or files that were deleted: another look tells.
            if trial == LOOKS_MAX:
                raise _lacking(missing, history)
            look = look_around(source, root)
            continue
        for path, entry in state.files.items():
            if path in there and there[path].size != entry.bytes:
                raise IntegrityError(
                    f"{root}{path} has {there[path].size} bytes, and the log of {history.name} knows it with {entry.bytes}: "
                    "another program replaced it. Restore it, or overwrite the table; a list of files is read as they are."
                )
        found = [there.get(path) or Found(root + path, entry.bytes) for path, entry in state.files.items()]
        found += _foreign(state, there, as_of)
        return state, sorted(found, key=lambda each: each.key)
    raise AssertionError("a loop that always returns or raises ended")


def _foreign(state: State, there: Mapping[str, Found], as_of: AsOf) -> list[Found]:
    """Return the files of others: those that are there now, or those that were there then."""
    if as_of is not None:
        return [there[path] for path in state.foreign]
    return [
        found for path, found in there.items() if not is_ours(path) and not state.hides(path, found.size, found.version)
    ]


def _same(entry: FileEntry, found: Found | None) -> bool:
    return found is not None and (found.size, found.version) == (entry.bytes, entry.version)


def _check_kept(missing: Sequence[str], history: History, version: int) -> None:
    if missing:
        raise TableNotFoundError(
            f"Version {version} of {history.name} can no longer be read: {_listed(missing)} deleted or replaced since, by "
            "an overwrite without keep_replaced=True, or by another program."
        )


def _lacking(missing: Sequence[str], history: History) -> IntegrityError:
    return IntegrityError(
        f"{history.name} is not whole: {_listed(missing)} named by its log, and not there. Another program deleted them. "
        "Restore them, or overwrite the table; a list of files is read as they are."
    )


def _listed(missing: Sequence[str]) -> str:
    shown = ", ".join(missing[:_NAMES_SHOWN])
    more = f" and {len(missing) - _NAMES_SHOWN} more" if len(missing) > _NAMES_SHOWN else ""
    return f"{shown}{more} {'is' if len(missing) == 1 else 'are'}"
