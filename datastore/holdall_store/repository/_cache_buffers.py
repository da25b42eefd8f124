"""Assembled buffers in the local cache: what took many requests is one file, which the next load maps.

Such a file is a pack of docs/format.md whose chunks lie raw, in the order of the buffers, each buffer in one piece. So
what reads packs of a local store reads it, verifies it, and maps it. Its name is a hash of what a record says of the
buffers: of the digests of the tables that list their chunks, and of the chunks' numbers. Nobody can make another store's
data lie under that name without finding a collision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blake3 import blake3

from holdall_store.config import logger
from holdall_store.errors import HoldallError, IntegrityError, ObjectNotFoundError
from holdall_store.format import (
    ALIGNMENT,
    CODEC_RAW,
    FOOTER_BYTES,
    HEADER,
    BufferRef,
    Entry,
    PackRef,
    build_tail,
    parse_footer,
)
from holdall_store.repository._artifacts import StoredArtifact
from holdall_store.repository._cache import Cache, CacheFile, data_key
from holdall_store.repository._plan import Located, Put
from holdall_store.repository._reader import BufferReader, Pending, inline_buffer

__all__ = ["CacheDamagedError", "CachedBuffers", "artifact_key", "content_key"]

KEY_DOMAIN: Final = b"holdall cached buffers 1\n"
"""Sets these hashes apart from all others; a new layout of the files gets a new number."""


class CacheDamagedError(IntegrityError):
    """A file of the cache was found to be damaged after it was handed out. It is gone now: try again."""


class CachedBuffers:
    """Reads buffers of artifacts through a cache; safe to use from several threads and processes."""

    def __init__(self, reader: BufferReader, cache: Cache) -> None:
        self._reader = reader
        self._cache = cache
        self._local = BufferReader(cache.data, data_key)

    def read(
        self,
        artifact: StoredArtifact,
        numbers: Sequence[int],
        *,
        verify: bool = True,
        pending: list[Pending] | None = None,
    ) -> list[memoryview]:
        """Return buffers of an artifact by number, as `BufferReader.read` does.

        What was not in the cache is, when this returns, if it was verified. With `pending`, a file that turns out to
        be damaged is `CacheDamagedError`.
        """
        record, packs = artifact
        wanted = sorted({number for number in numbers if record.buffers[number].spans})
        found = None
        if wanted:
            found = self._find(artifact, wanted, verify, pending)
            if found is None and verify and self._fill(artifact, wanted):
                found = self._open(artifact, wanted, wanted, verify=False, pending=None)
        if found is None:
            refs = [record.buffers[number] for number in numbers]
            return self._reader.read(refs, packs, verify=verify, pending=pending)
        by_number = dict(zip(wanted, found, strict=True))
        return [by_number[n] if n in by_number else inline_buffer(record.buffers[n]) for n in numbers]

    def read_range(self, artifact: StoredArtifact, number: int, start: int, length: int) -> memoryview:
        """Return a range of a buffer as `BufferReader.read_range` does; it is not kept."""
        record, packs = artifact
        ref = record.buffers[number]
        if ref.spans:
            for group in _groups(artifact, [number]):
                try:
                    refs, pack = self._local_refs(artifact, group)
                    return self._local.read_range(refs[group.index(number)], [pack], start, length)
                except _Miss:
                    continue
                except HoldallError as error:
                    self._forget(content_key(artifact, group), error)
        return self._reader.read_range(ref, packs, start, length)

    def _find(
        self, artifact: StoredArtifact, wanted: Sequence[int], verify: bool, pending: list[Pending] | None
    ) -> list[memoryview] | None:
        """Return buffers from the file that holds just them, or from that of all buffers; ``None`` if there is none."""
        for group in _groups(artifact, wanted):
            found = self._open(artifact, group, wanted, verify=verify, pending=pending)
            if found is not None:
                return found
        return None

    def _open(
        self,
        artifact: StoredArtifact,
        group: Sequence[int],
        wanted: Sequence[int],
        *,
        verify: bool,
        pending: list[Pending] | None,
    ) -> list[memoryview] | None:
        """Return the `wanted` buffers from the file of `group`; a file that is damaged is dropped."""
        name = content_key(artifact, group)
        checks: list[Pending] = []
        try:
            refs, pack = self._local_refs(artifact, group)
            chosen = [refs[group.index(number)] for number in wanted]
            found = self._local.read(chosen, [pack], verify=verify, pending=None if pending is None else checks)
        except _Miss:
            return None
        except HoldallError as error:
            self._forget(name, error)
            return None
        if pending is not None:
            pending.extend(_Watched(check, self._cache, name) for check in checks)
        return found

    def _local_refs(self, artifact: StoredArtifact, group: Sequence[int]) -> tuple[list[BufferRef], PackRef]:
        """Return where the buffers of `group` lie in the file that holds them."""
        name = content_key(artifact, group)
        if not self._cache.use_data(name):
            raise _Miss
        key = data_key(name)
        try:
            size = self._cache.data.head(key).size
            footer = parse_footer(self._cache.data.get(key, max(0, size - FOOTER_BYTES), min(size, FOOTER_BYTES)), size)
        except ObjectNotFoundError:
            raise _Miss from None
        refs: list[BufferRef] = []
        first = 0
        for number in group:
            ref = artifact.record.buffers[number]
            count = sum(part for _, _, part in ref.spans)
            refs.append(BufferRef(ref.bytes, spans=((0, first, count),)))
            first += count
        return refs, PackRef(name, footer.table_offset, footer.entries, footer.table_digest.hex())

    def _fill(self, artifact: StoredArtifact, group: Sequence[int]) -> bool:
        """Fetch the buffers of `group` into a file of the cache; return whether they are there."""
        record, packs = artifact
        refs = [record.buffers[number] for number in group]
        if sum(ref.bytes for ref in refs) > self._cache.bound:
            return False
        ahead = self._reader.get_tables(refs, packs)
        located = [self._reader.locate(ref, packs) for ref in refs]
        entries, starts, end = _layout(located)
        table, footer = build_tail(entries, end)

        def fill(file: CacheFile) -> None:
            put: Put = file.write
            self._reader.fetch(
                [(chunks, put, start) for chunks, start in zip(located, starts, strict=True)], ahead, verify=True
            )
            file.write(0, HEADER)
            file.write(end, table + footer)

        path = self._cache.data_path(content_key(artifact, group))
        return self._cache.keep(path, end + len(table) + len(footer), fill)

    def _forget(self, name: str, error: HoldallError) -> None:
        """Drop a file that is not what was written; leave one that only cannot be read."""
        logger().debug("Not used from the cache: %s", error)
        if isinstance(error, IntegrityError | ValueError):
            self._cache.drop_data(name)


class _Miss(HoldallError):
    """The cache has no such file."""


class _Watched:
    """A check of a file of the cache that goes on; what it finds damaged is dropped."""

    def __init__(self, check: Pending, cache: Cache, name: str) -> None:
        self._check = check
        self._cache = cache
        self._name = name

    def wait(self) -> None:
        """Return when all is checked."""
        try:
            self._check.wait()
        except IntegrityError as error:
            self._cache.drop_data(self._name)
            raise CacheDamagedError(str(error)) from None


def content_key(artifact: StoredArtifact, group: Sequence[int]) -> str:
    """Return what identifies the content of some buffers of an artifact, by what its record proves of them."""
    record, packs = artifact
    hasher = blake3(KEY_DOMAIN)
    for number in group:
        ref = record.buffers[number]
        hasher.update(b"%d %d %s\n" % (ref.bytes, len(ref.spans), ref.inline.encode()))
        for pack, first, count in ref.spans:
            table = packs[pack].table if 0 <= pack < len(packs) else ""
            hasher.update(b"%d %d %s\n" % (first, count, table.encode()))
    return hasher.hexdigest()


def artifact_key(artifact: StoredArtifact) -> str:
    """Return what identifies a whole artifact; unlike the digest in its record, it cannot be made to lie."""
    hasher = blake3(bytes(artifact.record.node))
    hasher.update(bytes.fromhex(content_key(artifact, range(len(artifact.record.buffers)))))
    return hasher.hexdigest()


def _groups(artifact: StoredArtifact, wanted: Sequence[int]) -> list[list[int]]:
    """Return the groups of buffers in whose files `wanted` may be: they alone, and all that a whole load asks for."""
    record = artifact.record
    every = [number for number, ref in enumerate(record.buffers) if ref.spans]
    if record.spilled and every and every[-1] == len(record.buffers) - 1:
        every.pop()
    alone = list(wanted)
    return [alone, every] if every != alone and set(alone) <= set(every) else [alone]


def _layout(located: Sequence[Located]) -> tuple[list[Entry], list[int], int]:
    """Return the table of a file that holds these buffers, where each begins, and where the last one ends."""
    entries: list[Entry] = []
    starts: list[int] = []
    position = len(HEADER)
    for chunks in located:
        position += -position % ALIGNMENT
        starts.append(position)
        for _, entry in chunks:
            entries.append(Entry(entry.digest, position, entry.raw_bytes, entry.raw_bytes, CODEC_RAW, 0, 1))
            position += entry.raw_bytes
    return entries, starts, position
