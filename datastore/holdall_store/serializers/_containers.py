"""Serializers of Python's own containers."""

from __future__ import annotations

import array
import collections
import sys
from typing import TYPE_CHECKING, Any

from holdall_store.serializers._nodes import integer, malformed, member, nodes, read_bytes
from holdall_store.serializers._order import in_order
from holdall_store.serializers._tree import BuiltinSerializer, ContainerSerializer, TreeDecoder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from holdall_store.serializers._protocol import Encoder, Node

__all__ = ["LONG_LIST", "READ_ONLY", "SERIALIZERS", "encode_dict", "encode_list", "key_step", "sequence"]

LONG_LIST = 512
"""Lists of more numbers than this become a buffer: as JSON they would be many times slower and larger."""

_PLAIN_ITEMS = 16
"""Tuples of up to so many plain values are repeated, which reads better than a reference to the first."""

_JSON_ATOMS = frozenset({str, int, float, bool, type(None)})

_FACTORIES: dict[str, Callable[[], Any]] = {
    kind.__qualname__: kind
    for kind in (
        *(bool, bytearray, bytes, complex, dict, float, frozenset, int, list, object, set, str, tuple),
        *(collections.Counter, collections.OrderedDict, collections.deque),
    )
}
"""What a ``defaultdict`` may call for a missing key without anybody being asked: these do nothing but make a value."""


def encode_list(items: list[Any], encoder: Encoder) -> Node:
    """Encode the items of a list (or of anything else that is one after the other)."""
    if len(items) > LONG_LIST:
        numbers = _encode_numbers(items, encoder)
        if numbers is not None:
            return numbers
    return [encoder.node(item, f"[{index}]") for index, item in enumerate(items)]


def encode_dict(mapping: dict[Any, Any], encoder: Encoder) -> Node:
    """Encode a dict: as a JSON object where its keys can be those of one."""
    if all(type(key) is str and not key.startswith("$") and _is_utf8(key) for key in mapping):
        return {key: encoder.node(value, key_step(key)) for key, value in mapping.items()}
    return {"$": "dict", "items": _encode_pairs(mapping, encoder)}


def key_step(key: object) -> str:
    """Return how a person writes the way to a value of a dict; keys that are no plain values only by their type."""
    if type(key) in _JSON_ATOMS or type(key) is tuple:
        shown = repr(key) if not isinstance(key, int) or key.bit_length() < 64 else hex(key)
    else:
        shown = f"<{type(key).__qualname__}>"
    return f"[{shown if len(shown) <= 80 else shown[:77] + '...'}]"


def sequence(node: dict[str, Node], key: str, decoder: TreeDecoder) -> list[Any]:
    """Decode the items that `encode_list` wrote."""
    items = decoder.node(member(node, key))
    if type(items) is not list:
        raise malformed(node, f"{key!r} is not a list")
    return items


def _encode_numbers(items: list[Any], encoder: Encoder) -> Node:
    """Encode a long list of nothing but floats, or of nothing but 64-bit integers; None for any other."""
    kinds = set(map(type, items))
    if kinds == {float}:
        tag, values = "floats", array.array("d", items)
    elif kinds == {int}:
        try:
            tag, values = "ints", array.array("q", items)
        except OverflowError:
            return None
    else:
        return None
    if sys.byteorder == "big":
        values.byteswap()
    return {"$": tag, "buffer": encoder.buffer(values, item_bytes=8, dense=True)}


def _encode_pairs(mapping: dict[Any, Any], encoder: Encoder) -> Node:
    return [
        [encoder.node(key, f" key {key_step(key)}"), encoder.node(value, key_step(key))]
        for key, value in mapping.items()
    ]


def _decode_pairs(node: dict[str, Node], decoder: TreeDecoder) -> Iterator[tuple[Any, Any]]:
    for pair in nodes(node, "items"):
        if not isinstance(pair, list) or len(pair) != 2:
            raise malformed(node, "'items' are not pairs of a key and a value")
        yield decoder.hashable(pair[0]), decoder.node(pair[1])


def _is_utf8(key: str) -> bool:
    if key.isascii():
        return True
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(items: Collection[Any]) -> bool:
    """Tell whether an immutable collection is so small and plain that it is written again where it occurs again."""
    return len(items) <= _PLAIN_ITEMS and all(type(item) in _JSON_ATOMS for item in items)


