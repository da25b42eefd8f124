"""Serializers of what importable classes make: enum members, named tuples, dataclass instances."""

from __future__ import annotations

import dataclasses
import enum
import importlib
import sys
import types
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from holdall_store.errors import FormatError, UnsafeLoadError, nearest
from holdall_store.serializers._containers import sequence
from holdall_store.serializers._fields import added_fields, field_names, in_fields
from holdall_store.serializers._libraries import unimportable
from holdall_store.serializers._nodes import malformed, member, text
from holdall_store.serializers._scripts import found_at, is_script
from holdall_store.serializers._tree import BuiltinSerializer, ContainerSerializer, TreeDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from holdall_store.serializers._protocol import Encoder, Node

__all__ = ["BY_NAME", "OF_CLASSES", "SERIALIZERS", "class_name", "resolve_class"]

_HEAP_TYPE = 1 << 9
"""``Py_TPFLAGS_HEAPTYPE``: set on classes made by a class statement, whose instances hide no state in C."""

_OWN_STATE = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__")


def class_name(kind: type) -> str | None:
    """Return ``module:Qualified.name`` if another process finds the class there; None for classes of a script."""
    module: object = kind.__module__
    name = kind.__qualname__
    if is_script(module) or not isinstance(module, str) or not _is_dotted(module, name):
        return None
    return f"{module}:{name}" if found_at(module, name) is kind else None


def resolve_class(name: str, *, trusted: Callable[[], bool], libraries: Mapping[str, str]) -> type:
    """Return the class that a node names; importing its module would run it, so that takes trust.

    `trusted` is asked only where that matters. `libraries` are those that the object was saved with, for messages.
    """
    module_name, _, qualname = name.partition(":")
    if not _is_dotted(module_name, qualname):
        raise FormatError(f"{name[:120]!r} names no class")
    module = sys.modules.get(module_name)
    if module is None:
        if not trusted():
            raise UnsafeLoadError(
                f"this object needs {name}, and importing a module runs it: import {module_name} first, "
                "or say that you trust the store: load(..., trust=True)"
            )
        module = _import(module_name, libraries)
    found = found_at(module, qualname)
    if found is None:
        known = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise FormatError(
            f"{module_name} has no class {qualname} any more, which this object was saved with."
            f"{nearest(qualname, known)} Give it back its name, or load with the code of that time"
        )
    if not isinstance(found, type):
        raise FormatError(f"{name} is no class here, and was one when this object was saved")
    return found


def _import(module_name: str, libraries: Mapping[str, str]) -> types.ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise unimportable(error.name or module_name, libraries) from error
    except Exception as error:
        raise FormatError(f"importing {module_name}, which this object needs, failed: {error!r}") from error


def _is_dotted(*names: str) -> bool:
    return all(part.isidentifier() for name in names for part in name.split("."))


def _customised(kind: type) -> bool:
    """Tell whether a class says itself how it is pickled; what ``dataclass(slots=True)`` adds does not count."""
    for base in kind.__mro__[:-1]:
        for name in _OWN_STATE:
            own = vars(base).get(name)
            if own is not None and getattr(own, "__module__", None) != "dataclasses":
                return True
    return False


def _named(obj: object) -> dict[str, Node]:
    return {"class": class_name(type(obj))}


