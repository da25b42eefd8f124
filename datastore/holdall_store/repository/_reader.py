"""Buffers come back from packs: located by their records, fetched, decompressed, verified."""

from __future__ import annotations

import base64
import binascii
import errno
import mmap
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from blake3 import blake3

from holdall_store.errors import IntegrityError, ObjectNotFoundError, StorageError
from holdall_store.format import (
    ALIGNMENT,
    CODEC_RAW,
    BufferRef,
    Entry,
    Footer,
    PackRef,
    PackTable,
    decompress,
    pack_key,
)
from holdall_store.storage import Storage
from holdall_store.transfer import THREADS, Background, run_all

__all__ = ["BufferReader"]

TABLES_KEPT: Final = 256
"""Tables of packs kept parsed: 50 KiB each on the average."""

JOB_BYTES: Final = 4 << 20
"""What one thread fetches and verifies at a time."""

GAP_BYTES: Final = 64 << 10
"""Reading over a smaller gap costs less than another request."""

BACKGROUND_BYTES_MIN: Final = 16 << 20
"""Less than this is verified before a thread for it has begun to pay."""

THREADED_BYTES_MIN: Final = 1 << 20
"""Below this, handing work to threads costs more than the work."""

CHUNK_BYTES_MEAN_MIN: Final = 1024
"""Writers cut chunks of at least 16 KiB, but for tails. A record with far shorter ones is made to waste memory."""


_Place = tuple[Entry, int]
"""One chunk of a buffer: what the table says, and where it goes."""


class _Job(NamedTuple):
    """Chunks that lie next to each other in a pack, for one thread."""

    pack: str
    places: list[_Place]
    target: memoryview
    in_place: bool
    """`target` is a map of the pack itself: there is nothing to copy, only to verify."""


