"""The planner: which bytes are fetched, by arithmetic alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall_store.tables._plan import (
    CHUNK_PAD,
    REQUEST_BYTES,
    Span,
    chunk_span,
    coalesce,
    covers,
    cut,
    inner_pages,
    needs_pad,
    total,
)

SPANS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 500)).map(lambda pair: Span(pair[0], sum(pair))))


def bytes_of(spans: list[Span]) -> set[int]:
    """Return every byte of spans."""
    return {at for span in spans for at in range(span.begin, span.end)}


@given(SPANS, st.integers(0, 2000), st.sampled_from([0, 4, 32]))
def test_coalescing_covers_and_wastes_little(spans: list[Span], gap: int, share: int) -> None:
    """Every byte wanted is in exactly one range, and what is carried in vain is little beside what tiny holes cost."""
    found = coalesce(spans, gap, share)

    assert bytes_of(spans) <= bytes_of(found)
    assert total(found) == len(bytes_of(found))
    assert found == sorted(found)
    tiny = coalesce(spans, 0, 0)
    assert total(found) - total(tiny) <= (total(tiny) // share if share else 0)
    assert covers(found, [span for span in spans if span.length])


def test_small_holes_are_filled_first() -> None:
    """With room for one hole, it is the smaller one."""
    begin = 1 << 20
    spans = [Span(0, begin), Span(begin + 20_000, 2 * begin), Span(2 * begin + 30_000, 3 * begin)]

    assert coalesce(spans, gap=50_000, waste_share=100) == [Span(0, 2 * begin), Span(2 * begin + 30_000, 3 * begin)]


@given(SPANS, st.integers(1, 300))
def test_cutting_changes_no_byte(spans: list[Span], size: int) -> None:
    """Pieces of a span follow each other, are no longer than asked for, and about equal."""
    merged = coalesce(spans, 0, 0)
    found = cut(merged, size)

    assert bytes_of(found) == bytes_of(merged)
    assert total(found) == total(merged)
    assert all(piece.length <= size for piece in found)


def test_a_long_range_becomes_equal_requests() -> None:
    """No last piece of a few bytes is left."""
    lengths = [piece.length for piece in cut([Span(0, 2 * REQUEST_BYTES + 2)])]

    assert len(lengths) == 3
    assert max(lengths) - min(lengths) <= 1


@given(SPANS, SPANS)
def test_coverage_is_what_it_says(held: list[Span], wanted: list[Span]) -> None:
    """`covers` tells whether every byte wanted is held."""
    assert covers(held, [span for span in wanted if span.length]) == (bytes_of(wanted) <= bytes_of(held))


@given(st.integers(0, 100_000), st.integers(0, 100_000))
def test_only_whole_pages_are_given_back(begin: int, length: int) -> None:
    """No page that has a byte of something else is in it, and no whole page is left out."""
    found = inner_pages(Span(begin, begin + length), 4096)
    pages = [page for page in range(60) if begin <= page * 4096 and (page + 1) * 4096 <= begin + length]

    assert found == (Span(pages[0] * 4096, (pages[-1] + 1) * 4096) if pages else None)


@pytest.mark.parametrize(
    ("created_by", "wanted"),
    [
        ("parquet-mr", True),
        ("parquet-mr (build abc)", True),
        ("parquet-mr version 1.2.8 (build abc)", True),
        ("Parquet-MR version 1.2", True),
        ("parquet-mr version 1.2.9 (build abc)", False),
        ("parquet-mr version 1.10.0", False),
        ("parquet-cpp-arrow version 1.0.0", False),
        ("parquet-mrs version 1.0.0", False),
        (None, False),
    ],
)
def test_whose_chunks_are_longer_than_they_say(created_by: str | None, wanted: bool) -> None:
    """parquet-mr before 1.2.9, and where it does not tell its version."""
    assert needs_pad(created_by) is wanted


@pytest.mark.parametrize(
    ("data_page", "dictionary_page", "span"),
    [
        (100, None, Span(100, 300)),
        (100, 40, Span(40, 240)),
        (100, 0, Span(100, 300)),  # there is none, says parquet-mr of old
        (100, 160, Span(100, 300)),
    ],
)
def test_where_a_chunk_begins(data_page: int, dictionary_page: int | None, span: Span) -> None:
    """At the dictionary if there is one, which zero and a place behind the data say that there is not."""
    assert chunk_span(data_page, dictionary_page, 200, 10_000, pad=False) == span


def test_the_pad_ends_at_the_footer() -> None:
    """A padded chunk never reaches into the footer."""
    assert chunk_span(100, None, 200, 10_000, pad=True) == Span(100, 300 + CHUNK_PAD)
    assert chunk_span(100, None, 200, 350, pad=True) == Span(100, 350)


@pytest.mark.parametrize(("data_page", "compressed"), [(0, 10), (100, 1000), (100, -1), (-5, 10)])
def test_a_chunk_outside_of_the_file_is_refused(data_page: int, compressed: int) -> None:
    """What a damaged footer says of places is looked at before anything is fetched."""
    with pytest.raises(ValueError, match="column chunk"):
        chunk_span(data_page, None, compressed, 1000, pad=False)