class _Numbers(BuiltinSerializer):
    """A long list of numbers: read as part of whatever holds it."""

    mutable = True

    def __init__(self, tag: str, code: str) -> None:
        self.tag = tag  # type: ignore[misc]
        self._code = code

    def encode(self, obj: list[Any], encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = _encode_numbers(obj, encoder)
        return node

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> list[Any]:
        data = read_bytes(node, decoder)
        values: array.array[Any] = array.array(self._code)
        if len(data) % values.itemsize:
            raise malformed(node, "its last number is cut off")
        values.frombytes(data)
        if sys.byteorder == "big":
            values.byteswap()
        return values.tolist()


class _Tuple(BuiltinSerializer):
    tag = "tuple"

    def is_value(self, obj: object) -> bool:
        return _is_plain(obj)  # type: ignore[arg-type]

    def encode(self, obj: tuple[Any, ...], encoder: Encoder) -> dict[str, Node]:
        return {"items": encode_list(list(obj), encoder)}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> tuple[Any, ...]:
        return tuple(sequence(node, "items", decoder))


class _Frozenset(BuiltinSerializer):
    tag = "frozenset"

    def is_value(self, obj: object) -> bool:
        return type(obj) is frozenset and _is_plain(obj)

    def encode(self, obj: Iterable[Any], encoder: Encoder) -> dict[str, Node]:
        ordered = in_order(obj)
        numbers = _encode_numbers(ordered, encoder) if len(ordered) > LONG_LIST else None
        return {"items": numbers or [encoder.node(element, f" element {key_step(element)}") for element in ordered]}

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        return frozenset(self.elements(node, decoder))

    def elements(self, node: dict[str, Node], decoder: TreeDecoder) -> Iterable[Any]:
        """Return the elements, each of which can be hashed."""
        items = member(node, "items")
        if isinstance(items, list):
            return (decoder.hashable(item) for item in items)
        numbers = decoder.node(items)
        if type(numbers) is not list or not set(map(type, numbers)) <= {int, float}:
            raise malformed(node, "'items' is not a list")
        return numbers


class _Set(_Frozenset):
    tag = "set"
    mutable = True

    def read(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:
        return set(self.elements(node, decoder))


class _Dict(ContainerSerializer):
    """A dict whose keys are more than strings, or a kind of dict that keeps no more than its items."""

    def __init__(self, tag: str, kind: type[dict[Any, Any]]) -> None:
        self.tag = tag  # type: ignore[misc]
        self._kind = kind

    def handles(self, obj: object) -> bool:
        return not getattr(obj, "__dict__", None)

    def encode(self, obj: dict[Any, Any], encoder: Encoder) -> dict[str, Node]:
        return {"items": _encode_pairs(obj, encoder)}

    def empty(self, node: dict[str, Node], decoder: TreeDecoder) -> dict[Any, Any]:  # noqa: ARG002
        return self._kind()

    def fill(self, container: dict[Any, Any], node: dict[str, Node], decoder: TreeDecoder) -> None:
        for key, value in _decode_pairs(node, decoder):
            container[key] = value  # noqa: PERF403


class _Ordereddict(_Dict):
    """An OrderedDict with its attributes: that of torch's ``state_dict`` keeps versions in one."""

    def __init__(self) -> None:
        super().__init__("ordereddict", collections.OrderedDict)

    def handles(self, obj: object) -> bool:  # noqa: ARG002
        return True

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        node: dict[str, Node] = {"items": _encode_pairs(obj, encoder)}
        if vars(obj):
            node["attributes"] = [[name, encoder.node(value, f".{name}")] for name, value in vars(obj).items()]
        return node

    def fill(self, container: Any, node: dict[str, Node], decoder: TreeDecoder) -> None:
        super().fill(container, node, decoder)
        attributes = node.get("attributes", [])
        if not isinstance(attributes, list):
            raise malformed(node, "its attributes are no list")
        for pair in attributes:
            if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
                raise malformed(node, "its attributes are no pairs of a name and a value")
            vars(container)[pair[0]] = decoder.node(pair[1])


class _Defaultdict(_Dict):
    def __init__(self) -> None:
        super().__init__("defaultdict", collections.defaultdict)

    def handles(self, obj: object) -> bool:
        factory = getattr(obj, "default_factory", None)
        return factory is None or any(factory is known for known in _FACTORIES.values())

    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        factory = obj.default_factory and obj.default_factory.__qualname__
        return {"factory": factory, "items": _encode_pairs(obj, encoder)}

    def empty(self, node: dict[str, Node], decoder: TreeDecoder) -> Any:  # noqa: ARG002
        name = member(node, "factory")
        if name is not None and (not isinstance(name, str) or name not in _FACTORIES):
            raise malformed(node, "its factory is none of Python's own types")
        return collections.defaultdict(_FACTORIES[name] if name else None)


class _Deque(ContainerSerializer):
    tag = "deque"

    def encode(self, obj: collections.deque[Any], encoder: Encoder) -> dict[str, Node]:
        return {"maxlen": obj.maxlen, "items": encode_list(list(obj), encoder)}

    def empty(self, node: dict[str, Node], decoder: TreeDecoder) -> collections.deque[Any]:  # noqa: ARG002
        limit = None if member(node, "maxlen") is None else integer(node, "maxlen", maximum=sys.maxsize)
        return collections.deque(maxlen=limit)

    def fill(self, container: collections.deque[Any], node: dict[str, Node], decoder: TreeDecoder) -> None:
        container.extend(sequence(node, "items", decoder))


SERIALIZERS: dict[type, BuiltinSerializer] = {
    tuple: _Tuple(),
    set: _Set(),
    frozenset: _Frozenset(),
    dict: _Dict("dict", dict),
    collections.OrderedDict: _Ordereddict(),
    collections.Counter: _Dict("counter", collections.Counter),
    collections.defaultdict: _Defaultdict(),
    collections.deque: _Deque(),
}
"""Exact type → its serializer; plain lists and dicts are the encoder's own."""

READ_ONLY: tuple[BuiltinSerializer, ...] = (_Numbers("floats", "d"), _Numbers("ints", "q"))
"""What stands for no type of its own: it is written in the place of a list."""
