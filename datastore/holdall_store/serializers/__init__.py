"""Turns objects into JSON nodes and buffers, and back: exactly, and without pickle wherever that is possible."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdall_store.serializers._ahead import buffers_ahead
    from holdall_store.serializers._decoder import Fetch, decode, table_shape
    from holdall_store.serializers._encoder import encode
    from holdall_store.serializers._protocol import (
        BufferSource,
        Decoder,
        Encoded,
        Encoder,
        FileSource,
        Node,
        Serializer,
    )
    from holdall_store.serializers._sharing import child, keys, needs_trust
    from holdall_store.serializers._tabular import TableShape

__all__ = [
    "BufferSource",
    "Decoder",
    "Encoded",
    "Encoder",
    "Fetch",
    "FileSource",
    "Node",
    "Serializer",
    "TableShape",
    "buffers_ahead",
    "child",
    "decode",
    "encode",
    "keys",
    "needs_trust",
    "table_shape",
]

_PLACES = {
    "BufferSource": "_protocol",
    "Decoder": "_protocol",
    "Encoded": "_protocol",
    "Encoder": "_protocol",
    "Fetch": "_decoder",
    "FileSource": "_protocol",
    "Node": "_protocol",
    "Serializer": "_protocol",
    "TableShape": "_tabular",
    "buffers_ahead": "_ahead",
    "child": "_sharing",
    "decode": "_decoder",
    "encode": "_encoder",
    "keys": "_sharing",
    "needs_trust": "_sharing",
    "table_shape": "_decoder",
}
"""Where the names are. They are fetched when they are first used: whoever loads needs nothing of what encodes."""


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
