"""From a URL, or from an fsspec filesystem, to a storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import fsspec
from fsspec.registry import known_implementations, registry

from holdall_store.errors import InvalidNameError, MissingDependencyError
from holdall_store.storage._contract import Storage
from holdall_store.storage._fsspec import FsspecStorage
from holdall_store.storage._fsspec_connections import Connections
from holdall_store.storage._local import LocalStorage

__all__ = ["known_schemes", "open_filesystem", "open_url"]

_EXTRAS: Final = {"sftp": "sftp", "ssh": "sftp"}
"""By which extra of ours the library behind a scheme is installed."""

_REFERENCES: Final = frozenset({"github", "git", "gist"})
"""Schemes in whose URLs a colon before an at sign divides something else than user and password."""

_LOCAL: Final = "fsspec.implementations.local.LocalFileSystem"


def known_schemes() -> set[str]:
    """Return the schemes of URLs that fsspec knows, whether the library behind is installed or not."""
    return {*known_implementations, *registry}


def open_url(url: str, storage_options: Mapping[str, Any] | None = None) -> Storage:
    """Open the storage at a URL of fsspec's; nothing is connected to before it is used."""
    scheme = url.partition("://")[0].lower()
    parts = urlsplit(url)
    if parts.password is not None and scheme not in _REFERENCES:
        raise InvalidNameError(f"A {scheme}:// URL holds no password: give it as storage_options={{'password': …}}.")
    if parts.query or parts.fragment:
        raise InvalidNameError(
            f"'{url.partition('?')[0].partition('#')[0]:.200}…' holds more than a place: give options as storage_options."
        )
    kind = _class_of(scheme)
    options = dict(storage_options or {})
    single_writer = _flag(options.pop("single_writer", False))
    root = _check_root(kind._strip_protocol(url), url)  # noqa: SLF001 - for those who implement or open filesystems
    if _name_of(kind) == _LOCAL:
        _refuse(options, f"{scheme}:// URLs")
        return LocalStorage(root)
    from_url = kind._get_kwargs_from_urls(url)  # noqa: SLF001 - as above
    connections = Connections(kind, {**from_url, **options})
    return FsspecStorage(connections, root, url.rstrip("/"), single_writer=single_writer)


def open_filesystem(fs: Any, path: str = "", storage_options: Mapping[str, Any] | None = None) -> Storage:
    """Open the storage at a path of a filesystem that is there already.

    A `DirFileSystem` and a caching filesystem are seen through: the first is but a path, and nothing may be cached. A
    folder of a `LocalFileSystem` is opened as the folder that it is.
    """
    if not isinstance(fs, fsspec.AbstractFileSystem):
        raise InvalidNameError(
            f"fs is a {type(fs).__name__}, and no fsspec filesystem. Make one with fsspec.filesystem(…); one of "
            "pyarrow's becomes one by fsspec.implementations.arrow.ArrowFSWrapper(…)."
        )
    options = dict(storage_options or {})
    single_writer = _flag(options.pop("single_writer", False))
    _refuse(options, "a filesystem that is made already: give them to the filesystem")
    fs, path = _seen_through(fs, path)
    root = _check_root(fs._strip_protocol(path), path)  # noqa: SLF001 - as above
    if _name_of(type(fs)) == _LOCAL:
        if not path:
            raise InvalidNameError("fs is the local filesystem: say in which folder the store lies, too.")
        return LocalStorage(root)
    connections = Connections(type(fs), {}, fs)
    if connections.way.bucketed and not root.strip("/"):
        raise InvalidNameError(f"A store on a {type(fs).__name__} lies in a bucket: give bucket/prefix as the store.")
    return FsspecStorage(connections, root, _url_of(fs, connections, root), single_writer=single_writer)


def _class_of(scheme: str) -> Any:
    try:
        return fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        install = f"pip install 'holdall[{extra}]'" if extra else str(error)
        raise MissingDependencyError(f"{scheme}:// needs a library that is not installed: {install}") from error


def _seen_through(fs: Any, path: str) -> tuple[Any, str]:
    """Return the filesystem below those that only change paths or keep copies, and the path there."""
    while True:
        names = {base.__name__ for base in type(fs).__mro__}
        if "DirFileSystem" in names:
            _check_root(path, path)
            inside = fs._strip_protocol(path).strip("/")  # noqa: SLF001 - as above
            path, fs = (f"{fs.path.rstrip('/')}/{inside}" if inside else fs.path), fs.fs
        elif "CachingFileSystem" in names:
            fs = fs.fs
        else:
            return fs, path


def _check_root(root: str, said: str) -> str:
    if any(segment in (".", "..") for segment in root.split("/")) or "\0" in root:
        raise InvalidNameError(f"{said!r:.200} is no place for a store: write the path without '.' and '..'.")
    return root.rstrip("/")


def _url_of(fs: Any, connections: Connections, root: str) -> str:
    """Return where a given filesystem is, for people."""
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    options = connections.options
    host = str(options.get("host") or "")
    if host and options.get("port"):
        host = f"{host}:{options['port']}"
    return f"{protocol}://{host}{root}" if root.startswith("/") or not host else f"{protocol}://{host}/{root}"


def _name_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _flag(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")


def _refuse(options: Mapping[str, Any], where: str) -> None:
    if options:
        raise InvalidNameError(f"storage_options {', '.join(map(repr, options))} mean nothing for {where}.")
