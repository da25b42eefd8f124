"""Encodes an object as a tree, and what the tree cannot hold as one pickle beside it."""

from __future__ import annotations

import pickle
import platform
import sys
import types
from typing import TYPE_CHECKING

from holdall_store.errors import HoldallError, RunStateError, UnsupportedTypeError
from holdall_store.serializers._builtin import find_candidates
from holdall_store.serializers._containers import encode_dict, encode_list
from holdall_store.serializers._culprit import culprit, refused, unsupported
from holdall_store.serializers._libraries import add_version, root_of
from holdall_store.serializers._nodes import bytes_node
from holdall_store.serializers._protocol import BufferSource, Encoded, Encoder, FileSource, Node, Serializer
from holdall_store.serializers._scalars import INLINE_CHARACTERS, INLINE_INTEGER, encode_float, encode_str
from holdall_store.serializers._sharing import mark_shared, refers_elsewhere
from holdall_store.serializers._tree import MAX_DEPTH, BuiltinSerializer, ContainerSerializer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["encode"]


def encode(obj: object, name: str = "value") -> Encoded:
    """Turn an object into one JSON node and its buffers; `name` is what messages call it.

    Buffers are borrowed from the object: it must not change until they are written.
    """
    try:
        try:
            return _encode_tree(obj, name)
        except _Entangled:
            return _encode_pickle(obj, name)
    except RecursionError:
        raise UnsupportedTypeError(
            f"{name} is nested too deeply to be saved: flatten it, or save its parts by themselves"
        ) from None


class _Entangled(Exception):
    """Parts of the object share state in a way that only one pickle of the whole keeps."""


class _Seen:
    """An object that has been met, kept alive so that nothing else gets its id."""

    __slots__ = ("node", "number", "obj", "serializer")

    def __init__(self, obj: object, serializer: Serializer | None) -> None:
        self.obj = obj
        self.serializer = serializer  # None: a plain list or dict
        self.node: Node = None  # None: still being encoded
        self.number: int | None = None  # what the object is known by, if it occurs more than once


