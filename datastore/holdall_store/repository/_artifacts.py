"""Between encoded objects and artifact records: what stays in the record, what goes into packs, how it is told."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from blake3 import blake3

from holdall_store.errors import IntegrityError
from holdall_store.format import ArtifactRecord, BufferRef, PackRef, decode_json

if TYPE_CHECKING:
    # Serializers are imported by whoever has something to encode or decode: looking runs up needs none.
    from holdall_store.repository._pack_writer import Placed
    from holdall_store.serializers import BufferSource, Encoded

__all__ = ["Prepared", "StoredArtifact", "load_node", "merge", "prepare"]

INLINE_BYTES_MAX: Final = 4096
"""A value up to this lives in the record: one request fewer to read, one object fewer to store."""

NODE_BYTES_MAX: Final = 8192
"""A longer node goes into a pack, so that records stay quick to read: a listing reads many of them."""

NODE_LOAD_BYTES_MAX: Final = 1 << 30
"""A node of a gigabyte of JSON was made by nobody who means well."""


class StoredArtifact(NamedTuple):
    """An artifact record, and the packs that its spans number."""

    record: ArtifactRecord
    packs: tuple[PackRef, ...]


@dataclass(slots=True)
class Prepared:
    """An encoded object, ready to be stored: its buffers (the node last, where it is spilled)."""

    encoded: Encoded
    node: bytes
    sources: list[BufferSource]
    spilled: bool
    inline: bool

    @property
    def bytes(self) -> int:
        """Size of the node and of all buffers."""
        node = 0 if self.spilled else len(self.node)
        return sum([source.size for source in self.sources], node) if self.sources else node

    def spill(self) -> None:
        """Leave nothing in the record: the node and all buffers go into packs."""
        from holdall_store.serializers import BufferSource

        if not self.spilled:
            self.sources.append(BufferSource(memoryview(self.node), len(self.node)))
        self.spilled, self.inline = True, False

    def record(self, saved: str, places: Sequence[Placed], refs: Mapping[str, PackRef]) -> StoredArtifact:
        """Return the record; `places` says where each source lies (none for those that stay in the record)."""
        if self.inline and not self.sources:  # most values of a run, and there may be thousands
            record = ArtifactRecord(
                type=self.encoded.type_name,
                bytes=len(self.node),
                new=0,
                digest=blake3(self.node).hexdigest(),
                saved=saved,
                node=msgspec.Raw(self.node),
                runs_code=self.encoded.runs_code,
                libraries=self.encoded.libraries,
            )
            return StoredArtifact(record, ())
        spans = [place.spans for place in places]
        names = list(dict.fromkeys(name for parts in spans for name, _, _ in parts))
        numbers = {name: number for number, name in enumerate(names)}
        if self.inline:
            buffers = [BufferRef(source.size, inline=_base64(source)) for source in self.sources]
        else:
            buffers = [
                BufferRef(source.size, spans=tuple((numbers[name], first, count) for name, first, count in parts))
                for source, parts in zip(self.sources, spans, strict=True)
            ]
        record = ArtifactRecord(
            type=self.encoded.type_name,
            bytes=self.bytes,
            new=sum(place.new_bytes for place in places),
            digest=self._digest(places),
            saved=saved,
            node=msgspec.Raw(b"null" if self.spilled else self.node),
            spilled=self.spilled,
            buffers=tuple(buffers),
            runs_code=self.encoded.runs_code,
            libraries=self.encoded.libraries,
        )
        return StoredArtifact(record, tuple(refs[name] for name in names))

    def _digest(self, places: Sequence[Placed]) -> str:
        """Return the identity of the content: a hash of the node and, for each buffer, of its size and its chunks."""
        hasher = blake3(b"" if self.spilled else self.node)
        for number, source in enumerate(self.sources):
            if self.inline and isinstance(source.data, memoryview):
                content = blake3(source.data).digest()
            else:
                content = places[number].digest
            hasher.update(source.size.to_bytes(8, "little") + content)
        return hasher.hexdigest()


def prepare(encoded: Encoded) -> Prepared:
    """Decide what of an encoded object stays in the record."""
    node = msgspec.json.encode(encoded.node)
    total = sum(source.size for source in encoded.buffers)
    # A node of its own may be as long as a small value; one with buffers is read before them, from the record.
    spilled = len(node) > (NODE_BYTES_MAX if encoded.buffers else INLINE_BYTES_MAX)
    in_memory = all(isinstance(source.data, memoryview) for source in encoded.buffers)
    inline = not spilled and in_memory and total + (len(node) if not encoded.buffers else 0) <= INLINE_BYTES_MAX
    sources = list(encoded.buffers)
    if spilled:
        from holdall_store.serializers import BufferSource

        sources.append(BufferSource(memoryview(node), len(node)))
    return Prepared(encoded, node, sources, spilled, inline)


def merge(artifacts: Mapping[str, StoredArtifact]) -> tuple[tuple[PackRef, ...], dict[str, ArtifactRecord]]:
    """Return one list of packs for several artifacts, and their records with spans that number it."""
    packs: dict[PackRef, int] = {}
    records: dict[str, ArtifactRecord] = {}
    for name, (record, own) in artifacts.items():
        if not own:
            records[name] = record
            continue
        numbers = [packs.setdefault(ref, len(packs)) for ref in own]
        buffers = tuple(
            buffer
            if not buffer.spans
            else BufferRef(
                buffer.bytes, spans=tuple((numbers[pack], first, count) for pack, first, count in buffer.spans)
            )
            for buffer in record.buffers
        )
        records[name] = msgspec.structs.replace(record, buffers=buffers)
    return tuple(packs), records


def load_node(record: ArtifactRecord, read_last: Callable[[], memoryview]) -> Any:
    """Return the JSON node of an artifact; ``read_last()`` gives its last buffer, where the node was spilled to."""
    if not record.spilled:
        return decode_json(record.node, "The node of an artifact")
    if not record.buffers or record.buffers[-1].bytes > NODE_LOAD_BYTES_MAX:
        raise IntegrityError("An artifact says that its node is in its last buffer, which cannot be.")
    return decode_json(read_last(), "The node of an artifact")


def _base64(source: BufferSource) -> str:
    if not isinstance(source.data, memoryview):
        raise TypeError("Files are never stored in a record.")
    return base64.b64encode(source.data).decode()
