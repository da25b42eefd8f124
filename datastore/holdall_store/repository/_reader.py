"""Buffers come back from packs: located by their records, fetched, decompressed, verified."""

from __future__ import annotations

import base64
import binascii
import errno
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from blake3 import blake3

from holdall_store.errors import IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.format import BufferRef, Entry, Footer, PackRef, PackTable, decompress, pack_key
from holdall_store.repository._gclog import Move, MovedPacks
from holdall_store.repository._plan import (
    Check,
    Job,
    Located,
    Put,
    checks,
    jobs,
    raw_bytes,
    reach,
    runs,
    table_range,
)
from holdall_store.storage import Storage
from holdall_store.transfer import THREADED_BYTES_MIN, THREADS, Background, Range, fetch_ranges, run_all

__all__ = ["BufferReader", "Pending", "inline_buffer", "lost"]

TABLES_KEPT: Final = 256
"""Tables of packs kept parsed: 50 KiB each on the average."""

BACKGROUND_BYTES_MIN: Final = 16 << 20
"""Less than this is verified before a thread for it has begun to pay."""

CHUNK_BYTES_MEAN_MIN: Final = 1024
"""Writers cut chunks of at least 16 KiB, but for tails. A record with far shorter ones is made to waste memory."""

AHEAD_TOTAL_MAX: Final = 64 << 20
"""So much of packs is held at once because it came with their tables."""

Ahead = Mapping[str, memoryview]
"""Beginnings of packs that came with their tables, by the packs' names."""


class Pending(Protocol):
    """Work that goes on in the background."""

    def wait(self) -> None:
        """Return when all is done; raise what went wrong."""


