"""An order for the elements of sets, so that equal sets are stored as equal bytes in every process."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["in_order"]

_NATURAL = frozenset({str, bytes, int})
"""Types whose own order is total."""


def in_order(elements: Iterable[Any]) -> list[Any]:
    """Return the elements in an order that depends on their values alone, where their values can be told."""
    found = list(elements)
    kinds = set(map(type, found))
    if len(kinds) == 1 and kinds <= _NATURAL:
        return sorted(found)
    return sorted(found, key=_key)


def _key(element: Any) -> str:
    """Return a string that tells the value of an element; of a type that is not known, only the type."""
    kind = type(element)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if kind is int:
        return f"{name} {len(hex(element)):08} {element:x}"
    if kind is tuple:
        return f"{name} ({','.join(map(_key, element))})"
    if kind is frozenset:
        return f"{name} {{{','.join(sorted(map(_key, element)))}}}"
    if isinstance(element, enum.Enum):
        return f"{name} {element.name}"
    if kind.__module__ in _PLAIN_MODULES:
        return f"{name} {element!r}"
    fields = getattr(kind, "__dataclass_fields__", None)
    if isinstance(fields, dict):
        return f"{name} ({','.join(_key(getattr(element, field, None)) for field in fields)})"
    return name


_PLAIN_MODULES = frozenset({"builtins", "datetime", "decimal", "fractions", "pathlib", "uuid", "zoneinfo", "numpy"})
"""Modules whose hashable values say all that they are in their `repr`, and quickly."""
