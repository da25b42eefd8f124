"""Encodes and decodes objects the way a store does: the node as JSON, the buffers as copied bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from holdall_store.serializers import Encoded, decode, encode


class Buffers:
    """Copies of the buffers of one encoded object, given out as private writable views."""

    def __init__(self, encoded: Encoded) -> None:
        self.contents = [stored_bytes(source.data) for source in encoded.buffers]
        self.fetched: list[int] = []

    def __call__(self, numbers: Sequence[int]) -> list[memoryview]:
        """Fetch buffers by number."""
        self.fetched.extend(numbers)
        return [memoryview(bytearray(self.contents[number])) for number in numbers]


def stored_bytes(data: Any) -> bytes:
    """Return the bytes of a buffer, whether it is a view or files."""
    if isinstance(data, memoryview):
        assert data.format == "B"
        assert data.ndim == 1
        assert data.c_contiguous
        return bytes(data)
    return b"".join(source.path.read_bytes() for source in data)


def through_json(node: Any) -> Any:
    """Return the node after a trip through JSON, by both of the codecs that may carry it."""
    text = json.dumps(node, allow_nan=False)
    decoded = msgspec.json.decode(msgspec.json.encode(node))
    assert json.loads(text) == decoded
    return decoded


def roundtrip(obj: Any, trust: bool = True, columns: Sequence[str] | None = None) -> Any:
    """Return the object that comes back from a store."""
    encoded = encode(obj)
    buffers = Buffers(encoded)
    for source, content in zip(encoded.buffers, buffers.contents, strict=True):
        assert source.size == len(content)
    return decode(through_json(encoded.node), buffers, trust=trust, libraries=encoded.libraries, columns=columns)


def roundtrip_safely(obj: Any) -> Any:
    """Return the object that comes back to a reader who does not trust the store: nothing may be pickled."""
    encoded = encode(obj)
    assert not encoded.runs_code
    return roundtrip(obj, trust=False)
