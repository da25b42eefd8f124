"""Which ranges are fetched for chunks: all of them, each once, near ones together, and no range too large."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdall_store.format import CODEC_RAW, CODEC_ZSTD, Entry, PackRef
from holdall_store.repository._plan import JOB_BYTES, Reach, checks, jobs, raw_bytes, reach, runs, table_range

PACK_BYTES = 4000


@st.composite
def located(draw: st.DrawFn) -> list[tuple[str, Entry]]:
    """Return the chunks of a buffer: anywhere in two packs, some of them twice."""
    count = draw(st.integers(0, 12))
    found = []
    for _ in range(count):
        size = draw(st.integers(1, 300))
        codec = draw(st.sampled_from([CODEC_RAW, CODEC_ZSTD]))
        raw = size if codec == CODEC_RAW else draw(st.integers(1, 500))
        offset = draw(st.integers(64, PACK_BYTES - size))
        found.append((draw(st.sampled_from("ab")), Entry(b"", offset, size, raw, codec, 0, 1)))
    return found


class Memory:
    """Notes what is put where."""

    def __init__(self) -> None:
        self.put_at: list[tuple[int, bytes]] = []

    def put(self, position: int, raw: bytes | memoryview) -> None:
        """Note it."""
        self.put_at.append((position, bytes(raw)))


@given(
    st.lists(located(), max_size=4),
    st.builds(Reach, st.integers(0, 500), st.integers(1, 2000), st.booleans()),
)
def test_every_chunk_is_fetched_in_its_range(buffers: list[list[tuple[str, Entry]]], how: Reach) -> None:
    """Each chunk is in one range of its own pack, which spans it, and goes to its place; gaps and sizes are bounded."""
    memory = Memory()
    planned = jobs([(chunks, memory.put, 10_000 * number) for number, chunks in enumerate(buffers)], how)

    expected = []
    for number, chunks in enumerate(buffers):
        position = 10_000 * number
        for pack, entry in chunks:
            expected.append((pack, entry, position))
            position += entry.raw_bytes
    got = [(job.pack, place.entry, place.position) for job in planned for place in job.places]
    assert sorted(got) == sorted(expected)
    for job in planned:
        assert all(job.start <= p.entry.offset and p.entry.offset + p.entry.stored_bytes <= job.end for p in job.places)
        assert job.end - job.start <= max(how.job_bytes, *(place.entry.stored_bytes for place in job.places))
        end = job.start
        for place in job.places:
            assert place.entry.offset - end <= how.gap_bytes
            end = max(end, place.entry.offset + place.entry.stored_bytes)


@given(located())
def test_raw_runs_are_put_as_they_lie(chunks: list[tuple[str, Entry]]) -> None:
    """What is put in one piece is what would have been put chunk by chunk."""
    memory = Memory()
    pack = bytes(number % 251 for number in range(PACK_BYTES))
    for job in jobs([(chunks, memory.put, 0)], Reach(0, PACK_BYTES, in_order=False)):
        for places in runs(job.places):
            assert len(places) == 1 or all(place.entry.codec == CODEC_RAW for place in places)
            whole = pack[places[0].entry.offset : places[-1].entry.offset + places[-1].entry.stored_bytes]
            parts = [pack[p.entry.offset : p.entry.offset + p.entry.stored_bytes] for p in places]
            assert whole == b"".join(parts)
            positions = [place.position - places[0].position for place in places]
            assert positions == [sum(map(len, parts[:number])) for number in range(len(parts))]


@given(st.lists(st.integers(1, JOB_BYTES + JOB_BYTES // 2), max_size=12))
def test_mapped_chunks_are_checked_once(sizes: list[int]) -> None:
    """The pieces of work for a mapped buffer cover its chunks, at their positions; none is larger than it has to be."""
    chunks = [Entry(b"%d" % number, 0, size, size, CODEC_RAW, 0, 1) for number, size in enumerate(sizes)]
    covered = []
    for check in checks("pack", chunks, memoryview(b"")):
        position = check.position
        for entry in check.entries:
            covered.append((entry, position))
            position += entry.raw_bytes
        assert check.bytes == position - check.position
        assert check.bytes <= JOB_BYTES or len(check.entries) == 1

    assert [entry for entry, _ in covered] == chunks
    assert [at for _, at in covered] == [sum(sizes[:number]) for number in range(len(sizes))]


def test_a_raw_piece_is_seen() -> None:
    """A buffer that lies raw, whole and aligned can be mapped; one that does not cannot."""
    first = Entry(b"", 64, 100, 100, CODEC_RAW, 0, 1)
    second = Entry(b"", 164, 50, 50, CODEC_RAW, 0, 1)

    assert raw_bytes([first, second]) == 150
    assert raw_bytes([second]) is None
    assert raw_bytes([first, second._replace(offset=192)]) is None
    assert raw_bytes([first, second._replace(codec=CODEC_ZSTD)]) is None
    assert raw_bytes([first, second._replace(raw_bytes=60)]) is None
    assert raw_bytes([]) is None


def test_a_small_pack_comes_with_its_table() -> None:
    """A pack is fetched whole where it is small, or not large and much of it is wanted."""
    small = PackRef("p", 100_000, 10, "")
    middle = PackRef("p", 3 << 20, 100, "")
    large = PackRef("p", 32 << 20, 1000, "")

    assert table_range(small, 520, 1) == (0, 100_520)
    assert table_range(middle, 5200, 24) == (3 << 20, 5200)
    assert table_range(middle, 5200, 25) == (0, (3 << 20) + 5200)
    assert table_range(large, 52_000, 1000) == (32 << 20, 52_000)


def test_ranges_suit_the_storage() -> None:
    """Far away, ranges grow with what is fetched, up to 8 MiB; on a disk they are as they are."""
    assert reach(0, 1 << 40) == Reach(64 << 10, 4 << 20, in_order=True)
    assert reach(32, 1 << 20).job_bytes == 1 << 20
    assert reach(32, 128 << 20).job_bytes == 4 << 20
    assert reach(32, 1 << 40).job_bytes == 8 << 20
