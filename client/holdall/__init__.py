"""Save versioned artifacts from any script, and load last run's model in a notebook.

>>> import holdall
>>> with holdall.run("churn", params={"lr": 0.1}) as run:
...     run.log(auc=0.91)
...     saved = run.save(model={"weights": [0.5, 0.25]})
>>> holdall.load("churn/model")
{'weights': [0.5, 0.25]}
"""

from __future__ import annotations

import logging

from holdall import store
from holdall._artifact import Artifact
from holdall._client import Client
from holdall._defaults import get_namespace, namespace
from holdall._flow import Flow
from holdall._recorder import ActiveRun, current_run
from holdall._run import Run
from holdall._session import alias, load, load_many, log, run, save, save_dir, save_file
from holdall.store import (
    AccessDeniedError,
    AliasNotFoundError,
    AlreadyExistsError,
    ArtifactNotFoundError,
    ConflictError,
    FlowNotFoundError,
    FormatError,
    HoldallError,
    IntegrityError,
    InvalidNameError,
    MissingDependencyError,
    NamespaceNotFoundError,
    NotFoundError,
    ObjectNotFoundError,
    RunNotFoundError,
    RunStateError,
    StorageError,
    StoreNotFoundError,
    UnsafeLoadError,
    UnsupportedTypeError,
    nearest,
)

__version__ = "0.1.0"

__all__ = [
    "AccessDeniedError",
    "ActiveRun",
    "AliasNotFoundError",
    "AlreadyExistsError",
    "Artifact",
    "ArtifactNotFoundError",
    "Client",
    "ConflictError",
    "Flow",
    "FlowNotFoundError",
    "FormatError",
    "HoldallError",
    "IntegrityError",
    "InvalidNameError",
    "MissingDependencyError",
    "NamespaceNotFoundError",
    "NotFoundError",
    "ObjectNotFoundError",
    "Run",
    "RunNotFoundError",
    "RunStateError",
    "StorageError",
    "StoreNotFoundError",
    "UnsafeLoadError",
    "UnsupportedTypeError",
    "__version__",
    "alias",
    "current_run",
    "get_namespace",
    "load",
    "load_many",
    "log",
    "namespace",
    "nearest",
    "run",
    "save",
    "save_dir",
    "save_file",
    "store",
]

logging.getLogger("holdall").addHandler(logging.NullHandler())
