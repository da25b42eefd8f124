"""Live chunks are copied out of packs that are mostly dead, as they are stored, so that the packs can be deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from holdall_store.errors import HoldallError, IntegrityError, StorageError
from holdall_store.format import (
    ALIGNMENT,
    CODEC_RAW,
    HEADER,
    BufferRef,
    Entry,
    MovedPack,
    PackRef,
    PackTable,
    build_tail,
    decompress,
    pack_key,
    parse_footer,
)
from holdall_store.repository._marks import ranges_of
from holdall_store.repository._pack_create import create_pack
from holdall_store.storage import Storage

__all__ = ["Repacker", "live_bytes"]

READ_BYTES: Final = 8 << 20
"""What is read, verified and written at a time."""

TABLE_PIECE_BYTES: Final = 1 << 20
"""Tables of deleted packs are kept in chunks of this size."""


def live_bytes(table: PackTable, live: bytearray) -> int:
    """Return how many bytes the live chunks of a pack take as they are stored."""
    return sum(entry.stored_bytes for begin, end in ranges_of(live) for entry in table.span(begin, end - begin))


@dataclass(slots=True)
class _Moving:
    """What is known of a pack while its chunks are being copied: as `MovedPack`, with targets by name."""

    spans: list[tuple[int, int, str, int]] = field(default_factory=list)
    table_spans: list[tuple[str, int, int]] = field(default_factory=list)
    table_bytes: int = 0
    table_pieces: int = -1
    """How many chunks hold the table; -1 until that is known."""

    def is_whole(self, live: bytearray) -> bool:
        """Tell whether all live chunks of the pack were copied, and its table."""
        return sum(count for _, count, _, _ in self.spans) == live.count(1) and self.table_pieces == sum(
            count for _, _, count in self.table_spans
        )

    def add(self, number: int, target: str, place: int) -> None:
        """Note that chunk `number` is now chunk `place` of `target`."""
        if self.spans:
            first, count, name, start = self.spans[-1]
            if (name, start + count, first + count) == (target, place, number):
                self.spans[-1] = (first, count + 1, name, start)
                return
        self.spans.append((number, 1, target, place))

    def add_table(self, target: str, place: int) -> None:
        """Note that the next piece of the table is chunk `place` of `target`."""
        if self.table_spans and self.table_spans[-1][0] == target:
            name, first, count = self.table_spans[-1]
            self.table_spans[-1] = (name, first, count + 1)
        else:
            self.table_spans.append((target, place, 1))


_Note = Callable[[str, int], None]
_Piece = tuple[bytes | memoryview, Entry, bool, _Note]
"""Stored bytes of a chunk, its entry, whether it has to follow the one before, and whom to tell where it is."""


class Repacker:
    """Copies live chunks into packs called ``<writer>-<number>``; `writer` is random, and used for nothing else.

    Nothing refers to these packs before the collector's log does.
    """

    def __init__(self, storage: Storage, writer: str) -> None:
        self._storage = storage
        self._writer = writer
        self._count = 0
        self._moving: dict[str, _Moving] = {}
        self._refs: dict[str, PackRef] = {}
        self.damaged: dict[str, HoldallError] = {}
        """Packs that could not be copied, and why: they have to stay as they are."""

    def copy(self, packs: Mapping[str, tuple[PackTable, bytearray]]) -> None:
        """Copy the live chunks of packs, given their tables, and these tables.

        A damaged pack is left out. Where the storage takes no more, such as a full disk, so are those that were not
        copied whole: what else is collected may make room.
        """
        pieces = self._pieces(packs)
        try:
            waiting = next(pieces, None)
            while waiting is not None:
                waiting = self._write_pack(waiting, pieces)
        except StorageError as error:
            self.damaged |= {
                name: error
                for name, (_, live) in packs.items()
                if name not in self._moving or not self._moving[name].is_whole(live)
            }

    def result(self) -> tuple[dict[str, MovedPack], tuple[PackRef, ...]]:
        """Return what the collector's log has to say of it."""
        whole = {name: moving for name, moving in self._moving.items() if name not in self.damaged}
        names = dict.fromkeys(
            target
            for moving in whole.values()
            for target in (*(span[2] for span in moving.spans), *(span[0] for span in moving.table_spans))
        )
        numbers = {name: number for number, name in enumerate(names)}
        moved = {
            name: MovedPack(
                BufferRef(moving.table_bytes, spans=tuple((numbers[t], at, n) for t, at, n in moving.table_spans)),
                tuple((first, count, numbers[target], place) for first, count, target, place in moving.spans),
            )
            for name, moving in whole.items()
        }
        return moved, tuple(self._refs[name] for name in names)

    def _pieces(self, packs: Mapping[str, tuple[PackTable, bytearray]]) -> Iterator[_Piece]:
        for name, (table, live) in packs.items():
            moving = self._moving[name] = _Moving()
            try:
                yield from self._chunks(name, table, live, moving)
            except HoldallError as error:
                self.damaged[name] = error
                continue
            raw = table.raw
            moving.table_bytes = len(raw)
            moving.table_pieces = -(-len(raw) // TABLE_PIECE_BYTES)
            for start in range(0, len(raw), TABLE_PIECE_BYTES):
                piece = memoryview(raw)[start : start + TABLE_PIECE_BYTES]
                yield (
                    piece,
                    Entry(blake3(piece).digest(), 0, len(piece), len(piece), CODEC_RAW, 0, 1),
                    start > 0,
                    moving.add_table,
                )

    def _chunks(self, name: str, table: PackTable, live: bytearray, moving: _Moving) -> Iterator[_Piece]:
        end = -1
        for numbers in _reads(table, live):
            first, last = table[numbers[0]], table[numbers[-1]]
            start = first.offset
            data = self._storage.get(pack_key(name), start, last.offset + last.stored_bytes - start)
            for number in numbers:
                entry = table[number]
                stored = data[entry.offset - start : entry.offset - start + entry.stored_bytes]
                raw = decompress(stored, entry.codec, entry.stride, entry.raw_bytes)
                if blake3(raw).digest() != entry.digest:
                    raise IntegrityError(
                        f"A chunk is damaged in {pack_key(name)}, bytes {entry.offset} to "
                        f"{entry.offset + entry.stored_bytes}: it does not match its hash."
                    )
                follows = entry.codec == CODEC_RAW and entry.offset == end
                end = entry.offset + entry.stored_bytes if entry.codec == CODEC_RAW else -1

                def note(target: str, place: int, number: int = number) -> None:
                    moving.add(number, target, place)

                yield stored, entry, follows, note

    def _write_pack(self, waiting: _Piece | None, pieces: Iterator[_Piece]) -> _Piece | None:
        """Write one pack that begins with `waiting`; return the piece that the next one begins with, if any."""
        self._count += 1
        name = f"{self._writer}-{self._count}"
        entries: list[Entry] = []
        traits = self._storage.traits
        offset = len(HEADER)
        notes: list[tuple[_Note, int]] = []

        def parts() -> Iterator[bytes | memoryview]:
            nonlocal waiting, offset
            yield HEADER
            while waiting is not None:
                data, entry, follows, note = waiting
                # Where packs can be mapped, an array stays in one piece, however long it is.
                if entries and not (follows and traits.mappable) and offset + len(data) > traits.pack_bytes:
                    break
                if entry.codec == CODEC_RAW and not (follows and entries) and offset % ALIGNMENT:
                    padding = ALIGNMENT - offset % ALIGNMENT
                    yield bytes(padding)
                    offset += padding
                notes.append((note, len(entries)))
                entries.append(entry._replace(offset=offset))
                offset += len(data)
                yield data
                waiting = next(pieces, None)
            table, footer = build_tail(entries, offset)
            yield table
            yield footer

        create_pack(self._storage, name, parts(), lambda: _ref(name, entries, offset))
        self._refs[name] = _ref(name, entries, offset)
        for note, place in notes:
            note(name, place)
        return waiting


def _ref(name: str, entries: list[Entry], end: int) -> PackRef:
    table, footer = build_tail(entries, end)
    parsed = parse_footer(footer, end + len(table) + len(footer))
    return PackRef(name, parsed.table_offset, parsed.entries, parsed.table_digest.hex())


def _reads(table: PackTable, live: bytearray) -> Iterator[list[int]]:
    """Yield the numbers of live chunks that lie together, as many as are read at once."""
    numbers: list[int] = []
    start = end = 0
    for begin, stop in ranges_of(live):
        for number in range(begin, stop):
            entry = table[number]
            if numbers and (entry.offset < end or entry.offset + entry.stored_bytes - start > READ_BYTES):
                yield numbers
                numbers = []
            if numbers and entry.offset - end > ALIGNMENT:
                yield numbers
                numbers = []
            if not numbers:
                start = entry.offset
            numbers.append(number)
            end = entry.offset + entry.stored_bytes
    if numbers:
        yield numbers
