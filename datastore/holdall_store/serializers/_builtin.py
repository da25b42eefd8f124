"""The serializers of Python's own types, by exact type and by tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdall_store.serializers import _classes, _containers, _scalars

if TYPE_CHECKING:
    from holdall_store.serializers._tree import BuiltinSerializer

__all__ = ["BY_TAG", "BY_TYPE", "find_builtin"]

BY_TYPE: dict[type, BuiltinSerializer] = {**_scalars.SERIALIZERS, **_containers.SERIALIZERS, **_classes.SERIALIZERS}

BY_TAG: dict[str, BuiltinSerializer] = {
    serializer.tag: serializer for serializer in (*BY_TYPE.values(), *_containers.READ_ONLY, *_classes.OF_CLASSES)
}


def find_builtin(obj: object) -> BuiltinSerializer | None:
    """Return the serializer of an object of Python's own types, or of an importable class that hides nothing."""
    known = BY_TYPE.get(type(obj))
    if known is not None:
        return known if known.handles(obj) else None
    return next((serializer for serializer in _classes.OF_CLASSES if serializer.handles(obj)), None)