class _ClassSerializer(BuiltinSerializer):
    """A serializer of the instances of a kind of class."""

    def takes(self, kind: type) -> bool:
        """Tell whether instances of the class may be handled: another process can find it, and it fits."""
        return self.fits(kind) and class_name(kind) is not None

    @abstractmethod
    def fits(self, kind: type) -> bool:
        """Tell whether instances of the class hold no more than this serializer stores."""

    def resolve(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        """Return the class that a node names."""
        name = text(node, "class")
        kind = decoder.resolve(name)
        if not self.fits(kind):
            raise FormatError(f"{name} is no longer the kind of class ({self.tag}) that this object was saved with")
        return kind


class _Enum(_ClassSerializer):
    """A member by its name; a combination of flags by its value, where the class leaves combining to ``enum``."""

    tag = "enum"
    identity = False

    def fits(self, kind: type) -> bool:
        return isinstance(kind, enum.EnumMeta)

    def handles(self, obj: object) -> bool:
        return isinstance(obj, enum.Enum) and (
            self._member(obj) is not None or (_combines(type(obj)) and type(obj._value_) is int)
        )

    def encode(self, obj: enum.Enum, encoder: Encoder) -> dict[str, Node]:
        name = self._member(obj)
        if name is not None:
            return {**_named(obj), "name": name}
        return {**_named(obj), "flags": encoder.node(obj._value_, ".value")}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> enum.Enum:
        kind = self.resolve(node, decoder)
        if "flags" not in node:
            name = text(node, "name")
            found = kind.__members__.get(name)
            if not isinstance(found, enum.Enum):
                raise FormatError(
                    f"{text(node, 'class')} has no member {name!r} any more.{nearest(name, kind.__members__)}"
                )
            return found
        value = decoder.node(node["flags"])
        if type(value) is not int or not _combines(kind):
            raise malformed(node, "its class combines no flags")
        try:
            combined: enum.Enum = kind(value)
        except ValueError as error:
            raise FormatError(f"{text(node, 'class')} has no such flags any more: {error}") from None
        if type(combined) is not kind:
            raise malformed(node, "its flags are not of its class")
        return combined

    @staticmethod
    def _member(obj: enum.Enum) -> str | None:
        """Return the name that gives the very same member back."""
        name: str | None = obj._name_
        return name if type(obj).__members__.get(name or "") is obj else None


def _combines(kind: type) -> bool:
    """Tell whether combining flags of the class runs nothing but the code of ``enum``."""
    return issubclass(kind, enum.Flag) and all(
        "_missing_" not in vars(base) or base.__module__ == "enum" for base in kind.__mro__
    )


class _Namedtuple(_ClassSerializer):
    tag = "namedtuple"

    def fits(self, kind: type) -> bool:
        if not issubclass(kind, tuple) or kind is tuple:
            return False
        fields = getattr(kind, "_fields", None)
        if not isinstance(fields, tuple) or not all(type(field) is str for field in fields):
            return False
        makers = [base for base in kind.__mro__ if base not in (tuple, object)]
        own = set(_OWN_STATE) - {"__getnewargs__"}
        return all(
            base.__flags__ & _HEAP_TYPE
            and not own & vars(base).keys()
            and ("__getnewargs__" not in vars(base) or "_fields" in vars(base))
            for base in makers
        )

    def handles(self, obj: object) -> bool:
        return (
            isinstance(obj, tuple)
            and len(obj) == len(type(obj)._fields)  # type: ignore[attr-defined]
            and not getattr(obj, "__dict__", None)
        )

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        fields = type(obj)._fields
        items = [encoder.node(item, f".{field}") for field, item in zip(fields, obj, strict=True)]
        return {**_named(obj), "fields": list(fields), "items": items}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        kind = self.resolve(node, decoder)
        items = in_fields(kind, node, sequence(node, "items", decoder))
        return tuple.__new__(kind, items)


class _Dataclass(_ClassSerializer):
    """Every attribute, whether it is a field or not; made again without ``__init__``, like a pickle."""

    tag = "dataclass"
    mutable = True

    def fits(self, kind: type) -> bool:
        return (
            dataclasses.is_dataclass(kind)
            and all(base is object or base.__flags__ & _HEAP_TYPE for base in kind.__mro__)
            and kind.__new__ is object.__new__
            and not _customised(kind)
            and not isinstance(kind, enum.EnumMeta)
        )

    def handles(self, obj: object) -> bool:
        return all(_is_name(name) for name in getattr(obj, "__dict__", ()))

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        state = dict(getattr(obj, "__dict__", {}))
        for name, slot in _slots(type(obj)).items():
            try:
                state[name] = slot.__get__(obj)
            except AttributeError:  # a slot that holds nothing
                continue
        stored = {name: encoder.node(value, f".{name}") for name, value in state.items()}
        return {**_named(obj), "state": stored, **field_names(obj, stored)}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        kind = self.resolve(node, decoder)
        state, added = read_state(node), added_fields(kind, node, decoder)
        slots = _slots(kind)
        obj = object.__new__(kind)
        attributes = getattr(obj, "__dict__", None)
        for name, value in state.items():
            if name in slots:
                slots[name].__set__(obj, decoder.node(value))
            elif attributes is not None:
                attributes[name] = decoder.node(value)
            else:
                raise FormatError(f"{text(node, 'class')} has no place for {name!r} any more.{nearest(name, slots)}")
        for name, value in added.items():
            if name in slots:
                slots[name].__set__(obj, value)
            elif attributes is not None:
                attributes[name] = value
        return obj


class _Namespace(ContainerSerializer):
    """A ``SimpleNamespace`` or an ``argparse.Namespace``."""

    def __init__(self, tag: str, module: str, name: str) -> None:
        self.tag = tag  # type: ignore[misc]
        self._module = module
        self._name = name

    def handles(self, obj: object) -> bool:
        return all(_is_name(key) for key in vars(obj))

    def encode(self, obj: object, encoder: Encoder) -> dict[str, Node]:
        return {"state": {name: encoder.node(value, f".{name}") for name, value in vars(obj).items()}}

    def empty(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:  # noqa: ARG002
        return getattr(importlib.import_module(self._module), self._name)()

    def fill(self, container: Any, node: dict[str, Node], decoder: TreeDecoder) -> None:
        for name, value in read_state(node).items():
            vars(container)[name] = decoder.node(value)


def read_state(node: dict[str, Node]) -> dict[str, Node]:
    """Return the attributes that a node holds by name."""
    state = member(node, "state")
    if not isinstance(state, dict) or not all(map(_is_name, state)):
        raise malformed(node, "'state' is not an object of attributes")
    return state


def _is_name(name: object) -> bool:
    return type(name) is str and name.isidentifier()


def _slots(kind: type) -> dict[str, Any]:
    """Return the slots of a class and its bases by name: setting one runs no code of the class."""
    return {
        name: value
        for base in reversed(kind.__mro__)
        for name, value in vars(base).items()
        if isinstance(value, types.MemberDescriptorType)
    }


OF_CLASSES: tuple[_ClassSerializer, ...] = (_Enum(), _Namedtuple(), _Dataclass())
"""Tried in this order for objects whose class is none of Python's own."""

SERIALIZERS: dict[type, BuiltinSerializer] = {
    types.SimpleNamespace: _Namespace("namespace", "types", "SimpleNamespace"),
}
"""Exact type → its serializer."""

BY_NAME: dict[tuple[str, str], BuiltinSerializer] = {
    ("argparse", "Namespace"): _Namespace("argparse", "argparse", "Namespace"),
}
"""Module and name of a type → its serializer, where importing the module just to compare types would cost."""
