"""Turns objects into JSON nodes and buffers, and back: exactly, and without pickle wherever that is possible."""

from __future__ import annotations

from holdall_store.serializers._decoder import Fetch, decode
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

__all__ = [
    "BufferSource",
    "Decoder",
    "Encoded",
    "Encoder",
    "Fetch",
    "FileSource",
    "Node",
    "Serializer",
    "child",
    "decode",
    "encode",
    "keys",
    "needs_trust",
]
