"""Which ranges of which packs a read fetches: decided from tables alone, before any byte is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from holdall_store.format import ALIGNMENT, CODEC_RAW, Entry, PackRef

__all__ = [
    "Check",
    "Job",
    "Located",
    "Place",
    "Put",
    "Reach",
    "checks",
    "jobs",
    "raw_bytes",
    "reach",
    "runs",
    "table_range",
]

JOB_BYTES: Final = 4 << 20
"""What one thread reads from a disk and verifies at a time."""

GAP_BYTES: Final = 64 << 10
"""Reading over a smaller gap costs less than another system call."""

REMOTE_JOB_BYTES_MAX: Final = 8 << 20
"""One request over a network: at 90 MB/s it takes three times as long as the way to the server and back."""

REMOTE_JOB_BYTES_MIN: Final = 1 << 20
"""Fewer bytes than this travel in the time that the request takes to get there."""

REMOTE_GAP_BYTES: Final = 1 << 20
"""For the same reason, as much is read and thrown away rather than asked for in two requests."""

WHOLE_BYTES_MAX: Final = 256 << 10
"""A pack this small is fetched with its table, whatever is wanted of it."""

AHEAD_BYTES_MAX: Final = 4 << 20
"""A pack up to this is fetched with its table where enough of it is wanted: a round trip less."""

AHEAD_SHARE: Final = 4
"""Enough is a quarter of its chunks."""

Located = Sequence[tuple[str, Entry]]
"""The chunks of a buffer, in order, and the packs that hold them."""

Put = Callable[[int, bytes | memoryview], None]
"""Writes bytes to a position of what is being assembled."""


class Place(NamedTuple):
    """One chunk, and where it goes."""

    entry: Entry
    put: Put
    position: int


class Job(NamedTuple):
    """Chunks that lie near each other in a pack, to be fetched in one range."""

    pack: str
    places: list[Place]

    @property
    def start(self) -> int:
        """Where the range begins."""
        return min(place.entry.offset for place in self.places)

    @property
    def end(self) -> int:
        """Where the range ends."""
        return max(place.entry.offset + place.entry.stored_bytes for place in self.places)


class Check(NamedTuple):
    """Chunks of a buffer that is mapped where it lies: there is nothing to copy, only to verify."""

    pack: str
    entries: Sequence[Entry]
    position: int
    """Where in `target` the first of them is; the others follow."""
    target: memoryview
    bytes: int


class Reach(NamedTuple):
    """How far apart chunks may lie in one range, and how large a range may be."""

    gap_bytes: int
    job_bytes: int
    in_order: bool
    """The chunks are asked for as they come, rather than sorted by their places."""


def reach(concurrency: int, total_bytes: int) -> Reach:
    """Return what suits a storage that answers `concurrency` requests at once; 0 stands for a disk."""
    if not concurrency:
        return Reach(GAP_BYTES, JOB_BYTES, in_order=True)
    share = min(max(total_bytes // concurrency, REMOTE_JOB_BYTES_MIN), REMOTE_JOB_BYTES_MAX)
    return Reach(REMOTE_GAP_BYTES, share, in_order=False)


def jobs(buffers: Iterable[tuple[Located, Put, int]], how: Reach) -> list[Job]:
    """Part the chunks of buffers into ranges; of each buffer are given its chunks, its `Put` and its position there."""
    places: list[tuple[str, Place]] = []
    for located, put, position in buffers:
        for pack, entry in located:
            places.append((pack, Place(entry, put, position)))
            position += entry.raw_bytes
    if not how.in_order:
        places.sort(key=lambda item: (item[0], item[1].entry.offset))
    found: list[Job] = []
    current: list[Place] = []
    start = end = 0
    last = ""
    for pack, place in places:
        _, offset, stored, _, _, _, _ = place.entry
        near = not how.in_order or offset >= end
        if pack != last or not near or offset - end > how.gap_bytes or offset + stored - start > how.job_bytes:
            current = []
            found.append(Job(pack, current))
            start, end = offset, offset
        current.append(place)
        last, end = pack, max(end, offset + stored)
    return found


def runs(places: Sequence[Place]) -> list[list[Place]]:
    """Part the chunks of a range where raw bytes do not go on in the pack as they go on in what is assembled.

    Chunks of one part can be put in one piece; what is compressed is a part of its own.
    """
    found: list[list[Place]] = []
    offset = position = -1
    last: Put | None = None
    for place in places:
        raw = place.entry.codec == CODEC_RAW and place.entry.stored_bytes == place.entry.raw_bytes
        if raw and place.put is last and (place.entry.offset, place.position) == (offset, position):
            found[-1].append(place)
        else:
            found.append([place])
        last = place.put if raw else None
        offset, position = place.entry.offset + place.entry.raw_bytes, place.position + place.entry.raw_bytes
    return found


def checks(pack: str, entries: Sequence[Entry], target: memoryview) -> list[Check]:
    """Part the chunks of a mapped buffer into pieces of work for threads."""
    found: list[Check] = []
    first = position = size = 0
    for number, entry in enumerate(entries):
        if size and size + entry.raw_bytes > JOB_BYTES:
            found.append(Check(pack, entries[first:number], position, target, size))
            first, position, size = number, position + size, 0
        size += entry.raw_bytes
    if size:
        found.append(Check(pack, entries[first:], position, target, size))
    return found


def raw_bytes(entries: Sequence[Entry]) -> int | None:
    """Return the size of chunks that lie in their pack as one raw, aligned piece; None of any others."""
    if not entries or entries[0].offset % ALIGNMENT:
        return None
    expected = start = entries[0].offset
    for _, offset, stored, raw, codec, _, _ in entries:
        if codec != CODEC_RAW or offset != expected or stored != raw:
            return None
        expected += raw
    return expected - start


def table_range(ref: PackRef, table_bytes: int, wanted: int) -> tuple[int, int]:
    """Return start and length of what to fetch for the table of a pack of which `wanted` chunks are needed.

    Of a small pack that is the whole, so that the chunks come with their table.
    """
    enough = wanted * AHEAD_SHARE >= ref.entries
    if 0 < ref.table_offset <= (AHEAD_BYTES_MAX if enough else WHOLE_BYTES_MAX) and table_bytes > 0:
        return 0, ref.table_offset + table_bytes
    return ref.table_offset, table_bytes
