"""Plain values as JSON: what can be said in JSON without a loss that would surprise."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import pathlib
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from holdall.store import UnsupportedTypeError

__all__ = ["plain", "strict_plain"]

_AS_TEXT: Final = (decimal.Decimal, fractions.Fraction, uuid.UUID, pathlib.PurePath)
_TIMES: Final = (dt.datetime, dt.date, dt.time)


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it; of what it cannot hold, how Python would write it."""
    return _convert(value, "", _describe)


def strict_plain(value: Any) -> Any:
    """Return `value` as JSON can hold it; raise `UnsupportedTypeError`, with the path, for what it cannot hold.

    Tuples and sets become lists; dates and times ISO 8601; decimals, fractions, UUIDs and paths text; the numbers that
    JSON lacks ``"nan"``, ``"inf"`` and ``"-inf"``; NumPy scalars the number in them. Keys must be strings: as text, 1
    and ``"1"`` would be one.
    """
    return _convert(value, "", _refuse)


def _convert(value: Any, path: str, other: Callable[[Any, str], Any]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if isinstance(value, _TIMES):
        return value.isoformat()
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, Mapping):
        items = {_key(key, path, other): _convert(item, f"{path}[{key!r}]", other) for key, item in value.items()}
        return items if len(items) == len(value) else other(value, path)
    if isinstance(value, list | tuple | set | frozenset):
        return [_convert(item, f"{path}[{number}]", other) for number, item in enumerate(value)]
    if kind.__module__ == "numpy" and getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        item = value.item()
        return other(value, path) if type(item) is kind else _convert(item, path, other)
    return other(value, path)


def _key(key: Any, path: str, other: Callable[[Any, str], Any]) -> str:
    return str(key) if isinstance(key, str) else str(other(key, f"{path}.keys()"))


def _describe(value: Any, path: str) -> Any:  # noqa: ARG001 - called where `_refuse` may be
    return repr(value)


def _refuse(value: Any, path: str) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    if path.endswith(".keys()"):
        raise UnsupportedTypeError(f"in JSON keys are strings, and {value!r:.60} at {path} is of type {kind}")
    raise UnsupportedTypeError(f"JSON has no way to say a {kind}{f' at {path}' if path else ''}")