class BufferReader:
    """Reads buffers from the packs of one storage; safe to use from several threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._tables: OrderedDict[tuple[str, str], PackTable] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self,
        refs: Sequence[BufferRef],
        packs: Sequence[PackRef],
        *,
        verify: bool = True,
        pending: list[Background] | None = None,
    ) -> list[memoryview]:
        """Return the buffers that `refs` describe: each writable and the caller's own.

        Where the storage can be mapped and a buffer lies there in one raw piece, it is a private copy-on-write map.
        Every chunk is checked against its BLAKE3 unless `verify` is false. Raises `IntegrityError` naming the pack and
        the place where bytes are not what was written, `ObjectNotFoundError` where a pack is gone.

        With `pending`, maps of packs are given back before they are checked; the checks go on meanwhile, and are put
        there for the caller to wait for. Nobody may write into the buffers, or believe them, before that.
        """
        maps: dict[str, memoryview | None] = {}
        jobs: list[_Job] = []
        buffers = []
        room = _memory_bytes()
        for ref in refs:
            buffers.append(self._plan(ref, packs, maps, jobs, room))
            room -= 0 if jobs and jobs[-1].in_place else ref.bytes
        if not verify:
            jobs = [job for job in jobs if not job.in_place]
        if pending is not None and _size(jobs) >= BACKGROUND_BYTES_MIN:
            mapped = [job for job in jobs if job.in_place]
            jobs = [job for job in jobs if not job.in_place]
            pending.append(Background(mapped, lambda job: self._run(job, verify)))
        threads = THREADS if _size(jobs) >= THREADED_BYTES_MIN else 1
        run_all(jobs, lambda job: self._run(job, verify), threads=threads)
        return buffers

    def read_range(
        self, ref: BufferRef, packs: Sequence[PackRef], start: int, length: int, *, verify: bool = True
    ) -> memoryview:
        """Return `length` bytes of a buffer from `start` on; only the chunks that hold them are fetched."""
        if start < 0 or length < 0 or start + length > ref.bytes:
            raise ValueError(f"Bytes {start} to {start + length} are asked of a buffer of {ref.bytes}.")
        if not ref.spans:
            return _inline(ref)[start : start + length]
        located = self._locate(ref, packs)
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
        jobs = _jobs(chosen, target)
        run_all(jobs, lambda job: self._run(job, verify), threads=1 if len(target) < THREADED_BYTES_MIN else THREADS)
        return target[start - first : start - first + length]

    def _plan(
        self,
        ref: BufferRef,
        packs: Sequence[PackRef],
        maps: dict[str, memoryview | None],
        jobs: list[_Job],
        room: int,
    ) -> memoryview:
        """Return the memory of a buffer, and add the work that fills and verifies it to `jobs`.

        No more than `room` bytes are taken for it: chunks that unpack to a thousand times their size can claim any
        amount. What can be mapped lies in one span, and takes none.
        """
        if not ref.spans:
            return _inline(ref)
        if ref.bytes > room and len(ref.spans) > 1:
            raise _too_large(ref.bytes)
        located = self._locate(ref, packs)
        start = _one_raw_piece(located)
        if start is not None:
            pack = located[0][0]
            whole = self._map(pack, maps)
            if whole is not None:
                target = whole[start : start + ref.bytes]
                if len(target) != ref.bytes:
                    raise IntegrityError(f"{pack_key(pack)} is cut off at {len(whole)} bytes.")
                jobs.extend(job._replace(in_place=True) for job in _jobs(located, target))
                return target
        if ref.bytes > room:
            raise _too_large(ref.bytes)
        target = _allocate(ref.bytes)
        jobs.extend(_jobs(located, target))
        return target

    def _locate(self, ref: BufferRef, packs: Sequence[PackRef]) -> list[tuple[str, Entry]]:
        """Return the chunks of a buffer with the packs that hold them."""
        located: list[tuple[str, Entry]] = []
        chunks_max = ref.bytes // CHUNK_BYTES_MEAN_MIN + 16
        total = 0
        for number, first, count in ref.spans:
            if not 0 <= number < len(packs):
                raise IntegrityError(f"A record refers to its pack {number}, but lists {len(packs)}.")
            if len(located) + count > chunks_max:
                raise IntegrityError(f"A record gives a buffer of {ref.bytes} bytes more than {chunks_max} chunks.")
            entries = self._table(packs[number]).span(first, count)
            located.extend((packs[number].name, entry) for entry in entries)
            total += sum(entry.raw_bytes for entry in entries)
        if total != ref.bytes:
            raise IntegrityError(f"A record gives a buffer {ref.bytes} bytes, but its chunks have {total}.")
        return located

    def _table(self, ref: PackRef) -> PackTable:
        """Return the table that a record means: its hash is in the record."""
        with self._lock:
            table = self._tables.get((ref.name, ref.table))
            if table is not None:
                self._tables.move_to_end((ref.name, ref.table))
                return table
        try:
            footer = Footer(ref.table_offset, ref.entries, bytes.fromhex(ref.table))
        except ValueError:
            raise IntegrityError(f"A record refers to pack {ref.name} by what is no hash.") from None
        key = pack_key(ref.name)
        try:
            table = PackTable.parse(self._storage.get(key, footer.table_offset, footer.table_bytes), footer)
        except ObjectNotFoundError as error:
            raise ObjectNotFoundError(
                f"{error} A record refers to it: its bytes are lost, or the store was copied in part."
            ) from None
        except IntegrityError as error:
            raise IntegrityError(f"{key}, bytes {ref.table_offset} on: {error}") from None
        with self._lock:
            self._tables[ref.name, ref.table] = table
            if len(self._tables) > TABLES_KEPT:
                self._tables.popitem(last=False)
        return table

    def _map(self, pack: str, maps: dict[str, memoryview | None]) -> memoryview | None:
        if pack not in maps:
            maps[pack] = self._storage.map(pack_key(pack)) if self._storage.traits.mappable else None
        return maps[pack]

    def _run(self, job: _Job, verify: bool) -> None:
        """Fetch the chunks of a job, put them where they belong, and verify them."""
        if job.in_place:
            for entry, position in job.places:
                _check(job.target[position : position + entry.raw_bytes], entry, job.pack)
            return
        start = job.places[0][0].offset
        end = max(entry.offset + entry.stored_bytes for entry, _ in job.places)
        stored = self._storage.get(pack_key(job.pack), start, end - start)
        for entry, position in job.places:
            piece = stored[entry.offset - start : entry.offset - start + entry.stored_bytes]
            try:
                raw = decompress(piece, entry.codec, entry.stride, entry.raw_bytes)
            except IntegrityError as error:
                raise _damaged(entry, job.pack, str(error)) from None
            if verify:
                _check(raw, entry, job.pack)
            job.target[position : position + entry.raw_bytes] = raw


def _size(jobs: Sequence[_Job]) -> int:
    return sum(entry.raw_bytes for job in jobs for entry, _ in job.places)


def _jobs(located: Sequence[tuple[str, Entry]], target: memoryview) -> list[_Job]:
    """Part the chunks of a buffer into jobs: neighbours in a pack go together, up to 4 MiB."""
    jobs: list[_Job] = []
    places: list[_Place] = []
    position = size = end = 0
    last = ""
    for pack, entry in located:
        _, offset, stored, raw, _, _, _ = entry
        if pack != last or not 0 <= offset - end <= GAP_BYTES or size + stored > JOB_BYTES:
            places = []
            jobs.append(_Job(pack, places, target, in_place=False))
            size = 0
        places.append((entry, position))
        size += stored
        position += raw
        last, end = pack, offset + stored
    return jobs


def _one_raw_piece(located: Sequence[tuple[str, Entry]]) -> int | None:
    """Return where a buffer lies in its pack, if it lies there whole, raw and aligned."""
    if not located:
        return None
    pack, first = located[0]
    if first.offset % ALIGNMENT:
        return None
    expected = first.offset
    for name, entry in located:
        if (
            name != pack
            or entry.codec != CODEC_RAW
            or entry.offset != expected
            or entry.stored_bytes != entry.raw_bytes
        ):
            return None
        expected += entry.raw_bytes
    return first.offset


def _check(raw: bytes | memoryview, entry: Entry, pack: str) -> None:
    if blake3(raw).digest() != entry.digest:
        raise _damaged(entry, pack, "it does not match its hash.")


def _damaged(entry: Entry, pack: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"A chunk is damaged in {pack_key(pack)}, bytes {entry.offset} to {entry.offset + entry.stored_bytes}: {why}"
    )


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


def _inline(ref: BufferRef) -> memoryview:
    try:
        raw = base64.b64decode(ref.inline, validate=True)
    except (binascii.Error, ValueError):
        raise IntegrityError("A record holds a buffer that is no base64.") from None
    if len(raw) != ref.bytes:
        raise IntegrityError(f"A record holds {len(raw)} bytes of a buffer of {ref.bytes}.")
    return memoryview(bytearray(raw))
