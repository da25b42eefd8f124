"""Decodes nodes that may come from anywhere: every error is one of holdall's, memory and time are bounded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from holdall_store.errors import FormatError, HoldallError, UnsafeLoadError, UnsupportedTypeError
from holdall_store.serializers._nodes import integer, integers, malformed, member, nodes, read_bytes
from holdall_store.serializers._registry import find_tag
from holdall_store.serializers._sharing import buffer_numbers, needs_trust, unwrap
from holdall_store.serializers._tree import MAX_DEPTH, BuiltinSerializer, ContainerSerializer, TreeDecoder

if TYPE_CHECKING:
    from holdall_store.serializers._protocol import Node, Serializer
    from holdall_store.serializers._tabular import TableShape

__all__ = ["Fetch", "decode", "table_shape"]

Fetch = Callable[[Sequence[int]], Sequence[memoryview]]
"""Returns buffers by number: verified, one-dimensional, unsigned bytes, writable, and the caller's own."""

_MAX_HASHED = 100_000_000
"""Objects that may be hashed again through references: tuples of tuples of references make that exponential."""

_ATOMS = frozenset({str, int, float, bool, type(None)})

_MAX_LEVELS = 2 * MAX_DEPTH
"""Twice what is encoded: the items of a tuple, say, are a list, and so a level of their own."""


def decode(
    node: Node,
    fetch: Fetch,
    *,
    trust: bool | Callable[[], bool],
    columns: Sequence[str] | None = None,
    libraries: Mapping[str, str] | None = None,
) -> Any:
    """Return the object that a node and its buffers hold.

    Without `trust`, no stored code runs and no module is imported because a node names it: what would need that is an
    `UnsafeLoadError`, before any buffer is fetched if it is a pickle. Where it takes time to find out, `trust` may be a
    function, which is called at most once, if that matters. `columns` reads only some columns of a table.
    `libraries` are the versions that the object was written with, for messages.
    """
    decoder = _TreeDecoder(fetch, trust=trust, libraries=libraries or {})
    if needs_trust(node) and not decoder.trusted:
        raise _unsafe()
    try:
        return decoder.top(node, columns)
    except (HoldallError, MemoryError):
        raise
    except RecursionError:
        raise malformed(node, "it is nested too deeply") from None
    except Exception as error:
        raise malformed(node, f"{type(error).__name__}: {str(error)[:300]}") from error


def table_shape(node: Node, fetch: Fetch, libraries: Mapping[str, str]) -> TableShape | None:
    """Return what the node of a table tells of it; ``None`` for what is no table. Nothing in it is run."""
    inner = unwrap(node)
    tag = inner.get("$") if isinstance(inner, dict) else None
    if not isinstance(tag, str) or "." not in tag:
        return None
    decoder = _TreeDecoder(fetch, trust=False, libraries=libraries)
    describe = getattr(find_tag(tag, libraries), "shape", None)
    found: TableShape | None = None if describe is None else describe(inner, decoder)
    return found


@functools.cache
def _builtin() -> Mapping[str, Serializer]:
    """Return the serializers of what Python itself has, by tag; most tables and arrays need none of them."""
    from holdall_store.serializers._builtin import BY_TAG

    return BY_TAG


def _unsafe() -> UnsafeLoadError:
    return UnsafeLoadError(
        "this object is (or holds) a pickle, and unpickling runs code that whoever wrote it has chosen. If you trust "
        "them, say so: load(..., trust=True), or list the store as trusted in your configuration"
    )


