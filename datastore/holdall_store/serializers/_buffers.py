"""Small and large buffers of a node, and what guards the reading of nodes that may come from an attacker."""

from __future__ import annotations

import base64
import binascii
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from holdall_store.errors import HoldallError
from holdall_store.serializers._ahead import numbers_in
from holdall_store.serializers._nodes import malformed, member

if TYPE_CHECKING:
    from collections.abc import Generator

    from holdall_store.serializers._protocol import Decoder, Encoder, Node

__all__ = ["MAX_ITEMS", "Array", "get", "has", "listed", "mapping", "numbers_in", "packed", "put", "reading", "typed"]

Array = np.ndarray[Any, np.dtype[Any]]

_INLINE_BYTES = 256
"""Buffers up to this stand in the node as base64. A table may have thousands of columns: more would bloat its node."""

MAX_ITEMS = 2**48
"""The most items that a node may speak of: products of it with an item's size stay within what numpy can count."""


@contextmanager
def reading(node: Node) -> Generator[None]:
    """Turn what a library says about impossible members or buffers into a `FormatError`."""
    try:
        yield
    except HoldallError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError) as error:
        raise malformed(node, f"{type(error).__name__}: {error}") from error
    except (OSError, TypeError, ValueError) as error:
        raise malformed(node, str(error)) from error


def mapping(node: Any, key: str) -> dict[str, Any]:
    """Return a member that must be an object."""
    value = member(node, key)
    if not isinstance(value, dict):
        raise malformed(node, f"{key!r} is not an object")
    return value


def put(buffers: dict[str, Any], key: str, array: Array, encoder: Encoder, *, dense: bool = False) -> None:
    """Add the bytes of an array to a node's ``buffers``: a number, or the bytes themselves if they are few."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if data.size <= _INLINE_BYTES:
        buffers[key] = base64.b64encode(data.data).decode("ascii")
    else:
        buffers[key] = encoder.buffer(data, item_bytes=max(array.itemsize, 1), dense=dense)


def has(node: Any, key: str) -> bool:
    """Tell whether a node has such a buffer."""
    return key in mapping(node, "buffers")


def get(node: Any, key: str, decoder: Decoder, size: int | None = None) -> memoryview:
    """Return the buffer under `key`, which holds `size` bytes; it is writable and the caller's own."""
    stored = member(mapping(node, "buffers"), key)
    if isinstance(stored, str):
        try:
            view = memoryview(bytearray(base64.b64decode(stored, validate=True)))
        except (binascii.Error, ValueError) as error:
            raise malformed(node, f"{key!r} is not base64 ({error})") from None
    elif type(stored) is int and stored >= 0:
        view = decoder.buffer(stored)
    else:
        raise malformed(node, f"{key!r} is neither the number of a buffer nor base64")
    if size is not None and view.nbytes != size:
        raise malformed(node, f"its buffer {key!r} holds {view.nbytes} bytes instead of {size}")
    return view


def typed(view: memoryview, dtype: Any) -> Array:
    """Return a buffer as an aligned array: the buffer itself where that is possible."""
    array: Array = np.frombuffer(view, dtype=dtype)
    return array if array.flags.aligned else array.copy()


def packed(mask: Array) -> Array:
    """Return booleans as a bitmap, the first in the lowest bit."""
    return np.packbits(mask, bitorder="little")


def listed(node: dict[str, Node]) -> dict[str, Node]:
    """Return the members of a node with a list of all buffers inside, so that whoever loads many nodes finds them."""
    numbers = numbers_in(node)
    return node | {"buffers": numbers} if numbers else node
