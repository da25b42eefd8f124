"""Turns objects into JSON nodes and buffers, and back: exactly, and without pickle wherever that is possible."""

from __future__ import annotations

from holdall_store.serializers._protocol import (
    BufferSource,
    Decoder,
    Encoded,
    Encoder,
    FileSource,
    Node,
    Serializer,
)

__all__ = ["BufferSource", "Decoder", "Encoded", "Encoder", "FileSource", "Node", "Serializer"]
