"""Tables and footers of packs: built, parsed, and refused where they cannot be."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from blake3 import blake3
from hypothesis import given, settings

from holdall_store.errors import FormatError, HoldallError, IntegrityError
from holdall_store.format import (
    ALIGNMENT,
    CHUNK_BYTES_MAX,
    ENTRY_BYTES,
    FOOTER_BYTES,
    HEADER,
    Entry,
    PackTable,
    build_tail,
    parse_footer,
)

entries = st.lists(
    st.builds(
        Entry,
        digest=st.binary(min_size=32, max_size=32),
        offset=st.integers(64, 1000),
        stored_bytes=st.integers(0, 1000),
        raw_bytes=st.integers(1, CHUNK_BYTES_MAX),
        codec=st.integers(0, 255),
        flags=st.integers(0, 255),
        stride=st.integers(0, 65535),
    ),
    max_size=8,
)


def tail_of(made: list[Entry], end: int = 2000) -> tuple[bytes, bytes, int]:
    """Return the table and the footer of a pack whose chunks end at `end`, and its size."""
    table, footer = build_tail(made, end)
    return table, footer, end + len(table) + len(footer)


@given(entries)
def test_a_table_comes_back(made: list[Entry]) -> None:
    """Every way of reading a table gives the entries that were written."""
    table, tail, size = tail_of(made)
    footer = parse_footer(tail, size)
    parsed = PackTable.parse(table, footer)

    assert list(parsed) == made
    assert len(parsed) == len(made) == footer.entries
    assert [parsed[number] for number in range(len(made))] == made
    assert parsed.span(0, len(made)) == made
    assert [parsed.digest(number) for number in range(len(made))] == [entry.digest for entry in made]
    prefixes = [int.from_bytes(entry.digest[:8], "little", signed=True) for entry in made]
    assert parsed.digest_prefixes() == prefixes
    assert parsed.raw == table


def test_the_layout_is_that_of_version_1() -> None:
    """Frozen: the size of the parts, and the bytes of a pack's tail."""
    made = [Entry(bytes(range(32)), 64, 10, 20, 1, 3, 8)]
    table, tail, _ = tail_of(made, 74)

    assert (ALIGNMENT, len(HEADER), ENTRY_BYTES, FOOTER_BYTES) == (64, 64, 52, 64)
    assert b"holdall pack 1\n" + bytes(49) == HEADER
    assert table.hex() == bytes(range(32)).hex() + "4000000000000000" + "0a000000" + "14000000" + "01" + "03" + "0800"
    assert tail == b"HOLDPACK" + bytes([1, 0, 0, 0, 0, 0, 0, 0, 74, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) + (
        blake3(table).digest()
    )


@given(entries, st.data())
@settings(max_examples=100)
def test_every_flipped_bit_of_a_tail_is_found(made: list[Entry], data: st.DataObject) -> None:
    """A table and a footer in which one bit changed are an error."""
    table, tail, size = tail_of(made)
    bit = data.draw(st.integers(0, 8 * (len(table) + len(tail)) - 1))
    damaged = memoryview(bytearray(table + tail))
    damaged[bit // 8] ^= 1 << bit % 8

    with pytest.raises((IntegrityError, FormatError)):
        PackTable.parse(damaged[: len(table)], parse_footer(damaged[len(table) :], size))


@given(st.binary(max_size=200), st.integers(-10, 1 << 70))
@settings(max_examples=100)
def test_garbage_is_no_footer(raw: bytes, size: int) -> None:
    """Any bytes at all are a footer that fits the pack, or an error of ours."""
    for candidate in (raw, b"HOLDPACK\1\0\0\0" + raw[: FOOTER_BYTES - 12].ljust(FOOTER_BYTES - 12, b"\0")):
        try:
            footer = parse_footer(candidate, size)
        except HoldallError:
            continue
        assert footer.table_offset + footer.table_bytes + FOOTER_BYTES == size


@pytest.mark.parametrize(
    "entry",
    [
        Entry(bytes(32), 63, 10, 10, 0, 0, 1),
        Entry(bytes(32), 0, 10, 10, 0, 0, 1),
        Entry(bytes(32), 64, 1000, 1000, 0, 0, 1),
        Entry(bytes(32), 1 << 63, 10, 10, 0, 0, 1),
        Entry(bytes(32), 64, 10, 0, 0, 0, 1),
        Entry(bytes(32), 64, 10, CHUNK_BYTES_MAX + 1, 0, 0, 1),
        Entry(bytes(32), 64, (1 << 32) - 1, 10, 0, 0, 1),
    ],
)
def test_chunks_that_cannot_be_are_refused(entry: Entry) -> None:
    """A chunk lies between the header and the table and has a size that a reader may allocate, or nothing is read."""
    table, tail, size = tail_of([entry], 200)
    parsed = PackTable.parse(table, parse_footer(tail, size))

    for read in (lambda: parsed[0], lambda: list(parsed), lambda: parsed.span(0, 1)):
        with pytest.raises(IntegrityError, match="cannot be"):
            read()


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, 4), (4, 1), (3, 1), (0, -1), (1 << 60, 1 << 60)])
def test_spans_stay_within_the_table(first: int, count: int) -> None:
    """What a record asks of a pack is in its table, or an error says how many chunks there are."""
    table, tail, size = tail_of([Entry(bytes(32), 64, 10, 10, 0, 0, 1)] * 3, 200)
    parsed = PackTable.parse(table, parse_footer(tail, size))

    with pytest.raises(IntegrityError, match="has 3"):
        parsed.span(first, count)
    with pytest.raises(IndexError):
        parsed[3]


def test_a_newer_pack_asks_for_an_update() -> None:
    """A pack of another version is no damage."""
    _, tail, size = tail_of([])
    newer = tail[:8] + (2).to_bytes(4, "little") + tail[12:]

    with pytest.raises(FormatError, match="version 2.*Update holdall"):
        parse_footer(newer, size)
