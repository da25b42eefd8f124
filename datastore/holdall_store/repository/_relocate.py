"""References to packs that a collection took apart become references to where the chunks lie now."""

from __future__ import annotations

import msgspec

from holdall_store.format import BufferRef, PackRef
from holdall_store.repository._artifacts import StoredArtifact
from holdall_store.repository._gclog import MovedPacks

__all__ = ["relocated"]


def relocated(artifact: StoredArtifact, moved: MovedPacks) -> StoredArtifact:
    """Return an artifact whose record refers to no pack that is known to have moved.

    Whoever makes a new record from an old one needs it: a pack that was condemned may not be referred to again.
    """
    record, packs = artifact
    if not any(moved.find(ref.name) for ref in packs):
        return artifact
    numbers: dict[PackRef, int] = {}

    def place(ref: BufferRef) -> BufferRef:
        spans = [
            (numbers.setdefault(pack, len(numbers)), begin, length)
            for number, first, count in ref.spans
            for pack, begin, length in moved.spans(packs[number], first, count)
        ]
        return msgspec.structs.replace(ref, spans=tuple(spans))

    buffers = tuple(place(ref) for ref in record.buffers)
    return StoredArtifact(msgspec.structs.replace(record, buffers=buffers), tuple(numbers))
