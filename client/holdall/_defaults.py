"""What is used where the caller says nothing: the store, the namespace, the flow."""

from __future__ import annotations

import contextlib
import contextvars
import getpass
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from holdall.store import InvalidNameError
from holdall_store.config import Settings, read_settings
from holdall_store.format import check_namespace

__all__ = ["default_flow", "default_store", "default_user", "get_namespace", "namespace", "resolve_namespace"]

STORE_FOLDER: Final = ".holdall"

_UNSET: Final = object()
_block: contextvars.ContextVar[object] = contextvars.ContextVar("holdall_namespace", default=_UNSET)
_process: list[object] = [_UNSET]


class namespace:  # noqa: N801 - it reads like Metaflow's function, and can be a block besides
    """Look in another namespace from here on, or only within a ``with`` block.

    ``None`` means all namespaces. Called alone it holds for the process, as in Metaflow; as a block it holds for the
    current thread or task until the block ends.

    >>> import holdall
    >>> with holdall.namespace("production:churn"):
    ...     holdall.get_namespace()
    'production:churn'
    """

    def __init__(self, name: str | None) -> None:
        self.name = None if name is None else check_namespace(name)
        self._before = _process[0]
        _process[0] = self.name
        self._token: contextvars.Token[object] | None = None

    def __enter__(self) -> str | None:
        _process[0] = self._before
        self._token = _block.set(self.name)
        return self.name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _block.reset(self._token)

    def __repr__(self) -> str:
        return f"namespace({self.name!r})"


def get_namespace() -> str | None:
    """Return the namespace in which names are looked up now; ``None`` means all."""
    return resolve_namespace(read_settings())


def resolve_namespace(settings: Settings) -> str | None:
    """Return the namespace by block, process, environment, project file, or the user's own."""
    for value in (_block.get(), _process[0]):
        if value is None or isinstance(value, str):
            return value
    chosen = settings.namespace or _project().get("namespace")
    return check_namespace(chosen) if chosen else f"user:{default_user(settings)}"


def default_user(settings: Settings) -> str:
    """Return the name of the user, made fit for a namespace."""
    name = settings.user
    if not name:
        with contextlib.suppress(OSError, KeyError):
            name = getpass.getuser()
    cleaned = re.sub(r"[/:@\\\x00-\x1f]", "-", name or "unknown").strip()
    return cleaned or "unknown"


def default_store(settings: Settings) -> str:
    """Return where the store is: by environment, project file, or ``.holdall`` found upward from the working directory.

    Where there is none, it will be ``.holdall`` in the working directory.
    """
    if settings.store:
        return settings.store
    chosen = _project().get("store")
    if chosen:
        return str(chosen)
    folder = Path.cwd()
    for candidate in (folder, *folder.parents):
        if (candidate / STORE_FOLDER / "holdall.json").is_file():
            return str(candidate / STORE_FOLDER)
    return str(folder / STORE_FOLDER)


def default_flow() -> str:
    """Return the name of the script or notebook that runs: the flow of a save that names none."""
    notebook = os.path.basename(str(getattr(sys.modules.get("__main__"), "__vsc_ipynb_file__", "") or ""))
    if not notebook and "ipykernel" in sys.modules:
        return "notebook"
    script = notebook or os.path.basename(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    stem = os.path.splitext(script)[0]
    if stem == "__main__":
        stem = os.path.basename(os.path.dirname(getattr(sys.modules["__main__"], "__file__", "")))
    cleaned = re.sub(r"[/:@\\\x00-\x1f]", "-", stem).strip(" .")
    return cleaned or "interactive"


def _project() -> Mapping[str, Any]:
    """Return ``[tool.holdall]`` of the nearest pyproject.toml upward; a relative store is relative to that file."""
    folder = Path.cwd()
    for candidate in (folder, *folder.parents):
        path = candidate / "pyproject.toml"
        if not path.is_file():
            continue
        try:
            table = tomllib.loads(path.read_text("utf-8")).get("tool", {}).get("holdall")
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
            return {}  # somebody else's file: not ours to complain about
        if not isinstance(table, dict):
            return {}
        wrong = [name for name in ("store", "namespace") if not isinstance(table.get(name, ""), str)]
        if wrong:
            raise InvalidNameError(f"{wrong[0]} under [tool.holdall] in {path} must be a string.")
        store = table.get("store")
        if store and "://" not in store:
            table["store"] = str(candidate / Path(store).expanduser())
        return table
    return {}
