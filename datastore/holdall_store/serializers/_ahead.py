"""Which buffers a table will ask for, told from its node alone, before any library is imported to decode it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdall_store.serializers._protocol import Node

__all__ = ["buffers_ahead", "numbers_in"]


def buffers_ahead(node: Node, columns: Sequence[Any] | None) -> list[int]:
    """Return the numbers of buffers that decoding a table, or some of its columns, begins with.

    This is a hint, so that they are read while modules are imported. It may leave out any, and all of a node that is
    not what is expected: the decoder says what is wrong with it.
    """
    if not isinstance(node, dict):
        return []
    if columns is None:
        listed = node.get("buffers")
        return _once(listed) if isinstance(listed, list) else []
    described, values = node.get("columns"), node.get("values")
    labels = described.get("labels") if isinstance(described, dict) else None
    if not isinstance(labels, list) or not isinstance(values, list):
        return []
    wanted = {column for column in columns if isinstance(column, str)}
    pairs = zip(labels, values, strict=False)
    return _once(numbers_in([part for label, part in pairs if isinstance(label, str) and label in wanted]))


def numbers_in(node: Node) -> list[int]:
    """Return the numbers of the buffers that a node names, save those of parts that have a serializer of their own."""
    return list(dict.fromkeys(_numbers_in(node)))


def _numbers_in(node: Node) -> Iterator[int]:
    if isinstance(node, list):
        for part in node:
            yield from _numbers_in(part)
    elif isinstance(node, dict):
        for key, part in node.items():
            if key == "buffers" and isinstance(part, dict):
                yield from (number for number in part.values() if type(number) is int and number >= 0)
            elif not (isinstance(part, dict) and "$" in part):
                yield from _numbers_in(part)


def _once(numbers: list[Any]) -> list[int]:
    return list(dict.fromkeys(number for number in numbers if type(number) is int and number >= 0))
