"""What is used where the caller says nothing: the store, the namespace, the flow."""

from __future__ import annotations

import contextlib
import contextvars
import os
import re
import sys
import threading
import unicodedata
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

from holdall.store import InvalidNameError, StoreNotFoundError, nearest
from holdall_store.config import Settings, read_settings
from holdall_store.format import check_name, check_namespace

__all__ = [
    "default_flow",
    "default_store",
    "default_user",
    "get_namespace",
    "namespace",
    "resolve_namespace",
    "store_source",
]

STORE_FOLDER: Final = ".holdall"

CLEAN_CHARACTERS_MAX: Final = (120, 60, 18)
"""Lengths to which a name that nobody chose is cut until it fits: characters take up to twelve bytes in a key."""

_PROJECT_SETTINGS: Final = ("store", "namespace")

_HOLDALL_KEY: Final = re.compile(r"(?:^|[.{,])[ \t]*[\"']?holdall[\"']?[ \t]*[\].=]", re.MULTILINE)
"""What a file must hold to have a table ``tool.holdall``, however TOML lets one write it."""

_UNSET: Final = object()
_block: contextvars.ContextVar[object] = contextvars.ContextVar("holdall_namespace", default=_UNSET)

_called: deque[namespace] = deque(maxlen=1000)
"""Calls that hold for the process, the newest last; one that turns out to begin a block is taken out again."""

_thread = threading.local()
"""The same of each thread but the main one: what it calls is its own affair."""


class namespace:  # noqa: N801 - it reads like Metaflow's function, and can be a block besides
    """Look in another namespace from here on, or only within a ``with`` block.

    ``None`` means all namespaces. Called alone it holds for the process, as in Metaflow, or for its thread where that is not
    the main one; as a block it holds for the current thread or task until the block ends. Write the call into the ``with``
    statement itself: until the block begins, it is a call.

    >>> import holdall
    >>> with holdall.namespace("production:churn"):
    ...     holdall.get_namespace()
    'production:churn'
    """

    def __init__(self, name: str | None) -> None:
        self.name = None if name is None else check_namespace(name)
        self._tokens: list[contextvars.Token[object]] = []
        _calls().append(self)

    def __enter__(self) -> str | None:
        with contextlib.suppress(ValueError):  # entered before, or called very long ago
            _calls().remove(self)
        self._tokens.append(_block.set(self.name))
        return self.name

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _block.reset(self._tokens.pop())

    def __repr__(self) -> str:
        return f"namespace({self.name!r})"


def get_namespace() -> str | None:
    """Return the namespace in which names are looked up now; ``None`` means all."""
    return resolve_namespace(read_settings())


def resolve_namespace(settings: Settings) -> str | None:
    """Return the namespace by block, process, environment, project file, or the user's own."""
    own, process = _calls(), _called
    for value in (_block.get(), *(calls[-1].name for calls in (own, process) if calls)):
        if value is None or isinstance(value, str):
            return value
    if settings.namespace:
        return _named_namespace(settings.namespace, "HOLDALL_NAMESPACE")
    return _project().get("namespace") or f"user:{default_user(settings)}"


def _calls() -> deque[namespace]:
    """Return the calls that hold where this is called from: for the process, or for a thread alone."""
    if threading.current_thread() is threading.main_thread():
        return _called
    if not hasattr(_thread, "called"):
        _thread.called = deque(maxlen=1000)
    calls: deque[namespace] = _thread.called
    return calls


def store_source(settings: Settings) -> str:
    """Return what says where `default_store` is, for the message of an error."""
    return "HOLDALL_STORE" if settings.store else "store under [tool.holdall] in pyproject.toml"


def default_user(settings: Settings) -> str:
    """Return the name of the user, made fit for a namespace."""
    name = settings.user
    if not name:
        import getpass

        with contextlib.suppress(OSError, KeyError):
            name = getpass.getuser()
    return _cleaned(name or "", "user") or "unknown"