class BufferReader:
    """Reads buffers from the packs of one storage; safe to use from several threads.

    `key_of` gives the key of a pack from its name; `moved` knows the packs that a collection took apart.
    """

    def __init__(
        self, storage: Storage, key_of: Callable[[str], str] = pack_key, moved: MovedPacks | None = None
    ) -> None:
        self._storage = storage
        self._key = key_of
        self._moved = moved
        self._tables: OrderedDict[tuple[str, str], PackTable] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        refs: Sequence[BufferRef],
        packs: Sequence[PackRef],
        *,
        verify: bool = True,
        pending: list[Pending] | None = None,
    ) -> list[memoryview]:
        """Return the buffers that `refs` describe: each writable and the caller's own.

        Where the storage can be mapped and a buffer lies there in one raw piece, it is a private copy-on-write map.
        Every chunk is checked against its BLAKE3 unless `verify` is false. Raises `IntegrityError` naming the pack and
        the place where bytes are not what was written, `ObjectNotFoundError` where a pack is gone.

        With `pending`, maps of packs are given back before they are checked; the checks go on meanwhile, and are put
        there for the caller to wait for. Nobody may write into the buffers, or believe them, before that.
        """
        ahead = self.get_tables(refs, packs)
        maps: dict[str, memoryview | None] | None = {} if self._storage.traits.mappable else None
        mapped: list[Check] = []
        absent: list[tuple[Located, Put, int]] = []
        buffers = []
        room = _memory_bytes()
        for ref in refs:
            before = len(absent)
            buffers.append(self._plan(ref, packs, maps, mapped, absent, room))
            room -= ref.bytes if len(absent) > before else 0
        if verify and pending is not None and _size(mapped) >= BACKGROUND_BYTES_MIN:
            pending.append(Background(mapped, self._check))
        elif verify:
            run_all(mapped, self._check, threads=THREADS if _size(mapped) >= THREADED_BYTES_MIN else 1)
        self.fetch(absent, ahead, verify=verify)
        return buffers

    def read_range(
        self, ref: BufferRef, packs: Sequence[PackRef], start: int, length: int, *, verify: bool = True
    ) -> memoryview:
        """Return `length` bytes of a buffer from `start` on; only the chunks that hold them are fetched."""
        if start < 0 or length < 0 or start + length > ref.bytes:
            raise ValueError(f"Bytes {start} to {start + length} are asked of a buffer of {ref.bytes}.")
        if not ref.spans:
            return inline_buffer(ref)[start : start + length]
        ahead = self.get_tables([ref], packs)
        located = self.locate(ref, packs)
        first = last = None
        chosen: list[tuple[str, Entry]] = []
        position = 0
        for pack, entry in located:
            if position < start + length and position + entry.raw_bytes > start:
                first = position if first is None else first
                chosen.append((pack, entry))
                last = position + entry.raw_bytes
            position += entry.raw_bytes
        if first is None or last is None:
            return memoryview(bytearray())
        if last - first > _memory_bytes():
            raise _too_large(last - first)
        target = _allocate(last - first)
        self.fetch([(chosen, _put_into(target), 0)], ahead, verify=verify)
        return target[start - first : start - first + length]

    def get_tables(self, refs: Sequence[BufferRef], packs: Sequence[PackRef]) -> Ahead:
        """Fetch the tables that `refs` need, all at once, where each is a round trip; they are kept.

        Returned is what came with them of packs that were small enough to be fetched whole.
        """
        traits = self._storage.traits
        if not traits.concurrency:
            return {}
        wanted: dict[int, int] = {}
        for ref in refs:
            for number, _, count in ref.spans:
                if 0 <= number < len(packs):
                    wanted[number] = wanted.get(number, 0) + count
        with self._lock:
            missing = [n for n in wanted if (packs[n].name, packs[n].table) not in self._tables]
        if self._moved is not None:
            missing = [n for n in missing if self._moved.find(packs[n].name) is None]
        ahead: dict[str, memoryview] = {}
        ranges: list[Range] = []
        room = AHEAD_TOTAL_MAX
        for number in missing:
            footer = _footer(packs[number])
            start, length = table_range(packs[number], footer.table_bytes, wanted[number])
            if length > room:
                start, length = footer.table_offset, footer.table_bytes
            room -= 0 if start else length
            ranges.append(Range(self._key(packs[number].name), start, length))

        def keep(index: int, data: memoryview) -> None:
            ref = packs[missing[index]]
            if ranges[index].start == 0:
                ahead[ref.name] = data[: ref.table_offset]
                data = memoryview(bytes(data[ref.table_offset :]))  # the table is kept: not the whole pack with it
            self._keep(ref, data)

        try:
            fetch_ranges(self._storage, ranges, keep)
        except ObjectNotFoundError as error:
            raise lost(error) from None
        return ahead

    def fetch(
        self, absent: Sequence[tuple[Located, Put, int]], ahead: Ahead | None = None, *, verify: bool = True
    ) -> None:
        """Fetch chunks and put them where they belong; see `jobs` of `_plan` for what `absent` holds."""
        if not absent:
            return
        ahead = ahead or {}
        total = sum(entry.raw_bytes for located, _, _ in absent for _, entry in located)
        parts = jobs(absent, reach(self._storage.traits.concurrency, total))
        here = [job for job in parts if job.pack in ahead]
        there = [job for job in parts if job.pack not in ahead]
        run_all(
            here,
            lambda job: self._place(job, ahead[job.pack][job.start : job.end], verify),
            threads=THREADS if total >= THREADED_BYTES_MIN else 1,
        )
        ranges = [Range(self._key(job.pack), job.start, job.end - job.start) for job in there]
        fetch_ranges(self._storage, ranges, lambda number, data: self._place(there[number], data, verify))

    def locate(self, ref: BufferRef, packs: Sequence[PackRef]) -> list[tuple[str, Entry]]:
        """Return the chunks of a buffer with the packs that hold them."""
        located: list[tuple[str, Entry]] = []
        chunks_max = _chunks_max(ref)
        total = 0
        for number, first, count in ref.spans:
            if not 0 <= number < len(packs):
                raise IntegrityError(f"A record refers to its pack {number}, but lists {len(packs)}.")
            if len(located) + count > chunks_max:
                raise IntegrityError(f"A record gives a buffer of {ref.bytes} bytes more than {chunks_max} chunks.")
            for pack, begin, length in self._spans(packs[number], first, count):
                entries = self._table(pack).span(begin, length)
                located.extend((pack.name, entry) for entry in entries)
                total += sum(entry.raw_bytes for entry in entries)
        if total != ref.bytes:
            raise IntegrityError(f"A record gives a buffer {ref.bytes} bytes, but its chunks have {total}.")
        return located

    def _spans(self, pack: PackRef, first: int, count: int) -> list[tuple[PackRef, int, int]]:
        """Return the spans in which chunks of a pack lie: of other packs, where a collection took it apart."""
        move = self._moved.find(pack.name) if self._moved is not None else None
        if move is None or self._moved is None:
            return [(pack, first, count)]
        spans = list(self._moved.spans(pack, first, count))
        found = [entry for target, begin, length in spans for entry in self._table(target).span(begin, length)]
        expected = self._moved_table(pack, move).span(first, count)
        if [(entry.digest, entry.raw_bytes) for entry in found] != [(each.digest, each.raw_bytes) for each in expected]:
            raise IntegrityError(
                f"Chunks {first} to {first + count} of {self._key(pack.name)}, which a collection took apart, are not what "
                "lies where they should be now."
            )
        return spans

    def _moved_table(self, pack: PackRef, move: Move) -> PackTable:
        """Return the table of a pack that was taken apart; its hash is in the record that refers to it."""
        with self._lock:
            table = self._tables.get((pack.name, pack.table))
        if table is not None:
            return table
        (raw,) = self.read([move.pack.table], move.targets)
        return self._keep(pack, raw)

    def _plan(
        self,
        ref: BufferRef,
        packs: Sequence[PackRef],
        maps: dict[str, memoryview | None] | None,
        mapped: list[Check],
        absent: list[tuple[Located, Put, int]],
        room: int,
    ) -> memoryview:
        """Return the memory of a buffer; add the work that verifies it to `mapped`, or that fills it to `absent`.

        No more than `room` bytes are taken for it: chunks that unpack to a thousand times their size can claim any
        amount. What can be mapped lies in one span, and takes none. `maps` is None where nothing can.
        """
        if not ref.spans:
            return inline_buffer(ref)
        if len(ref.spans) > 1:
            if ref.bytes > room:
                raise _too_large(ref.bytes)
        elif maps is not None:
            target = self._mapped(ref, packs, maps, mapped)
            if target is not None:
                return target
        located = self.locate(ref, packs)
        if ref.bytes > room:
            raise _too_large(ref.bytes)
        target = _allocate(ref.bytes)
        absent.append((located, _put_into(target), 0))
        return target

    def _mapped(
        self, ref: BufferRef, packs: Sequence[PackRef], maps: dict[str, memoryview | None], mapped: list[Check]
    ) -> memoryview | None:
        """Return a buffer where it lies, if it does so whole and in one span; add what is to be verified to `mapped`.

        This says nothing of a span that cannot be: `locate` does.
        """
        number, first, count = ref.spans[0]
        if not 0 <= number < len(packs) or count > _chunks_max(ref):
            return None
        spans = self._spans(packs[number], first, count)
        if len(spans) != 1:
            return None
        ((found, first, count),) = spans
        entries = self._table(found).span(first, count)
        if raw_bytes(entries) != ref.bytes:
            return None
        pack = found.name
        if pack not in maps:
            maps[pack] = self._storage.map(self._key(pack))
        whole = maps[pack]
        if whole is None:
            return None
        start = entries[0].offset
        target = whole[start : start + ref.bytes]
        if len(target) != ref.bytes:
            raise IntegrityError(f"{self._key(pack)} is cut off at {len(whole)} bytes.")
        mapped.extend(checks(pack, entries, target))
        return target

    def _table(self, ref: PackRef) -> PackTable:
        """Return the table that a record means: its hash is in the record."""
        with self._lock:
            table = self._tables.get((ref.name, ref.table))
            if table is not None:
                self._tables.move_to_end((ref.name, ref.table))
                return table
        footer = _footer(ref)
        try:
            raw = self._storage.get(self._key(ref.name), footer.table_offset, footer.table_bytes)
        except ObjectNotFoundError as error:
            raise lost(error) from None
        return self._keep(ref, raw)

    def _keep(self, ref: PackRef, raw: memoryview) -> PackTable:
        try:
            table = PackTable.parse(raw, _footer(ref))
        except IntegrityError as error:
            raise IntegrityError(f"{self._key(ref.name)}, bytes {ref.table_offset} on: {error}") from None
        with self._lock:
            self._tables[ref.name, ref.table] = table
            if len(self._tables) > TABLES_KEPT:
                self._tables.popitem(last=False)
        return table

    def _check(self, check: Check) -> None:
        target, position = check.target, check.position
        for entry in check.entries:
            digest, _, _, size, _, _, _ = entry
            if blake3(target[position : position + size]).digest() != digest:
                raise self._unlike(entry, check.pack)
            position += size

    def _place(self, job: Job, stored: memoryview, verify: bool) -> None:
        """Unpack the chunks of a job, verify them, and put them where they belong."""
        start = job.start
        for places in runs(job.places):
            for entry, put, position in places:
                piece = stored[entry.offset - start : entry.offset - start + entry.stored_bytes]
                try:
                    raw = decompress(piece, entry.codec, entry.stride, entry.raw_bytes)
                except IntegrityError as error:
                    raise self._damaged(entry, job.pack, str(error)) from None
                if verify:
                    self._verify(raw, entry, job.pack)
                if len(places) == 1:
                    put(position, raw)
            if len(places) > 1:
                first, last = places[0], places[-1].entry
                end = last.offset + last.stored_bytes
                first.put(first.position, stored[first.entry.offset - start : end - start])

    def _verify(self, raw: bytes | memoryview, entry: Entry, pack: str) -> None:
        if blake3(raw).digest() != entry.digest:
            raise self._unlike(entry, pack)

    def _unlike(self, entry: Entry, pack: str) -> IntegrityError:
        return self._damaged(entry, pack, "it does not match its hash.")

    def _damaged(self, entry: Entry, pack: str, why: str) -> IntegrityError:
        end = entry.offset + entry.stored_bytes
        return IntegrityError(f"A chunk is damaged in {self._key(pack)}, bytes {entry.offset} to {end}: {why}")


