"""Where buffers are cut. The cuts are frozen: another cut would find nothing of what older versions stored."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from blake3 import blake3
from hypothesis import given, settings

from holdall_store.format.chunker import DENSE, OPAQUE, ChunkRule, cut_all

RULES = {"opaque": OPAQUE, "dense": DENSE}


def stretch(seed: int, size: int) -> bytes:
    """Return `size` bytes of a stream that BLAKE3 makes of `seed`: the same everywhere and always."""
    return blake3(seed.to_bytes(8, "little")).digest(length=size)


def cuts(rule: ChunkRule, data: bytes, item_bytes: int = 1) -> list[int]:
    """Return the ends of the chunks of `data`."""
    return cut_all(rule, memoryview(data), item_bytes)


GOLDEN: dict[tuple[str, int], tuple[list[int], str]] = {
    ("opaque", 1): (
        [
            *(83405, 151751, 233792, 299868, 408930, 491953, 532538, 611319, 683708, 766198, 836350, 911718, 980798),
            *(1070297, 1162338, 1200000),
        ],
        "05b3c85ce3f339b81f9bbe19c3509d2b46f22d7ca4460b891b276d439cf8e1c5",
    ),
    ("opaque", 4): (
        [
            *(83408, 151752, 233792, 299868, 408932, 491956, 532540, 611320, 683708, 766200, 836352, 911720, 980800),
            *(1070300, 1162340, 1200000),
        ],
        "b0a80e4ee19c514ed6adc99cbf668f53875767ef927702d9505a77b1eeedbd62",
    ),
    ("opaque", 12): (
        [
            *(83412, 151752, 233796, 299868, 408936, 491964, 532548, 611328, 683712, 766200, 836352, 911724, 980808),
            *(1070304, 1162344, 1200000),
        ],
        "0c3f18a957e5530636c04afc46a181413a6c1fc71b22ba622512da654c7462ac",
    ),
    ("dense", 1): (
        [236594, 425070, 577225, 766198, 911718, 1053215, 1200000],
        "9315a03eb07458c8f7f4d04dee3c93c9b77c526a0f7115131309ed7ae0bdaaeb",
    ),
    ("dense", 4): (
        [236596, 425072, 577228, 766200, 911720, 1053216, 1200000],
        "53388e46df07a478598842b8f4bf9635c059d1050c227f917dac7b886d2607a9",
    ),
    ("dense", 12): (
        [236604, 425076, 577236, 766200, 911724, 1053216, 1200000],
        "1ceb3968e65f14fa3665d401de6a12f11a927effd47d996c1f3eaa3c14bc0c17",
    ),
}
"""Ends of the chunks of ``stretch(1, 1_200_000)``, and BLAKE3 of the BLAKE3 of each chunk."""


@pytest.mark.parametrize(("rule", "item_bytes"), GOLDEN)
def test_the_cuts_are_those_of_version_1(rule: str, item_bytes: int) -> None:
    """Frozen: places and digests of the chunks of a fixed input, for each rule and for items of 1, 4 and 12 bytes."""
    data = stretch(1, 1_200_000)
    ends = cuts(RULES[rule], data, item_bytes)
    digests = b"".join(blake3(data[a:b]).digest() for a, b in zip([0, *ends[:-1]], ends, strict=True))

    assert (ends, blake3(digests).hexdigest()) == GOLDEN[rule, item_bytes]


@given(
    st.sampled_from(sorted(RULES)),
    st.sampled_from((1, 2, 4, 8, 12, 16, 999, 70_000, 300_000)),
    st.integers(0, 1_300_000),
    st.sampled_from(("random", "zeros", "period")),
)
@settings(max_examples=60)
def test_chunks_cover_the_buffer_and_part_no_item(rule: str, item_bytes: int, size: int, kind: str) -> None:
    """Chunks follow each other without a gap, none is empty or too long, and cuts lie between items where they can."""
    size -= size % item_bytes
    data = {"random": stretch(7, size), "zeros": bytes(size), "period": (stretch(8, 1000) * (size // 1000 + 1))[:size]}
    ends = cuts(RULES[rule], data[kind], item_bytes)

    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == size
    for start, end in zip([0, *ends], ends, strict=False):
        assert 0 < end - start <= RULES[rule].max_bytes
        if item_bytes <= RULES[rule].min_bytes:
            assert end % item_bytes == 0
            assert end == size or end - start > RULES[rule].min_bytes - item_bytes


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("item_bytes", [1, 4, 12])
def test_an_insertion_changes_only_the_chunks_around_it(rule: str, item_bytes: int) -> None:
    """After items were put in, taken out or changed in the middle, the chunks before and soon after are the old ones."""
    data = stretch(2, 6_000_000)
    chosen = random.Random(item_bytes)

    def chunks(content: bytes) -> set[bytes]:
        ends = cuts(RULES[rule], content, item_bytes)
        return {blake3(content[a:b]).digest() for a, b in zip([0, *ends[:-1]], ends, strict=True)}

    before = chunks(data)
    for _ in range(3):
        place = chosen.randrange(len(data) // item_bytes) * item_bytes
        count = chosen.randrange(1, 50) * item_bytes
        for edited in (
            data[:place] + stretch(3, count) + data[place:],
            data[:place] + data[place + count :],
            data[:place] + stretch(4, count) + data[place + count :],
        ):
            assert len(chunks(edited) - before) <= 12


@pytest.mark.parametrize("item_bytes", [1, 4, 12, 3000])
@pytest.mark.parametrize("rule", RULES)
def test_a_cut_depends_on_nothing_behind_it(rule: str, item_bytes: int) -> None:
    """A chunk ends where it ends whatever follows, which is what makes remembered chunks stand for a search."""
    data = stretch(5, 900_000) + bytes(1_200_000) + stretch(9, 300_000)
    follow = stretch(6, 600_000), bytes(600_000)
    ends = cuts(RULES[rule], data, item_bytes)
    for start, end in zip([0, *ends], ends[:-1], strict=False):
        for after in follow:
            assert cuts(RULES[rule], data[start:end] + after, item_bytes)[0] == end - start
