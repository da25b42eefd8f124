"""What a serializer is: it turns an object into a JSON node and buffers, and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["BufferSource", "Decoder", "Encoded", "Encoder", "FileSource", "Node", "Serializer"]

Node = Any
"""A JSON value. Objects that are more than JSON are ``{"$": "<serializer tag>", …}``."""


# Structs rather than dataclasses: those would take a millisecond of every first load and save to be put together.
class FileSource(msgspec.Struct, frozen=True):
    """A file whose bytes are read while they are saved, so that it need not fit in memory.

    ``mtime_ns`` and ``inode`` are those that it had when it was found, so that a change is noticed; ``None`` where
    nobody cares.
    """

    path: str | Path
    size: int
    mtime_ns: int | None = None
    inode: int | None = None


class BufferSource(msgspec.Struct, frozen=True):
    """One buffer to save.

    ``data`` is a C-contiguous one-dimensional view of unsigned bytes, borrowed (not copied) until the save returns, or
    a list of files that are stored one after the other. ``item_bytes`` is the size of one item: where it is more than
    1, chunks are cut between items, and compression may group the bytes of items by their place. ``dense`` says
    whether the buffer is an array (large chunks) rather than text, a table column or opaque bytes (about 64 KiB).
    """

    data: memoryview | tuple[FileSource, ...]
    size: int
    item_bytes: int = 1
    dense: bool = False


class Encoded(msgspec.Struct):
    """An object turned into one JSON node and its buffers.

    ``type_name`` is for people (``pandas.DataFrame``). ``runs_code`` says that decoding may run code that is stored in
    the buffers (pickle). ``libraries`` maps each library that decoding needs to the version it was written with.
    """

    node: Node
    buffers: list[BufferSource]
    type_name: str
    runs_code: bool = False
    libraries: dict[str, str] = msgspec.field(default_factory=dict)


class Encoder(ABC):
    """What a serializer may ask for while it encodes."""

    @abstractmethod
    def buffer(self, data: object, *, item_bytes: int = 1, dense: bool = False) -> int:
        """Add a buffer and return its number; `data` is anything contiguous with the buffer protocol, not copied."""

    @abstractmethod
    def files(self, sources: Sequence[FileSource]) -> int:
        """Add a buffer that is the bytes of several files, one after the other, and return its number."""

    @abstractmethod
    def node(self, obj: object, step: str) -> Node:
        """Encode a part of the object; `step` is how a person would write the way to it (``['a']``, ``.b``, ``[0]``)."""

    @abstractmethod
    def unsupported(self, obj: object, why: str) -> Exception:
        """Return an `UnsupportedTypeError` that names the path to `obj`, says why, and shows the way out."""


class Decoder(ABC):
    """What a serializer may ask for while it decodes."""

    @abstractmethod
    def buffer(self, number: int) -> memoryview:
        """Return a buffer: verified, one-dimensional, unsigned bytes, writable, and the caller's own to keep."""

    @abstractmethod
    def prefetch(self, numbers: Sequence[int]) -> None:
        """Fetch several buffers at once, because `buffer` will be called for each of them."""

    @abstractmethod
    def node(self, node: Node) -> Any:
        """Decode a part of the object."""


class Serializer(ABC):
    """Turns objects of some types into nodes and buffers, and back, exactly.

    A serializer that cannot give back an equal object (same type, dtype, values, NaNs, order, metadata) declines in
    `handles`, so that the object is pickled instead, or raises `Encoder.unsupported`. It never runs code that the
    buffers or the node name.
    """

    tag: ClassVar[str]
    """What stands in the node under ``$``: ``library.Type``, never changed once released."""

    @abstractmethod
    def handles(self, obj: object) -> bool:
        """Tell whether this serializer can give `obj` back exactly. Cheap; looks at the exact type, not a base."""

    @abstractmethod
    def encode(self, obj: Any, encoder: Encoder) -> dict[str, Node]:
        """Return the members of the node (without ``$``)."""

    @abstractmethod
    def decode(self, node: dict[str, Node], decoder: Decoder) -> Any:
        """Return the object. `node` may come from an attacker: check every member before using it."""
