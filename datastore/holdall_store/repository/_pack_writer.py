"""Buffers go into packs: what the store holds already is referred to, the rest is stored once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from blake3 import blake3

from holdall_store.errors import ConflictError
from holdall_store.format import (
    ALIGNMENT,
    CODEC_RAW,
    HEADER,
    Entry,
    Footer,
    PackRef,
    PackTable,
    build_tail,
    parse_footer,
)
from holdall_store.repository._chunking import Chunk, chunk_piece, cut_into_pieces
from holdall_store.repository._index import ChunkIndex
from holdall_store.repository._pack_create import create_pack
from holdall_store.serializers import BufferSource
from holdall_store.storage import Storage
from holdall_store.transfer import THREADS, Tasks, run_ordered

__all__ = ["PackWriter", "Placed", "Span", "Written"]

INFLIGHT_BYTES_MAX: Final = 32 << 20
"""Compressed chunks and bytes read from files that wait to be written; arrays in memory are only referred to."""

THREADED_BYTES_MIN: Final = 2 << 20
"""Starting threads costs about as much as chunking and hashing this much."""

SESSION_CHUNKS_MAX: Final = 500_000
"""Chunks of this session kept in memory (about 150 MB at the very most); the index remembers them all."""

UPLOADS_MAX: Final = 8
"""Packs on their way to a storage that takes its time: each of them is held in memory as long."""

JOINED_BYTES_MAX: Final = 4 << 20
"""Chunks that lie next to each other in memory are written together up to this."""

_Part = tuple[bytes | memoryview, tuple[Any, int] | None]
"""Bytes to write, and where they are: a buffer in memory, and the place in it."""

Span = tuple[str, int, int]
"""(name of a pack, first chunk, count of chunks)."""


@dataclass(slots=True)
class Placed:
    """Where a buffer lies now."""

    spans: list[Span] = field(default_factory=list)
    new_bytes: int = 0
    """What it added to packs."""
    hasher: blake3 = field(default_factory=blake3)

    @property
    def digest(self) -> bytes:
        """BLAKE3 of the digests of its chunks."""
        return self.hasher.digest()

    def append(self, pack: str, number: int, digest: bytes) -> None:
        """Note one more chunk; chunks that follow each other in a pack make one span."""
        self.hasher.update(digest)
        if self.spans and self.spans[-1][0] == pack and self.spans[-1][1] + self.spans[-1][2] == number:
            self.spans[-1] = (pack, self.spans[-1][1], self.spans[-1][2] + 1)
        else:
            self.spans.append((pack, number, 1))


@dataclass(slots=True)
class Written:
    """Where the buffers of a save lie now."""

    places: list[Placed]
    refs: dict[str, PackRef] = field(default_factory=dict)
    """Every pack that the spans name."""


class PackWriter:
    """Writes the packs of one writer, one save after the other; not to be used by two threads at once.

    It finds chunks that it wrote itself, and those of `index`. Packs are called ``<writer>-<number>``: `writer` is
    random, so no name is ever used twice. `opened` waits until the writer's log is open, and returns the packs that
    were condemned then: no pack becomes visible, and none of others is referred to, before that.
    """

    def __init__(
        self,
        storage: Storage,
        writer: str,
        index: ChunkIndex,
        ratio_max: float,
        opened: Callable[[], frozenset[str]],
    ) -> None:
        self._storage = storage
        self._writer = writer
        self._index = index
        self._ratio_max = ratio_max
        self._count = 0
        self._session: dict[bytes, tuple[str, int]] = {}
        self._refs: dict[str, PackRef] = {}
        self._open: _OpenPack | None = None
        self._opened: Callable[[], frozenset[str]] | None = opened
        self._lock = threading.Lock()

    def write(self, sources: Sequence[BufferSource]) -> Written:
        """Store `sources` and return where their bytes lie; when this returns, the packs are durable.

        On failure nothing is visible that was not before, but for packs that are whole and that no record names.
        """
        written = Written([Placed() for _ in sources])
        total = sum(source.size for source in sources)
        threads = THREADS if total >= THREADED_BYTES_MIN else 1
        pieces = cut_into_pieces(sources, max(total // (4 * threads), THREADED_BYTES_MIN))
        batches = run_ordered(
            pieces,
            lambda piece: chunk_piece(piece, self, self._ratio_max),
            bytes_max=INFLIGHT_BYTES_MAX,
            threads=threads,
        )
        uploads = Tasks(UPLOADS_MAX) if self._storage.traits.concurrency else None
        try:
            with closing(batches):  # type: ignore[type-var]
                chunks = itertools.chain.from_iterable(batches)
                waiting = self._next_new(chunks, written)
                while waiting is not None:
                    waiting = self._write_pack(waiting, chunks, written, sources, uploads)
            if uploads is not None:
                uploads.wait()
            self._await_opening()
        except BaseException:
            if uploads is not None:
                uploads.join()
            # What did not become visible is not referred to by a later save.
            self._session = {
                digest: place
                for digest, place in self._session.items()
                if place[0] in self._refs or not place[0].startswith(f"{self._writer}-")
            }
            raise
        for name in {name for place in written.places for name, _, _ in place.spans}:
            written.refs[name] = self._refs[name]
        return written

    def find(self, digest: bytes) -> tuple[str, int] | None:
        """Return where a chunk lies already."""
        place = self._session.get(digest)
        if place is not None:
            return place
        place = self._index.find(digest)
        if place is not None and self._opened is not None:
            self._await_opening()
            place = self._index.find(digest)
        if place is not None and place[0] not in self._refs:
            found = self._index.table(place[0])
            if found is None:
                return None  # the index was lost this instant
            self._refs[place[0]] = found[1]
        return place

    def table(self, pack: str) -> PackTable | Sequence[Entry] | None:
        """Return the chunks of a pack in their order."""
        current = self._open
        if current is not None and current.name == pack:
            return current.entries
        found = self._index.table(pack)
        return found[0] if found else None

    def _await_opening(self) -> None:
        with self._lock:
            if self._opened is not None:
                self.exclude(self._opened())
                self._opened = None

    def exclude(self, packs: frozenset[str]) -> None:
        """Refer to none of these packs any more."""
        self._index.forget(packs)
        self._session = {digest: place for digest, place in self._session.items() if place[0] not in packs}

    def _next_new(self, chunks: Iterator[Chunk], written: Written) -> Chunk | None:
        """Note the chunks that are stored already; return the next one that is not."""
        for chunk in chunks:
            place = chunk.known or self._session.get(chunk.entry.digest)
            if place is None:
                return chunk
            written.places[chunk.buffer].append(*place, chunk.entry.digest)
        return None

    def _write_pack(
        self,
        chunk: Chunk,
        chunks: Iterator[Chunk],
        written: Written,
        sources: Sequence[BufferSource],
        uploads: Tasks | None,
    ) -> Chunk | None:
        """Write one pack that begins with `chunk`; return the chunk that the next one begins with, if any."""
        self._count += 1
        pack = self._open = _OpenPack(f"{self._writer}-{self._count}")
        waiting: Chunk | None = chunk
        traits = self._storage.traits

        def parts() -> Iterator[_Part]:
            nonlocal waiting
            yield HEADER, None
            while waiting is not None:
                # Where packs can be mapped, a buffer stays in one piece, however long it is.
                whole = traits.mappable and waiting.position > 0
                if not whole and pack.entries and pack.offset + len(waiting.data or b"") > traits.pack_bytes:
                    break
                before = pack.offset
                yield from pack.add(waiting, sources[waiting.buffer].data)
                self._session[waiting.entry.digest] = pack.name, len(pack.entries) - 1
                placed = written.places[waiting.buffer]
                placed.append(pack.name, len(pack.entries) - 1, waiting.entry.digest)
                placed.new_bytes += pack.offset - before
                waiting = self._next_new(chunks, written)
            if uploads is None:
                self._await_opening()
            yield from pack.close()

        try:
            if uploads is None:
                self._publish(pack, _joined(parts()))
            else:
                body = bytearray()
                for part in _joined(parts()):
                    body += part
                uploads.start(lambda: self._upload(pack, body))
        finally:
            self._open = None
        if len(self._session) > SESSION_CHUNKS_MAX:
            self._session.clear()
        return waiting

    def _upload(self, pack: _OpenPack, body: bytearray) -> None:
        self._await_opening()
        self._publish(pack, (memoryview(body),))

    def _publish(self, pack: _OpenPack, parts: Iterable[bytes | memoryview]) -> None:
        create_pack(self._storage, pack.name, parts, lambda: pack.ref() if pack.footer is not None else None)
        self._index.add(pack.name, pack.table(), pack.ref())
        self._refs[pack.name] = pack.ref()


class _OpenPack:
    """A pack that is being written."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[Entry] = []
        self.offset = len(HEADER)
        self.footer: Footer | None = None
        self._table = b""
        self._last: tuple[int, int] | None = None

    def add(self, chunk: Chunk, source: object) -> Iterator[_Part]:
        """Yield the bytes that `chunk` of the buffer `source` adds."""
        data = chunk.data if chunk.data is not None else b""
        # Raw chunks of one buffer that follow each other stay together, so that an array can be mapped in one piece.
        follows = self._last == (chunk.buffer, chunk.position)
        if chunk.entry.codec == CODEC_RAW and not follows and self.offset % ALIGNMENT:
            padding = ALIGNMENT - self.offset % ALIGNMENT
            yield bytes(padding), None
            self.offset += padding
        self.entries.append(chunk.entry._replace(offset=self.offset))
        raw_end = chunk.position + chunk.entry.raw_bytes
        self._last = (chunk.buffer, raw_end) if chunk.entry.codec == CODEC_RAW else None
        self.offset += len(data)
        in_memory = chunk.entry.codec == CODEC_RAW and isinstance(source, memoryview)
        yield data, (source, chunk.position) if in_memory else None

    def close(self) -> Iterator[_Part]:
        """Yield the table and the footer."""
        self._table, tail = build_tail(self.entries, self.offset)
        self.footer = parse_footer(tail, self.offset + len(self._table) + len(tail))
        yield self._table, None
        yield tail, None

    def table(self) -> PackTable:
        """Return the table of the closed pack."""
        return PackTable(self._table, self.offset)

    def ref(self) -> PackRef:
        """Return how a record refers to the closed pack."""
        if self.footer is None:
            raise ConflictError(f"Pack {self.name} was not closed.")
        return PackRef(self.name, self.footer.table_offset, self.footer.entries, self.footer.table_digest.hex())


def _joined(parts: Iterator[_Part]) -> Iterator[bytes | memoryview]:
    """Yield the bytes of `parts`, those that follow each other in memory as one."""
    buffer: Any = None
    start = end = 0
    for data, origin in parts:
        if origin is not None and origin[0] is buffer and origin[1] == end and end - start < JOINED_BYTES_MAX:
            end += len(data)
            continue
        if buffer is not None:
            yield buffer[start:end]
        buffer = None
        if origin is None:
            yield data
        else:
            buffer, start = origin
            end = start + len(data)
    if buffer is not None:
        yield buffer[start:end]