class _TreeEncoder(Encoder):
    def __init__(self, name: str) -> None:
        self.buffers: list[BufferSource] = []
        self.libraries: dict[str, str] = {}
        self.opaque: list[tuple[tuple[str, ...], object]] = []
        self._opaque_items: dict[int, int] = {}
        self._seen: dict[int, _Seen] = {}
        self._shared: list[_Seen] = []
        self._noted: set[type] = set()
        self._candidates: dict[type, tuple[Serializer, ...]] = {}
        self._path = [name]

    def buffer(self, data: object, *, item_bytes: int = 1, dense: bool = False) -> int:
        if isinstance(data, memoryview) and data.format == "B" and data.ndim == 1 and data.c_contiguous:
            view = data  # a view of a view: before 3.11.8 and 3.12.2, Python crashes when it collects one as garbage
        else:
            view = pickle.PickleBuffer(data).raw()  # type: ignore[arg-type]
        self.buffers.append(BufferSource(view, len(view), max(item_bytes, 1), dense))
        return len(self.buffers) - 1

    def files(self, sources: Sequence[FileSource]) -> int:
        self.buffers.append(BufferSource(tuple(sources), sum(source.size for source in sources)))
        return len(self.buffers) - 1

    def unsupported(self, obj: object, why: str) -> Exception:
        return unsupported("".join(self._path), obj, why)

    def node(self, obj: object, step: str) -> Node:
        kind = type(obj)
        if obj is None or kind is bool:
            return obj
        if kind is int and -INLINE_INTEGER <= obj <= INLINE_INTEGER:  # type: ignore[operator]
            return obj
        if kind is float:
            return encode_float(obj)  # type: ignore[arg-type]
        if kind is str and len(obj) <= INLINE_CHARACTERS:  # type: ignore[arg-type]
            return encode_str(obj, self)  # type: ignore[arg-type]
        seen = self._seen.get(id(obj))
        if seen is not None:
            return self._again(seen)
        self._path.append(step)
        node = self._first(obj) if len(self._path) <= MAX_DEPTH else self.pickled(obj)
        self._path.pop()
        return node

    def top(self, obj: object) -> Node:
        """Encode the object that the caller gave us."""
        name = self._path.pop()
        return self.node(obj, name)

    def _first(self, obj: object) -> Node:
        """Encode an object that has not been met before."""
        kind = type(obj)
        if kind is list or kind is dict:
            seen = self._seen[id(obj)] = _Seen(obj, None)
            seen.node = encode_list(obj, self) if kind is list else encode_dict(obj, self)  # type: ignore[arg-type]
            return seen.node
        candidates = self._candidates.get(kind)
        if candidates is None:
            candidates = self._candidates[kind] = find_candidates(kind)
        serializer = next((candidate for candidate in candidates if candidate.handles(obj)), None)
        if serializer is None:
            return self.pickled(obj)
        if _is_value(serializer, obj):
            return self._tagged(serializer, obj)
        seen = self._seen[id(obj)] = _Seen(obj, serializer)
        seen.node = self._tagged(serializer, obj)
        return seen.node

    def _tagged(self, serializer: Serializer, obj: object) -> dict[str, Node]:
        self._note_library(type(obj))
        members = serializer.encode(obj, self)
        return members if "$" in members else {"$": serializer.tag, **members}

    def _note_library(self, kind: type) -> None:
        if kind not in self._noted:
            self._noted.add(kind)
            add_version(self.libraries, root_of(kind.__module__))

    def _again(self, seen: _Seen) -> Node:
        """Refer to an object that has been met before."""
        early = seen.serializer is None or isinstance(seen.serializer, ContainerSerializer)
        if seen.node is None and not early:
            raise _Entangled  # the object contains itself, and cannot be made before its contents
        return {"$": "ref", "id": self.share(seen)}

    def share(self, seen: _Seen) -> int:
        """Give an object the number by which others refer to it."""
        if seen.number is None:
            seen.number = len(self._shared)
            self._shared.append(seen)
        return seen.number

    def pickled(self, obj: object) -> Node:
        """Leave an object to the pickle."""
        item = self._opaque_items.get(id(obj))
        if item is None:
            why = refused(obj)
            if why is not None:
                raise self.unsupported(obj, why)
            item = self._opaque_items[id(obj)] = len(self.opaque)
            self.opaque.append((tuple(self._path), obj))
        return {"$": "pickle", "item": item}

    def _external(self, obj: object) -> int | None:
        """Return the number of an object in the tree that a pickle is about to copy; None to let it."""
        seen = self._seen.get(id(obj))
        if seen is None:
            return None
        serializer = seen.serializer
        if isinstance(serializer, BuiltinSerializer) and not serializer.mutable:
            return None
        is_leaf = serializer is not None and not (isinstance(serializer, BuiltinSerializer) and not serializer.leaf)
        if not is_leaf or refers_elsewhere(seen.node):
            raise _Entangled
        return self.share(seen)

    def finish(self, node: Node) -> Node:
        """Pickle what was left to the pickle, and mark what is shared."""
        hoisted: set[int] = set()
        stream = self._stream(hoisted) if self.opaque else None
        numbers = {id(seen.node): index for index, seen in enumerate(self._shared)}
        return mark_shared(node, numbers, hoisted, stream)

    def _stream(self, hoisted: set[int]) -> Node:
        """Pickle all that the tree cannot hold at once, so that it keeps its identity; note what it refers to."""
        from holdall_store.serializers import _pickle

        def external(obj: object) -> int | None:
            number = self._external(obj)
            if number is not None:
                hoisted.add(number)
            return number

        try:
            pickled = _pickle.dump([obj for _, obj in self.opaque], external if self._seen else None)
        except (_Entangled, HoldallError, MemoryError) as error:
            if isinstance(error, RunStateError):  # a run that is being recorded is among the objects
                raise culprit(self.opaque, error, _pickle.attempt) from error
            raise
        except Exception as error:
            raise culprit(self.opaque, error, _pickle.attempt) from error
        for root in sorted(pickled.libraries):
            add_version(self.libraries, root)
        if "cloudpickle" in pickled.libraries:  # byte code, which is made for one version of Python
            self.libraries["python"] = platform.python_version()
        buffers = [
            self.buffer(buffer, item_bytes=memoryview(buffer).itemsize, dense=True) for buffer in pickled.buffers
        ]
        return {"$": "stream", **bytes_node(pickled.stream, self), "buffers": buffers, "items": len(self.opaque)}


def _is_value(serializer: Serializer, obj: object) -> bool:
    """Tell whether an object that occurs twice may come back as two."""
    if isinstance(serializer, BuiltinSerializer):
        return serializer.is_value(obj)
    return not getattr(serializer, "identity", True)


def _encode_tree(obj: object, name: str) -> Encoded:
    encoder = _TreeEncoder(name)
    return _encoded(obj, encoder, encoder.top(obj))


def _encode_pickle(obj: object, name: str) -> Encoded:
    encoder = _TreeEncoder(name)
    return _encoded(obj, encoder, encoder.pickled(obj))


def _encoded(obj: object, encoder: _TreeEncoder, node: Node) -> Encoded:
    node = encoder.finish(node)
    return Encoded(node, encoder.buffers, type_name(type(obj)), bool(encoder.opaque), encoder.libraries)


def type_name(kind: type) -> str:
    """Return what people call a type: where they import it from, not the private module that defines it."""
    module, name = str(kind.__module__), kind.__qualname__
    if module == "builtins":
        return name
    parts = module.split(".")
    for end in range(1, len(parts)):
        public = ".".join(parts[:end])
        if vars(sys.modules.get(public, _NOWHERE)).get(name) is kind:
            return f"{public}.{name}"
    return f"{module}.{name}"


_NOWHERE = types.ModuleType("nowhere")