class _TreeDecoder(TreeDecoder):
    def __init__(self, fetch: Fetch, *, trust: bool | Callable[[], bool], libraries: Mapping[str, str]) -> None:
        self._fetch = fetch
        self._trust = trust
        self._libraries = libraries
        self._fetched: dict[int, memoryview] = {}
        self._used: set[int] = set()
        self._objects: dict[int, Any] = {}
        self._open: set[int] = set()
        self._sizes: dict[int, int] = {}
        self._size = 0  # of what has been decoded, references counted as what they refer to
        self._hashed = 0
        self._level = 0
        self._stream: Node = None
        self._items: list[Any] | None = None

    def top(self, node: Node, columns: Sequence[str] | None) -> Any:
        """Decode the top node."""
        if isinstance(node, dict) and node.get("$") == "pick":
            return self._pick(node)
        if columns is None:
            self.prefetch(buffer_numbers(node))
        if isinstance(node, dict) and node.get("$") == "root":
            self._stream = node.get("pickle")
            for definition in nodes(node, "shared"):
                self.node(definition)
            node = member(node, "value")
        return self.node(node) if columns is None else self._columns(node, columns)

    def _pick(self, node: dict[str, Node]) -> Any:
        """Decode a whole for one of its parts, which refers to the whole."""
        whole = member(node, "value")
        if isinstance(whole, dict) and whole.get("$") == "pick":
            raise malformed(node, "it is picked from a part")
        found = self.top(whole, None)
        key = member(node, "key")
        if isinstance(found, dict) and isinstance(key, str) and key in found:
            return found[key]
        if isinstance(found, (list, tuple)) and type(key) is int and -len(found) <= key < len(found):
            return found[key]
        raise malformed(node, "what it is picked from has no such part")

    def _columns(self, node: Node, columns: Sequence[str]) -> Any:
        inner = unwrap(node)
        tag = inner.get("$") if isinstance(inner, dict) else None
        serializer = self._serializer(inner, tag) if isinstance(tag, str) and "." in tag else None
        select = getattr(serializer, "decode_columns", None)
        if select is None:
            what = tag if isinstance(tag, str) else type(inner).__name__
            raise UnsupportedTypeError(f"columns= selects columns of a table, and this object ({what[:80]}) has none")
        return select(inner, self, columns)

    def buffer(self, number: int) -> memoryview:
        if number in self._used:
            raise FormatError(f"buffer {number} is used twice, which no version of holdall writes")
        self._used.add(number)
        self.prefetch([number])
        return self._fetched.pop(number)

    def prefetch(self, numbers: Sequence[int]) -> None:
        absent = [number for number in numbers if number not in self._fetched]
        if absent:
            self._fetched.update(zip(absent, self._fetch(absent), strict=True))

    @property
    def trusted(self) -> bool:
        if not isinstance(self._trust, bool):
            self._trust = self._trust()
        return self._trust

    def resolve(self, name: str) -> type:
        from holdall_store.serializers._classes import resolve_class

        return resolve_class(name, trusted=lambda: self.trusted, libraries=self._libraries)

    def node(self, node: Node) -> Any:
        self._size += 1
        if type(node) in _ATOMS:
            return node
        return self._compound(node, None)

    def hashable(self, node: Node) -> Any:
        before = self._size
        decoded = self.node(node)
        if type(decoded) not in _ATOMS:
            self._hashed += self._size - before
            if self._hashed > _MAX_HASHED:
                raise malformed(node, "it would take too long to hash")
            try:
                hash(decoded)
            except TypeError as error:
                raise malformed(node, f"it is in a set, or a key of a dict ({error})") from None
        return decoded

    def _compound(self, node: Node, number: int | None) -> Any:
        """Decode a node that is more than one JSON value; `number` is by what others refer to the object."""
        self._level += 1
        if self._level > _MAX_LEVELS:
            raise malformed(node, f"it is nested more than {_MAX_LEVELS} levels deep")
        if isinstance(node, list):
            items: list[Any] = []
            self._announce(number, items)
            items.extend([self.node(item) for item in node])
            result: Any = items
        elif isinstance(node, dict):
            result = self._tagged(node, number) if "$" in node else self._plain(node, number)
        else:
            raise malformed(node, f"a {type(node).__name__} is no JSON value")
        self._level -= 1
        return result

    def _plain(self, node: dict[str, Node], number: int | None) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        self._announce(number, mapping)
        for key, value in node.items():
            mapping[key] = self.node(value)
        return mapping

    def _tagged(self, node: dict[str, Node], number: int | None) -> Any:
        tag = node["$"]
        if not isinstance(tag, str):
            raise malformed(node, "its tag is not a string")
        special = _SPECIAL.get(tag)
        if special is not None:
            return special(self, node)
        serializer = self._serializer(node, tag)
        if isinstance(serializer, ContainerSerializer):
            container = serializer.empty(node, self)
            self._announce(number, container)
            serializer.fill(container, node, self)
            return container
        if isinstance(serializer, BuiltinSerializer):
            return serializer.read(node, self)
        return serializer.decode(node, self)

    def _serializer(self, node: dict[str, Node], tag: str) -> Serializer:
        if "." in tag:
            return find_tag(tag, self._libraries)
        builtin = _builtin()
        if tag not in builtin:
            raise malformed(node, "nothing of that name is known here")
        return builtin[tag]

    def _announce(self, number: int | None, obj: object) -> None:
        """Let what is inside a container refer to it, before it is full."""
        if number is not None:
            self._objects[number] = obj

    def _shared(self, node: dict[str, Node]) -> Any:
        number = integer(node, "id")
        if number in self._open:
            raise malformed(node, f"object {number} is defined inside itself")
        if number not in self._objects:
            self._open.add(number)
            before = self._size
            value = member(node, "value")
            self._objects[number] = self._compound(value, number)
            self._sizes[number] = self._size - before
            self._open.remove(number)
        else:
            self._size += self._sizes.get(number, 1)
        return self._objects[number]

    def _ref(self, node: dict[str, Node]) -> Any:
        number = integer(node, "id")
        self._size += self._sizes.get(number, 1)
        return self._external(number)

    def _external(self, number: int) -> Any:
        if number not in self._objects:
            raise FormatError(f"a node refers to object {number}, which has not been defined before it")
        return self._objects[number]

    def _pickled(self, node: dict[str, Node]) -> Any:
        if self._items is None:
            self._items = self._unpickle()
        item = integer(node, "item")
        if item >= len(self._items):
            raise malformed(node, f"the pickle holds {len(self._items)} objects")
        return self._items[item]

    def _unpickle(self) -> list[Any]:
        """Unpickle everything that the object left to the pickle."""
        if not self.trusted:
            raise _unsafe()
        stream = self._stream
        if not isinstance(stream, dict):
            raise FormatError("a node refers to a pickle, and there is none")
        numbers = integers(stream, "buffers")
        count = integer(stream, "items")
        from holdall_store.serializers import _pickle

        self.prefetch(numbers)
        buffers = [self.buffer(number) for number in numbers]
        items = _pickle.load(read_bytes(stream, self), buffers, self._external, self._libraries)
        if type(items) is not list or len(items) != count:
            raise malformed(stream, f"the pickle does not hold {count} objects")
        return items


_SPECIAL: Mapping[str, Callable[[_TreeDecoder, dict[str, Node]], Any]] = {
    "pickle": _TreeDecoder._pickled,  # noqa: SLF001
    "ref": _TreeDecoder._ref,  # noqa: SLF001
    "shared": _TreeDecoder._shared,  # noqa: SLF001
}
"""Nodes that say where an object is, rather than what it is."""
