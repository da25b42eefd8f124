"""References to packs that a collection took apart become references to where the chunks lie now."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from holdall_store.errors import IntegrityError
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
            for pack, begin, length in _follow(packs[number], first, count, moved)
        ]
        return msgspec.structs.replace(ref, spans=tuple(spans))

    buffers = tuple(place(ref) for ref in record.buffers)
    return StoredArtifact(msgspec.structs.replace(record, buffers=buffers), tuple(numbers))


def _follow(pack: PackRef, first: int, count: int, moved: MovedPacks) -> Iterator[tuple[PackRef, int, int]]:
    """Yield the spans in which chunks of a pack lie now."""
    move = moved.find(pack.name)
    if move is None:
        yield pack, first, count
        return
    reached = first
    for begin, length, number, target in sorted(move.pack.spans):
        start, end = max(first, begin), min(first + count, begin + length)
        if start < end and start == reached and 0 <= number < len(move.targets):
            yield from _follow(move.targets[number], target + start - begin, end - start, moved)
            reached = end
    if reached != first + count:
        raise IntegrityError(
            f"Chunks {reached} to {first + count} of pack {pack.name} were not kept when it was moved."
        )