def inline_buffer(ref: BufferRef) -> memoryview:
    """Return a buffer that lies in its record."""
    try:
        raw = base64.b64decode(ref.inline, validate=True)
    except (binascii.Error, ValueError):
        raise IntegrityError("A record holds a buffer that is no base64.") from None
    if len(raw) != ref.bytes:
        raise IntegrityError(f"A record holds {len(raw)} bytes of a buffer of {ref.bytes}.")
    return memoryview(bytearray(raw))


def _chunks_max(ref: BufferRef) -> int:
    return ref.bytes // CHUNK_BYTES_MEAN_MIN + 16


def _footer(ref: PackRef) -> Footer:
    try:
        return Footer(ref.table_offset, ref.entries, bytes.fromhex(ref.table))
    except ValueError:
        raise IntegrityError(f"A record refers to pack {ref.name} by what is no hash.") from None


def lost(error: ObjectNotFoundError) -> ObjectNotFoundError:
    """Return the error for a pack that is not there, although a record names it."""
    return ObjectNotFoundError(f"{error} A record refers to it: its bytes are lost, or the store was copied in part.")


def _put_into(target: memoryview) -> Put:
    def put(position: int, raw: bytes | memoryview) -> None:
        target[position : position + len(raw)] = raw

    return put


def _size(found: Sequence[Check]) -> int:
    return sum(check.bytes for check in found)


def _allocate(size: int) -> memoryview:
    """Return writable memory. A large one is mapped, not zeroed: its pages come into being when they are written."""
    try:
        return memoryview(mmap.mmap(-1, size) if size >= THREADED_BYTES_MIN else bytearray(size))
    except (OSError, OverflowError, MemoryError):
        raise _too_large(size) from None


def _too_large(size: int) -> StorageError:
    return StorageError(
        errno.ENOMEM, f"{size} bytes cannot be loaded at once: this machine has {_memory_bytes()} bytes of memory."
    )


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