def default_store(settings: Settings) -> str:
    """Return where the store is: by environment, project file, or ``.holdall`` found upward from the working directory.

    Where there is none, it will be ``.holdall`` in the working directory. Raises `StoreNotFoundError` where there is no
    working directory either.
    """
    if settings.store:
        return settings.store
    chosen = _project().get("store")
    if chosen:
        return chosen
    folder = _working_folder()
    if folder is None:
        raise StoreNotFoundError(
            "The working directory was removed, so no store can be looked for from there. Name one: HOLDALL_STORE or "
            "Client(store)."
        )
    for candidate in (folder, *folder.parents):
        if (candidate / STORE_FOLDER / "holdall.json").is_file():
            return str(candidate / STORE_FOLDER)
    return str(folder / STORE_FOLDER)


def default_flow() -> str:
    """Return the name of the script or notebook that runs: the flow of a save that names none."""
    main = sys.modules.get("__main__")
    notebook, script = (str(getattr(main, name, None) or "") for name in ("__vsc_ipynb_file__", "__file__"))
    if not notebook and not script and "ipykernel" in sys.modules:
        return "notebook"
    path = notebook or script
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem == "__main__":
        stem = os.path.basename(os.path.dirname(os.path.abspath(path)))
    if path.startswith("<"):
        stem = ""  # Python's own word for what it reads from a pipe
    return _cleaned(stem, "flow") or "interactive"


def _cleaned(text: str, what: str) -> str:
    """Return a name that nobody chose for us, made fit for a key; an empty string where nothing of it is."""
    name = "".join(
        "-" if char in "/:@\\" or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char
        for char in text
    )
    for length in CLEAN_CHARACTERS_MAX:
        with contextlib.suppress(InvalidNameError):
            return check_name(name.strip(" .")[:length].strip(), what)
    return ""


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:
        return None  # it was removed


def _project() -> Mapping[str, str]:
    """Return ``[tool.holdall]`` of the nearest pyproject.toml upward; a relative store is relative to that file."""
    folder = _working_folder()
    for candidate in (folder, *folder.parents) if folder else ():
        path = candidate / "pyproject.toml"
        if not path.is_file():
            continue
        table = _read_table(path)
        store, namespace = table.get("store"), table.get("namespace")
        if store and "://" not in store:
            table["store"] = str(candidate / Path(store).expanduser())
        if namespace:
            table["namespace"] = _named_namespace(namespace, f"namespace under [tool.holdall] in {path}")
        return table
    return {}


def _read_table(path: Path) -> dict[str, str]:
    """Return ``[tool.holdall]`` of a file; a file that does not speak of it may be anything."""
    try:
        text = path.read_text("utf-8", errors="surrogateescape")
    except OSError:
        return {}
    if not _HOLDALL_KEY.search(text):
        return {}
    import tomllib  # most projects at most depend on holdall

    try:
        tool = tomllib.loads(text).get("tool")
    except tomllib.TOMLDecodeError as error:
        if "tool.holdall" not in text:
            return {}  # somebody else's mistake: not ours to complain about
        raise InvalidNameError(f"{path} has a [tool.holdall], and cannot be read: {error}.") from None
    table = tool.get("holdall", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise InvalidNameError(f"tool.holdall in {path} must be a table: [tool.holdall].")
    for name, value in table.items():
        if name not in _PROJECT_SETTINGS:
            known = " and ".join(_PROJECT_SETTINGS)
            raise InvalidNameError(
                f"{name!r} under [tool.holdall] in {path} means nothing.{nearest(name, _PROJECT_SETTINGS)} There are {known}."
            )
        if not isinstance(value, str) or value.isspace():
            raise InvalidNameError(f"{name} under [tool.holdall] in {path} must be a string that is not blank.")
    return table


def _named_namespace(name: str, source: str) -> str:
    try:
        return check_namespace(name)
    except InvalidNameError as error:
        raise InvalidNameError(f"{source}: {error}") from None
