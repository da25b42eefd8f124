"""Save versioned artifacts from any script, and load last run's model in a notebook.

>>> import holdall
>>> with holdall.run("churn", params={"lr": 0.1}) as run:
...     run.log(auc=0.91)
...     saved = run.save(model={"weights": [0.5, 0.25]})
>>> holdall.load("churn/model")
{'weights': [0.5, 0.25]}
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from holdall_store import (
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

if TYPE_CHECKING:
    from holdall import store
    from holdall._artifact import Artifact
    from holdall._client import Client
    from holdall._defaults import get_namespace, namespace
    from holdall._flow import Flow
    from holdall._joined import JoinedRun, join
    from holdall._recorder import ActiveRun, current_run
    from holdall._run import Run
    from holdall._s3 import S3, Progress, RangeInfo, S3GetObject, S3Object, S3PutObject
    from holdall._s3_async import AsyncS3
    from holdall._session import alias, load, load_many, log, resume, run, save, save_dir, save_file
    from holdall._step import Step, Task
    from holdall._steps import ActiveStep, ActiveTask
    from holdall._tables import Table, col

__version__ = "0.1.0"

__all__ = [
    "S3",
    "AccessDeniedError",
    "ActiveRun",
    "ActiveStep",
    "ActiveTask",
    "AliasNotFoundError",
    "AlreadyExistsError",
    "Artifact",
    "ArtifactNotFoundError",
    "AsyncS3",
    "Client",
    "ColumnNotFoundError",
    "ConflictError",
    "Flow",
    "FlowNotFoundError",
    "FormatError",
    "HoldallError",
    "IntegrityError",
    "InvalidFilterError",
    "InvalidNameError",
    "JoinedRun",
    "MissingDependencyError",
    "NamespaceNotFoundError",
    "NotFoundError",
    "ObjectNotFoundError",
    "OfflineError",
    "Progress",
    "RangeInfo",
    "Run",
    "RunNotFoundError",
    "RunStateError",
    "S3GetObject",
    "S3Object",
    "S3PutObject",
    "Step",
    "StorageError",
    "StoreNotFoundError",
    "Table",
    "TableNotFoundError",
    "Task",
    "TaskNotFoundError",
    "UnsafeLoadError",
    "UnsupportedTypeError",
    "__version__",
    "alias",
    "col",
    "current_run",
    "get_namespace",
    "join",
    "load",
    "load_many",
    "log",
    "namespace",
    "nearest",
    "resume",
    "run",
    "save",
    "save_dir",
    "save_file",
    "store",
]

_PLACES = {
    "ActiveRun": "_recorder",
    "ActiveStep": "_steps",
    "ActiveTask": "_steps",
    "Artifact": "_artifact",
    "AsyncS3": "_s3_async",
    "Client": "_client",
    "Flow": "_flow",
    "JoinedRun": "_joined",
    "Progress": "_s3",
    "RangeInfo": "_s3",
    "Run": "_run",
    "S3": "_s3",
    "S3GetObject": "_s3",
    "S3Object": "_s3",
    "S3PutObject": "_s3",
    "Step": "_step",
    "Table": "_tables",
    "Task": "_step",
    "alias": "_session",
    "col": "_tables",
    "current_run": "_recorder",
    "get_namespace": "_defaults",
    "join": "_joined",
    "load": "_session",
    "load_many": "_session",
    "log": "_session",
    "namespace": "_defaults",
    "resume": "_session",
    "run": "_session",
    "save": "_session",
    "save_dir": "_session",
    "save_file": "_session",
}
"""Where the names are. They are fetched when they are first used: a script that may save nothing pays nothing."""


def __getattr__(name: str) -> Any:
    if name == "store":
        return importlib.import_module("holdall.store")
    if name not in _PLACES:
        raise AttributeError(
            f"module 'holdall' has no attribute {name!r}", name=name, obj=importlib.import_module("holdall")
        )
    value = getattr(importlib.import_module(f"holdall.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
