"""Nodes of objects that occur more than once, and of parts that are loaded by themselves.

Where an object occurs first, its node is ``{"$": "shared", "id": n, "value": …}``; where it occurs again, it is
``{"$": "ref", "id": n}``. The top node of an object with pickled parts, and of a part of an object that refers to what
is outside of it, is ``{"$": "root", "value": …, "shared": […], "pickle": …}``: ``shared`` is decoded first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdall_store.errors import NotFoundError, nearest
from holdall_store.serializers._nodes import malformed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdall_store.serializers._protocol import Node

__all__ = ["buffer_numbers", "child", "keys", "mark_shared", "needs_trust", "refers_elsewhere", "unwrap"]


KEYS_SHOWN: Final = 10
"""So many are named in an error: a dict may have millions."""


def mark_shared(node: Node, numbers: Mapping[int, int], hoisted: set[int], stream: Node | None) -> Node:
    """Return the tree with the nodes of shared objects numbered; those that the pickle refers to come first of all."""
    if not numbers and stream is None:
        return node
    holder = [node]
    first: dict[int, Node] = {}
    todo: list[tuple[Any, Any, bool]] = [(holder, 0, False)] if numbers else []
    while todo:
        owner, key, inside = todo.pop()
        part = owner[key]
        number = numbers.get(id(part))
        if number is not None:
            definition = {"$": "shared", "id": number, "value": part}
            if number in hoisted and not inside:
                first[number] = definition
                owner[key] = {"$": "ref", "id": number}
                inside = True
            else:
                owner[key] = definition
        todo.extend((part, place, inside) for place in _places(part))
    if stream is None:
        return holder[0]
    return _root(holder[0], [first[number] for number in sorted(first)], stream)


def refers_elsewhere(node: Node) -> bool:
    """Tell whether a node cannot be decoded before others: it refers to a pickle, or to something shared."""
    return any(part.get("$") in ("pickle", "ref") for part in _objects(node))


def needs_trust(node: Node) -> bool:
    """Tell whether decoding runs code that is stored in the buffers."""
    if isinstance(node, dict) and node.get("$") == "pick":
        node = node.get("value")
    return isinstance(node, dict) and node.get("$") == "root" and node.get("pickle") is not None


def buffer_numbers(node: Node) -> list[int]:
    """Return the buffers that a node names, as far as it follows the custom: members ``buffer`` and ``buffers``."""
    found: dict[int, None] = {}
    for part in _objects(node):
        if "$" in part:
            several = part.get("buffers", ())
            numbers = several.values() if isinstance(several, dict) else several if isinstance(several, list) else ()
            for number in (part.get("buffer"), *numbers):
                if type(number) is int and number >= 0:
                    found[number] = None
    return list(found)


def unwrap(node: Node) -> Node:
    """Return the node of the object itself, without what says that it is shared or has pickled parts."""
    for tag in ("root", "shared"):
        if isinstance(node, dict) and node.get("$") == tag:
            node = node.get("value")
    return node


def keys(node: Node) -> list[str] | range | None:
    """Return the keys of an object whose parts can be loaded by themselves: those of a dict, or a list's indexes.

    None for any other object.
    """
    inner = _items(node)
    if isinstance(inner, list):
        return range(len(inner))
    return None if inner is None else list(inner)


def child(node: Node, key: str | int) -> Node:
    """Return a node for one part of a dict (by key) or of a list or tuple (by index), to decode by itself."""
    inner = _items(node)
    if isinstance(inner, dict):
        if key not in inner:
            known = [str(name) for name in inner]
            more = f", … ({len(known)} in all)" if len(known) > KEYS_SHOWN else ""
            has = f" It has: {', '.join(known[:KEYS_SHOWN])}{more}." if known else " It is empty."
            raise NotFoundError(f"this object has no key {key!r:.80}.{nearest(str(key), known)}{has}")
        part = inner[key]
    elif isinstance(inner, list):
        if not isinstance(key, int) or not -len(inner) <= key < len(inner):
            raise NotFoundError(f"this object has {len(inner)} items, and no {key!r}")
        part = inner[key]
    else:
        raise NotFoundError(f"this object has no parts that can be loaded by themselves, such as {key!r}")
    return _alone(node, part, key)


def _items(node: Node) -> dict[str, Node] | list[Node] | None:
    """Return the nodes of the parts of a plain dict, list or tuple."""
    inner = unwrap(node)
    if isinstance(inner, dict) and inner.get("$") == "tuple":
        inner = inner.get("items")
    if isinstance(inner, list) or (isinstance(inner, dict) and "$" not in inner):
        return inner
    return None


def _alone(node: Node, part: Node, key: str | int) -> Node:
    """Return the node of a part with all that it refers to."""
    top = node if isinstance(node, dict) and node.get("$") == "root" else {}
    stream = top.get("pickle")
    before = top.get("shared", [])
    if not isinstance(before, list):
        raise malformed(node, "'shared' is not a list")
    definitions = _definitions([before, node])
    wanted, pickled = _reach(part, definitions)
    if pickled:
        extra, _ = _reach(before, definitions)
        wanted |= extra | _definitions(before).keys()
    if not wanted and not pickled:
        return part
    enclosing = node.get("value") if top else node
    if isinstance(enclosing, dict) and enclosing.get("$") == "shared" and enclosing.get("id") in wanted:
        return {"$": "pick", "value": node, "key": key}  # the part refers to the whole
    shared = [definition for number, definition in definitions.items() if number in wanted]
    return _root(part, shared, stream if pickled else None)


def _definitions(node: Node) -> dict[int, Node]:
    """Return the definitions of shared objects by number, in the order of the text."""
    found: dict[int, Node] = {}
    for part in _objects(node):
        number = part.get("id")
        if part.get("$") == "shared" and isinstance(number, int):
            found.setdefault(number, part)
    return found


def _reach(node: Node, definitions: Mapping[int, Node]) -> tuple[set[int], bool]:
    """Return what a node refers to that it does not define, however indirectly, and whether that takes the pickle."""
    wanted: set[int] = set()
    pickled = False
    todo = [node]
    while todo:
        for found in _objects(todo.pop()):
            pickled = pickled or found.get("$") == "pickle"
            number = found.get("id")
            if found.get("$") == "ref" and isinstance(number, int) and number not in wanted and number in definitions:
                wanted.add(number)
                todo.append(definitions[number])
    return wanted, pickled


def _root(value: Node, shared: list[Node], stream: Node | None) -> Node:
    return {"$": "root", "value": value, "shared": shared, **({"pickle": stream} if stream is not None else {})}


def _places(node: Node) -> list[Any]:
    """Return the keys or indexes of the parts of a node that have parts themselves."""
    if isinstance(node, dict):
        return [key for key, part in node.items() if isinstance(part, (dict, list))]
    if isinstance(node, list):
        return [index for index, part in enumerate(node) if isinstance(part, (dict, list))]
    return []


def _objects(node: Node) -> Iterator[dict[str, Node]]:
    """Return every JSON object of a node, in the order of the text."""
    todo = [node]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            yield part
            todo.extend(value for value in reversed(part.values()) if isinstance(value, (dict, list)))
        elif isinstance(part, list):
            todo.extend(value for value in reversed(part) if isinstance(value, (dict, list)))
