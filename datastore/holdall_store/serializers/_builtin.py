"""The serializers of Python's own types, by exact type and by tag."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from holdall_store.serializers import _classes, _containers, _scalars
from holdall_store.serializers._registry import find_for

if TYPE_CHECKING:
    from holdall_store.serializers._protocol import Serializer
    from holdall_store.serializers._tree import BuiltinSerializer

__all__ = ["BY_TAG", "BY_TYPE", "find_candidates"]

BY_TYPE: dict[type, BuiltinSerializer] = {**_scalars.SERIALIZERS, **_containers.SERIALIZERS, **_classes.SERIALIZERS}

_BY_NAME: dict[tuple[str, str], BuiltinSerializer] = {**_scalars.BY_NAME, **_classes.BY_NAME}

BY_TAG: dict[str, BuiltinSerializer] = {
    serializer.tag: serializer
    for serializer in (*BY_TYPE.values(), *_BY_NAME.values(), *_containers.READ_ONLY, *_classes.OF_CLASSES)
}


def find_candidates(kind: type) -> tuple[Serializer, ...]:
    """Return the serializers that may handle objects of a type, the most particular first."""
    if kind in BY_TYPE:
        return (BY_TYPE[kind],)
    module = kind.__module__
    if type(module) is str:  # a class body may say anything
        named = _BY_NAME.get((module, kind.__qualname__))
        if named is not None and getattr(sys.modules.get(module), kind.__qualname__, None) is kind:
            return (named,)
    return (*find_for(kind), *(serializer for serializer in _classes.OF_CLASSES if serializer.takes(kind)))
