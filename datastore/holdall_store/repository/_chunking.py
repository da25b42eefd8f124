"""Buffers become chunks: cut, hashed, looked up, compressed; several buffers at once, in threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from blake3 import blake3

from holdall_store.format import CODEC_RAW, FLAG_DENSE, FLAG_TAIL, Entry, PackTable, choose_codec, compress
from holdall_store.format.chunker import DENSE, OPAQUE, ChunkRule, first_cut
from holdall_store.serializers import BufferSource, FileSource

__all__ = ["Chunk", "ChunkLookup", "Piece", "chunk_piece", "cut_into_pieces"]

PART_BYTES: Final = 64 << 20
"""A longer buffer is parted here, so that several threads can work on it. Never changed: equal buffers are cut alike.

A part begins with a cut that its content did not ask for, so parts are large."""

WINDOW_BYTES: Final = 4 << 20
"""Files are read this much at a time; at least twice the largest chunk."""

BATCH_BYTES: Final = 2 << 20
"""Chunks change threads this much at a time: to hand each of them over would take as long as hashing it."""

SAMPLE_EVERY: Final = 1 << 20
"""Data changes its nature within a buffer now and then: a codec is chosen anew this often."""


class Chunk(NamedTuple):
    """A chunk on its way into a pack. `data` is ``None`` where a pack of the store holds it already."""

    buffer: int
    entry: Entry
    """Its place is not known yet; all else is."""
    data: bytes | memoryview | None
    known: tuple[str, int] | None
    """The pack that holds it, and its number there."""
    position: int
    """Where it begins in its buffer."""


class ChunkLookup(Protocol):
    """What is known of chunks that are stored already."""

    def find(self, digest: bytes) -> tuple[str, int] | None:
        """Return the pack and the number of a chunk, or ``None``."""

    def table(self, pack: str) -> PackTable | Sequence[Entry] | None:
        """Return the chunks of a pack in their order, or ``None``."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of buffers for one thread: ``(number, source, start, end)`` of each part."""

    parts: tuple[tuple[int, BufferSource, int, int], ...]


def cut_into_pieces(sources: Sequence[BufferSource], piece_bytes: int) -> list[Piece]:
    """Return the work of chunking `sources`, in order, in pieces of about `piece_bytes` (at most 64 MiB).

    Short buffers are taken together; a long one is parted at multiples of 64 MiB (less what would part an item),
    whatever `piece_bytes` is, so that equal buffers are always cut alike.
    """
    pieces: list[Piece] = []
    parts: list[tuple[int, BufferSource, int, int]] = []
    size = 0
    for number, source in enumerate(sources):
        step = PART_BYTES - PART_BYTES % source.item_bytes or source.item_bytes
        for start in range(0, source.size, step):
            end = min(source.size, start + step)
            parts.append((number, source, start, end))
            size += end - start
            if size >= piece_bytes:
                pieces.append(Piece(tuple(parts)))
                parts, size = [], 0
    if parts:
        pieces.append(Piece(tuple(parts)))
    return pieces


def chunk_piece(piece: Piece, lookup: ChunkLookup, ratio_max: float) -> Iterator[tuple[list[Chunk], int]]:
    """Yield the chunks of a piece in order, some at a time, with the bytes of memory that they keep alive."""
    batch: list[Chunk] = []
    size = weight = 0
    for number, source, start, end in piece.parts:
        chunker = _Chunker(number, source, start, end, lookup, ratio_max)
        if isinstance(source.data, memoryview):
            chunks, owned = chunker.chunks(_memory_window(source.data)), False
        else:
            chunks, owned = chunker.chunks(_FileWindow(source.data, start).view), True
        for chunk in chunks:
            batch.append(chunk)
            size += chunk.entry.raw_bytes
            if chunk.data is not None and (owned or chunk.entry.codec != CODEC_RAW):
                weight += len(chunk.data)
            if size >= BATCH_BYTES:
                yield batch, weight
                batch, size, weight = [], 0, 0
    if batch:
        yield batch, weight


def _memory_window(data: memoryview) -> Callable[[int, int], memoryview]:
    return lambda offset, length: data[offset : offset + length]


