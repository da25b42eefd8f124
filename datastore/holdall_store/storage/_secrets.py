"""Which options are secrets, and what may leave the process without them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from holdall_store.storage._object_config import is_secret

__all__ = ["UNFIT", "is_secret_option", "plain_copy", "secret_strings"]

UNFIT: Final = object()
"""Stands for a value of which it cannot be told what is in it."""

SECRET_CHARACTERS_MIN: Final = 4
"""What is shorter cannot be told from ordinary text in a message."""

_SECRET: Final = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|private|pkey|(api|access|account|shared)_?key|sas"
    r"|connection_string|^auth(orization)?$|ticket|cookie|header|session$",
    re.IGNORECASE,
)
_USER_IN_URL: Final = re.compile(r"://[^/\s]*:[^/\s]*@")


def is_secret_option(name: object) -> bool:
    """Tell whether the value of an option of any filesystem is probably a secret; in doubt it is."""
    return is_secret(str(name)) or _SECRET.search(str(name)) is not None


def plain_copy(value: Any) -> Any:
    """Return a copy of a value without what is secret in it, or `UNFIT` where it is more than a plain value."""
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    if isinstance(value, str):
        return UNFIT if _USER_IN_URL.search(value) else value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        kept = {name: plain_copy(each) for name, each in value.items() if not is_secret_option(name)}
        return UNFIT if any(each is UNFIT for each in kept.values()) else kept
    if isinstance(value, list | tuple):
        items = [plain_copy(each) for each in value]
        return UNFIT if any(each is UNFIT for each in items) else items
    return UNFIT


def secret_strings(options: Mapping[str, Any]) -> list[str]:
    """Return the secrets among options, for whoever has to keep them out of a message."""
    return [found for found in _strings(options, secret=False) if len(found) >= SECRET_CHARACTERS_MIN]


def _strings(value: Any, *, secret: bool) -> Iterator[str]:
    """Yield the strings in a value that are secret by their own name or by that of what they lie in."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _strings(each, secret=secret or is_secret_option(name))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each, secret=secret)
    elif isinstance(value, str) and secret:
        yield value
