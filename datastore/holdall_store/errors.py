"""Every error that holdall raises on purpose, as a tree by what a handler would do.

``HoldallError``
├── ``NotFoundError`` (``LookupError``)          nothing has that name: look elsewhere or save it
│   ├── ``ObjectNotFoundError``                  a key of the storage
│   ├── ``StoreNotFoundError``                   a whole store
│   ├── ``NamespaceNotFoundError`` · ``FlowNotFoundError`` · ``RunNotFoundError``
│   ├── ``ArtifactNotFoundError`` · ``AliasNotFoundError``
│   ├── ``TableNotFoundError`` (``FileNotFoundError``)  no file of a table is where it was looked for
│   └── ``ColumnNotFoundError`` (``KeyError``)   a table has no such column
├── ``ConflictError``                            somebody else was first: look, then decide
│   └── ``AlreadyExistsError`` (``FileExistsError``)
├── ``IntegrityError`` (``ValueError``)          bytes are not what was written: restore them
├── ``FormatError`` (``ValueError``)             written by a newer version, or not by holdall at all
├── ``InvalidNameError`` (``ValueError``)        a name or reference that cannot be used
│   └── ``InvalidFilterError``                   a filter over runs that cannot be read: the message points at the place
├── ``RunStateError`` (``RuntimeError``)         the run has ended, or never began
├── ``UnsupportedTypeError`` (``TypeError``)     this object cannot be saved
├── ``UnsafeLoadError`` (``PermissionError``)    loading would run code that the reader did not allow
├── ``AccessDeniedError`` (``PermissionError``)  the storage refuses us
├── ``StorageError`` (``OSError``)               the storage failed: disk full, I/O error
├── ``OfflineError`` (``ConnectionError``)       nothing is asked of the store, and the cache does not have it
└── ``MissingDependencyError`` (``ImportError``) an optional library is not installed
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "AccessDeniedError",
    "AliasNotFoundError",
    "AlreadyExistsError",
    "ArtifactNotFoundError",
    "ColumnNotFoundError",
    "ConflictError",
    "FlowNotFoundError",
    "FormatError",
    "HoldallError",
    "IntegrityError",
    "InvalidFilterError",
    "InvalidNameError",
    "MissingDependencyError",
    "NamespaceNotFoundError",
    "NotFoundError",
    "ObjectNotFoundError",
    "OfflineError",
    "RunNotFoundError",
    "RunStateError",
    "StorageError",
    "StoreNotFoundError",
    "TableNotFoundError",
    "TaskNotFoundError",
    "UnsafeLoadError",
    "UnsupportedTypeError",
    "nearest",
]


class HoldallError(Exception):
    """Base of every error that holdall raises on purpose."""


class NotFoundError(HoldallError, LookupError):
    """Nothing has the name that was asked for."""


class ObjectNotFoundError(NotFoundError):
    """The storage holds no object under a key."""


class StoreNotFoundError(NotFoundError):
    """There is no store where one was looked for."""


class NamespaceNotFoundError(NotFoundError):
    """The store holds no such namespace."""


class FlowNotFoundError(NotFoundError):
    """The namespace holds no such flow."""


class RunNotFoundError(NotFoundError):
    """The flow holds no such run, or none that would do."""


class TaskNotFoundError(NotFoundError):
    """The run holds no such step, or the step no such task."""


class ArtifactNotFoundError(NotFoundError):
    """The run holds no such artifact."""


class AliasNotFoundError(NotFoundError):
    """The flow holds no such alias."""


class TableNotFoundError(NotFoundError, FileNotFoundError):
    """No file of a table is where it was looked for."""


class ColumnNotFoundError(NotFoundError, KeyError):
    """A table has no column of that name."""

    __str__ = Exception.__str__  # a KeyError would show the message's repr


class ConflictError(HoldallError):
    """Somebody else was first."""


class AlreadyExistsError(ConflictError, FileExistsError):
    """An object is already stored under a key that was to be created."""


class IntegrityError(HoldallError, ValueError):
    """Stored bytes are not the bytes that were written."""


class FormatError(HoldallError, ValueError):
    """Stored bytes were written by a newer version of holdall, or by something else."""


class InvalidNameError(HoldallError, ValueError):
    """A name or a reference cannot be used."""


class InvalidFilterError(InvalidNameError):
    """A filter over runs cannot be read."""


class RunStateError(HoldallError, RuntimeError):
    """The run has ended already, or has not begun."""


class UnsupportedTypeError(HoldallError, TypeError):
    """An object cannot be saved."""


class UnsafeLoadError(HoldallError, PermissionError):
    """Loading would run code from a store that the reader has not said to trust."""


class AccessDeniedError(HoldallError, PermissionError):
    """The storage refuses us."""


class StorageError(HoldallError, OSError):
    """The storage failed; ``errno`` is set where the system gave one."""


class OfflineError(HoldallError, ConnectionError):
    """The caller works offline, and what was asked for is not in the local cache, or would have to be written."""


class MissingDependencyError(HoldallError, ImportError):
    """An optional library is needed and not installed."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name nearest to `name`, or an empty string; case counts little."""
    import difflib  # only when something is amiss

    others = [other for other in known if other != name]
    folded = {other.casefold(): other for other in reversed(others)}
    matches = (
        [folded[name.casefold()]]
        if name.casefold() in folded
        else difflib.get_close_matches(name, others, n=1, cutoff=0.6)
        or [folded[match] for match in difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)]
    )
    return f" Did you mean {matches[0]!r}?" if matches else ""
