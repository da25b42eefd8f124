"""The serializers of Python's own types, by exact type and by tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdall_store.serializers import _classes, _containers, _scalars
from holdall_store.serializers._registry import find_for

if TYPE_CHECKING:
    from holdall_store.serializers._protocol import Serializer
    from holdall_store.serializers._tree import BuiltinSerializer

__all__ = ["BY_TAG", "BY_TYPE", "find_candidates"]

BY_TYPE: dict[type, BuiltinSerializer] = {**_scalars.SERIALIZERS, **_containers.SERIALIZERS, **_classes.SERIALIZERS}

BY_TAG: dict[str, BuiltinSerializer] = {
    serializer.tag: serializer for serializer in (*BY_TYPE.values(), *_containers.READ_ONLY, *_classes.OF_CLASSES)
}


def find_candidates(kind: type) -> tuple[Serializer, ...]:
    """Return the serializers that may handle objects of a type, the most particular first."""
    if kind in BY_TYPE:
        return (BY_TYPE[kind],)
    return (*find_for(kind), *(serializer for serializer in _classes.OF_CLASSES if serializer.takes(kind)))
