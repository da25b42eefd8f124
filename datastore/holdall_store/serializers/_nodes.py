"""Reads members of nodes that may come from anywhere: each is checked, and what is wrong is a `FormatError`."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from holdall_store.errors import FormatError

if TYPE_CHECKING:
    from holdall_store.serializers._protocol import Decoder, Encoder, Node

__all__ = [
    "INLINE_BYTES",
    "boolean",
    "bytes_node",
    "integer",
    "integers",
    "malformed",
    "member",
    "nodes",
    "read_bytes",
    "text",
]

INLINE_BYTES = 1024
"""Bytes up to this stand in the node as base64: a chunk reference of their own would take about as much room."""


def malformed(node: Node, why: str) -> FormatError:
    """Return the error for a node that no version of holdall writes."""
    tag = node.get("$") if isinstance(node, dict) else None
    what = f"a {str(tag)[:60]!r} node" if tag is not None else "a node"
    return FormatError(
        f"{what} cannot be decoded: {why}. It is damaged, or was written by a newer version of holdall (try upgrading)"
    )


def member(node: dict[str, Node], key: str) -> Node:
    """Return a member that must be there."""
    try:
        return node[key]
    except KeyError:
        raise malformed(node, f"it has no {key!r}") from None


def text(node: dict[str, Node], key: str) -> str:
    """Return a member that must be a string."""
    value = member(node, key)
    if not isinstance(value, str):
        raise malformed(node, f"{key!r} is not a string")
    return value


def boolean(node: dict[str, Node], key: str, default: bool | None = None) -> bool:
    """Return a member that must be true or false; it may be left out where there is a default."""
    value = member(node, key) if default is None else node.get(key, default)
    if not isinstance(value, bool):
        raise malformed(node, f"{key!r} is neither true nor false")
    return value


def integer(node: dict[str, Node], key: str, minimum: int = 0, maximum: int = 2**63 - 1) -> int:
    """Return a member that must be a whole number within bounds."""
    value = member(node, key)
    if type(value) is not int or not minimum <= value <= maximum:
        raise malformed(node, f"{key!r} is not a whole number from {minimum} to {maximum}")
    return value


def integers(node: dict[str, Node], key: str, minimum: int = 0, maximum: int = 2**63 - 1) -> list[int]:
    """Return a member that must be a list of whole numbers within bounds."""
    values = nodes(node, key)
    if not all(type(value) is int and minimum <= value <= maximum for value in values):
        raise malformed(node, f"{key!r} is not a list of whole numbers from {minimum} to {maximum}")
    return values


def nodes(node: dict[str, Node], key: str) -> list[Any]:
    """Return a member that must be a list."""
    value = member(node, key)
    if not isinstance(value, list):
        raise malformed(node, f"{key!r} is not a list")
    return value


def bytes_node(view: memoryview, encoder: Encoder, *, item_bytes: int = 1, dense: bool = False) -> dict[str, Node]:
    """Return the members that hold a one-dimensional view of bytes: inside the node if it is short, else a buffer."""
    if len(view) <= INLINE_BYTES:
        return {"base64": base64.b64encode(view).decode("ascii")}
    return {"buffer": encoder.buffer(view, item_bytes=item_bytes, dense=dense)}


def read_bytes(node: dict[str, Node], decoder: Decoder) -> memoryview:
    """Return what `bytes_node` stored, writable and the caller's own."""
    if "buffer" in node:
        return decoder.buffer(integer(node, "buffer"))
    try:
        return memoryview(bytearray(base64.b64decode(text(node, "base64"), validate=True)))
    except (binascii.Error, ValueError) as error:
        raise malformed(node, f"'base64' is not base64 ({error})") from None