class _Chunker:
    """The chunks of one stretch of one buffer."""

    def __init__(
        self, number: int, source: BufferSource, start: int, end: int, lookup: ChunkLookup, ratio_max: float
    ) -> None:
        self._number = number
        self._item = source.item_bytes
        self._dense = source.dense
        self._rule: ChunkRule = DENSE if source.dense else OPAQUE
        self._cutter = self._rule.cutter()
        self._position = start
        self._end = end
        self._lookup = lookup
        self._ratio_max = ratio_max
        self._stride = source.item_bytes if source.item_bytes < 1 << 16 else 1
        self._codec = CODEC_RAW
        self._sample_at = start
        self._expected: tuple[str, int] | None = None
        self._table_of = ""
        self._table: PackTable | Sequence[Entry] | None = None

    def chunks(self, view: Callable[[int, int], memoryview]) -> Iterator[Chunk]:
        """Yield the chunks; ``view(offset, length)`` gives bytes."""
        while self._position < self._end:
            chunk = self._predicted(view) or self._cut(view)
            yield chunk
            self._position += chunk.entry.raw_bytes

    def _predicted(self, view: Callable[[int, int], memoryview]) -> Chunk | None:
        """Return the chunk that followed the last known one when that was stored, if it follows here, too.

        Most of what is known comes in the order in which it was stored: to hash it is then enough, and the cuts need
        not be looked for. A chunk is taken only where looking would have found the same cut.
        """
        if self._expected is None:
            return None
        pack, number = self._expected
        if pack != self._table_of:
            self._table_of, self._table = pack, self._lookup.table(pack)
        table = self._table
        self._expected = None
        if table is None or number >= len(table):
            return None
        entry = table[number]
        end = self._position + entry.raw_bytes
        if entry.flags != self._flags(end) or entry.stride != self._stride or end > self._end:
            return None
        if blake3(view(self._position, entry.raw_bytes)).digest() != entry.digest:
            return None
        self._expected = pack, number + 1
        return self._chunk(entry, None, (pack, number))

    def _cut(self, view: Callable[[int, int], memoryview]) -> Chunk:
        ahead = view(self._position, min(self._rule.max_bytes, self._end - self._position))
        length = first_cut(self._cutter, self._rule, ahead, self._item)
        raw = ahead[:length]
        digest = blake3(raw).digest()
        flags = self._flags(self._position + length)
        known = self._lookup.find(digest)
        if known is not None:
            self._expected = known[0], known[1] + 1
            return self._chunk(Entry(digest, 0, 0, length, 0, flags, self._stride), None, known)
        if self._position >= self._sample_at:
            self._codec = choose_codec(raw, self._item, self._ratio_max)
            self._sample_at = self._position + SAMPLE_EVERY
        codec, data = compress(raw, self._codec, self._item, self._ratio_max)
        return self._chunk(Entry(digest, 0, len(data), length, codec, flags, self._stride), data, None)

    def _chunk(self, entry: Entry, data: bytes | memoryview | None, known: tuple[str, int] | None) -> Chunk:
        return Chunk(self._number, entry, data, known, self._position)

    def _flags(self, end: int) -> int:
        return (FLAG_TAIL if end == self._end else 0) | (FLAG_DENSE if self._dense else 0)


class _FileWindow:
    """Bytes of several files as if they were one, read forward in large steps."""

    def __init__(self, files: Sequence[FileSource], start: int) -> None:
        self._files = files
        self._number = 0
        self._offset = start
        while self._number < len(files) and self._offset >= files[self._number].size:
            self._offset -= files[self._number].size
            self._number += 1
        self._window = memoryview(b"")
        self._start = start

    def view(self, offset: int, length: int) -> memoryview:
        """Return `length` bytes from `offset` on; offsets never go back behind the last one."""
        skip = offset - self._start
        if skip + length > len(self._window):
            rest = self._window[skip:]
            fresh = bytearray(max(WINDOW_BYTES, length))
            fresh[: len(rest)] = rest
            filled = len(rest) + self._fill(memoryview(fresh)[len(rest) :])
            self._window, self._start, skip = memoryview(fresh)[:filled], offset, 0
        return self._window[skip : skip + length]

    def _fill(self, target: memoryview) -> int:
        """Read on into `target` until it is full or the files are at their end."""
        from holdall_store.serializers.files import open_source, read_whole

        filled = 0
        while filled < len(target) and self._number < len(self._files):
            source = self._files[self._number]
            length = min(len(target) - filled, source.size - self._offset)
            if length == source.size:
                read_whole(source, target[filled : filled + length])
            else:
                with open_source(source) as opened:
                    target[filled : filled + length] = opened.read(self._offset, length)
            filled += length
            self._offset += length
            if self._offset == source.size:
                self._number, self._offset = self._number + 1, 0
        return filled
