"""Packs: chunk bytes back to back, then a table of them, then a footer.

docs/format.md specifies every byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from blake3 import blake3

from holdall_store.errors import FormatError, IntegrityError
from holdall_store.format._compression import CHUNK_BYTES_MAX

__all__ = [
    "ALIGNMENT",
    "DIGEST_BYTES",
    "FOOTER_BYTES",
    "HEADER",
    "Entry",
    "Footer",
    "PackTable",
    "build_tail",
    "parse_footer",
]

# On disk: never change. A new version gets a new number, and readers keep reading this one.
PACK_VERSION: Final = 1
HEADER: Final = b"holdall pack 1\n".ljust(64, b"\0")
FOOTER_MAGIC: Final = b"HOLDPACK"
DIGEST_BYTES: Final = 32
ALIGNMENT: Final = 64
"""Raw buffers begin at multiples of this, so that arrays of any dtype can be used where they lie in a memory map."""

_ENTRY: Final = struct.Struct("<32sQIIBBH")
_FOOTER: Final = struct.Struct("<8sIIQQ32s")
ENTRY_BYTES: Final = _ENTRY.size
FOOTER_BYTES: Final = _FOOTER.size

_FIRST: Final = len(HEADER)

FLAG_TAIL: Final = 1
"""The chunk ends where its buffer, or the part of it that was cut as one, ends: its content did not ask for the cut."""

FLAG_DENSE: Final = 2
"""The chunk was cut by the rule for arrays."""


class Entry(NamedTuple):
    """One chunk of a pack: BLAKE3 of its raw bytes, place and size as stored, raw size, codec, flags, item stride."""

    digest: bytes
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int
    flags: int
    stride: int


@dataclass(frozen=True, slots=True)
class Footer:
    """Where the table of a pack lies, and what it must hash to."""

    table_offset: int
    entries: int
    table_digest: bytes

    @property
    def table_bytes(self) -> int:
        """Size of the table."""
        return self.entries * ENTRY_BYTES


class PackTable:
    """The chunks of one pack, in the order in which they lie there.

    `raw` is kept as it is and entries are read out of it when asked for: a table of a million chunks costs no objects.
    """

    __slots__ = ("_raw", "end")

    def __init__(self, raw: bytes | memoryview, end: int) -> None:
        self._raw = raw
        self.end = end
        """Where the chunks end: no entry may reach beyond it."""

    @classmethod
    def parse(cls, raw: bytes | memoryview, footer: Footer) -> PackTable:
        """Return the table, or raise `IntegrityError` where it is not what the footer promised."""
        if len(raw) != footer.table_bytes or blake3(raw).digest() != footer.table_digest:
            raise IntegrityError("The table of a pack is damaged.")
        return cls(raw, footer.table_offset)

    def __len__(self) -> int:
        return len(self._raw) // ENTRY_BYTES

    def __getitem__(self, number: int) -> Entry:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._checked(Entry._make(_ENTRY.unpack_from(self._raw, number * ENTRY_BYTES)))

    def __iter__(self) -> Iterator[Entry]:
        return map(self._checked, map(Entry._make, _ENTRY.iter_unpack(self._raw)))

    def span(self, first: int, count: int) -> list[Entry]:
        """Return `count` entries from number `first` on."""
        if first < 0 or count < 0 or first + count > len(self):
            raise IntegrityError(f"Chunks {first} to {first + count} are asked of a pack that has {len(self)}.")
        window = self._raw[first * ENTRY_BYTES : (first + count) * ENTRY_BYTES]
        entries = list(map(Entry._make, _ENTRY.iter_unpack(window)))
        for entry in entries:
            # Written out, because an artifact has thousands of them.
            _, offset, stored, raw, _, _, _ = entry
            if not 0 < raw <= CHUNK_BYTES_MAX or stored > CHUNK_BYTES_MAX or not _FIRST <= offset <= self.end - stored:
                self._checked(entry)
        return entries

    def digest(self, number: int) -> bytes:
        """Return the digest of one chunk."""
        start = number * ENTRY_BYTES
        return bytes(self._raw[start : start + DIGEST_BYTES])

    def digest_prefixes(self) -> list[int]:
        """Return the first eight bytes of each digest as a signed little-endian integer, for look-up tables."""
        return [prefix for (prefix,) in struct.iter_unpack(f"<q{ENTRY_BYTES - 8}x", self._raw)]

    @property
    def raw(self) -> bytes:
        """The bytes of the table."""
        return bytes(self._raw)

    def _checked(self, entry: Entry) -> Entry:
        if (
            not 0 < entry.raw_bytes <= CHUNK_BYTES_MAX
            or entry.stored_bytes > CHUNK_BYTES_MAX
            or entry.offset < len(HEADER)
            or entry.offset + entry.stored_bytes > self.end
        ):
            raise IntegrityError(f"A pack's table names a chunk that cannot be: {entry!r:.200}")
        return entry


def build_tail(entries: list[Entry], table_offset: int) -> tuple[bytes, bytes]:
    """Return the table and the footer that close a pack whose chunks end at `table_offset`."""
    table = b"".join(_ENTRY.pack(*entry) for entry in entries)
    footer = _FOOTER.pack(FOOTER_MAGIC, PACK_VERSION, 0, table_offset, len(entries), blake3(table).digest())
    return table, footer


def parse_footer(raw: bytes | memoryview, pack_bytes: int) -> Footer:
    """Return what the last `FOOTER_BYTES` bytes of a pack of `pack_bytes` bytes say.

    Raises `FormatError` for a newer version, `IntegrityError` for anything that is no footer or does not fit.
    """
    if len(raw) != FOOTER_BYTES:
        raise IntegrityError("A pack is too short to have a footer.")
    magic, version, reserved, table_offset, count, digest = _FOOTER.unpack(raw)
    if magic != FOOTER_MAGIC:
        raise IntegrityError("A pack does not end with a footer: it was cut off or overwritten.")
    if version != PACK_VERSION or reserved:
        raise FormatError(
            f"A pack is of version {version}; this version of holdall reads {PACK_VERSION}. Update holdall."
        )
    if table_offset < len(HEADER) or table_offset + count * ENTRY_BYTES + FOOTER_BYTES != pack_bytes:
        raise IntegrityError("The footer of a pack does not fit the pack.")
    return Footer(table_offset, count, digest)
