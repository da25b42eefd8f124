"""From a URL to a storage."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from holdall_store.errors import InvalidNameError, nearest
from holdall_store.storage._local import LocalStorage
from holdall_store.storage._memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdall_store.storage._contract import Storage

__all__ = ["open_storage", "without_secrets"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_CHAIN = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*::.*://")


def open_storage(
    url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None, *, fs: Any = None
) -> Storage:
    """Open the storage at `url`.

    That is a path, or ``file://…``, or ``memory://name``, which is one for each name in a process, or
    ``s3://bucket/prefix``, ``gs://…``, ``az://…``, or a URL of any other filesystem that fsspec knows, such as
    ``sftp://user@host/path``. `storage_options` are for what is remote: for buckets they are spelled as pandas, polars
    and fsspec do (``key``, ``secret``, ``endpoint_url``, ``region``, ``profile``, ``anon``), for others as the
    filesystem's class takes them. With `fs`, a filesystem of fsspec's, `url` is a path there. Nothing is made, and
    nothing is looked for: a folder that is not there is an empty storage.
    """
    text = os.fspath(url)
    if fs is not None and "\0" not in text:
        from holdall_store.storage._fsspec_open import open_filesystem

        return open_filesystem(fs, text, storage_options)
    match = _SCHEME.match(text)
    if not text or "\0" in text:
        raise InvalidNameError(
            f"{text!r:.80} is no place for a store. Give a path or a URL, such as .holdall or s3://bucket/prefix."
        )
    if match is None or not isinstance(url, str):
        if isinstance(url, str) and _CHAIN.match(text):
            raise InvalidNameError(f"{text!r:.200} is a chain of URLs: open it with fsspec, and give it as fs=…")
        _refuse_options(storage_options, text)
        return LocalStorage(os.path.expanduser(text))
    scheme = match[1].lower()
    opener = _SCHEMES.get(scheme)
    if opener is None:
        return _open_other(scheme, text, storage_options)
    if opener is not _open_object:
        _refuse_options(storage_options, text)
        return opener(text)
    return _open_object(text, storage_options)


def without_secrets(storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that may leave the process."""
    if not storage_options:
        return {}
    from holdall_store.storage._secrets import is_secret_option

    return {
        name: without_secrets(value) if isinstance(value, dict) else value
        for name, value in storage_options.items()
        if not is_secret_option(name)
    }


def _refuse_options(storage_options: Mapping[str, Any] | None, text: str) -> None:
    if storage_options:
        raise InvalidNameError(f"storage_options are for buckets and servers, and mean nothing for {text!r:.200}.")


def _open_other(scheme: str, url: str, storage_options: Mapping[str, Any] | None) -> Storage:
    # fsspec and what it brings: only for whom it concerns.
    from holdall_store.storage._fsspec_open import known_schemes, open_url

    known = known_schemes()
    if scheme not in known:
        understood = ", ".join(f"{own}://" for own in sorted(_SCHEMES))
        raise InvalidNameError(
            f"No storage is known for {scheme}:// URLs; understood are plain paths and {understood}, and what fsspec "
            f"knows.{nearest(scheme, {**dict.fromkeys(_SCHEMES), **dict.fromkeys(sorted(known))})}"
        )
    return open_url(url, storage_options)


def _open_object(url: str, storage_options: Mapping[str, Any] | None = None) -> Storage:
    # obstore takes a while to import: only for whom it concerns.
    from holdall_store.storage._object import ObjectStorage
    from holdall_store.storage._object_config import make_config

    return ObjectStorage(make_config(url, storage_options))


def _open_file(url: str) -> Storage:
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path or parts.query or parts.fragment:
        raise InvalidNameError(f"{url!r:.200} names no folder here: write file:///absolute/path, or the path alone.")
    return LocalStorage(unquote(parts.path))


_memories: dict[str, MemoryStorage] = {}


def _open_memory(url: str) -> Storage:
    name = url.partition("://")[2]
    return _memories.setdefault(name, MemoryStorage(name))  # atomic: no lock that a fork could leave taken


_SCHEMES: dict[str, Callable[[str], Storage]] = {
    "file": _open_file,
    "memory": _open_memory,
    **dict.fromkeys(("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"), _open_object),
}
"""Openers by scheme. One that needs a library imports it when it is called."""
