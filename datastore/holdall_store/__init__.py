"""The engine: a content-addressed, deduplicating store of artifacts on a local disk or an object store.

It is usable without the face: ``Repository(open_storage("path"))``.
"""

from __future__ import annotations

from holdall_store.errors import (
    AccessDeniedError,
    AliasNotFoundError,
    AlreadyExistsError,
    ArtifactNotFoundError,
    ColumnNotFoundError,
    ConflictError,
    FlowNotFoundError,
    FormatError,
    HoldallError,
    IntegrityError,
    InvalidFilterError,
    InvalidNameError,
    MissingDependencyError,
    NamespaceNotFoundError,
    NotFoundError,
    ObjectNotFoundError,
    OfflineError,
    RunNotFoundError,
    RunStateError,
    StorageError,
    StoreNotFoundError,
    TableNotFoundError,
    TaskNotFoundError,
    UnsafeLoadError,
    UnsupportedTypeError,
    nearest,
)

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
